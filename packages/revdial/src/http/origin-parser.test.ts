import { describe, expect, it } from "@jest/globals";
import { ANSWER_FIELDS_MAX, AnswerError, type AnswerHead, type FieldList } from "./origin-head.ts";
import {
  ANSWER_HEAD_BYTES_MAX,
  AnswerParser,
  type AnswerSink,
  CHUNK_LINE_BYTES_MAX,
} from "./origin-parser.ts";

interface Asked {
  method?: string;
  toUpgrade?: boolean;
  /** The connection ends behind what was said. */
  ends?: boolean;
}

/** Everything that a parser tells of one answer. */
class Record implements AnswerSink {
  readonly told: string[] = [];
  readonly parser = new AnswerParser();
  private body = "";

  onInterim(status: number, fields: FieldList): void {
    this.told.push(`${status} ${JSON.stringify(fields)}`);
  }

  onHead({ status, fields }: AnswerHead): void {
    this.told.push(`${status} ${JSON.stringify(fields)}`);
  }

  onData(bytes: Buffer): void {
    expect(bytes.length).toBeGreaterThan(0);
    this.body += bytes.toString("latin1");
  }

  onEnd(trailers: FieldList, keepMs: number): void {
    this.told.push(`body ${this.body}`, `trailers ${JSON.stringify(trailers)}`, `keep ${keepMs}`);
  }

  onSwitch(fields: FieldList, rest: Buffer): void {
    this.told.push(`switched ${JSON.stringify(fields)}`);
    this.body = rest.toString("latin1");
  }

  /** Bytes behind a 101 belong to whoever has the socket then. */
  get switchedBytes(): string {
    return this.body;
  }
}

/** `cuts`: where what was said is cut into reads. */
function parse(said: string, asked: Asked = {}, cuts: readonly number[] = []): Record {
  const record = new Record();
  const bytes = Buffer.from(said, "latin1");
  record.parser.begin(record, asked.method ?? "GET", asked.toUpgrade ?? false);
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    if (to > from) record.parser.feed(bytes.subarray(from, to));
    from = to;
  }
  if (asked.ends) record.parser.end();
  return record;
}

const everyByte = (said: string) => Array.from({ length: said.length }, (_, i) => i);

function refusal(said: string, asked?: Asked, cuts?: readonly number[]): string {
  try {
    parse(said, asked, cuts);
  } catch (error) {
    return error instanceof AnswerError ? error.code : String(error);
  }
  return "taken";
}

const ok = "HTTP/1.1 200 OK\r\n";
const sized = `${ok}Content-Length: 2\r\n\r\nok`;
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;
const none = ["trailers []", "keep 4000"];

