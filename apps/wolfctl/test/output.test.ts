/** What is printed: harmless whatever hosts have written, within the width, and the same value again for programs that read it. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { parse } from "yaml";
import { factsText } from "../src/output/facts.ts";
import {
  columnsOf,
  printable,
  printableJson,
  printableLines,
  shortened,
  wrapped,
} from "../src/output/printable.ts";
import { noPaint, paintFor } from "../src/output/style.ts";
import { type Column, tableText } from "../src/output/table.ts";
import { age, bar, duration, size, sparkline } from "../src/output/words.ts";
import { yamlDocument } from "../src/output/yaml.ts";
import { HOSTILE } from "./objects.ts";

const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;
const anyText = fc.string({ unit: "binary", maxLength: 60 });
const anyCode = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
  .map((codes) => String.fromCharCode(...codes));

describe("text of others", () => {
  it("holds nothing that steers a terminal, breaks a line or turns its direction", () => {
    fc.assert(fc.property(fc.oneof(anyText, anyCode), (text) => !unsafe.test(printable(text))));
    expect(printable(HOSTILE)).toBe(
      "\\x1b[2J\\x1b]0;owned\\x07<b>x</b>\\r\\nfake line\\u{202e}\\x9b31m\\x00",
    );
  });

  it("keeps line breaks and tabs where several lines are meant, and no carriage return alone", () => {
    expect(printableLines("a\tb\r\nc\rd\u001b[1m")).toBe("a\tb\nc\\rd\\x1b[1m");
  });

  it("is the same value in JSON, with every such character written out", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, anyCode), (text) => {
        const json = printableJson(JSON.stringify({ [text]: [text] }, null, 2));
        expect(unsafe.test(json.replaceAll("\n", ""))).toBe(false);
        expect(JSON.parse(json)).toEqual({ [text]: [text] });
      }),
    );
  });

  it("takes the columns of a terminal, not of a string", () => {
    expect(["abc", "日本", "e\u0301", "🦊"].map(columnsOf)).toEqual([3, 4, 1, 2]);
    expect(shortened("日本語", 4)).toBe("日…");
    expect(shortened("abc", 3)).toBe("abc");
  });

  it("is wrapped at words, and within a word that is too long", () => {
    expect(wrapped("one two threefour", 5)).toEqual(["one", "two", "three", "four"]);
    fc.assert(
      fc.property(anyText, fc.integer({ min: 4, max: 40 }), (text, width) =>
        wrapped(printable(text), width).every((line) => columnsOf(line) <= width),
      ),
    );
  });
});

describe("a table", () => {
  const columns: readonly Column<{ name: string; note?: string }>[] = [
    { title: "NAME", of: (row) => row.name, shrinkTo: 8 },
    { title: "STATUS", of: () => ({ text: "online", tone: "good" }) },
    { title: "NOTE", of: (row) => row.note ?? "", shrinkTo: 8 },
    { title: "AGE", of: () => "12 min", align: "right", spare: 1 },
  ];

  it("is at most as wide as it is told, whatever stands in it", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ name: anyText, note: anyText }), { maxLength: 8 }), (rows) => {
        const lines = tableText(columns, rows, { width: 80, paint: noPaint }).split("\n");
        expect(lines.filter((line) => columnsOf(line) > 80 || unsafe.test(line))).toEqual([]);
        expect(lines.length).toBe(rows.length === 0 ? 1 : rows.length + 2);
      }),
    );
  });

  it("cuts what may be cut, then leaves out what can be done without, and nothing where all is wanted", () => {
    const rows = [{ name: "n".repeat(30), note: "o".repeat(30) }];
    const narrow = tableText(columns, rows, { width: 40, paint: noPaint });
    expect(narrow).toContain("AGE");
    expect(narrow).toContain("…");
    expect(tableText(columns, rows, { width: 30, paint: noPaint })).not.toContain("AGE");
    expect(tableText(columns, rows, { width: undefined, paint: noPaint })).toContain("o".repeat(30));
  });

  it("puts colours around words and not into widths", () => {
    const plain = tableText(columns, [{ name: "a" }], { width: 80, paint: noPaint });
    const painted = tableText(columns, [{ name: "a" }], { width: 80, paint: paintFor(true, {}) });
    expect(painted).not.toBe(plain);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours that were put in
    expect(painted.replace(/\u001b\[\d+m/g, "")).toBe(plain);
  });

  it("has no colours where there is no terminal, with NO_COLOR, or where the terminal is dumb", () => {
    for (const [isTTY, env] of [
      [false, {}],
      [true, { NO_COLOR: "1" }],
      [true, { TERM: "dumb" }],
    ] as const)
      expect(paintFor(isTTY, env)("bad", "x")).toBe("x");
    expect(paintFor(true, { NO_COLOR: "" })("bad", "x")).not.toBe("x");
  });

  it("shows ten thousand rows", () => {
    const rows = Array.from({ length: 10_000 }, (_, index) => ({ name: `gpu-${index}` }));
    expect(tableText(columns, rows, { width: 80, paint: noPaint }).split("\n")).toHaveLength(10_002);
  });
});

describe("the facts of one object", () => {
  it("stay within the width and on their side of it", () => {
    fc.assert(
      fc.property(anyText, anyText, (title, value) => {
        const text = factsText([{ title: title || "x", facts: [{ name: "some name", value }] }], {
          width: 80,
          paint: noPaint,
        });
        expect(text.split("\n").filter((line) => columnsOf(line) > 80 || unsafe.test(line))).toEqual([]);
      }),
    );
  });
});

describe("YAML", () => {
  const value = fc.jsonValue({ maxDepth: 4, stringUnit: "binary" });

  it("is read as the same value by readers of YAML 1.2 and of 1.1", () => {
    fc.assert(
      fc.property(value, (json) => {
        const same = JSON.parse(JSON.stringify(json));
        for (const version of ["1.1", "1.2"] as const)
          expect(
            parse(yamlDocument(same), {
              version,
              schema: version === "1.1" ? "yaml-1.1" : "core",
              maxAliasCount: 0,
            }),
          ).toEqual(same);
      }),
    );
  });

  it("quotes what could be read as something else than the string it is", () => {
    const words = [
      "no",
      "y",
      "true",
      "null",
      "~",
      "1e3",
      "0x1f",
      "2026-11-26",
      "- a",
      "a: b",
      "#",
      "&a",
      "*a",
      "!t",
      "",
      " ",
      "<<",
      "=",
      HOSTILE,
    ];
    expect(parse(yamlDocument({ words }), { schema: "yaml-1.1", version: "1.1" })).toEqual({ words });
    expect(unsafe.test(yamlDocument({ words }).replaceAll("\n", ""))).toBe(false);
  });
});

describe("words", () => {
  it("say times, sizes and shares as people do", () => {
    expect([0, 119_000, 120_000, 7_199_000, 7_200_000, 200_000_000].map(duration)).toEqual([
      "0 s",
      "119 s",
      "2 min",
      "119 min",
      "2 h",
      "2 d",
    ]);
    expect([0, 1023, 1024, 150 * 1024, 3.2 * 1024 ** 3].map(size)).toEqual([
      "0 B",
      "1023 B",
      "1.0 KiB",
      "150 KiB",
      "3.2 GiB",
    ]);
    expect([bar(0, 5), bar(0.5, 4), bar(7, 3), bar(-1, 3)]).toEqual(["░░░░░", "██░░", "███", "░░░"]);
    expect(sparkline([0, 0.5, 1], 3)).toBe("▁▅█");
    expect(age(null, 0)).toBe("–");
  });
});
