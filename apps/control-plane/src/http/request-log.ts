/**
 * One log line per request, at its end, with closed fields: no query, header or body, since what a caller sent may be a secret. A
 * caller's own mistake is told in that line; a fault of ours has a line of its own with the chain of its causes (problem.ts).
 */
import type { RequestHandler } from "express";
import type { Principal } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import { passedOn } from "../replicas/passed-on.ts";
import { aboutOf } from "./request-about.ts";
import { giveRequestId } from "./request-id.ts";

/** Probes and scrapes come every few seconds and say nothing. */
const quiet = new Set(["/healthz", "/readyz", "/metrics"]);
const PATH_CHARACTERS_MAX = 256;

export function requestLog(log: Log, now = () => performance.now()): RequestHandler {
  return (request, response, next) => {
    const request_id = giveRequestId(request, response);
    const begunAt = now();
    const { method } = request;
    const [path = ""] = request.originalUrl.split("?");
    response.once("close", () => {
      const isQuiet = quiet.has(path) && response.statusCode < 400;
      if (isQuiet && !log.isLevelEnabled("debug")) return;
      const { operation, code, detail, principal, traceId, replica } = aboutOf(response);
      log[isQuiet ? "debug" : "info"](
        {
          request_id,
          req: { method, path: path.slice(0, PATH_CHARACTERS_MAX) },
          res: { status: response.statusCode },
          duration_ms: Math.round((now() - begunAt) * 10) / 10,
          operation,
          ...whose(principal),
          code,
          detail,
          // Its caller has left, or was cut off, before all of it was sent.
          cut: response.writableFinished ? undefined : true,
          trace_id: traceId,
          // One call that went through two replicas has a line on each.
          to_replica: replica,
          from_replica: passedOn(request)?.from,
        },
        "request",
      );
    });
    next();
  };
}

/** Ids only. */
function whose(principal: Principal | undefined): { user_id?: string; wolf_id?: string } {
  if (principal?.kind === "user") return { user_id: principal.userId };
  if (principal?.kind === "agent") return { wolf_id: principal.wolfId };
  return {};
}
