/** What the Wolf beside this agent can do, asked of Wolf itself and hashed. Whatever cannot be read is unknown, never an error. */
import { createHash } from "node:crypto";
import { type AgentCapabilities, agentNoticeTypes } from "@wolfpack/api-contract";
import { parseWolfJson, wolfCapabilities } from "@wolfpack/wolf-api";
import { type Clock, pause } from "./clock.ts";
import type { Log } from "./logger.ts";
import type { Target } from "./target.ts";
import { askUpstream } from "./upstream.ts";

const TIMEOUT_MS = 5000;
const SCHEMA_BYTES_MAX = 1024 * 1024;
/** Wolf corrupts some replies above 64 KiB, and this one is near that. */
const TRIES_MAX = 3;
/** `probeCapabilities` takes no longer. */
export const CAPABILITIES_MS_MAX = TRIES_MAX * TIMEOUT_MS;
/** A Wolf that could not say what it can do is asked again. */
const RETRY_MS = 60_000;

const unknownCapabilities: AgentCapabilities = { schema_hash: null, features: [], missing: [] };

export interface CapabilityWatchOptions {
  wolf: Target;
  clock: Clock;
  log: Log;
  notify: (type: string, payload: unknown) => boolean;
  /** What is missing is other than before. */
  onMissing: () => void;
}

export interface CapabilityWatch {
  /** Wolf has started: asks it, again and again until the signal aborts if its answer says nothing. Never rejects. */
  learn(signal: AbortSignal): Promise<void>;
  /** Wolf is known to lack this route, which sessions need. */
  lacks(route: string): boolean;
  /** Says what is known, once Wolf was asked. */
  say(): void;
}

export function watchCapabilities(options: CapabilityWatchOptions): CapabilityWatch {
  const { wolf, clock, log, notify, onMissing } = options;
  /** Undefined until Wolf was asked. */
  let known: AgentCapabilities | undefined;

  function take(learned: AgentCapabilities): void {
    const before = known;
    known = learned;
    const { schema_hash, features, missing } = learned;
    if (missing.length !== (before?.missing.length ?? 0)) onMissing();
    if (schema_hash === before?.schema_hash) return;
    if (missing.length > 0)
      log.warn({ schema_hash, features, missing }, "this Wolf lacks what sessions need");
    else
      log.info(
        { schema_hash, features },
        schema_hash ? "Wolf's capabilities" : "Wolf does not say what it can do",
      );
  }

  const say = () => {
    if (known !== undefined) notify(agentNoticeTypes.capabilities, known);
  };

  return {
    async learn(signal) {
      while (!signal.aborted) {
        const learned = await probeCapabilities(wolf, signal);
        if (signal.aborted) return;
        take(learned);
        say();
        if (learned.schema_hash !== null) return;
        await pause(RETRY_MS, clock, signal);
      }
    },
    lacks: (route) => known?.missing.includes(route) === true,
    say,
  };
}

/** Never rejects: all empty and no hash is unknown. */
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
