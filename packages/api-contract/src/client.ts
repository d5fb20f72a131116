/** The typed client: one call per operation, replies checked by schema, every failure a WolfpackApiError. */
import { z } from "zod";
import { type Operation, type OperationId, operations } from "./operations.ts";
import { Problem } from "./schemas.ts";

type Operations = typeof operations;
type Field<Op, Key extends string> = Op extends Record<Key, z.ZodType> ? z.input<Op[Key]> : undefined;
/** What the caller gives: path parameters, query, body, each where the operation has it. */
export type CallInput<Id extends OperationId> = {
  [Key in "params" | "query" | "body" as Field<Operations[Id], Key> extends undefined
    ? never
    : Key]: Key extends "params"
    ? Field<Operations[Id], Key>
    : Key extends "query"
      ? Partial<Field<Operations[Id], Key>> | undefined
      : Field<Operations[Id], Key>;
};
type ReplyOf<Response> = Response extends z.ZodType
  ? z.output<Response>
  : Response extends "image"
    ? Uint8Array
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

/** `code` is a problem's code, or `network-failed`, or `unexpected-reply`. */
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
  baseUrl: string | URL;
  /** Sent as a bearer credential. */
  apiKey?: string;
  fetch?: typeof fetch;
}

export interface WolfpackClient {
  /** Calls one operation by its id. Rejects with a WolfpackApiError. */
  call<Id extends OperationId>(
    id: Id,
    input?: CallInput<Id> & { signal?: AbortSignal },
  ): Promise<CallReply<Id>>;
}

interface AnyInput {
  params?: Record<string, string>;
  query?: Record<string, unknown>;
  body?: unknown;
  signal?: AbortSignal;
}

export function wolfpackClient(options: ClientOptions): WolfpackClient {
  const send = options.fetch ?? fetch;
  async function call(id: OperationId, input: AnyInput = {}): Promise<unknown> {
    const operation: Operation = operations[id];
    const url = new URL(
      operation.path.replace(/\{(\w+)\}/g, (_whole, name: string) =>
        encodeURIComponent(input.params?.[name] ?? ""),
      ),
      options.baseUrl,
    );
    for (const [name, value] of Object.entries(input.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const headers: Record<string, string> = {
      accept: "application/json, image/png, application/problem+json",
    };
    if (options.apiKey !== undefined) headers.authorization = `Bearer ${options.apiKey}`;
    if (input.body !== undefined) headers["content-type"] = "application/json";
    let reply: Response;
    try {
      reply = await send(url, {
        method: operation.method,
        headers,
        redirect: "error",
        ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
        ...(input.signal ? { signal: input.signal } : {}),
      });
    } catch (cause) {
      throw new WolfpackApiError("network-failed", `${operation.method} ${url.pathname} could not be sent`, {
        cause,
      });
    }
    return { status: reply.status, headers: reply.headers, body: await readReply(operation, reply) };
  }
  return { call: call as WolfpackClient["call"] };
}

async function readReply(operation: Operation, reply: Response): Promise<unknown> {
  const { status } = reply;
  const expected = operation.responses[status];
  if (expected === undefined) {
    const problem = Problem.safeParse(await reply.json().catch(() => undefined));
    if (problem.success)
      throw new WolfpackApiError(problem.data.code, problem.data.detail, { status, problem: problem.data });
    throw new WolfpackApiError("unexpected-reply", `status ${status} without a problem`, { status });
  }
  if (expected === null) return undefined;
  try {
    if (expected === "image") return new Uint8Array(await reply.arrayBuffer());
    if (expected === "html") return await reply.text();
    const json: unknown = await reply.json();
    return expected === "json" ? json : expected.parse(json);
  } catch (cause) {
    const what = cause instanceof z.ZodError ? z.prettifyError(cause) : "the body is broken";
    throw new WolfpackApiError("unexpected-reply", what, { status, cause });
  }
}
