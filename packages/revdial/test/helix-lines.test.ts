import { describe, expect, it } from "@jest/globals";
import {
  type ControlLine,
  encodeLine,
  LINE_BYTES_MAX,
  LineDecoder,
  requestIdOf,
} from "../src/helix/lines.ts";

function decode(...pieces: (string | Uint8Array)[]) {
  const decoder = new LineDecoder();
  const lines: ControlLine[] = [];
  let fault: unknown;
  for (const piece of pieces) fault = decoder.push(Buffer.from(piece), (line) => lines.push(line));
  return { lines, fault };
}

const keepAlive = '{"command":"keep-alive"}\n';

describe("a line of control", () => {
  it("is written as the original writes it, with its escapes", () => {
    const connPath = "/revdial?revdial.dialer=ab&revdial.req=cd";
    expect(encodeLine({ command: "conn-ready", connPath })).toBe(
      '{"command":"conn-ready","connPath":"/revdial?revdial.dialer=ab\\u0026revdial.req=cd"}\n',
    );
    expect(encodeLine({ err: "<a>\u2028" })).toBe('{"err":"\\u003ca\\u003e\\u2028"}\n');
  });

  it("is read back whatever was escaped", () => {
    const line = { command: "pickup-failed", connPath: "/revdial?a=1&revdial.req=cd", err: "<no>" };
    expect(decode(encodeLine(line))).toEqual({ lines: [line], fault: undefined });
  });

  it("may share its bytes with others and may come in pieces, cut within a character too", () => {
    const text = Buffer.from('{"command":"é"}\n');
    const [first, last] = [text.subarray(0, 13), text.subarray(13)];
    expect(decode(keepAlive + keepAlive, first, last, "").lines).toEqual([
      { command: "keep-alive" },
      { command: "keep-alive" },
      { command: "é" },
    ]);
  });

  it("may have fields that nobody knows, and a command that nobody knows", () => {
    expect(decode('{"command":"new","more":[1],"err":null}\r\n').lines).toEqual([{ command: "new" }]);
  });

  it("of 4,096 bytes with its end is taken, also in pieces", () => {
    const line = `${JSON.stringify({ err: "x".repeat(LINE_BYTES_MAX - 11) })}\n`;
    expect(line).toHaveLength(LINE_BYTES_MAX);
    expect(decode(line).lines).toHaveLength(1);
    expect(decode(...line).lines).toHaveLength(1);
  });

  it.each([
    ["whole", ["x".repeat(LINE_BYTES_MAX), "\n"]],
    ["in pieces", ["x".repeat(4000), "x".repeat(96)]],
    ["without an end", ["x".repeat(100_000)]],
  ])("of more is too long, %s", (_how, pieces) => {
    expect(decode(...pieces).fault).toMatchObject({ code: "line-too-long" });
  });

  it.each([
    ["blank", "\n", "blank"],
    ["blank but for spaces", " \r\n", "blank"],
    ["no JSON", "keep-alive\n", "no JSON"],
    ["half an object", '{"command":\n', "no JSON"],
    ["a text", '"keep-alive"\n', "no object"],
    ["a list", "[]\n", "no object"],
    ["null", "null\n", "no object"],
    ["with a number for its command", '{"command":1}\n', "command is no text"],
    ["with an object for its connPath", '{"connPath":{}}\n', "connPath is no text"],
  ])("that is %s is invalid", (_what, text, detail) => {
    expect(decode(text)).toMatchObject({ lines: [], fault: { code: "line-invalid" } });
    expect(decode(text).fault).toMatchObject({ detail: expect.stringContaining(detail) });
  });

  it("behind an invalid one is not looked at, and those before it are", () => {
    expect(decode(`${keepAlive}\n${keepAlive}`, keepAlive)).toMatchObject({
      lines: [{ command: "keep-alive" }],
      fault: { code: "line-invalid" },
    });
  });
});

describe("the number of a dial", () => {
  it.each([
    ["/revdial?revdial.dialer=a&revdial.req=b", "b"],
    ["/api/v1/revdial?revdial.req=b&revdial.dialer=a", "b"],
    ["/revdial?revdial.dialer=a", undefined],
    ["/revdial", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("of %j is %j", (connPath, id) => {
    expect(requestIdOf(connPath)).toBe(id);
  });
});
