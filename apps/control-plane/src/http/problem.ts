/** Errors as the API shows them: RFC 9457 problems with stable codes. The cause is logged once, here, and never sent. */
import { type ProblemCode, problemKind } from "@wolfpack/api-contract";
import type { ErrorRequestHandler, RequestHandler } from "express";
import { isDatabaseDown } from "../database/database-down.ts";
import type { Principal } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import { aboutOf } from "./request-about.ts";
import { requestIdOf } from "./request-id.ts";
import { apiHeaderFields } from "./security-headers.ts";

export interface ApiErrorOptions {
  cause?: unknown;
  /** Members added to the problem; never secrets. */
  extras?: Record<string, unknown>;
  headers?: Record<string, string>;
  /** What the log says in its place, where the detail has words of the caller. */
  logged?: string;
}

export class ApiError extends Error {
  readonly code: ProblemCode;
  readonly extras: Record<string, unknown>;
  readonly headers: Record<string, string>;
  readonly logged: string;
  /** Not what it says: the caller may not do it, and must not learn why. For the audit log. */
  denied = false;
  /** Whose credential it was, which opens nothing (any more). For the audit log. */
  shownBy: Principal | undefined;

  constructor(code: ProblemCode, detail: string, options: ApiErrorOptions = {}) {
    const { cause } = options;
    const { stackTraceLimit } = Error;
    // An answer like any other: nobody reads where it was made, and to find out takes longer than to answer. The log shows causes.
    if (cause === undefined) Error.stackTraceLimit = 0;
    super(detail, cause === undefined ? undefined : { cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.name = "ApiError";
    this.code = code;
    this.extras = options.extras ?? {};
    this.headers = options.headers ?? {};
    this.logged = options.logged ?? detail;
  }

  asDenied(): this {
    this.denied = true;
    return this;
  }

  from(principal: Principal): this {
    this.shownBy = principal;
    return this;
  }
}

const RETRY_AFTER_SECONDS = 5;

/** Status, headers and body of a problem; for Express and for raw sockets alike. */
export function renderProblem(
  error: ApiError,
  requestId: string,
): { status: number; headers: Record<string, string>; body: string } {
  const kind = problemKind(error.code);
  const problem = {
    type: `/problems/${error.code}`,
    title: kind.title,
    status: kind.status,
    detail: error.message,
    instance: requestId,
    code: error.code,
    ...error.extras,
  };
  const headers: Record<string, string> = {
    ...apiHeaderFields,
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    ...error.headers,
  };
  if (kind.retry) headers["retry-after"] ??= String(RETRY_AFTER_SECONDS);
  if (kind.status === 401) headers["www-authenticate"] ??= 'Bearer realm="wolfpack"';
  return { status: kind.status, headers, body: JSON.stringify(problem) };
}

/** Body-parser's error types (its documentation, "Errors"). */
const parserErrors: Record<string, [ProblemCode, string]> = {
  "entity.parse.failed": ["malformed-json", "The body is not JSON."],
  "entity.too.large": ["payload-too-large", "The body is larger than allowed."],
  "encoding.unsupported": ["unsupported-media-type", "Compressed bodies are not accepted."],
  "charset.unsupported": ["unsupported-media-type", "The body has to be UTF-8."],
  "request.aborted": ["request-timeout", "The request was cut off."],
  "request.size.invalid": ["malformed-http", "Content-Length does not fit the body."],
};

/** Any error as an ApiError. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const { type, status } = (typeof error === "object" && error !== null ? error : {}) as {
    type?: unknown;
    status?: unknown;
  };
  const parser = typeof type === "string" ? parserErrors[type] : undefined;
  // Without its cause, whose message and properties hold pieces of the body.
  if (parser) return new ApiError(parser[0], parser[1]);
  if (error instanceof URIError || (error instanceof Error && status === 400)) {
    // Without its cause: two stacks in the log are too much for a URL that anybody can send.
    return new ApiError("invalid-request", "The URL is not valid.", {
      extras: { errors: [{ path: "", message: "malformed URL" }] },
    });
  }
  if (isDatabaseDown(error))
    return new ApiError("database-unavailable", "The database cannot be reached.", { cause: error });
  return new ApiError("internal", "Unexpected failure.", { cause: error });
}

/** Express's last middleware. */
export function problemHandler(log: Log): ErrorRequestHandler {
  return (cause, _req, res, next) => {
    const error = toApiError(cause);
    const about = aboutOf(res);
    about.code = error.code;
    about.detail = error.logged;
    // What is no fault of ours is said in the request's own line; its causes are for whoever looks closely.
    const level =
      error.code === "internal" ? "error" : error.code === "database-unavailable" ? "warn" : "debug";
    if (error.cause !== undefined)
      log[level]({ err: error, request_id: requestIdOf(res), code: error.code }, "request refused");
    // Too late for a body: Express destroys the socket.
    if (res.headersSent) return next(cause);
    const { status, headers, body } = renderProblem(error, requestIdOf(res));
    res.status(status).set(headers).send(Buffer.from(body));
  };
}

/** For a path that no route knows. */
export const notFound: RequestHandler = () => {
  throw new ApiError("not-found", "There is no such route.");
};