const legal: [what: string, said: string, asked: Asked, told: string[]][] = [
  ["a body with its length", sized, {}, ['200 [["content-length","2"]]', "body ok", ...none]],
  ["an empty body", `${ok}Content-Length: 0\r\n\r\n`, {}, ['200 [["content-length","0"]]', "body ", ...none]],
  [
    "a length said twice alike",
    `${ok}Content-Length: 2\r\ncontent-length: 02\r\n\r\nok`,
    {},
    ['200 [["content-length","2"],["content-length","02"]]', "body ok", ...none],
  ],
  [
    "chunks",
    `${chunked}2\r\nok\r\nA\r\n0123456789\r\n0\r\n\r\n`,
    {},
    ['200 [["transfer-encoding","chunked"]]', "body ok0123456789", ...none],
  ],
  [
    "chunks in other letters",
    `${ok}TRANSFER-encoding: Chunked\r\n\r\n00a\r\n0123456789\r\n000\r\n\r\n`,
    {},
    ['200 [["transfer-encoding","Chunked"]]', "body 0123456789", ...none],
  ],
  [
    "chunks with extensions",
    `${chunked}2;a=b;c;d="e \\" f"\r\nok\r\n0;last\r\n\r\n`,
    {},
    ['200 [["transfer-encoding","chunked"]]', "body ok", ...none],
  ],
  [
    "trailers",
    `${chunked}2\r\nok\r\n0\r\nX-A: 1\r\nX-A: 2\r\n\r\n`,
    {},
    ['200 [["transfer-encoding","chunked"]]', "body ok", 'trailers [["x-a","1"],["x-a","2"]]', "keep 4000"],
  ],
  [
    "a body until the connection ends",
    `${ok}X: 1\r\n\r\nall of it`,
    { ends: true },
    ['200 [["x","1"]]', "body all of it", "trailers []", "keep 0"],
  ],
  [
    "no body and no end to HEAD",
    `${ok}Content-Length: 5\r\n\r\n`,
    { method: "HEAD" },
    ['200 [["content-length","5"]]', "body ", ...none],
  ],
  [
    "chunks announced to HEAD",
    chunked,
    { method: "HEAD" },
    ['200 [["transfer-encoding","chunked"]]', "body ", ...none],
  ],
  ["204", "HTTP/1.1 204 No Content\r\n\r\n", {}, ["204 []", "body ", ...none]],
  [
    "304 with the length of what it stands for",
    "HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
    {},
    ['304 [["content-length","9"]]', "body ", ...none],
  ],
  ["no reason", "HTTP/1.1 204 \r\n\r\n", {}, ["204 []", "body ", ...none]],
  ["not even a blank before it", "HTTP/1.1 204\r\n\r\n", {}, ["204 []", "body ", ...none]],
  ["a reason that is not ASCII", "HTTP/1.1 204 \xe9t\xe9\r\n\r\n", {}, ["204 []", "body ", ...none]],
  [
    "values with blanks around, empty ones and those that are not ASCII",
    "HTTP/1.1 204 N\r\nA:\t x \t\r\nB:\r\nC: \r\nD:a b\tc\r\nE:caf\xe9\r\n\r\n",
    {},
    ['204 [["a","x"],["b",""],["c",""],["d","a b\\tc"],["e","caf\xe9"]]', "body ", ...none],
  ],
  [
    "names that every object has",
    "HTTP/1.1 204 N\r\n__proto__: 1\r\nconstructor: 2\r\n\r\n",
    {},
    ['204 [["__proto__","1"],["constructor","2"]]', "body ", ...none],
  ],
  [
    "hints before the answer",
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: <a>\r\n\r\n${sized}`,
    {},
    ["100 []", '103 [["link","<a>"]]', '200 [["content-length","2"]]', "body ok", ...none],
  ],
  [
    "HTTP/1.0",
    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    {},
    ['200 [["content-length","2"]]', "body ok", "trailers []", "keep 0"],
  ],
  [
    "HTTP/1.0 that keeps its connection",
    "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",
    {},
    ['200 [["connection","Keep-Alive"],["content-length","2"]]', "body ok", ...none],
  ],
  [
    "the end of its connection",
    "HTTP/1.1 204 N\r\nConnection: x, CLOSE\r\n\r\n",
    {},
    ['204 [["connection","x, CLOSE"]]', "body ", "trailers []", "keep 0"],
  ],
  [
    "a refused upgrade",
    "HTTP/1.1 403 F\r\nContent-Length: 2\r\n\r\nno",
    { toUpgrade: true },
    ['403 [["content-length","2"]]', "body no", ...none],
  ],
];

describe("an answer", () => {
  it.each(legal)("with %s is read, wherever it is cut", (_what, said, asked, told) => {
    expect(parse(said, asked).told).toEqual(told);
    for (let cut = 1; cut < said.length; cut += 1) expect(parse(said, asked, [cut]).told).toEqual(told);
    expect(parse(said, asked, everyByte(said)).told).toEqual(told);
  });

  it.each(legal)("with %s is not whole without its last byte", (_what, said, asked, told) => {
    if (asked.ends) return expect(refusal(said.slice(0, said.indexOf("\r\n\r\n")), asked)).toBe("ANSWER_CUT");
    expect(parse(said.slice(0, -1), asked).told).not.toContain(told.at(-1));
    expect(refusal(said.slice(0, -1), { ...asked, ends: true })).toBe("ANSWER_CUT");
  });

  it("of 101 to an upgrade hands over every byte behind its head", () => {
    const said = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n\x00\r\n\r\nHTTP/1.1 200 OK";
    const { told, switchedBytes } = parse(said, { toUpgrade: true });
    expect(told).toEqual(['switched [["connection","Upgrade"],["upgrade","x"]]']);
    expect(switchedBytes).toBe("\x00\r\n\r\nHTTP/1.1 200 OK");
  });

  it.each([
    ["a length", sized],
    ["no body", "HTTP/1.1 204 N\r\nContent-Length: 6\r\n\r\n"],
    ["chunks", `${chunked}2\r\nok\r\n0\r\n\r\n`],
    ["trailers", `${chunked}0\r\nX: 1\r\n\r\n`],
  ])("with %s and bytes behind it ends its connection, and they are nobody's", (_what, said) => {
    const alone = parse(said).told;
    expect(parse(`${said}\n\n`).told).toEqual([...alone.slice(0, -1), "keep 0"]);
    const { told, parser } = parse(`${said}${sized}`);
    expect(told).toEqual([...alone.slice(0, -1), "keep 0"]);
    parser.feed(Buffer.from(sized));
    expect(told).toHaveLength(alone.length);
  });
});

const field = (line: string) => `${ok}${line}\r\nContent-Length: 0\r\n\r\n`;
const lengths = (...values: string[]) =>
  `${ok}${values.map((value) => `Content-Length: ${value}\r\n`).join("")}\r\nok`;
const coding = (value: string) => `${ok}Transfer-Encoding: ${value}\r\n\r\n0\r\n\r\n`;
const chunks = (text: string) => `${chunked}${text}`;

const illegal: [what: string, said: string, asked?: Asked][] = [
  ["no answer but an empty line", `\r\n${sized}`],
  ["HTTP/0.9", "hello\r\n\r\n"],
  ["a name that every object has where its version belongs", "__proto__200 OK\r\n\r\n"],
  ["HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n"],
  ["HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n"],
  ["http in lower case", "http/1.1 200 OK\r\n\r\n"],
  ["a blank before its status line", ` ${sized}`],
  ["two blanks before its status", "HTTP/1.1  200 OK\r\n\r\n"],
  ["a tab before its status", "HTTP/1.1\t200 OK\r\n\r\n"],
  ["status 099", "HTTP/1.1 099 No\r\n\r\n"],
  ["status 600", "HTTP/1.1 600 No\r\n\r\n"],
  ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
  ["a status that is no number", "HTTP/1.1 2x0 OK\r\n\r\n"],
  ["a tab behind its status", "HTTP/1.1 200\tOK\r\n\r\n"],
  ["a control character in its reason", "HTTP/1.1 200 O\x01K\r\n\r\n"],
  ["a CR in its reason", "HTTP/1.1 200 O\rK\r\n\r\n"],
  ["lines that end with LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"],
  ["one line that ends with LF", `${ok}X: 1\nContent-Length: 0\r\n\r\n`],
  ["an empty line that ends with LF", `${ok}Content-Length: 0\r\n\n\r\n`],
  ["lines that end with CR", "HTTP/1.1 200 OK\rContent-Length: 0\r\r\n\r\n"],
  ["a line that ends with CR CR LF", `${ok}X: 1\r\r\nContent-Length: 0\r\n\r\n`],
  ["a folded line", field("X: 1\r\n folded")],
  ["a line folded with a tab", field("X: 1\r\n\tfolded")],
  ["a blank before a colon", field("X : 1")],
  ["a tab before a colon", field("X\t: 1")],
  ["a blank before a name", `${ok} X: 1\r\n\r\n`],
  ["a field without a name", field(": 1")],
  ["a field without a colon", field("X")],
  ["a name that is no token", field("X(a): 1")],
  ["a name that is not ASCII", field("X\xe9: 1")],
  ["a NUL in a name", field("X\0: 1")],
  ["a NUL in a value", field("X: a\0b")],
  ["a CR in a value", field("X: a\rb")],
  ["a control character in a value", field("X: a\x7fb")],
  ["a length that is no number", lengths("x")],
  ["an empty length", lengths("")],
  ["a length with a sign", lengths("+2")],
  ["a negative length", lengths("-2")],
  ["a length with a fraction", lengths("2.0")],
  ["a length in hexadecimal", lengths("0x2")],
  ["a length with blanks within", lengths("1 2")],
  ["two lengths in one", lengths("2, 2")],
  ["two lengths that differ", lengths("2", "3")],
  ["a length beyond all safe numbers", lengths("9007199254740992")],
  ["a length beyond all numbers", lengths("9".repeat(400))],
  ["a length and chunks", `${ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["chunks and a length", `${ok}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
  ["chunks of HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["a hint in HTTP/1.0", `HTTP/1.0 100 Continue\r\n\r\n${sized}`],
  ["a chunk without a size", chunks("\r\nok\r\n0\r\n\r\n")],
  ["a size that is no number", chunks("zz\r\nok\r\n")],
  ["a size with 0x before it", chunks("0x2\r\nok\r\n0\r\n\r\n")],
  ["a negative size", chunks("-2\r\nok\r\n0\r\n\r\n")],
  ["a size with a blank before it", chunks(" 2\r\nok\r\n0\r\n\r\n")],
  ["a size with a blank behind it", chunks("2 \r\nok\r\n0\r\n\r\n")],
  ["a size beyond all safe numbers", chunks("20000000000000\r\n")],
  ["a size of 17 digits", chunks(`${"0".repeat(16)}2\r\nok\r\n0\r\n\r\n`)],
  ["an extension without a name", chunks("2;\r\nok\r\n0\r\n\r\n")],
  ["an extension with a control character", chunks("2;a\x01\r\nok\r\n0\r\n\r\n")],
  ["an extension with an open quotation", chunks('2;a="b\r\nok\r\n0\r\n\r\n')],
  ["an extension with a CR", chunks("2;a\rb\r\nok\r\n0\r\n\r\n")],
  ["a size that ends with LF", chunks("2\nok\r\n0\r\n\r\n")],
  ["a chunk longer than its size", chunks("2\r\nokay\r\n0\r\n\r\n")],
  ["a chunk shorter than its size", chunks("4\r\nok\r\n0\r\n\r\n")],
  ["a chunk that ends with LF", chunks("2\r\nok\n0\r\n\r\n")],
  ["a chunk that ends with CR alone", chunks("2\r\nok\r0\r\n\r\n")],
  ["trailers that end with LF", chunks("0\r\nX: 1\n\n")],
  ["a trailer without a colon", chunks("0\r\nX\r\n\r\n")],
  ["a length in its trailers", chunks("0\r\nContent-Length: 5\r\n\r\n")],
  ["a coding in its trailers", chunks("0\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n")],
  ["a folded trailer", chunks("0\r\nX: 1\r\n 2\r\n\r\n")],
  ["101 that nobody asked for", "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n"],
  ["101 that names no protocol", "HTTP/1.1 101 S\r\n\r\n", { toUpgrade: true }],
];

describe("an answer with", () => {
  it.each(illegal.map(([what, said, asked = {}]) => [what, said, asked] as const))(
    "%s is refused, whole and byte by byte",
    (_what, said, asked) => {
      expect(refusal(said, asked)).toBe("ANSWER_MALFORMED");
      expect(refusal(said, asked, everyByte(said))).toBe("ANSWER_MALFORMED");
    },
  );

  it.each(["gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "xchunked", "identity", ""])(
    "the transfer coding %j is refused by its name, to HEAD too",
    (value) => {
      const lines = value.split(", ").map((one) => `Transfer-Encoding: ${one}\r\n`);
      for (const said of [coding(value), `${ok}${lines.join("")}\r\n0\r\n\r\n`])
        for (const method of ["GET", "HEAD"]) {
          expect(refusal(said, { method })).toBe("ANSWER_MALFORMED");
          expect(() => parse(said, { method })).toThrow(`the target used the transfer coding ${value}`);
        }
    },
  );

  it.each([
    ["a byte of SSH", "S"],
    ["a byte of TLS", "\x15"],
    ["HTTP/2", "HTTP/2"],
    ["a line that ends with LF", "HTTP/1.1 200 OK\n"],
    ["a second line that ends with LF", "HTTP/1.1 200 OK\r\nX: 1\n"],
  ])("%s is refused before it goes on", (_what, said) => {
    expect(refusal(said)).toBe("ANSWER_MALFORMED");
    expect(refusal(said, {}, everyByte(said))).toBe("ANSWER_MALFORMED");
  });

  const filled = (bytes: number) => {
    const start = `${ok}Content-Length: 0\r\nX: `;
    return `${start}${"x".repeat(bytes - start.length)}\r\n\r\n`;
  };
  const fields = (count: number) => "X: 1\r\n".repeat(count);
  const limits: [what: string, fits: string, tooMuch: string][] = [
    ["a head", filled(ANSWER_HEAD_BYTES_MAX), filled(ANSWER_HEAD_BYTES_MAX + 1)],
    [
      "fields",
      `${ok}Content-Length: 0\r\n${fields(ANSWER_FIELDS_MAX - 1)}\r\n`,
      `${ok}Content-Length: 0\r\n${fields(ANSWER_FIELDS_MAX)}\r\n`,
    ],
    [
      "a chunk's line",
      `${chunked}0;${"x".repeat(CHUNK_LINE_BYTES_MAX - 2)}\r\n\r\n`,
      `${chunked}0;${"x".repeat(CHUNK_LINE_BYTES_MAX - 1)}\r\n\r\n`,
    ],
    [
      "trailers",
      `${chunked}0\r\n${fields(ANSWER_FIELDS_MAX)}\r\n`,
      `${chunked}0\r\n${fields(ANSWER_FIELDS_MAX + 1)}\r\n`,
    ],
    [
      "bytes of trailers",
      `${chunked}0\r\nX: ${"x".repeat(ANSWER_HEAD_BYTES_MAX - 5)}\r\n\r\n`,
      `${chunked}0\r\nX: ${"x".repeat(ANSWER_HEAD_BYTES_MAX - 4)}\r\n\r\n`,
    ],
  ];

  it.each(limits)("%s up to the limit is taken, and one more refused", (_what, fits, tooMuch) => {
    expect(refusal(fits)).toBe("taken");
    expect(refusal(fits, {}, everyByte(fits))).toBe("taken");
    expect(refusal(tooMuch)).toBe("ANSWER_TOO_LARGE");
    expect(refusal(tooMuch, {}, everyByte(tooMuch))).toBe("ANSWER_TOO_LARGE");
  });

  it("a head or a line without end is refused when it is too long, not later", () => {
    expect(refusal(`${ok}X: ${"x".repeat(ANSWER_HEAD_BYTES_MAX)}`)).toBe("ANSWER_TOO_LARGE");
    expect(refusal(`${chunked}2;${"x".repeat(CHUNK_LINE_BYTES_MAX + 2)}`)).toBe("ANSWER_TOO_LARGE");
  });
});

describe("a parser", () => {
  it("says nothing more once it is stopped, wherever in an answer that happens", () => {
    const said = `HTTP/1.1 103 E\r\n\r\n${chunked}2\r\nok\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n`;
    for (const method of ["onInterim", "onHead", "onData", "onEnd"] as const) {
      const told: string[] = [];
      const parser = new AnswerParser();
      const note = (name: string) => () => {
        told.push(name);
        if (name === method) parser.stop();
      };
      parser.begin(
        {
          onInterim: note("onInterim"),
          onHead: note("onHead"),
          onData: note("onData"),
          onEnd: note("onEnd"),
          onSwitch: note("onSwitch"),
        },
        "GET",
        false,
      );
      parser.feed(Buffer.from(said));
      expect(told.at(-1)).toBe(method);
      expect(told.filter((name) => name === method)).toHaveLength(1);
    }
  });

  it("gives away what its sink throws", () => {
    const record = new Record();
    record.parser.begin(record, "GET", false);
    record.onHead = () => {
      throw new Error("not this head");
    };
    expect(() => record.parser.feed(Buffer.from(sized))).toThrow("not this head");
  });

  it("reads one answer after another, and forgets what was left of one that was stopped", () => {
    const record = new Record();
    record.parser.begin(record, "GET", false);
    record.parser.feed(Buffer.from(`${ok}X: 1\r\nX-`));
    record.parser.stop();
    for (const method of ["GET", "HEAD", "GET"]) {
      record.parser.begin(record, method, false);
      record.parser.feed(Buffer.from(method === "HEAD" ? sized.slice(0, -2) : sized));
    }
    expect(record.told.filter((line) => line.startsWith("200"))).toEqual(
      Array(3).fill('200 [["content-length","2"]]'),
    );
  });

  it.each([
    ["timeout=5", 4000],
    ["timeout=5, max=100", 4000],
    ["max=100, timeout=30", 29_000],
    ["max=100,Timeout=30", 29_000],
    ["timeout=1", 0],
    ["timeout=0", 0],
    ["timeout=999999999", 600_000],
    ["timeout=9999999999", 4000],
    ["timeout=x", 4000],
    ["xtimeout=9", 4000],
    ["", 4000],
  ])("keeps a connection behind Keep-Alive %j for %i ms", (hint, keepMs) => {
    const { told } = parse(`HTTP/1.1 204 N\r\nKeep-Alive: ${hint}\r\n\r\n`);
    expect(told.at(-1)).toBe(`keep ${keepMs}`);
    const closing = parse(`HTTP/1.1 204 N\r\nKeep-Alive: ${hint}\r\nConnection: close\r\n\r\n`);
    expect(closing.told.at(-1)).toBe("keep 0");
  });
});
