import { describe, expect, it } from "@jest/globals";
import { jsonText } from "./json-text.ts";

describe("values of any shape as text", () => {
  it("indents them", () => {
    expect(jsonText({ a: [1] })).toBe('{\n  "a": [\n    1\n  ]\n}');
    expect(jsonText(undefined)).toBe("");
  });

  it("shows what would deceive the eye", () => {
    expect(jsonText({ name: "\u202egnp.exe\u001b[31m" })).toBe('{\n  "name": "\\u202egnp.exe\\u001b[31m"\n}');
  });

  it("cuts what is long, and says so", () => {
    const lines = jsonText(Array.from({ length: 1000 }, (_unused, index) => index)).split("\n");
    expect(lines).toHaveLength(201);
    expect(lines.at(-1)).toBe("… 802 lines more");
    expect(jsonText("x".repeat(10_000)).length).toBeLessThan(600);
  });
});
