/** The service `control` of wolves' tunnels: what an agent with a key of its own asks its control plane. */
import { randomUUID } from "node:crypto";
import { CONTROL_SERVICE, RENEW_PATH, RenewRequest } from "@wolfpack/api-contract";
import { type IncomingRequest, type OutgoingResponse, RevdialError, type Tunnel } from "revdial";
import type { Clock } from "../clock.ts";
import { onBehalfOf } from "../events/author.ts";
import { ApiError, renderProblem, toApiError } from "../http/problem.ts";
import { parse } from "../http/validate.ts";
import type { AgentRenewals } from "../identity/agent-renewals.ts";
import type { AuditLog } from "../identity/audit.ts";
import type { AgentPrincipal } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import type { Opener } from "./opener.ts";
import { TokenBucket } from "./token-bucket.ts";

export interface AgentControl {
  /** Answers the agent from now on, and ends older keys of its wolf soon. */
  serve(tunnel: Tunnel, principal: AgentPrincipal, opener: Opener): void;
}

const BODY_BYTES_MAX = 4096;
/** An agent renews every few days, and now and then asks again; of each tunnel. */
const ASKED_BURST_MAX = 10;
const ASKED_PER_SECOND_MAX = 1 / 6;

export function createAgentControl(options: {
  renewals: AgentRenewals;
  audit: AuditLog;
  clock: Clock;
  log: Log;
}): AgentControl {
  const { renewals, audit, clock, log } = options;

  async function renew(
    request: IncomingRequest,
    principal: AgentPrincipal,
    opener: Opener,
    requestId: string,
  ): Promise<OutgoingResponse> {
    const event = { principal, action: "agent.renew", requestId, address: opener.address } as const;
    try {
      const body = parse(RenewRequest, await readJson(request), "body");
      const renewing = () => renewals.renew(principal, opener.hosts, body);
      const renewal = await onBehalfOf({ principal, requestId }, renewing);
      await audit.record({ ...event, object: renewal.key_id, result: "allowed" });
      return answer(201, "application/json", JSON.stringify(renewal));
    } catch (cause) {
      const error = toApiError(cause);
      const isDenied = error.code === "forbidden";
      await audit.record({ ...event, result: isDenied ? "denied" : "failed", code: error.code });
      throw error;
    }
  }

  return {
    serve(tunnel, principal, opener) {
      const budget = new TokenBucket(clock, ASKED_BURST_MAX, ASKED_PER_SECOND_MAX);
      tunnel.serve(async (request) => {
        if (request.service !== CONTROL_SERVICE)
          throw new RevdialError("SERVICE_UNKNOWN", "agents are served control");
        const requestId = randomUUID();
        try {
          if (!budget.take()) throw new ApiError("rate-limited", "This tunnel has asked too often.");
          checkTarget(request);
          return await renew(request, principal, opener, requestId);
        } catch (cause) {
          const error = toApiError(cause);
          const level = error.code === "internal" ? "error" : "info";
          log[level](
            { err: error, request_id: requestId, wolf_id: principal.wolfId },
            "agent's request refused",
          );
          const { status, headers, body } = renderProblem(error, requestId);
          return answer(status, "application/problem+json", body, headers);
        }
      });
      renewals
        .connected(principal.credentialId)
        .catch((err: unknown) => log.warn({ err, wolf_id: principal.wolfId }, "older keys not ended yet"));
    },
  };
}

function checkTarget({ path, method }: IncomingRequest): void {
  if (path !== RENEW_PATH) throw new ApiError("not-found", "Agents are served /renew.");
  if (method !== "POST")
    throw new ApiError("method-not-allowed", "Keys are renewed with POST.", { headers: { allow: "POST" } });
}

async function readJson({ headers, body }: IncomingRequest): Promise<unknown> {
  const type = headers.find(([name]) => name.toLowerCase() === "content-type")?.[1] ?? "";
  if (type.split(";")[0]?.trim().toLowerCase() !== "application/json")
    throw new ApiError("unsupported-media-type", "Send Content-Type: application/json.");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > BODY_BYTES_MAX)
      throw new ApiError("payload-too-large", `The body has more than ${BODY_BYTES_MAX} bytes.`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw new ApiError("malformed-json", "The body is not JSON.");
  }
}

function answer(
  status: number,
  type: string,
  text: string,
  headers: Record<string, string> = {},
): OutgoingResponse {
  const all = { ...headers, "content-type": type, "cache-control": "no-store" };
  return { status, headers: Object.entries(all), body: Buffer.from(text) };
}
