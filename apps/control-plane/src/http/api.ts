/**
 * Every call of the API takes the same way: who asks, whether they may, what they sent, the steps around the handler, the handler,
 * the audit log, the answer. A route that is not in the contract's table does not exist.
 */
import type { IncomingMessage } from "node:http";
import {
  type Action,
  actionKind,
  type Operation,
  operations,
  type ProblemCode,
  problemsOf,
} from "@wolfpack/api-contract";
import express, { type Request, type Response, Router } from "express";
import { onBehalfOf } from "../events/author.ts";
import type { AuditEntry, AuditLog } from "../identity/audit.ts";
import { decide } from "../identity/policy.ts";
import type { Identity, Principal } from "../identity/principal.ts";
import type { AnyCall, AnyReply, HandledId, Handlers, LiveBody } from "./call.ts";
import { idempotencyKeyOf } from "./idempotency.ts";
import { namesOnce } from "./names-once.ts";
import { ApiError, toApiError } from "./problem.ts";
import { aboutOf } from "./request-about.ts";
import { requestIdOf } from "./request-id.ts";
import { sendLines } from "./stream.ts";
import { parseBody, parseOptionalBody, parseParams, parseQuery } from "./validate.ts";
import { refuseForeignPages, tokenOf } from "./web-cookie.ts";

/** Something around every handler, such as a limit. The first of a list is the outermost. */
export type Step = (call: AnyCall, next: () => Promise<AnyReply>) => Promise<AnyReply>;

export interface ApiOptions {
  identity: Identity;
  audit: AuditLog;
  bodyBytesMax: number;
  /** Who shows a browser's cookie instead of a credential. */
  webSessions: Pick<Identity, "authenticate">;
  /** Once it is known who calls, before what they may is looked at. Throws to refuse. */
  onKnown?: (principal: Principal, request: Request, response: Response) => void;
  /** Once it is clear that nobody known calls. Throws to refuse with something else. */
  onUnknown?: (request: Request) => void;
  steps?: readonly Step[];
  /** An operation has answered with a problem that its row of the contract's table does not list. */
  onUnlisted?: (id: HandledId, code: ProblemCode) => void;
}

export const API_PREFIX = "/api/v1";

/** To be mounted at `API_PREFIX`. */
export function apiRouter(handlers: Handlers, options: ApiOptions): Router {
  const router = Router();
  const readBody = bodyReader(options.bodyBytesMax);
  for (const id of Object.keys(handlers) as HandledId[]) {
    const operation: Operation = operations[id];
    const path = operation.path.slice(API_PREFIX.length).replaceAll(/\{(\w+)\}/g, ":$1");
    const method = operation.method.toLowerCase() as "get" | "post" | "patch" | "delete";
    const handle = handlers[id] as (call: AnyCall) => Promise<AnyReply>;
    router[method](path, (request, response) =>
      serve({ id, operation, handle, readBody }, request, response, options),
    );
  }
  return router;
}

type BodyReader = (request: Request, response: Response) => Promise<void>;

interface Route {
  id: HandledId;
  operation: Operation;
  handle: (call: AnyCall) => Promise<AnyReply>;
  readBody: BodyReader;
}

async function serve(route: Route, request: Request, response: Response, options: ApiOptions): Promise<void> {
  const trail = new Trail(route.operation, request, response, options.audit);
  aboutOf(response).operation = route.id;
  try {
    const principal = await admitted(route.operation, request, response, options, trail);
    if (route.operation.body) await route.readBody(request, response);
    const call = validCall(route, principal, request, response);
    const serving = () => around(options.steps ?? [], call, () => route.handle(call));
    const reply = await onBehalfOf(call, serving);
    await trail.allowed(reply);
    await send(reply, response);
  } catch (cause) {
    const error = await trail.refused(toApiError(cause));
    if (!problemsOf(route.operation).includes(error.code)) options.onUnlisted?.(route.id, error.code);
    throw error;
  }
}

async function admitted(
  { action }: Operation,
  request: Request,
  response: Response,
  { identity, webSessions, onKnown, onUnknown }: ApiOptions,
  trail: Trail,
): Promise<Principal | undefined> {
  if (action === "public" || action === "tunnel") return undefined;
  // A page of another origin cannot set Authorization, but it can make a browser send its cookie.
  const byCookie = request.headers.authorization === undefined && tokenOf(request.headers) !== undefined;
  const principal = await (byCookie ? webSessions : identity).authenticate(request.headers);
  if (principal === undefined) {
    onUnknown?.(request);
    const wanted = action === "agent.enroll" ? "join token, or the RUNNER_TOKEN," : "API key";
    throw new ApiError("unauthenticated", `Send a valid ${wanted} as a bearer credential.`);
  }
  trail.principal = principal;
  aboutOf(response).principal = principal;
  onKnown?.(principal, request, response);
  if (byCookie) refuseForeignPages(request.method, request.headers, request.host);
  if (decide(principal, action) !== "allowed")
    throw new ApiError("forbidden", "This credential may not do that.");
  return principal;
}

