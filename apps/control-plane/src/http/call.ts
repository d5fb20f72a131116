/** What a handler of an operation gets and gives, by the contract's table: HTTP stays outside of it. */
import type { Operation, OperationId, operations } from "@wolfpack/api-contract";
import type { Request, Response } from "express";
import type { z } from "zod";
import type { Principal } from "../identity/principal.ts";

type Operations = typeof operations;
type Output<Op, Key extends string> = Op extends Record<Key, z.ZodType> ? z.output<Op[Key]> : undefined;
type BodyOf<Reply> = Reply extends z.ZodType
  ? z.input<Reply>
  : Reply extends "image"
    ? { type: string; bytes: Uint8Array }
    : Reply extends "ndjson"
      ? AsyncIterable<readonly unknown[]>
      : undefined;

/** An answer that goes on: it writes its own head, once it can begin. */
export interface LiveBody {
  /** Rejects as long as nothing is written. */
  live(): Promise<void>;
}
type Live<Op> = Op extends { streams: true } ? LiveBody : never;

/** What the system routes and the tunnels' ways in serve without a handler. */
export type HandledId = {
  [Id in OperationId]: Operations[Id]["action"] extends "tunnel" ? never : Id;
}[OperationId] &
  Exclude<OperationId, "getLiveness" | "getReadiness" | "getMetrics" | "getOpenApi" | "getSwagger">;

/** One authenticated, allowed and valid call. */
export interface Call<Id extends HandledId = HandledId> {
  principal: PrincipalOf<Id>;
  params: Output<Operations[Id], "params">;
  query: Output<Operations[Id], "query">;
  body: Output<Operations[Id], "body">;
  /** What stands for the caller's Idempotency-Key, if it sent one and the operation takes one; each user has keys of their own. */
  idempotencyKey: string | undefined;
  requestId: string;
  /** For links to other pages. */
  url: string;
  /** For what few handlers need: cookies, conditions. */
  request: Request;
  response: Response;
}

type PrincipalOf<Id extends HandledId> = Operations[Id]["action"] extends "public"
  ? Principal | undefined
  : Principal;

/** What is answered: one of the operation's successes. Everything else is thrown, as an ApiError. */
export type Reply<Id extends HandledId = HandledId> = {
  [Status in keyof Operations[Id]["responses"]]: {
    status: Status;
    body: BodyOf<Operations[Id]["responses"][Status]> | Live<Operations[Id]>;
    headers?: Record<string, string>;
    /** The id of what was made, for the audit log; what the path names need not be said. */
    object?: string;
    /** More for the audit log; never secrets. */
    detail?: Record<string, unknown>;
  };
}[keyof Operations[Id]["responses"]];

export type Handlers = { [Id in HandledId]: (call: Call<Id>) => Promise<Reply<Id>> };

/** Any operation's call and reply, for what treats all alike. */
export interface AnyCall {
  id: HandledId;
  operation: Operation;
  principal: Principal | undefined;
  params: Record<string, string> | undefined;
  query: unknown;
  body: unknown;
  idempotencyKey: string | undefined;
  requestId: string;
  url: string;
  request: Request;
  response: Response;
}

export interface AnyReply {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
  object?: string;
  detail?: Record<string, unknown>;
}
