/** What the Wolf beside this agent can do, asked of Wolf itself and hashed. Whatever cannot be read is unknown, never an error. */
import { createHash } from "node:crypto";
import type { AgentCapabilities } from "@wolfpack/api-contract";
import { parseWolfJson, wolfCapabilities } from "@wolfpack/wolf-api";
import type { Target } from "./target.ts";
import { askUpstream } from "./upstream.ts";

const TIMEOUT_MS = 5000;
const SCHEMA_BYTES_MAX = 1024 * 1024;
/** Wolf corrupts some replies above 64 KiB, and this one is near that. */
const TRIES_MAX = 3;

export const unknownCapabilities: AgentCapabilities = { schema_hash: null, features: [], missing: [] };

/** Never rejects. */
export async function probeCapabilities(wolf: Target, signal: AbortSignal): Promise<AgentCapabilities> {
  for (let tries = 0; tries < TRIES_MAX && !signal.aborted; tries += 1) {
    try {
      const { status, body } = await askUpstream({
        target: wolf,
        method: "GET",
        path: "/api/v1/openapi-schema",
        timeoutMs: TIMEOUT_MS,
        replyBytesMax: SCHEMA_BYTES_MAX,
        signal,
      });
      if (status !== 200) return unknownCapabilities;
      const known = wolfCapabilities(parseWolfJson(body.toString("utf8")));
      if (known !== undefined)
        return { schema_hash: createHash("sha256").update(body).digest("hex"), ...known };
    } catch {
      // Gone, slow or cut: asked again.
    }
  }
  return unknownCapabilities;
}
