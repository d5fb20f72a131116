/** Answers that no honest screen service gives, and how to tell that one of them reached a user. */
import { brotliCompressSync, gzipSync } from "node:zlib";
import { Problem } from "@wolfpack/api-contract";
import type { IncomingRequest, OutgoingResponse, Reply } from "revdial";

export interface EvilAnswer {
  name: string;
  answer(
    request: IncomingRequest,
    reply: Reply,
  ): OutgoingResponse | Promise<OutgoingResponse | undefined> | undefined;
}

/** In whatever the agent says; never in what a user hears. */
export const CANARY = "evil-canary";

const png = Buffer.concat([
  Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
  Buffer.from("not really, but it says so"),
]);
const html = Buffer.from(`<script src="https://${CANARY}.example/"></script>`);
const clipboard = Buffer.from('{"text":"fine"}');
/** What would be a good answer to the call. */
const good = ({ path }: IncomingRequest) => (path.endsWith("/screenshot") ? png : clipboard);

const typeOf = ({ path }: IncomingRequest): [string, string] => [
  "content-type",
  path.endsWith("/screenshot") ? "image/png" : "application/json",
];

export const honestAnswer: EvilAnswer = {
  name: "an honest one",
  answer: (request) => ({ status: 200, headers: [typeOf(request)], body: good(request) }),
};

const always = (name: string, response: OutgoingResponse): EvilAnswer => ({ name, answer: () => response });

function redirects(trap: string): EvilAnswer[] {
  const places = [
    trap,
    trap.replace("http:", ""),
    "/api/v1/users",
    "/api/v1/revdial?runnerid=wolf-other",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]:22/",
    "unix:///run/wolf.sock",
    "file:///etc/passwd",
    `javascript:fetch('${trap}')`,
  ];
  return [301, 302, 303, 307, 308].flatMap((status) =>
    (status === 302 ? places : [trap]).map((location) =>
      always(`${status} to ${location}`, { status, headers: [["location", location]], body: html }),
    ),
  );
}

/** Fields that would speak for our origin, beside an answer that is good. */
function fields(trap: string): EvilAnswer[] {
  const list: [string, string][] = [
    ["set-cookie", `__Host-wolfpack=${CANARY}; Path=/; Secure`],
    ["set-cookie2", CANARY],
    ["access-control-allow-origin", `https://${CANARY}.example`],
    ["access-control-allow-credentials", "true"],
    ["access-control-expose-headers", CANARY],
    ["strict-transport-security", `max-age=0; ${CANARY}`],
    ["clear-site-data", '"*"'],
    ["content-security-policy", `default-src ${CANARY}`],
    ["content-disposition", `attachment; filename=${CANARY}.exe`],
    ["location", trap],
    ["refresh", `0; url=${trap}`],
    ["link", `<${trap}>; rel=preload`],
    ["server", CANARY],
    ["via", CANARY],
    ["www-authenticate", `Basic realm="${CANARY}"`],
    ["x-frame-options", CANARY],
    ["x-content-type-options", CANARY],
    ["x-request-id", CANARY],
    ["cache-control", `public, max-age=31536000, ${CANARY}`],
    ["etag", `"${CANARY}"`],
    ["vary", CANARY],
    ["age", "1"],
    ["alt-svc", `h3="${CANARY}:443"`],
    ["report-to", CANARY],
    ["sourcemap", trap],
    ["service-worker-allowed", "/"],
    ["content-range", "bytes 0-1/2"],
    ["x-wolfpack-refused", CANARY],
    ["retry-after", "99999999"],
    ["content-type", `text/html; charset=${CANARY}`],
    ["content-type", "image/svg+xml"],
    ["content-language", CANARY],
    ["__proto__", CANARY],
    ["constructor", CANARY],
    ["x-latin1", `${CANARY}\u00ff\u0085`],
  ];
  return list.map(([name, value]) => ({
    name: `the field ${name}: ${value.slice(0, 30)}`,
    answer: (request) => ({
      status: 200,
      headers: name === "content-type" ? [[name, value]] : [typeOf(request), [name, value]],
      body: good(request),
    }),
  }));
}

