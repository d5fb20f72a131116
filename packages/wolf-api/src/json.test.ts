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

  it("does so without a reviver's access to the source, which Node 20 does not have", () => {
    const id = "10594003729173467913";
    const parse = JSON.parse;
    JSON.parse = (text: string) => parse(text) as unknown;
    try {
      expect(parseWolfJson(`{"a":${id},"b":[{"c": -${id} }]}`)).toEqual({ a: id, b: [{ c: `-${id}` }] });
    } finally {
      JSON.parse = parse;
    }
  });

  it.each([
    ["digits in a string", '{"a":"10594003729173467913,\\":10594003729173467913"}'],
    ["a fraction", "[1.0594003729173467913,10594003729173467913.5]"],
    ["an exponent", "[1e10,10594003729173467913e-3,1E+0000000000000000001]"],
    ["an integer of 16 digits that is exact", "[9007199254740991,-9007199254740991]"],
  ])("leaves %s alone", (_name, text) => {
    expect(parseWolfJson(text)).toEqual(JSON.parse(text));
  });

  it.each([
    "{10594003729173467913:1}",
    '{"a":1,10594003729173467913 \n:1}',
    "010594003729173467913",
    "--10594003729173467913",
    "+10594003729173467913",
    "10594003729173467913.",
    ".10594003729173467913",
    "10594003729173467913e",
    "1.5.10594003729173467913",
    "10594003729173467913n",
    '10594003729173467913"',
    '"10594003729173467913',
    '"a"10594003729173467913',
    "[10594003729173467913 10594003729173467913]",
  ])("refuses %j as JSON.parse does", (text) => {
    expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError);
    expect(() => parseWolfJson(text)).toThrow(SyntaxError);
  });

  it("takes what JSON.parse takes, and nothing else, also among long integers", () => {
    const piece = fc.constantFrom(
      ...'10594003729173467913|9007199254740993|0|-|+|.|e|:|,|[|]|{|}|"|\\|"a"| |\n|x'.split("|"),
    );
    const takes = (parse: (text: string) => unknown, text: string) => {
      try {
        parse(text);
        return true;
      } catch {
        return false;
      }
    };
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 9 }), (pieces) => {
        const text = pieces.join("");
        expect(takes(parseWolfJson, text)).toBe(takes(JSON.parse, text));
      }),
      { numRuns: 5000 },
    );
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
