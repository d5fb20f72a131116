import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { parseWolfJson } from "./json.ts";

describe("Wolf's JSON", () => {
  it.each([
    ["nothing", ""],
    ["half an object", '{"id":'],
    ["two values", "{} {}"],
    ["a bare word", "undefined"],
    ["65 levels of arrays", `${"[".repeat(65)}${"]".repeat(65)}`],
    ["65 levels of objects", `${'{"a":'.repeat(65)}1${"}".repeat(65)}`],
    ["a million open brackets", "[".repeat(1_000_000)],
    ["brackets behind an escaped quote", `"\\"",${"[".repeat(70)}`],
  ])("is refused when it is %s", (_name, text) => {
    expect(() => parseWolfJson(text)).toThrow(SyntaxError);
  });

  it("does not count brackets inside strings as levels", () => {
    const text = `${"[".repeat(500)}\\"{`;
    expect(parseWolfJson(JSON.stringify({ text }))).toEqual({ text });
  });

  it("keeps every digit of an id that is a bare number, in either sign and any place", () => {
    expect(parseWolfJson('{"a":[18446744073709551615,9007199254740993,-9007199254740993]}')).toEqual({
      a: ["18446744073709551615", "9007199254740993", "-9007199254740993"],
    });
  });

  it("leaves numbers alone that a double holds, and floats", () => {
    expect(parseWolfJson("[0,9007199254740991,1.5,-0.25,1e300]")).toEqual([
      0, 9007199254740991, 1.5, -0.25, 1e300,
    ]);
  });

  it("reads every JSON value of moderate depth as JSON.parse does", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        const plain: unknown = JSON.parse(text);
        if (/[0-9]{16}/.test(text)) return;
        expect(parseWolfJson(text)).toEqual(plain);
      }),
    );
  });

  it("keeps every unsigned 64-bit id exactly, whichever way it is written", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }), (id) => {
        const { bare, text } = parseWolfJson(`{"bare":${id},"text":"${id}"}`) as {
          bare: unknown;
          text: unknown;
        };
        expect([String(bare), text]).toEqual([String(id), String(id)]);
      }),
    );
  });
});
