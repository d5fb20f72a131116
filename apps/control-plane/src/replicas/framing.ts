/**
 * Where a message between replicas ends. Their connections are kept, and used for one caller's exchange after the other's: a byte beyond
 * the end of one would be the head of the next. So it is said here, and what is written is held to it; what a caller or a wolf says of
 * the length is a wish, and what it says of the way is dropped (fields.ts).
 */
import type { Body, HeaderList, TunnelRequest, TunnelResponse } from "revdial";
import { travelling } from "./fields.ts";

export interface Framed {
  headers: [string, string][];
  /** Undefined: nothing may be written. It rejects before a byte too many, and at its end where one is missing. */
  body: Body | undefined;
}

const LENGTH = "content-length";
/** The most digits that are exact. */
const DIGITS = /^\d{1,15}$/;

/** For Node's client writes a body as it is that nobody framed, after the head of a GET, HEAD or DELETE. */
export function framedRequest({ method, headers = [], body, upgrade }: TunnelRequest): Framed {
  const others = travelling(headers).filter(([name]) => name !== LENGTH);
  const framed = (name: string, value: string, framedBody?: Body): Framed => ({
    headers: [...others, [name, value]],
    body: framedBody,
  });
  if (upgrade !== undefined || (body === undefined && (method === "GET" || method === "HEAD")))
    return { headers: others, body: undefined };
  if (body === undefined) return framed(LENGTH, "0");
  if (body instanceof Uint8Array) return framed(LENGTH, String(body.byteLength), body);
  const length = lengthOf(headers);
  return length === undefined
    ? framed("transfer-encoding", "chunked", body)
    : framed(LENGTH, String(length), exactly(body, length));
}

/**
 * Where no length is said, Node's server frames by itself, and what may have no body gets none of it. `isWhole`: the body ends with its
 * length, and there are no trailers.
 */
export function framedAnswer(
  { status, headers, body }: Pick<TunnelResponse, "status" | "headers" | "body">,
  method: string | undefined,
): { headers: [string, string][]; body: AsyncIterable<Uint8Array>; isWhole: boolean } {
  const all = travelling(headers);
  // The length is that of another answer.
  if (method === "HEAD" || status === 304) return { headers: all, body, isWhole: false };
  const length = status === 204 ? undefined : lengthOf(headers);
  const others = all.filter(([name]) => name !== LENGTH);
  if (length === undefined) return { headers: others, body, isWhole: false };
  return { headers: [...others, [LENGTH, String(length)]], body: upTo(body, length), isWhole: true };
}

/** Undefined: none is said, or several are, or it is none. */
function lengthOf(headers: HeaderList): number | undefined {
  const said = travelling(headers).flatMap(([name, value]) => (name === LENGTH ? value : []));
  const [only = ""] = said;
  return said.length === 1 && DIGITS.test(only) ? Number(only) : undefined;
}

async function* exactly(body: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array> {
  let left = length;
  for await (const piece of body) {
    left -= piece.byteLength;
    if (left < 0) throw new Error(`a body is longer than the ${length} bytes that it said`);
    yield piece;
  }
  if (left > 0) throw new Error(`a body is ${left} bytes shorter than it said`);
}

/**
 * It ends with the last byte that was said, and waits for no more: whoever reads it takes it for whole by then, and asks for the next
 * thing. Rejects where a byte is missing.
 */
async function* upTo(body: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array> {
  const pieces = body[Symbol.asyncIterator]();
  let left = length;
  try {
    while (left > 0) {
      const { done, value } = await pieces.next();
      if (done) throw new Error(`a body is ${left} bytes shorter than it said`);
      const piece = value.subarray(0, left);
      left -= piece.byteLength;
      yield piece;
    }
  } finally {
    if (left > 0) await pieces.return?.();
    else leave(pieces).catch(() => undefined);
  }
}

/** Its end is heard, and what comes instead is cancelled. */
async function leave(pieces: AsyncIterator<Uint8Array>): Promise<void> {
  if (!(await pieces.next()).done) await pieces.return?.();
}
