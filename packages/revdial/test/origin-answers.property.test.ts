/**
 * What our client reads from an origin beside what `node:http` reads from the same bytes: the same, or ours refuses. Where two
 * readers of one message differ, somebody can hide a message from one of them.
 */
import { request } from "node:http";
import { Duplex } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { AnswerHead, FieldList } from "../src/http/origin-head.ts";
import { AnswerParser } from "../src/http/origin-parser.ts";

interface Heard {
  interims: unknown[];
  status: number;
  fields: FieldList;
  body: string;
  trailers: FieldList;
}

/** Undefined for what is refused or not whole. `bytes`: where the answer ended. */
function byOurs(said: Buffer, method: string, step: number): { heard: Heard; bytes: number } | undefined {
  const heard: Heard = { interims: [], status: 0, fields: [], body: "", trailers: [] };
  let whole = false;
  const parser = new AnswerParser();
  parser.begin(
    {
      onInterim: (status, fields) => void heard.interims.push([status, fields]),
      onHead: ({ status, fields }: AnswerHead) => void Object.assign(heard, { status, fields }),
      onData(bytes) {
        heard.body += bytes.toString("latin1");
      },
      onEnd(trailers) {
        heard.trailers = trailers;
        whole = true;
      },
      onSwitch: () => undefined,
    },
    method,
    false,
  );
  let at = 0;
  try {
    for (; at < said.length && !whole; at += step) parser.feed(said.subarray(at, at + step));
    if (!whole) parser.end();
  } catch {
    return undefined;
  }
  return { heard, bytes: Math.min(at, said.length) };
}

const pairs = (raw: string[]): FieldList =>
  raw.flatMap((name, i): FieldList => (i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1] as string]] : []));

/** A connection that says this and ends. */
function saying(said: Buffer): Duplex {
  return new Duplex({
    read() {
      this.push(said);
      this.push(null);
    },
    write: (_chunk, _encoding, done) => done(),
  });
}

function byNode(said: Buffer, method: string): Promise<Heard | undefined> {
  return new Promise((resolve) => {
    const heard: Heard = { interims: [], status: 0, fields: [], body: "", trailers: [] };
    const asking = request({
      method,
      createConnection: () => saying(said),
      maxHeaderSize: 1024 * 1024,
      headers: { host: "a" },
    });
    asking.on("information", ({ statusCode, rawHeaders }) =>
      heard.interims.push([statusCode, pairs(rawHeaders)]),
    );
    asking.on("error", () => resolve(undefined));
    // The answer may have ended just now, and says so in a tick of its own.
    asking.on("close", () => setImmediate(resolve, undefined));
    asking.on("upgrade", () => resolve(undefined));
    asking.on("response", (response) => {
      Object.assign(heard, { status: response.statusCode, fields: pairs(response.rawHeaders) });
      response.on("error", () => resolve(undefined));
      response.on("data", (chunk: Buffer) => {
        heard.body += chunk.toString("latin1");
      });
      response.on("end", () => {
        heard.trailers = pairs(response.rawTrailers);
        resolve(response.complete ? heard : undefined);
      });
    });
    asking.end();
  });
}

const bytesText = (maxLength: number) =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const name = fc.constantFrom(
  "X-A",
  "x-b",
  "Set-Cookie",
  "Date",
  "Link",
  "ETag",
  "Upgrade",
  "Via",
  "a!#$%&'*+-.^_`|~9",
);
const value = fc
  .array(
    fc.constantFrom("a", "Z", "0", " ", "\t", ",", ";", "=", '"', "\\", ":", "\xe9", "\x80", "\xff", "close"),
    {
      maxLength: 12,
    },
  )
  .map((parts) => parts.join(""));
const blank = fc.constantFrom("", " ", "\t", "  \t");
const field = fc
  .tuple(name, blank, value, blank)
  .map((parts) => `${parts[0]}:${parts.slice(1).join("")}\r\n`);
const fields = fc.array(field, { maxLength: 5 }).map((lines) => lines.join(""));
const connection = fc.constantFrom(
  "",
  "Connection: close\r\n",
  "Connection: keep-alive\r\n",
  "Keep-Alive: timeout=5, max=2\r\n",
);
const extension = fc.constantFrom("", "", ";a", ";a=b", ';a="b c"', ";a;b=c");
const chunk = fc.tuple(bytesText(40), extension, fc.boolean()).map(([body, ext, upper]) => {
  const digits = body.length.toString(16);
  return body === "" ? "" : `${upper ? digits.toUpperCase() : `0${digits}`}${ext}\r\n${body}\r\n`;
});
const body = fc.oneof(
  bytesText(80).map((text) => `Content-Length: ${text.length}\r\n\r\n${text}`),
  fc
    .tuple(fc.array(chunk, { maxLength: 4 }), extension, fields)
    .map(
      ([chunks, ext, trailers]) =>
        `transfer-encoding: Chunked\r\n\r\n${chunks.join("")}0${ext}\r\n${trailers}\r\n`,
    ),
  bytesText(80).map((text) => `\r\n${text}`),
);
const reason = fc.constantFrom(" OK", " ", " Not so", " \xe9t\xe9", "");
const interim = fc
  .tuple(fc.constantFrom(100, 102, 103), reason, fields)
  .map((parts) => `HTTP/1.1 ${parts[0]}${parts[1]}\r\n${parts[2].replaceAll(/^upgrade/gim, "x-u")}\r\n`);
