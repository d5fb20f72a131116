import { describe, expect, it } from "@jest/globals";
import { createReplicaCredentials, secretPrintOf } from "./replica-credential.ts";

const SECRET = "a secret of at least thirty-two characters";
const [A, B, C] = ["A", "B", "C"].map((letter) => `rep_01KB00000000000000000000${letter}0`) as [
  string,
  string,
  string,
];
const NOW = Date.parse("2026-11-27T12:00:00Z");
const LIFE_MS = 30_000;
const SKEW_MS = 30_000;
const PATH = "/internal/v1/wolves/wlf_01KB00000000000000000000W0/look";

const a = createReplicaCredentials(SECRET, A);
const b = createReplicaCredentials(SECRET, B);
const shown = a.sign(B, "POST", PATH, NOW);

describe("a replica's credential", () => {
  it("tells the receiver who asks", () => {
    expect(b.check(shown, "POST", PATH, NOW)).toEqual({ from: A });
  });

  it("is another one each time", () => {
    expect(a.sign(B, "POST", PATH, NOW)).not.toBe(shown);
  });

  it.each([
    ["another method", "GET", PATH],
    ["another path", "POST", `${PATH}?x`],
    ["the path without its last letter", "POST", PATH.slice(0, -1)],
  ])("is wrong for %s", (_, method, path) => {
    expect(b.check(shown, method, path, NOW)).toBe("wrong");
  });

  it("is nothing to a third replica, and nothing to the one that made it", () => {
    expect(createReplicaCredentials(SECRET, C).check(shown, "POST", PATH, NOW)).toBe("elsewhere");
    expect(a.check(shown, "POST", PATH, NOW)).toBe("elsewhere");
  });

  it("is wrong under another secret", () => {
    expect(createReplicaCredentials(`${SECRET}.`, B).check(shown, "POST", PATH, NOW)).toBe("wrong");
  });

  it.each([
    ["sender", 1, C],
    ["receiver", 2, C],
    ["end", 3, String(NOW + LIFE_MS + 1)],
    ["nonce", 4, "A".repeat(16)],
    ["signature", 5, "A".repeat(43)],
  ])("is wrong with another %s", (_, field, value) => {
    const parts = shown.split(".");
    parts[field] = value;
    expect(b.check(parts.join("."), "POST", PATH, NOW)).toBe("wrong");
  });

  it.each([
    ["nothing", undefined, "missing"],
    ["an empty text", "", "malformed"],
    ["another version", shown.replace("v1", "v2"), "malformed"],
    ["a field too many", `${shown}.x`, "malformed"],
    ["a field too few", shown.split(".").slice(0, 5).join("."), "malformed"],
    ["a line break at its end", `${shown}\n`, "malformed"],
    ["the letters of another alphabet", shown.replace(/.$/, "="), "malformed"],
  ])("is refused as %s", (_, text, fault) => {
    expect(b.check(text, "POST", PATH, NOW)).toBe(fault);
  });

  it.each([
    [LIFE_MS, "valid"],
    [LIFE_MS + SKEW_MS, "valid"],
    [LIFE_MS + SKEW_MS + 1, "expired"],
    [-SKEW_MS, "valid"],
    [-SKEW_MS - 1, "expired"],
  ])("is, %d ms after it was made, %s", (ms, outcome) => {
    const checked = b.check(shown, "POST", PATH, NOW + ms);
    expect(typeof checked === "string" ? checked : "valid").toBe(outcome);
  });
});

describe("the print of a secret", () => {
  it("tells secrets apart, and holds nothing of them", () => {
    expect(secretPrintOf(SECRET)).toMatch(/^[0-9a-f]{32}$/);
    expect(secretPrintOf(SECRET)).toBe(secretPrintOf(SECRET));
    expect(secretPrintOf(`${SECRET}.`)).not.toBe(secretPrintOf(SECRET));
  });
});
