/** Requests that no honest client writes, byte by byte: framing, heads, targets, methods, credentials. */

export interface HostileCase {
  /** What kind of attack: each kind is shown to work against the naive server. */
  kind: string;
  name: string;
  bytes: Buffer;
  cutOff?: boolean;
  head?: boolean;
}

/** A path that nothing asks for but a request that was hidden in another. */
export const SMUGGLED = "/smuggled";
const hidden = `GET ${SMUGGLED} HTTP/1.1\r\nHost: x\r\n\r\n`;

export const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1");

interface Parts {
  method?: string;
  target?: string;
  version?: string;
  headers?: readonly string[];
  body?: string;
}

/** A request that asks to close; its header lines are taken as they are. */
export function requestText(parts: Parts): string {
  const { method = "GET", target = "/api/v1/me", version = "HTTP/1.1", headers = [], body = "" } = parts;
  const lines = ["Host: x", "Connection: close", ...headers].map((line) => `${line}\r\n`).join("");
  return `${method} ${target} ${version}\r\n${lines}\r\n${body}`;
}

const of = (kind: string, cases: readonly (readonly [name: string, text: string])[]): HostileCase[] =>
  cases.map(([name, text]) => ({ kind, name, bytes: bytesOf(text) }));

function framing(key: string): HostileCase[] {
  /** As an API call with a body that its framing does not tell once and for all. Kept open, for what may hide behind it. */
  const framed = (headers: string, body: string) =>
    `POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\n${headers}\r\n${body}`;
  const ended = `0\r\n\r\n${hidden}`;
  const bodyBytes = ended.length;
  const encodings = [
    "chunked",
    "Chunked",
    "xchunked",
    "chunked, identity",
    "identity",
    "gzip, chunked",
    "chunked, chunked",
    "chunked\u000b",
    "\u000bchunked",
    '"chunked"',
    "chunked;q=1",
    "cow",
    "chunked\r\nTransfer-Encoding: cow",
    "identity\r\nTransfer-Encoding: chunked",
  ];
  const lengths = [
    "+4",
    "-4",
    "0x4",
    "4.0",
    "4e0",
    "4, 4",
    "4,5",
    "4 4",
    "４",
    "",
    "\t",
    "4;",
    '"4"',
    "99999999999999999999999",
    "18446744073709551620",
    "NaN",
    "Infinity",
    "4\u0000",
    "4\r\nContent-Length: 5",
    "4\r\ncontent-length: 4",
    "0\r\nContent-Length: 44",
    "0_4",
  ];
  const chunkSizes = [
    "-1",
    "+5",
    "0x5",
    "g",
    "5 5",
    " 5",
    "5\u0000",
    "",
    ";",
    "ffffffffffffffffff",
    "5.0",
    "5\n5",
    "٥",
  ];
  return [
    ...of(
      "smuggling",
      encodings.flatMap((encoding) => [
        [
          `length and Transfer-Encoding ${JSON.stringify(encoding)}`,
          framed(`Content-Length: ${bodyBytes}\r\nTransfer-Encoding: ${encoding}\r\n`, ended),
        ],
        [
          `Transfer-Encoding ${JSON.stringify(encoding)} and length`,
          framed(`Transfer-Encoding: ${encoding}\r\nContent-Length: 4\r\n`, `5c\r\n${hidden}\r\n0\r\n\r\n`),
        ],
      ]),
    ),
    ...of(
      "smuggling",
      [
        "Transfer-Encoding ",
        "Transfer_Encoding",
        " Transfer-Encoding",
        "\tTransfer-Encoding",
        "Transfer-Encoding\t",
        "X: y\nTransfer-Encoding",
        "Transfer-Encoding\u0000",
        "Transfer\u00adEncoding",
      ].map((name) => [
        `length and the field ${JSON.stringify(name)}`,
        framed(`Content-Length: ${bodyBytes}\r\n${name}: chunked\r\n`, ended),
      ]),
    ),
    ...of(
      "length",
      lengths.map((length) => [
        `Content-Length ${JSON.stringify(length)}`,
        framed(`Content-Length: ${length}\r\n`, `{"a"${hidden}`),
      ]),
    ),
    ...of(
      "chunks",
      chunkSizes.map((size) => [
        `a chunk of ${JSON.stringify(size)} bytes`,
        framed("Transfer-Encoding: chunked\r\n", `${size}\r\nhello\r\n0\r\n\r\n${hidden}`),
      ]),
    ),
    ...of("chunks", [
      ["a chunk longer than it says", framed("Transfer-Encoding: chunked\r\n", `3\r\nhello\r\n0\r\n\r\n`)],
      [
        "a chunk ended by a bare newline",
        framed("Transfer-Encoding: chunked\r\n", `5\nhello\n0\n\n${hidden}`),
      ],
      [
        "chunk data ended by a bare newline",
        framed("Transfer-Encoding: chunked\r\n", `5\r\nhello\n0\r\n\r\n`),
      ],
      [
        "a chunk extension with a newline",
        framed("Transfer-Encoding: chunked\r\n", `5;a\nb\r\nhello\r\n0\r\n\r\n`),
      ],
      [
        "a chunk extension without an end",
        framed("Transfer-Encoding: chunked\r\n", `5;${"a".repeat(20_000)}`),
      ],
      [
        "ten thousand bytes of chunk extensions",
        framed("Transfer-Encoding: chunked\r\n", `${"1;aaaaaaaaa\r\nx\r\n".repeat(2000)}0\r\n\r\n`),
      ],
      [
        "trailers that never end",
        framed("Transfer-Encoding: chunked\r\n", `0\r\n${"X: y\r\n".repeat(5000)}`),
      ],
      ["a trailer that is no field", framed("Transfer-Encoding: chunked\r\n", `0\r\nno field\r\n\r\n`)],
      ["chunks in HTTP/1.0", `POST /api/v1/users HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ]),
  ];
}

function cutOff(key: string): HostileCase[] {
  const head = `POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\n`;
  return of("cut off", [
    ["a head", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-"],
    ["a first line", "GET /heal"],
    ["a body", `${head}Content-Length: 50\r\n\r\n{"name"`],
    ["a chunk", `${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{}`],
    ["chunks", `${head}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n`],
    ["trailers", `${head}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-`],
  ]).map((attack) => ({ ...attack, cutOff: true }));
}

function heads(): HostileCase[] {
  const named = [
    "",
    " ",
    "Bad Name",
    "Bad\tName",
    "Bad(Name",
    "Bad\u0000Name",
    "Bäd",
    "Bad\u007f",
    "Bad@",
    "Bad[",
    "Bad/",
    "\u00ff",
    '"Bad"',
    "Bad\\",
    "Bad{",
    "Bad,",
    "Bad;",
    "Bad=",
    "Bad?",
  ];
  const values = [
    "a\u0000b",
    "a\u0001b",
    "a\u0008b",
    "a\u000bb",
    "a\u000cb",
    "a\u001bb",
    "a\u007fb",
    "a\rb",
    "a\r b",
    "a\n\tb",
    "a\r\n b",
    "a\r\n\tb",
  ];
  const starts = [
    "",
    " ",
    "GET",
    "GET ",
    "GET /healthz",
    "GET /health z HTTP/1.1",
    "GET /healthz HTTP/1.1 ",
    "GET /healthz http/1.1",
    "GET /healthz HTTP/1.2",
    "GET /healthz HTTP/0.9",
    "GET /healthz HTTP/2.0",
    "GET /healthz HTTP/11",
    "GET /healthz HTTP/1.1.1",
    "GET /healthz HTTP/01.1",
    "GET /healthz HTTPS/1.1",
    "GET\t/healthz\tHTTP/1.1",
    "GET /healthz\u0000 HTTP/1.1",
    "GET /healthz\u007f HTTP/1.1",
    "GET /h\u00e9althz HTTP/1.1",
    "get /healthz HTTP/1.1",
    "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001",
    "PRI * HTTP/2.0",
    "SSH-2.0-OpenSSH_9.9",
    "\u0000\u0000\u0000\u0000",
    "EHLO example.com",
    "<policy-file-request/>",
    "PROXY TCP4 127.0.0.1 127.0.0.1 1 2",
    `${"A".repeat(20_000)} / HTTP/1.1`,
    `GET /${"a".repeat(20_000)} HTTP/1.1`,
    `GET /?${"a=b&".repeat(5000)} HTTP/1.1`,
  ];
  return [
    ...of(
      "field names",
      named.map((name) => [
        `the field name ${JSON.stringify(name)}`,
        requestText({ target: "/healthz", headers: [`${name}: x`] }),
      ]),
    ),
    ...of("field names", [
      ["a space before the colon", requestText({ target: "/healthz", headers: ["X-A : b"] })],
      ["a line without a colon", requestText({ target: "/healthz", headers: ["no colon"] })],
      ["a field folded onto the first line", "GET /healthz HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n"],
    ]),
    ...of(
      "field values",
      values.map((value) => [
        `the value ${JSON.stringify(value)}`,
        requestText({ target: "/healthz", headers: [`X-A: ${value}`] }),
      ]),
    ),
    ...of("field values", [
      ["lines ended by bare newlines", "GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n"],
      ["a field ended by a bare newline", "GET /healthz HTTP/1.1\r\nHost: x\nConnection: close\r\n\r\n"],
      ["a head ended by a bare newline", "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\n"],
      ["lines ended by bare carriage returns", "GET /healthz HTTP/1.1\rHost: x\r\r"],
    ]),
    ...of(
      "start lines",
      starts.map((start) => [
        `the first line ${JSON.stringify(start.slice(0, 40))}`,
        `${start}\r\nHost: x\r\nConnection: close\r\n\r\n`,
      ]),
    ),
  ];
}

/** More than what is allowed, of things that are allowed. */
function sizes(): HostileCase[] {
  const get = (headers: readonly string[]) => requestText({ target: "/healthz", headers });
  return of("sizes", [
    ["2,100 fields", get(Array.from({ length: 2100 }, (_, index) => `X-${index}: y`))],
    ["2,100 small fields", get(Array.from({ length: 2100 }, () => "a:"))],
    ["300 small fields", get(Array.from({ length: 300 }, () => "a:"))],
    [
      "a second Host behind 2,100 small fields",
      get([...Array.from({ length: 2100 }, () => "a:"), "Host: y"]),
    ],
    ["fields of 17,000 bytes", get([`X: ${"x".repeat(17_000)}`])],
    ["a field name of 17,000 bytes", get([`${"x".repeat(17_000)}: x`])],
    [
      "one megabyte of fields",
      get(Array.from({ length: 1000 }, (_, index) => `X-${index}: ${"y".repeat(1000)}`)),
    ],
    ["a cookie of 17,000 bytes", get([`Cookie: __Host-wolfpack=${"x".repeat(17_000)}`])],
    ["9,000 cookies", get([`Cookie: ${"a=b;".repeat(9000)}`])],
    ["a credential of 17,000 bytes", get([`Authorization: Bearer ${"x".repeat(17_000)}`])],
  ]);
}

function hosts(key: string): HostileCase[] {
  const call = (lines: string, target = "/api/v1/me") =>
    `GET ${target} HTTP/1.1\r\n${lines}Authorization: Bearer ${key}\r\nConnection: close\r\n\r\n`;
  const bad = [
    "a b",
    "a/b",
    "a@b",
    "x\r\nHost: y",
    "x\r\nhost: x",
    "a?b",
    "a#b",
    "<x>",
    "a,b",
    "[::1",
    "::1]",
    "x:port",
    "x:99999",
    "x:-1",
    "a\\b",
    "é",
    "x:80:80",
    '"x"',
  ];
  return of("hosts", [
    ["no Host", call("")],
    ...bad.map((host) => [`the Host ${JSON.stringify(host)}`, call(`Host: ${host}\r\n`)] as const),
    ...[
      "http://x/api/v1/me",
      "http://evil.example/api/v1/me",
      "https://x/healthz",
      "HTTP://X/api/v1/me",
      "ws://x/api/v1/revdial?runnerid=wolf-a",
      "file:///etc/passwd",
      "//evil.example/api/v1/me",
      "http:/api/v1/me",
      "x:80",
      "*",
      "?",
      "#",
      "api/v1/me",
      "\\api\\v1\\me",
      "@evil.example/api/v1/me",
      ":80/api/v1/me",
      "javascript:alert(1)",
    ].map((target) => [`the target ${target}`, call("Host: x\r\n", target)] as const),
  ]);
}

function paths(key: string): HostileCase[] {
  const targets = [
    "/api/v1/../v1/me",
    "/api/v1/./me",
    "/./api/v1/me",
    "/api//v1/me",
    "//api/v1/me",
    "/api/v1/me//",
    "/api/v1/me/.",
    "/api/v1/me/..",
    "/api/v1/me;a=b",
    "/api/v1;x/me",
    "/api/v1/me%00",
    "/api/v1/me%2f",
    "/api/v1%2fme",
    "/api%2fv1/me",
    "/%61pi/v1/me%20",
    "/api/v1/me%0d%0aX:y",
    "/api/v1/%6de%2e",
    "/api/v1/me%3f",
    "/api/v1/me%23",
    "/api/v1/%2e%2e/me",
    "/api/v1/%2e/me",
    "/api/v1/%252e%252e/me",
    "/api/v1/..%2f..%2fetc%2fpasswd",
    "/api/v1/..%5c..%5c",
    "/api/v1/\\..\\me",
    "/api/v1/%",
    "/api/v1/%2",
    "/api/v1/%zz",
    "/api/v1/sessions/%ff",
    "/api/v1/sessions/%c0%af",
    "/api/v1/sessions/%e0%80%af",
    "/api/v1/sessions/%ed%a0%80",
    "/api/v1/sessions/%u002f",
    "/__proto__",
    "/api/v1/__proto__",
    "/api/v1/constructor",
    "/api/v1/toString",
    "/api/v1/sessions/__proto__",
    "/api/v1/sessions/constructor/prototype",
    "/.git/config",
    "/.env",
    "/swagger/..%2f..%2fpackage.json",
    "/swagger/%2e%2e/%2e%2e/package.json",
    "/swagger//etc/passwd",
    "/swagger/%00index.html",
    "/swagger/index.html%00.js",
    "/openapi.json/..",
    "/openapi.json%00",
    "/healthz/..;/api/v1/me",
    "/api/v1/me#x",
    "/api/v1/ME/x",
    "/api/v1/me/%f0%9f%90%ba",
    "/api/v1/sessions/ses_01KB00000000000000000000SE/../../users",
    "/api/v1/users/..;/me",
    "/server-status",
    "/actuator/env",
    "/wp-admin",
    "/cgi-bin/.%2e/.%2e/bin/sh",
    `/api/v1/${"a/".repeat(3000)}`,
    `/${"%2e%2e%2f".repeat(1000)}`,
    `/api/v1/sessions/${"%00".repeat(2000)}`,
    `/api/v1/sessions/${"a".repeat(8000)}`,
    "/api/v1/sessions/{id}",
    "/api/v1/sessions/:id",
    "/api/v1/sessions/*",
    "/api/v1/sessions/$%7Bjndi:ldap:%7D",
    "/api/v1/sessions/' OR 1=1--".replaceAll(" ", "%20"),
    "/api/v1/sessions/ses_01KB00000000000000000000SE%00",
    "/api/v1/sessions/SES_01KB00000000000000000000SE",
  ];
  const authorised = [`Authorization: Bearer ${key}`];
  return of(
    "paths",
    targets.map((target) => [target.slice(0, 60), requestText({ target, headers: authorised })]),
  );
}

function methods(key: string): HostileCase[] {
  const authorised = [`Authorization: Bearer ${key}`];
  const known = [
    "PUT",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "MKCOL",
    "SEARCH",
    "LINK",
    "PURGE",
    "M-SEARCH",
    "QUERY",
    "UNLOCK",
  ];
  const unknown = [
    "FOO",
    "get",
    "G\u0000T",
    "GETT",
    "POST\u00a0",
    "XGET",
    "_",
    "GET,POST",
    "DELETE;",
    "0",
    "PRI",
  ];
  const overrides = ["X-HTTP-Method-Override: GET", "X-HTTP-Method: GET", "X-Method-Override: GET"];
  return [
    ...of(
      "methods",
      ["/api/v1/me", "/api/v1/users", "/healthz", "/api/v1/revdial", "*", "x:443"].flatMap((target) =>
        [...known, ...unknown].map(
          (method) => [`${method} ${target}`, requestText({ method, target, headers: authorised })] as const,
        ),
      ),
    ),
    ...of(
      "methods",
      overrides.map((header) => [header, requestText({ method: "PUT", headers: [...authorised, header] })]),
    ),
  ];
}

/** Fields that a proxy or a careless server acts upon, on calls without a credential. */
function hopByHop(key: string): HostileCase[] {
  const fields = [
    "Proxy-Authorization: Bearer $",
    "X-Forwarded-User: admin",
    "X-Forwarded-For: 127.0.0.1",
    "X-Real-IP: 127.0.0.1",
    "Forwarded: for=127.0.0.1;host=x",
    "X-Original-URL: /healthz",
    "X-Rewrite-URL: /healthz",
    "X-Remote-User: admin",
    "X-Authorization: Bearer $",
    "X-Api-Key: $",
    "X-Access-Token: $",
    "Api-Key: $",
    "Token: $",
    "Sec-WebSocket-Protocol: bearer, $",
    "Connection: authorization\r\nX: Bearer $",
    "Connection: x-request-id, host",
    "TE: trailers\r\nTrailer: authorization",
    "Keep-Alive: timeout=99999, max=99999",
    "Proxy-Connection: keep-alive",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
    "Upgrade: tcp\r\nConnection: Upgrade",
    "Upgrade: wolfpack/1.0, websocket\r\nConnection: Upgrade",
    "Cookie: authorization=Bearer $",
    "Cookie: token=$; __Host-wolfpack=$",
    "Cookie: __Host-wolfpack=$; __Host-wolfpack=$",
    "Cookie: =; ;;; =__Host-wolfpack",
    "Cookie: __proto__=1; constructor=2; hasOwnProperty=3",
    'Cookie: __Host-wolfpack="$"',
    "Cookie: __Host-wolfpack=%00%ff%zz",
    "Cookie: __host-wolfpack=$",
    "Cookie: $Version=1; __Host-wolfpack=$",
    "Expect: miracles",
    "Content-Encoding: gzip",
    "__proto__: x",
    "constructor: x",
    "Accept-Encoding: *;q=1e999",
    "Range: bytes=0-,0-,0-,0-,0-",
    `If-None-Match: \u0022${"x".repeat(4000)}`,
    "X-Request-Id: \u001b[31mred",
    `Idempotency-Key: ${"k".repeat(4000)}`,
    "Origin: null",
    "Referer: https://evil.example/",
  ].map((field) => field.replaceAll("$", key));
  return [
    ...of(
      "hop by hop",
      fields.map((field) => [field.slice(0, 60), requestText({ headers: [field] })]),
    ),
    ...of("hop by hop", [
      [
        "a credential in a trailer",
        `POST /api/v1/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTrailer: authorization\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer ${key}\r\n\r\n`,
      ],
      ["a credential in the query", requestText({ target: `/api/v1/me?access_token=${key}&api_key=${key}` })],
      [
        "a credential in the user part",
        requestText({ headers: [`Authorization: Basic ${Buffer.from(`admin:${key}`).toString("base64")}`] }),
      ],
    ]),
  ];
}

function credentials(key: string): HostileCase[] {
  const middle = Math.floor(key.length / 2);
  const flipped = `${key.slice(0, middle)}${key[middle] === "A" ? "B" : "A"}${key.slice(middle + 1)}`;
  const values = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer  ",
    `Bearer${key}`,
    `Bearer\t${key}x`,
    `Bearer ${key} x`,
    `Bearer x ${key}`,
    `Bearer "${key}"`,
    `Bearer <${key}>`,
    `Bearer ${key},Bearer ${key}`,
    `Bearer ${key}\r\nAuthorization: Bearer x${key}`,
    `Bearer x\r\nAuthorization: Bearer ${key}`,
    `Basic ${key}`,
    `Token ${key}`,
    `Wolfpack ${key}`,
    "Wolfpack e30",
    "Wolfpack !!!",
    `Wolfpack ${"A".repeat(9000)}`,
    "Negotiate YII=",
    `Digest username="admin"`,
    `Bearer ${key.slice(0, -1)}`,
    `Bearer ${key}A`,
    `Bearer ${key.toUpperCase()}`,
    `Bearer ${key.toLowerCase()}`,
    `Bearer ${flipped}`,
    `Bearer ${key.replace("_", "%5f")}`,
    "Bearer null",
    "Bearer undefined",
    "Bearer [object Object]",
    "Bearer __proto__",
    "Bearer constructor",
    "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.",
    "Bearer ' OR '1'='1",
    "Bearer é",
    "Bearer \u00ff\u00fe",
    `Bearer ${"a".repeat(10_000)}`,
    `Bearer ${"wpk_".repeat(1000)}`,
    "Bearer wjt_00000000000000000000000000_x",
    "Basic Og==",
  ];
  const routes = ["/api/v1/me", "/api/v1/users", "/api/v1/sessions", "/api/v1/revdial?runnerid=wolf-a"];
  return of(
    "credentials",
    routes.flatMap((target) =>
      values.map(
        (value) =>
          [
            `${target} with ${JSON.stringify(value.slice(0, 30))}`,
            requestText({ target, headers: [`Authorization: ${value}`] }),
          ] as const,
      ),
    ),
  );
}

/** All that does not depend on the contract's table. */
export function httpCases(adminKey: string): HostileCase[] {
  return [
    ...framing(adminKey),
    ...cutOff(adminKey),
    ...heads(),
    ...sizes(),
    ...hosts(adminKey),
    ...paths(adminKey),
    ...methods(adminKey),
    ...hopByHop(adminKey),
    ...credentials(adminKey),
  ];
}