const status = fc.constantFrom(200, 200, 200, 206, 301, 404, 500, 599, 204, 304);
const legal = fc
  .tuple(fc.array(interim, { maxLength: 2 }), status, reason, fields, connection, body)
  .map(
    ([hints, code, text, lines, kept, rest]) =>
      `${hints.join("")}HTTP/1.1 ${code}${text}\r\n${kept}${lines}${rest}`,
  );
const method = fc.constantFrom("GET", "GET", "HEAD", "POST");

const nasty = fc.constantFrom(
  ...'\r|\n|\r\n|\r\n\r\n| |\t|\0|:|;|,|0|1|9|a|f|x|\x7f|\xff|-|+|"'.split("|"),
  "HTTP/1.1 200 OK\r\n",
  "Content-Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "chunked",
  "0\r\n\r\n",
);
const mutation = fc.record({
  at: fc.nat(),
  removed: fc.nat({ max: 3 }),
  put: fc.oneof(fc.constant(""), nasty),
});
const mutated = fc.tuple(legal, fc.array(mutation, { minLength: 1, maxLength: 3 })).map(([said, changes]) =>
  changes.reduce((text, { at, removed, put }) => {
    const from = at % (text.length + 1);
    return text.slice(0, from) + put + text.slice(from + removed);
  }, said),
);

/** Whether ours took it. */
async function compare(text: string, how: string): Promise<boolean> {
  const said = Buffer.from(text, "latin1");
  const ours = byOurs(said, how, 1);
  expect(byOurs(said, how, said.length || 1)?.heard).toEqual(ours?.heard);
  // One length said twice alike is one length (RFC 9112 §6.3); node:http refuses it.
  const lengths = ours?.heard.fields.filter(([field]) => field === "content-length") ?? [];
  if (ours !== undefined && lengths.length < 2)
    expect(ours.heard).toEqual(await byNode(said.subarray(0, ours.bytes), how));
  return ours !== undefined;
}

describe("an answer of an origin is read as node:http reads it", () => {
  it("when it is legal", async () => {
    await fc.assert(
      fc.asyncProperty(legal, method, async (said, how) => {
        expect(await compare(said, how)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it("when it was spoilt, or it is refused", async () => {
    await fc.assert(
      fc.asyncProperty(mutated, method, async (said, how) => void (await compare(said, how))),
      { numRuns: 3000 },
    );
  });

  const ok = "HTTP/1.1 200 OK\r\n";
  const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;
  const chunks = "2\r\nok\r\n0\r\n\r\n";

  it.each([
    ["an empty line before its status line", `\r\n${ok}Content-Length: 0\r\n\r\n`],
    ["HTTP/2.0 in lines", "HTTP/2.0 200 OK\r\n\r\n"],
    ["a status below 100", "HTTP/1.1 099 No\r\n\r\n"],
    ["a status above 599", "HTTP/1.1 600 No\r\n\r\n"],
    ["a control character in its reason", "HTTP/1.1 200 O\x01K\r\n\r\n"],
    ["chunks in HTTP/1.0", `HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`],
    ["another coding before chunks", `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n${chunks}`],
    ["another coding alone", `${ok}Transfer-Encoding: gzip\r\n\r\nok`],
    ["chunks said twice", `${ok}${"Transfer-Encoding: chunked\r\n".repeat(2)}\r\n${chunks}`],
    ["a chunk's size of 17 digits", `${chunked}${"0".repeat(16)}${chunks}`],
    ["101 that nobody asked for", "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n"],
  ])("but refused by us alone when it has %s", async (_what, said) => {
    const bytes = Buffer.from(said, "latin1");
    expect(byOurs(bytes, "GET", bytes.length)).toBeUndefined();
    expect(await byNode(bytes, "GET")).toBeDefined();
  });

  it("but taken by us alone when it says one length twice", async () => {
    const bytes = Buffer.from(`${ok}${"Content-Length: 2\r\n".repeat(2)}\r\nok`);
    expect(byOurs(bytes, "GET", bytes.length)?.heard.body).toBe("ok");
    expect(await byNode(bytes, "GET")).toBeUndefined();
  });
});
