import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { newId } from "../ids.ts";
import { isJoinToken, newJoinToken } from "./join-token.ts";

describe("a join token", () => {
  it("has the number of its row, 256 random bits and a checksum, and is never the same", () => {
    const id = newId("jtk");
    const tokens = Array.from({ length: 200 }, () => newJoinToken(id));
    expect(new Set(tokens).size).toBe(200);
    for (const token of tokens) {
      expect(token).toMatch(new RegExp(`^wjt_${id.slice(4)}_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}$`));
      expect(isJoinToken(token)).toBe(true);
    }
  });

  it("with any one character changed, left out or added is none", () => {
    const token = newJoinToken(newId("jtk"));
    const place = fc.integer({ min: 0, max: token.length - 1 });
    const character = fc.constantFrom(..."ABCxyz019_-");
    fc.assert(
      fc.property(place, character, (at, other) => {
        const changed = `${token.slice(0, at)}${other}${token.slice(at + 1)}`;
        expect(isJoinToken(changed)).toBe(changed === token);
        expect(isJoinToken(`${token.slice(0, at)}${token.slice(at + 1)}`)).toBe(false);
        expect(isJoinToken(`${token.slice(0, at)}${other}${token.slice(at)}`)).toBe(false);
      }),
    );
  });

  it("is no other text", () => {
    fc.assert(fc.property(fc.string(), (text) => !isJoinToken(text)));
    fc.assert(
      fc.property(fc.stringMatching(/^wjt_[0-9A-Z]{26}_[A-Za-z0-9_-]{49}$/), (text) => !isJoinToken(text)),
    );
  });
});
