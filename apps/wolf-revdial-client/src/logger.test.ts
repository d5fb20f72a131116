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

describe("a line of the agent's log", () => {
  it.each([
    "\u001b[31mred\u001b[0m",
    "a\nb\r\nc",
    '"},{"level":60',
    "\u009b31m",
    "\u202etxt.exe",
    "\u2028line",
  ])("is one line and steers no terminal (%j)", (text) => {
    const line = logged({ name: text, err: new Error(text) }, text);
    expect(line.endsWith("\n")).toBe(true);
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(JSON.parse(line)).toMatchObject({ name: text, msg: text });
  });

  it("has no credential by its field's name, however deep the field hangs", () => {
    const hidden = {
      token: "secret-1",
      joinToken: "secret-2",
      config: { token: "secret-3", authorization: "secret-4" },
      request: { headers: { authorization: "secret-5" } },
      key: { file: { private_key: "secret-6" } },
    };
    expect(logged(hidden)).not.toContain("secret-");
  });

  it("has no API key and no join token, whatever they stand in", () => {
    const key = `wpk_${"Ab-_".repeat(10)}xyz`;
    const token = `wjt_01ARZ3NDEKTSV4RRFFQ69G5FAV_${"x".repeat(49)}`;
    const line = logged({ path: `/api/${key}`, [key]: 1, err: new Error(`no ${token}`) }, `key ${key}`);
    expect(line).not.toContain(key.slice(0, 24));
    expect(line).not.toContain(token.slice(-20));
    expect(JSON.parse(line).path).toBe("/api/wpk_[redacted]");
  });
});
