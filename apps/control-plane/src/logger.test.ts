import { describe, expect, it } from "@jest/globals";
import { createLogger } from "./logger.ts";

function logged(values: object, message = "event"): string {
  let text = "";
  const log = createLogger("trace", {
    write: (line: string) => {
      text += line;
    },
  });
  log.info(values, message);
  return text;
}

describe("a line of the log", () => {
  it.each([
    "\u001b[31mred\u001b[0m",
    "a\nb\r\nc",
    '"},{"level":60,"msg":"forged"',
    "\u0000\u0007\u0008\u007f",
    "\u009b31m and \u0085 next line",
    "\u2028line\u2029paragraph",
    "\u202etxt.exe\u202c \u2066x\u2069 \u200f",
    "\u{e0001}tag \u{1f43a}",
    "\ud800",
  ])("is one line and steers no terminal, and says what was said (%j)", (text) => {
    const line = logged({ name: text, nested: { [text]: text }, err: new Error(text) }, text);
    expect(line.endsWith("\n")).toBe(true);
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(JSON.parse(line)).toMatchObject({ name: text, nested: { [text]: text }, msg: text });
  });

  it("has no API key and no join token, whatever they stand in", () => {
    const key = `wpk_${"Ab-_".repeat(10)}xyz`;
    const token = `wjt_01ARZ3NDEKTSV4RRFFQ69G5FAV_${"x".repeat(49)}`;
    const line = logged(
      { path: `/api/v1/sessions/${key}`, [key]: 1, err: new Error(`no ${token}`) },
      `key ${key}`,
    );
    expect(line).not.toContain(key.slice(0, 24));
    expect(line).not.toContain(token.slice(-20));
    expect(JSON.parse(line).path).toBe("/api/v1/sessions/wpk_[redacted]");
    expect(logged({ prefix: "wpk_T2-TNq" })).toContain("wpk_T2-TNq");
  });
});
