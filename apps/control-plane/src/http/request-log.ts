/** One log line per request, without query, headers or body: what a caller sent may be a secret. */
import type { RequestHandler } from "express";
import { pinoHttp } from "pino-http";
import type { Log } from "../logger.ts";
import { giveRequestId } from "./request-id.ts";

/** Probes come every few seconds and say nothing. */
const quiet = new Set(["/healthz", "/readyz"]);

export function requestLog(log: Log): RequestHandler {
  return pinoHttp({
    logger: log,
    genReqId: giveRequestId,
    // A child logger per request would carry headers into other people's lines.
    quietReqLogger: true,
    wrapSerializers: false,
    serializers: {
      req: (request) => ({ method: request.method, path: pathOf(request) }),
      res: (response) => ({ status: response.statusCode }),
    },
    customAttributeKeys: { reqId: "request_id", responseTime: "duration_ms" },
    customLogLevel: (request) => (quiet.has(pathOf(request)) ? "debug" : "info"),
    customSuccessMessage: () => "request",
    customErrorMessage: () => "request",
    // The chain of causes is logged once, by the problem handler.
    customErrorObject: (_request, _response, _error, { err: _err, ...line }) => line,
  });
}

function pathOf(request: { url?: string | undefined; originalUrl?: string }): string {
  const [path = ""] = (request.originalUrl ?? request.url ?? "").split("?");
  return path.slice(0, 256);
}
