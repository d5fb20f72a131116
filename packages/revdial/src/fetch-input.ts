/** Headers and bodies as undici and fetch take them, as a tunnel does. */
import { argument } from "./checks.ts";
import { checkUnread } from "./exchange.ts";
import type { Body } from "./tunnel.ts";

/** An object, or pairs: `Headers`, a Map, a list. */
export type HeaderInput =
  | Iterable<readonly [string, string | readonly string[] | undefined]>
  | Readonly<Record<string, string | number | readonly string[] | undefined>>
  | null;

/** Text, bytes, a Blob, a form (FormData, URLSearchParams), or what gives texts and bytes one after the other, as streams do. */
export type BodyInput =
  | string
  | ArrayBuffer
  | ArrayBufferView
  | Blob
  | Iterable<unknown>
  | AsyncIterable<unknown>
  | null;

/** Error: ARGUMENT. Flat pairs are for undici's dispatchers. */
export function pairsOf(headers: HeaderInput | readonly string[] | undefined): [string, string][] {
  if (headers === undefined || headers === null) return [];
  if (typeof headers !== "object") throw argument("the headers are neither an object nor pairs");
  const pairs: [string, string][] = [];
  if (Array.isArray(headers) && typeof headers[0] === "string") {
    if (headers.length % 2 === 1) throw argument("a flat list of headers has a name without a value");
    for (let i = 0; i < headers.length; i += 2) pairs.push([headers[i], textOf(headers[i + 1])]);
    return pairs;
  }
  const entries = Symbol.iterator in headers ? (headers as Iterable<unknown>) : Object.entries(headers);
  for (const entry of entries) {
    if (!Array.isArray(entry)) throw argument("a header is no pair");
    const [name, value] = entry;
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) pairs.push([name, textOf(one)]);
  }
  return pairs;
}

function textOf(value: unknown): string {
  if (typeof value === "object" && value !== null) throw argument("a header's value is no text");
  return value === null ? "" : String(value);
}

/** The body; what it says of itself is added to `fields`, unless they say it already. Error: ARGUMENT. */
export function bodyOf(body: BodyInput | undefined, fields: [string, string][]): Body | undefined {
  if (body === null || body === undefined) return undefined;
  if (typeof body === "string") return new TextEncoder().encode(body);
  if (body instanceof Uint8Array) return body;
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (body instanceof Blob) return encoded(body, fields, body.size);
  if (body instanceof URLSearchParams) return encoded(body, fields);
  if (isForm(body)) return encoded(ownForm(body), fields);
  return chunksOf(body);
}

/** As fetch would send it. */
function encoded(
  body: Blob | URLSearchParams | FormData,
  fields: [string, string][],
  length?: number,
): Body | undefined {
  const { headers, body: bytes } = new Response(body);
  const missing = (name: string) => !fields.some(([given]) => given.toLowerCase() === name);
  const type = headers.get("content-type");
  if (type !== null && missing("content-type")) fields.push(["content-type", type]);
  if (length !== undefined && missing("content-length")) fields.push(["content-length", String(length)]);
  return bytes ?? undefined;
}

/** This process's FormData, or that of an undici package. */
function isForm(body: object): body is Iterable<[string, string | File]> {
  return (
    (body as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] === "FormData" && Symbol.iterator in body
  );
}

/** Only its own kind is encoded; what is in it is the same in all of them. */
function ownForm(form: Iterable<[string, string | File]>): FormData {
  if (form instanceof FormData) return form;
  const own = new FormData();
  for (const [name, value] of form) {
    if (typeof value === "string") own.append(name, value);
    else own.append(name, value, value.name);
  }
  return own;
}

/** Not begun to be read before the request is sent: see `checkBody`. */
function chunksOf(body: object & { locked?: unknown }): Body {
  const given = body as Partial<AsyncIterable<unknown> & Iterable<unknown>>;
  const iterate = given[Symbol.asyncIterator] ?? given[Symbol.iterator];
  if (typeof iterate !== "function")
    throw argument("a body is text, bytes, a Blob, a form, or gives text and bytes");
  checkUnread(body);
  return { [Symbol.asyncIterator]: () => bytesOf(Reflect.apply(iterate, body, [])) };
}

async function* bytesOf(chunks: AsyncIterator<unknown>): AsyncGenerator<Uint8Array> {
  for await (const chunk of { [Symbol.asyncIterator]: () => chunks }) {
    yield typeof chunk === "string" ? new TextEncoder().encode(chunk) : (chunk as Uint8Array);
  }
}

/** Error: ARGUMENT when the path has a query already. */
export function withQuery(path: string, query: Record<string, unknown>): string {
  if (/[?#]/.test(path)) throw argument("a query is given, and the path has one already");
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== undefined) search.append(name, String(one));
  }
  return search.size === 0 ? path : `${path}?${search}`;
}