/** Not strict: a body like `"text"` is JSON, and the schema says what is wrong with it. Compressed bodies are refused. */
function bodyReader(limit: number): BodyReader {
  const read = new WeakMap<IncomingMessage, { bytes: Buffer; charset: string }>();
  const parse = express.json({
    limit,
    inflate: false,
    strict: false,
    type: "application/json",
    verify: (request, _response, bytes, charset) => void read.set(request, { bytes, charset }),
  });
  return async (request, response) => {
    await new Promise<void>((resolve, reject) => {
      parse(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(error)));
    });
    const body = read.get(request);
    if (body === undefined) return;
    if (body.charset !== "utf-8") throw new ApiError("unsupported-media-type", "The body has to be UTF-8.");
    if (!namesOnce(body.bytes.toString()))
      throw new ApiError("malformed-json", "An object of the body names a field twice.");
  };
}

function validCall(
  { id, operation }: Route,
  principal: Principal | undefined,
  request: Request,
  response: Response,
): AnyCall {
  const { params, query, body, bodyOptional } = operation;
  return {
    id,
    operation,
    principal,
    params: params && parseParams(operation, request),
    query: query && parseQuery(query, request),
    body: body && (bodyOptional ? parseOptionalBody(body, request) : parseBody(body, request)),
    idempotencyKey: idempotencyKeyOf(operation, request),
    requestId: requestIdOf(response),
    url: request.originalUrl,
    request,
    response,
  };
}

function around(steps: readonly Step[], call: AnyCall, handle: () => Promise<AnyReply>): Promise<AnyReply> {
  const [first, ...rest] = steps;
  return first ? first(call, () => around(rest, call, handle)) : handle();
}

async function send({ status, body, headers = {} }: AnyReply, response: Response): Promise<void> {
  response.status(status).set(headers);
  if (isLive(body)) return body.live();
  if (body === undefined) return void response.end();
  if (isPages(body)) return sendLines(body, response);
  const image = body as { type?: unknown; bytes?: unknown };
  const isImage = image.bytes instanceof Uint8Array;
  const bytes = Buffer.from(isImage ? (image.bytes as Uint8Array) : JSON.stringify(body));
  response.set({
    "content-type": isImage ? String(image.type) : "application/json; charset=utf-8",
    "content-length": String(bytes.length),
  });
  // Not `send`, which makes a 304 of whatever is asked for with `If-None-Match: *`.
  response.end(bytes);
}

const isLive = (body: unknown): body is LiveBody =>
  typeof body === "object" && body !== null && "live" in body && typeof body.live === "function";

const isPages = (body: unknown): body is AsyncIterable<readonly unknown[]> =>
  typeof body === "object" && body !== null && Symbol.asyncIterator in body;

/** The event that one call leaves in the audit log, if any. */
class Trail {
  principal: Principal | undefined;
  private readonly action: Action | undefined;
  private readonly request: Request;
  private readonly response: Response;
  private readonly audit: AuditLog;
  private written = false;

  constructor({ action }: Operation, request: Request, response: Response, audit: AuditLog) {
    this.action = action === "public" || action === "tunnel" ? undefined : action;
    this.request = request;
    this.response = response;
    this.audit = audit;
  }

  /** Rejects when it cannot be written: what was done is not acknowledged then. */
  async allowed({ object, detail = {} }: AnyReply): Promise<void> {
    if (this.action !== undefined && actionKind(this.action).changes)
      await this.write(this.action, { object, result: "allowed", detail });
  }

  /** The problem to answer: that the event could not be written is the greater one. */
  async refused(error: ApiError): Promise<ApiError> {
    const { action } = this;
    // A flood must not fill the log.
    if (action === undefined || this.written || error.code === "rate-limited") return error;
    const denied = error.denied || error.code === "unauthenticated" || error.code === "forbidden";
    if (!denied && !actionKind(action).changes) return error;
    const written = this.write(action, { result: denied ? "denied" : "failed", code: error.code });
    if (error.code === "database-unavailable") {
      // Whoever has waited for a database that does not answer is not to wait for it once more.
      written.catch(() => undefined);
      return error;
    }
    try {
      await written;
      return error;
    } catch (cause) {
      return toApiError(cause);
    }
  }

  private write(
    action: Action,
    entry: Pick<AuditEntry, "object" | "result" | "code" | "detail">,
  ): Promise<void> {
    this.written = true;
    const [named] = Object.values(this.request.params);
    return this.audit.record({
      principal: this.principal,
      action,
      requestId: requestIdOf(this.response),
      address: this.request.ip,
      ...entry,
      object: entry.object ?? (typeof named === "string" ? named : undefined),
    });
  }
}