/** Bodies that are not what was asked for. */
function bodies(): EvilAnswer[] {
  const list: [string, Uint8Array, string?][] = [
    ["HTML", html],
    ["HTML that says that it is an image", html, "image/png"],
    ["SVG", Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" onload="${CANARY}"/>`), "image/svg+xml"],
    ["a GIF that is JavaScript", Buffer.from(`GIF89a=1;${CANARY}()`), "image/gif"],
    ["half of a PNG's signature", png.subarray(0, 4)],
    ["a PNG behind a space", Buffer.concat([Buffer.from(" "), png])],
    ["gzip", gzipSync(png), "image/png"],
    ["a bomb", gzipSync(Buffer.alloc(30_000_000))],
    ["brotli", brotliCompressSync(clipboard)],
    ["nothing", new Uint8Array()],
    ["JSON without a text", Buffer.from(`{"${CANARY}":1}`)],
    ["JSON with a number as text", Buffer.from('{"text":1}')],
    ["JSON of a prototype", Buffer.from(`{"__proto__":{"text":"${CANARY}"}}`)],
    ["JSON nested for ever", Buffer.from("[".repeat(200_000))],
    ["broken UTF-8", Buffer.concat([Buffer.from('{"text":"'), Buffer.from([0xff, 0xc0]), Buffer.from('"}')])],
    ["a lone surrogate", Buffer.from('{"text":"\\ud800"}')],
    ["a text of 300,000 bytes", Buffer.from(`{"text":"${"x".repeat(300_000)}"}`)],
    ["a text of 60,000 bytes", Buffer.from(`{"text":"${"x".repeat(60_000)}"}`)],
    ["null", Buffer.from("null")],
  ];
  return list.map(([name, body, type]) =>
    always(`${name} as the body`, {
      status: 200,
      headers: [
        ["content-type", type ?? "application/octet-stream"],
        ...(name === "a bomb" ? [["content-encoding", "gzip"] as const] : []),
      ],
      body,
    }),
  );
}

function statuses(): EvilAnswer[] {
  return [
    201, 203, 205, 206, 226, 299, 300, 304, 400, 401, 403, 404, 407, 418, 421, 426, 451, 499, 500, 502, 503,
    504, 511, 599, 600, 999,
  ].map((status) =>
    always(`status ${status}`, { status, headers: [["content-type", "text/html"]], body: html }),
  );
}

async function* endless(count: { bytes: number }, chunk = 65_536): AsyncGenerator<Uint8Array> {
  for (;;) {
    count.bytes += chunk;
    yield new Uint8Array(chunk).fill(0x89);
  }
}

/** Answers that break off, never end, or take back what they said. */
function flows(given: { bytes: number }): EvilAnswer[] {
  return [
    {
      name: "a body without end",
      answer: () => ({ status: 200, body: endless(given) }),
    },
    {
      name: "a body without end under an error",
      answer: () => ({ status: 500, body: endless(given) }),
    },
    {
      name: "a body without end that begins as an image",
      answer: () => ({
        status: 200,
        body: (async function* () {
          yield png;
          yield* endless(given);
        })(),
      }),
    },
    {
      name: "a body that breaks off",
      answer: () => ({
        status: 200,
        body: (async function* () {
          yield png;
          throw new Error(CANARY);
        })(),
      }),
    },
    {
      name: "30 interim heads",
      answer: (request, reply) => {
        for (let count = 0; count < 30; count += 1) reply.interim(103, [["link", `<${CANARY}>`]]);
        return { status: 200, headers: [typeOf(request), ["set-cookie", CANARY]], body: good(request) };
      },
    },
    {
      name: "trailers",
      answer: (request) => ({ status: 200, body: good(request), trailers: [["set-cookie", CANARY]] }),
    },
    {
      name: "a handler that fails",
      answer: () => {
        throw new Error(CANARY);
      },
    },
  ];
}

export function evilAnswers(trap: string, given: { bytes: number }): EvilAnswer[] {
  return [...redirects(trap), ...fields(trap), ...bodies(), ...statuses(), ...flows(given)];
}

export interface Heard {
  status: number;
  headers: (readonly [string, string])[];
  body: Buffer;
}

/** All that an answer of ours may carry. */
const ours = new Set([
  "cache-control",
  "connection",
  "content-length",
  "content-security-policy",
  "content-type",
  "cross-origin-opener-policy",
  "cross-origin-resource-policy",
  "date",
  "keep-alive",
  "origin-agent-cluster",
  "referrer-policy",
  "retry-after",
  "strict-transport-security",
  "transfer-encoding",
  "x-content-type-options",
  "x-dns-prefetch-control",
  "x-download-options",
  "x-frame-options",
  "x-permitted-cross-domain-policies",
  "x-request-id",
  "x-xss-protection",
]);
/** Only these statuses may follow from what an agent says. */
const blamed = new Set([502, 503, 504]);

/** How an agent's answer got through to a user; undefined when it did not. */
export function leakOf(
  what: "screenshot" | "clipboard",
  { status, headers, body }: Heard,
): string | undefined {
  const field = (name: string) => headers.find(([given]) => given === name)?.[1] ?? "";
  const foreign = headers.find(
    ([name, value]) => !(ours.has(name) || name.startsWith("ratelimit")) || value.includes(CANARY),
  );
  if (foreign) return `the field ${foreign.join(": ")}`;
  if (Number(field("retry-after") || 0) > 60) return "its Retry-After";
  if (body.includes(CANARY)) return `its words: ${body.toString("latin1", 0, 200)}`;
  if (blamed.has(status)) {
    const problem = Problem.safeParse(JSON.parse(body.toString()));
    return problem.success && problem.data.status === status ? undefined : "no problem";
  }
  if (status === 204) return body.length === 0 ? undefined : "a body under 204";
  if (status !== 200) return `status ${status}`;
  if (field("x-content-type-options") !== "nosniff") return "an answer that browsers may sniff";
  if (what === "screenshot")
    return field("content-type") === "image/png" && body.subarray(0, 8).equals(png.subarray(0, 8))
      ? undefined
      : `${field("content-type")} that is no image`;
  if (!field("content-type").startsWith("application/json"))
    return `a clipboard of type ${field("content-type")}`;
  return Object.keys(JSON.parse(body.toString()) as object).join() === "text"
    ? undefined
    : "another clipboard";
}
