/** The answer to an upgrade that opens nothing: ordinary HTTP on the raw socket. */
import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { type ApiError, renderProblem } from "../http/problem.ts";
import type { Log } from "../logger.ts";

/** A refused peer that does not close its side is cut off then. */
const REFUSED_LINGER_MS = 1000;

export function refuse(socket: Duplex, error: ApiError, log: Log, requestId: string = randomUUID()): void {
  const level = error.code === "internal" ? "error" : error.code === "database-unavailable" ? "warn" : "info";
  // The caller's own mistakes need no stack.
  const why = error.cause === undefined ? { detail: error.message } : { err: error };
  log[level]({ ...why, request_id: requestId, code: error.code }, "upgrade refused");
  answerRaw(socket, renderProblem(error, requestId), requestId);
}

export interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Says this, and closes. */
export function answerRaw(socket: Duplex, { status, headers, body }: RawAnswer, requestId: string): void {
  if (!socket.writable) return void socket.destroy();
  const lines = Object.entries({
    ...headers,
    "x-request-id": requestId,
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const linger = setTimeout(() => socket.destroy(), REFUSED_LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
  // What the peer still sends is read and forgotten: unread bytes would turn the answer into a connection reset.
  socket.resume();
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Error"}\r\n${lines.join("")}\r\n${body}`);
}
