/** Bytes that no well-behaved HTTP client or origin says. */

const crlf = (...lines: string[]) => lines.join("\r\n");
const head = (line: string, ...fields: string[]) => `${crlf(line, ...fields)}\r\n\r\n`;
const http = (line: string, ...fields: string[]) => head(line, "Host: a", ...fields);

const smuggled = http("GET /smuggled HTTP/1.1");
const upgrade = ["Connection: Upgrade", "Upgrade: x"];
const chunkedField = "Transfer-Encoding: chunked";

/** What it is, what the client says, and the status it hears; none where it hears nothing, or need not. */
export const hostileClients: [string, string, number?][] = [
  ["nothing", ""],
  ["half a request line", "GET / HT"],
  ["half a head", "GET / HTTP/1.1\r\nHost: a\r\nX-A"],
  ["a method that nobody knows", http("FROBNICATE / HTTP/1.1"), 400],
  ["a method in lower case", http("get / HTTP/1.1"), 400],
  ["binary noise", "\x00\x01\x02\xff\xfe\r\n\r\n", 400],
  ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["a WebSocket frame", "\x82\x05hello", 400],
  ["HTTP/0.9", "GET /\r\n\r\n", 200],
  ["HTTP/2.0", http("GET / HTTP/2.0"), 200],
  ["no Host", head("GET / HTTP/1.1"), 400],
  ["a bare LF at the ends of lines", "GET / HTTP/1.1\nHost: a\n\n", 400],
  ["a bare CR within a value", http("GET / HTTP/1.1", "X-A: a\rb"), 400],
  ["a NUL within a value", http("GET / HTTP/1.1", "X-A: a\0b"), 400],
  ["a blank before the colon", http("GET / HTTP/1.1", "X-A : 1"), 400],
  ["a folded line", http("GET / HTTP/1.1", "X-A: 1", " folded"), 400],
  ["a field without a name", http("GET / HTTP/1.1", ": 1"), 400],
  ["a name of 300 bytes", http("GET / HTTP/1.1", `${"x".repeat(300)}: 1`), 400],
  [
    "300 fields",
    http(
      "GET / HTTP/1.1",
      ..."x"
        .repeat(300)
        .split("")
        .map((name) => `${name}: 1`),
    ),
    431,
  ],
  ["a head of 20,000 bytes", http("GET / HTTP/1.1", `X-A: ${"x".repeat(20_000)}`), 431],
  [
    "names that every object has",
    http("GET / HTTP/1.1", "__proto__: 1", "constructor: 1", "constructor: 2"),
    200,
  ],
  ["a path that is none", http("GET no/path HTTP/1.1"), 400],
  ["a path with a fragment", http("GET /a#b HTTP/1.1"), 400],
  ["a path with a control character", http("GET /a\x01b HTTP/1.1"), 400],
  ["a path that is not ASCII", http("GET /caf\xe9 HTTP/1.1"), 400],
  ["a path that climbs", http("GET /../../../etc/passwd HTTP/1.1"), 200],
  ["the address of another server", http("GET http://b.example/a HTTP/1.1"), 200],
  ["CONNECT", head("CONNECT b.example:80 HTTP/1.1", "Host: b.example:80")],
  ["a length that is no number", http("POST / HTTP/1.1", "Content-Length: x"), 400],
  ["a negative length", http("POST / HTTP/1.1", "Content-Length: -1"), 400],
  ["a length in hexadecimal", `${http("POST / HTTP/1.1", "Content-Length: 0x2")}hi`, 400],
  ["a length beyond all numbers", http("POST / HTTP/1.1", "Content-Length: 99999999999999999999999"), 400],
  ["a length beyond all safe numbers", http("POST / HTTP/1.1", "Content-Length: 9999999999999999"), 400],
  ["two lengths", `${http("POST / HTTP/1.1", "Content-Length: 2", "Content-Length: 4")}hihi`, 400],
  ["two lengths in one", `${http("POST / HTTP/1.1", "Content-Length: 2, 2")}hi`, 400],
  [
    "a length and chunks",
    `${http("POST / HTTP/1.1", "Content-Length: 4", chunkedField)}0\r\n\r\n${smuggled}`,
    400,
  ],
  [
    "chunks and a length",
    `${http("POST / HTTP/1.1", chunkedField, "Content-Length: 4")}0\r\n\r\n${smuggled}`,
    400,
  ],
  [
    "chunks of another coding",
    `${http("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked")}0\r\n\r\n`,
    501,
  ],
  [
    "chunks that are not the last coding",
    `${http("POST / HTTP/1.1", "Transfer-Encoding: chunked, gzip")}0\r\n\r\n`,
    400,
  ],
  ["chunks, said twice", `${http("POST / HTTP/1.1", chunkedField, chunkedField)}0\r\n\r\n`, 400],
  [
    "an obfuscated coding",
    `${http("POST / HTTP/1.1", "Transfer-Encoding: xchunked")}0\r\n\r\n${smuggled}`,
    501,
  ],
  ["chunks of HTTP/1.0", `${http("POST / HTTP/1.0", chunkedField)}0\r\n\r\n`, 400],
  ["a chunk size that is none", `${http("POST / HTTP/1.1", chunkedField)}zz\r\nhi\r\n0\r\n\r\n`],
  ["a chunk longer than its size", `${http("POST / HTTP/1.1", chunkedField)}2\r\nhello\r\n0\r\n\r\n`],
  ["a chunk without an end", `${http("POST / HTTP/1.1", chunkedField)}2\r\nhi`],
  ["a chunk size beyond all numbers", `${http("POST / HTTP/1.1", chunkedField)}${"f".repeat(17)}\r\nhi`],
  [
    "a chunk extension of 20,000 bytes",
    `${http("POST / HTTP/1.1", chunkedField)}2;${"x".repeat(20_000)}\r\nhi`,
  ],
  [
    "a trailer with a name of 300 bytes",
    `${http("POST / HTTP/1.1", chunkedField)}0\r\n${"x".repeat(300)}: 1\r\n\r\n`,
  ],
  [
    "trailers that frame and route",
    `${http("POST / HTTP/1.1", chunkedField)}0\r\nHost: b\r\nTrailer: x\r\n\r\n`,
    200,
  ],
  [
    "a request in the body of a GET",
    `${http("GET / HTTP/1.1", `Content-Length: ${smuggled.length}`)}${smuggled}`,
    200,
  ],
  [
    "a request in the chunks of a GET",
    `${http("GET / HTTP/1.1", chunkedField)}${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
    200,
  ],
  ["a body that does not come", http("POST / HTTP/1.1", "Content-Length: 5")],
  ["a body that comes in part", `${http("POST / HTTP/1.1", "Content-Length: 5")}he`],
  ["an expectation that nobody knows", http("POST / HTTP/1.1", "Expect: tea", "Content-Length: 2"), 417],
  [
    "Connection with names that must not go",
    http("GET / HTTP/1.1", "Connection: host, content-length, x"),
    200,
  ],
  ["300 names in Connection", http("GET / HTTP/1.1", `Connection: ${"x,".repeat(300)}`), 200],
  ["20 requests at once", http("GET / HTTP/1.1").repeat(20), 200],
  ["20 requests at once, the last in part", `${http("GET / HTTP/1.1").repeat(20)}GET /`, 200],
  ["an upgrade to nothing", http("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: ")],
  ["an upgrade to what is no protocol", http("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: a b"), 400],
  [
    "an upgrade to a protocol of 300 bytes",
    http("GET / HTTP/1.1", "Connection: Upgrade", `Upgrade: ${"x".repeat(300)}`),
    400,
  ],
  ["an upgrade behind a request", `${http("GET /hang HTTP/1.1")}${http("GET / HTTP/1.1", ...upgrade)}`],
  [
    "an upgrade behind 20 requests",
    `${http("GET /hang HTTP/1.1").repeat(20)}${http("GET / HTTP/1.1", ...upgrade)}`,
  ],
  [
    "an upgrade with a request in its body",
    `${http("POST / HTTP/1.1", ...upgrade, "Content-Length: 2")}hi${smuggled}`,
    200,
  ],
  ["an upgrade with a broken body", `${http("POST / HTTP/1.1", ...upgrade, chunkedField)}zz\r\n${smuggled}`],
  ["an upgrade with a request behind it", `${http("GET / HTTP/1.1", ...upgrade)}${smuggled}`, 200],
  ["an upgrade and nothing else", http("GET /hang HTTP/1.1", ...upgrade)],
];

export interface HostileAnswer {
  what: string;
  says: string;
  /** Default: it stays. */
  after?: "ends" | "resets";
  /** Default: GET /bad. */
  asked?: string;
}

const ok = "HTTP/1.1 200 OK";
const upgrading = http("GET /bad HTTP/1.1", ...upgrade);
const heading = http("HEAD /bad HTTP/1.1");
const posting = `${http("POST /bad HTTP/1.1", "Content-Length: 5")}hello`;
const uploading = `${http("POST /bad HTTP/1.1", "Content-Length: 1000000")}x`;
const manyFields = "X-A: 1\r\n".repeat(300);
const switching = head("HTTP/1.1 101 S", ...upgrade);

export const hostileOrigins: HostileAnswer[] = [
  { what: "nothing", says: "" },
  { what: "nothing, and ends", says: "", after: "ends" },
  { what: "nothing, and resets", says: "", after: "resets" },
  { what: "nothing to a POST, and resets", says: "", after: "resets", asked: posting },
  { what: "half a status line", says: "HTTP/1.1 20" },
  { what: "half a status line, and ends", says: "HTTP/1.1 20", after: "ends" },
  { what: "half a head, and resets", says: `${ok}\r\nX-A: 1\r\nX-`, after: "resets" },
  { what: "binary noise", says: "\x00\x01\x02\xff\xfe\r\n\r\n" },
  { what: "TLS", says: "\x15\x03\x01\x00\x02\x02\x46", after: "ends" },
  { what: "SSH", says: "SSH-2.0-OpenSSH_9.9\r\n" },
  { what: "a request", says: http("GET / HTTP/1.1") },
  { what: "HTTP/0.9", says: "hello", after: "ends" },
  { what: "HTTP/2.0", says: head("HTTP/2.0 200 OK", "Content-Length: 0") },
  { what: "status 0", says: head("HTTP/1.1 000 No", "Content-Length: 0") },
  { what: "status 600", says: head("HTTP/1.1 600 Odd", "Content-Length: 0") },
  { what: "status 999", says: head("HTTP/1.1 999 Odd", "Content-Length: 0") },
  { what: "status 99999", says: head("HTTP/1.1 99999 Odd", "Content-Length: 0") },
  { what: "101 that nobody asked for", says: switching },
  { what: "101 to a POST", says: switching, asked: posting },
  { what: "101 without its fields", says: head("HTTP/1.1 101 S") },
  { what: "101 to an upgrade, without its fields", says: head("HTTP/1.1 101 S"), asked: upgrading },
  {
    what: "101 with 300 fields",
    says: switching.replace("\r\n\r\n", `\r\n${manyFields}\r\n`),
    asked: upgrading,
  },
  { what: "101, and resets", says: switching, after: "resets", asked: upgrading },
  { what: "101 and bytes, and ends", says: `${switching}bytes`, after: "ends", asked: upgrading },
  { what: "nothing to an upgrade", says: "", asked: upgrading },
  {
    what: "half a head to an upgrade, and ends",
    says: "HTTP/1.1 101 S\r\nCon",
    after: "ends",
    asked: upgrading,
  },
  {
    what: "a refusal of an upgrade, cut short",
    says: `${head("HTTP/1.1 403 F", "Content-Length: 9")}no`,
    after: "ends",
    asked: upgrading,
  },
  {
    what: "a refusal of an upgrade with trailers",
    says: `${head("HTTP/1.1 403 F", chunkedField)}0\r\nX-T: 1\r\n\r\n`,
    asked: upgrading,
  },
  { what: "a hint with a name of 300 bytes", says: head("HTTP/1.1 103 E", `${"x".repeat(300)}: 1`) },
  { what: "a hint with 300 fields", says: `HTTP/1.1 103 E\r\n${manyFields}\r\n` },
  {
    what: "hints and no answer, and ends",
    says: head("HTTP/1.1 103 E", "Link: <a>").repeat(8),
    after: "ends",
  },
  { what: "100 that nobody asked for, 8 times", says: head("HTTP/1.1 100 Continue").repeat(8) },
  { what: "a hint to an upgrade", says: head("HTTP/1.1 103 E", `${"x".repeat(300)}: 1`), asked: upgrading },
  { what: "a name of 300 bytes", says: head(ok, `${"x".repeat(300)}: 1`, "Content-Length: 0") },
  { what: "300 fields", says: `${ok}\r\n${manyFields}Content-Length: 0\r\n\r\n` },
  { what: "a head of 40,000 bytes", says: head(ok, `X-A: ${"x".repeat(40_000)}`, "Content-Length: 0") },
  {
    what: "names that every object has",
    says: head(ok, "__proto__: 1", "constructor: 1", "Content-Length: 0"),
  },
  { what: "a control character in a value", says: head(ok, "X-A: a\x01b", "Content-Length: 0") },
  { what: "a NUL in a value", says: head(ok, "X-A: a\0b", "Content-Length: 0") },
  { what: "a bare CR in a value", says: head(ok, "X-A: a\rSet-Cookie: b", "Content-Length: 0") },
  { what: "two lengths", says: `${head(ok, "Content-Length: 2", "Content-Length: 5")}okxyz` },
  { what: "a length that is no number", says: `${head(ok, "Content-Length: x")}ok` },
  { what: "a length beyond all safe numbers", says: head(ok, "Content-Length: 9999999999999999") },
  { what: "a length and chunks", says: `${head(ok, "Content-Length: 5", chunkedField)}2\r\nok\r\n0\r\n\r\n` },
  {
    what: "chunks of another coding",
    says: `${head(ok, "Transfer-Encoding: gzip, chunked")}2\r\nok\r\n0\r\n\r\n`,
  },
  {
    what: "fewer bytes than it said, and ends",
    says: `${head(ok, "Content-Length: 10")}four`,
    after: "ends",
  },
  {
    what: "fewer bytes than it said, and resets",
    says: `${head(ok, "Content-Length: 10")}four`,
    after: "resets",
  },
  { what: "fewer bytes than it said, and stays", says: `${head(ok, "Content-Length: 10")}four` },
  { what: "more bytes than it said", says: `${head(ok, "Content-Length: 2")}ok and more` },
  {
    what: "an answer that nobody asked for behind its own",
    says: `${head(ok, "Content-Length: 2")}ok${head(ok, "Content-Length: 6")}poison`,
  },
  { what: "a body to HEAD", says: `${head(ok, "Content-Length: 6")}poison`, asked: heading },
  {
    what: "an answer as body to HEAD",
    says: `${head(ok, "Content-Length: 46")}${head(ok, "Content-Length: 6")}poison`,
    asked: heading,
  },
  { what: "a body behind 204", says: `${head("HTTP/1.1 204 No", "Content-Length: 6")}poison` },
  { what: "a body behind 304", says: `${head("HTTP/1.1 304 No", "Content-Length: 6")}poison` },
  { what: "a chunk size that is none", says: `${head(ok, chunkedField)}zz\r\nok\r\n` },
  { what: "a chunk longer than its size", says: `${head(ok, chunkedField)}2\r\nhello\r\n0\r\n\r\n` },
  { what: "chunks without an end, and ends", says: `${head(ok, chunkedField)}2\r\nok\r\n`, after: "ends" },
  {
    what: "chunks without an end, and resets",
    says: `${head(ok, chunkedField)}2\r\nok\r\n`,
    after: "resets",
  },
  { what: "a chunk size beyond all numbers", says: `${head(ok, chunkedField)}${"f".repeat(17)}\r\nok` },
  {
    what: "a chunk extension of 100,000 bytes",
    says: `${head(ok, chunkedField)}2;${"x".repeat(100_000)}\r\nok\r\n0\r\n\r\n`,
  },
  {
    what: "a trailer with a name of 300 bytes",
    says: `${head(ok, chunkedField)}0\r\n${"x".repeat(300)}: 1\r\n\r\n`,
  },
  { what: "300 trailers", says: `${head(ok, chunkedField)}0\r\n${manyFields}\r\n` },
  {
    what: "trailers that frame",
    says: `${head(ok, chunkedField)}2\r\nok\r\n0\r\nContent-Length: 5\r\nHost: b\r\n\r\n`,
  },
  {
    what: "an answer before the upload, and resets",
    says: `${head("HTTP/1.1 413 No", "Content-Length: 2")}no`,
    after: "resets",
    asked: uploading,
  },
  {
    what: "half an answer before the upload",
    says: `${head("HTTP/1.1 413 No", "Content-Length: 9")}no`,
    asked: uploading,
  },
  { what: "an answer without length that does not end", says: `${head(ok)}and so on` },
];
