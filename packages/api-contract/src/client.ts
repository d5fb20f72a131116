/** The typed client: one call per operation, replies checked by schema, every failure a WolfpackApiError. */
import { z } from "zod";
import { type Operation, type OperationId, operations } from "./operations.ts";
import { Problem } from "./schemas.ts";
import { parseTolerantly } from "./tolerant.ts";

type Operations = typeof operations;
type Field<Op, Key extends string> = Op extends Record<Key, z.ZodType> ? z.input<Op[Key]> : undefined;
/** What the caller gives: path parameters and body where the operation has them, and the query as far as it is wanted. */
export type CallInput<Id extends OperationId> = {
  [Key in "params" | "body" as Field<Operations[Id], Key> extends undefined ? never : Key]: Field<
    Operations[Id],
    Key
  >;
} & {
  [Key in "query" as Field<Operations[Id], Key> extends undefined ? never : Key]?:
    | Partial<Field<Operations[Id], Key>>
    | undefined;
};
type ReplyOf<Response> = Response extends z.ZodType
  ? z.output<Response>
  : Response extends "image"
    ? Uint8Array
    : Response extends "ndjson"
      ? ReadableStream<Uint8Array>
      : Response extends null
        ? undefined
        : unknown;
/** The union of what the operation's successes carry. */
export type CallReply<Id extends OperationId> = {
  [Status in keyof Operations[Id]["responses"]]: {
    status: Status;
    body: ReplyOf<Operations[Id]["responses"][Status]>;
    headers: Headers;
  };
}[keyof Operations[Id]["responses"]];

/**
 * `code` is a problem's code, or `network-failed` (no whole reply), or `unexpected-reply` (one that is not in the
 * contract). `invalid-request` without a status was found here, before anything was sent. Never contains the API key.
 */
export class WolfpackApiError extends Error {
  readonly code: string;
  readonly status: number | undefined;
  readonly problem: Problem | undefined;

