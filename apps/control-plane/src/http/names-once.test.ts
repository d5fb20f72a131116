import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { namesOnce } from "./names-once.ts";

describe("names of JSON objects", () => {
  it.each([
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":1 , "a" : 1}',
    '[{"b":{"a":1,\n"a"\t:{}}}]',
    '{"a":"}","b":[],"a":0}',
    '{"a":{"b":1},"c":"\\"","a":1}',
    '{"":1,"":2}',
    '{"__proto__":1,"__proto__":2}',
  ])("are refused when one comes twice: %s", (json) => {
    JSON.parse(json);
    expect(namesOnce(json)).toBe(false);
  });

  it.each([
    '{"a":{"a":{"a":"a"}}}',
    '[{"a":1},{"a":1}]',
    '{"a":"a:","b":"\\"a\\":1","c":"{"}',
    '{"a":"x","b":["a","a"],"A":1}',
    '"a"',
    "[]",
    "1",
  ])("may be equal in different objects, and in texts: %s", (json) => {
    JSON.parse(json);
    expect(namesOnce(json)).toBe(true);
  });

  it("come once in whatever JSON.stringify writes, and twice where one is said again", () => {
    fc.assert(
      fc.property(fc.json(), fc.string(), (json, name) => {
        const again = JSON.stringify(name);
        return namesOnce(json) && !namesOnce(`{${again}:${json}, ${again} :0}`);
      }),
    );
  });
});
