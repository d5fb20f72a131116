/**
 * HTTP as Wolf speaks it: HTTP/1.0 replies with "OK" for every status, one request per connection, no chunked bodies. Node's
 * own server cannot say these things, so this file reads and writes them on the socket, every length bounded.
 */
import type { Socket } from "node:net";

export interface WireRequest {
  method: string;
  path: string;
  query: string | undefined;
  body: string;
  chunked: boolean;
  /** Its Content-Length is no number. */
  lengthInvalid?: true;
}

export interface WireReply {
  status: number;
  /** Besides Content-Length. */
  headers?: [string, string][];
  body: string | Buffer;
  /** Leave Content-Length out, as Wolf does for progress lines. */
  untilClose?: boolean;
  /** The connection ends after so many bytes of the body. Default: after all. */
  cutAfterBytes?: number;
}

const HEAD_BYTES_MAX = 64 * 1024;
const BODY_BYTES_MAX = 4 * 1024 * 1024;
const READ_TIMEOUT_MS = 30_000;

/** One request; undefined when the peer went away, stalled, or sent what is no HTTP: Wolf then just closes. */
export function readRequest(socket: Socket): Promise<WireRequest | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    /** Not worth parsing before. */
    let wanted = 0;
    const settle = (request: WireRequest | undefined) => {
      clearTimeout(timer);
      socket.off("data", onData).off("end", onGone).off("close", onGone);
      resolve(request);
    };
    const onGone = () => settle(undefined);
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length < wanted) return;
      const bytes = Buffer.concat(chunks.splice(0));
      chunks.push(bytes);
      const parsed = parse(bytes);
      if (typeof parsed === "number") wanted = parsed;
      else settle(parsed);
    };
    const timer = setTimeout(onGone, READ_TIMEOUT_MS);
    socket.on("data", onData).on("end", onGone).on("close", onGone);
  });
}

/** The request; or undefined for what is none; or how many bytes there have to be before it is worth trying again. */
function parse(bytes: Buffer): WireRequest | undefined | number {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return bytes.length > HEAD_BYTES_MAX ? undefined : bytes.length + 1;
  if (end > HEAD_BYTES_MAX) return undefined;
  const [line = "", ...fields] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const match = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(line);
  if (match === null) return undefined;
  const [, method = "", target = ""] = match;
  const headers = new Map(
    fields.map((field) => [
      field.slice(0, field.indexOf(":")).trim().toLowerCase(),
      field.slice(field.indexOf(":") + 1).trim(),
    ]),
  );
  const question = target.indexOf("?");
  const path = question < 0 ? target : target.slice(0, question);
  const query = question < 0 ? undefined : target.slice(question + 1);
  if (headers.has("transfer-encoding")) return { method, path, query, body: "", chunked: true };
  const length = headers.get("content-length") ?? "0";
  if (!/^\d+$/.test(length)) return { method, path, query, body: "", chunked: false, lengthInvalid: true };
  if (length.length > 9 || Number(length) > BODY_BYTES_MAX) return undefined;
  const whole = end + 4 + Number(length);
  if (bytes.length < whole) return whole;
  return { method, path, query, body: bytes.toString("utf8", end + 4, whole), chunked: false };
}

const CLOSE_GRACE_MS = 5000;

/** Writes the reply, or only its first half with the full length announced, and closes. */
export function writeReply(socket: Socket, reply: WireReply, half = false): void {
  const body = typeof reply.body === "string" ? Buffer.from(reply.body, "utf8") : reply.body;
  const headers = reply.untilClose ? [] : [["Content-Length", String(body.length)]];
  const lines = [...headers, ...(reply.headers ?? [])].map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`HTTP/1.0 ${reply.status} OK\r\n${lines.join("")}\r\n`);
  // Wolf closes its side; a peer that never closes its own is not waited for.
  socket.setTimeout(CLOSE_GRACE_MS, () => socket.destroy());
  socket.end(body.subarray(0, half ? Math.floor(body.length / 2) : reply.cutAfterBytes));
}

/** Acceleration settings are C++ floats: 1 is written as 1.0. */
export function wolfJson(value: unknown): string {
  return JSON.stringify(value).replace(/("(?:mouse|v_scroll|h_scroll)_acceleration":-?\d+)(?=[,}])/g, "$1.0");
}