  constructor(
    code: string,
    message: string,
    options: { status?: number; problem?: Problem; cause?: unknown } = {},
  ) {
    super(`${code}: ${message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "WolfpackApiError";
    this.code = code;
    this.status = options.status;
    this.problem = options.problem;
  }
}

export interface ClientOptions {
  /** http or https, without credentials; a path is kept as a prefix. */
  baseUrl: string | URL;
  /** Sent as a bearer credential. Visible ASCII only. */
  apiKey?: string;
  fetch?: typeof fetch;
  /** Replies are only shown: words and fields of a newer control plane are no mistake (tolerant.ts). Default: false. */
  tolerant?: boolean;
}

export interface CallOptions {
  signal?: AbortSignal;
  /** Such as `idempotency-key` or `if-match`. */
  headers?: Record<string, string>;
}

type CallArguments<Id extends OperationId> =
  Record<never, never> extends CallInput<Id>
    ? [input?: CallInput<Id> & CallOptions]
    : [input: CallInput<Id> & CallOptions];

/** One method for each operation, by its id. Each rejects with a WolfpackApiError. */
export type WolfpackClient = {
  [Id in OperationId]: (...input: CallArguments<Id>) => Promise<CallReply<Id>>;
} & {
  /** The same by the id as a value. */
  call<Id extends OperationId>(id: Id, input?: CallInput<Id> & CallOptions): Promise<CallReply<Id>>;
};

interface AnyInput extends CallOptions {
  params?: Record<string, string>;
  query?: Record<string, unknown>;
  body?: unknown;
}

/** Throws TypeError when the base URL or the key cannot be used; the message names neither. */
export function wolfpackClient(options: ClientOptions): WolfpackClient {
  const send = options.fetch ?? fetch;
  const { apiKey } = options;
  const read: Read = options.tolerant ? parseTolerantly : (schema, json) => schema.parse(json);
  const base = readBase(options.baseUrl);
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey))
    throw new TypeError("the API key has characters that no key has");
  const withoutKey = (text: string) => (apiKey === undefined ? text : text.replaceAll(apiKey, "[api key]"));

  async function call(id: OperationId, input: AnyInput = {}): Promise<unknown> {
    const operation: Operation = operations[id];
    const url = new URL(`${base}${pathOf(operation, input.params ?? {})}`);
    for (const [name, value] of Object.entries(input.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const headers: Record<string, string> = {
      ...input.headers,
      accept: "application/json, image/png, application/x-ndjson, application/problem+json",
    };
    if (apiKey !== undefined) headers.authorization = `Bearer ${apiKey}`;
    if (input.body !== undefined) headers["content-type"] = "application/json";
    let reply: Response;
    let bytes: Uint8Array;
    const as = (body: unknown) => ({ status: reply.status, headers: reply.headers, body });
    try {
      reply = await send(url, {
        method: operation.method,
        headers,
        redirect: "error",
        ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
        ...(input.signal ? { signal: input.signal } : {}),
      });
      // May be longer than memory: whoever asked for it reads it, and hears from the stream when it breaks off.
      if (operation.responses[reply.status] === "ndjson" && reply.body !== null) return as(reply.body);
      bytes = new Uint8Array(await reply.arrayBuffer());
    } catch (cause) {
      throw new WolfpackApiError("network-failed", `${operation.method} ${url.pathname} got no whole reply`, {
        cause: mentions(cause, apiKey) ? undefined : cause,
      });
    }
    return as(readReply(operation, reply.status, bytes, { withoutKey, read }));
  }

  const methods = Object.keys(operations).map((id) => [
    id,
    (input?: AnyInput) => call(id as OperationId, input),
  ]);
  return Object.assign(Object.fromEntries(methods), { call }) as WolfpackClient;
}

function readBase(baseUrl: string | URL): string {
  const url = URL.parse(String(baseUrl));
  if (url === null || !/^https?:$/.test(url.protocol)) throw new TypeError("the base URL is not an http URL");
  if (url.username !== "" || url.password !== "") throw new TypeError("the base URL has credentials in it");
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

/** A value that would change which route is meant is refused: escapes do not help against dot segments. */
function pathOf(operation: Operation, params: Record<string, string>): string {
  return operation.path.replace(/\{(\w+)\}/g, (_whole, name: string) => {
    const value = String(params[name] ?? "");
    if (/^\.{0,2}$/.test(value) || !value.isWellFormed())
      throw new WolfpackApiError("invalid-request", `path parameter ${name} cannot be sent`);
    return encodeURIComponent(value);
  });
}

/** Some runtimes quote a header they refuse in the error's message. */
function mentions(cause: unknown, secret: string | undefined): boolean {
  if (secret === undefined) return false;
  let link = cause;
  for (let read = 0; read < 8 && link instanceof Error; read += 1) {
    if (`${link.message}${link.stack ?? ""}`.includes(secret)) return true;
    link = link.cause;
  }
  return typeof link === "string" && link.includes(secret);
}

type Read = <Schema extends z.ZodType>(schema: Schema, json: unknown) => z.output<Schema>;

function readReply(
  operation: Operation,
  status: number,
  bytes: Uint8Array,
  { withoutKey, read }: { withoutKey: (text: string) => string; read: Read },
): unknown {
  const expected = operation.responses[status];
  const text = () => new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  if (expected === undefined) {
    const problem = problemOf(
      parseJson(() => withoutKey(text())),
      read,
    );
    if (problem !== undefined) throw new WolfpackApiError(problem.code, problem.detail, { status, problem });
    throw new WolfpackApiError("unexpected-reply", `status ${status} without a problem`, { status });
  }
  if (expected === null) return undefined;
  if (expected === "image") return bytes;
  if (expected === "ndjson") throw new WolfpackApiError("unexpected-reply", "no body", { status });
  try {
    if (expected === "html" || expected === "text") return text();
    const json: unknown = JSON.parse(text());
    return expected === "json" ? json : read(expected, json);
  } catch (cause) {
    const what = cause instanceof z.ZodError ? z.prettifyError(cause) : "the body is broken";
    throw new WolfpackApiError("unexpected-reply", withoutKey(what), { status });
  }
}

function problemOf(json: unknown, read: Read): Problem | undefined {
  try {
    return read(Problem, json);
  } catch {
    return undefined;
  }
}

/** What is no JSON reads as undefined, which is no problem document. */
function parseJson(text: () => string): unknown {
  try {
    return JSON.parse(text());
  } catch {
    return undefined;
  }
}
