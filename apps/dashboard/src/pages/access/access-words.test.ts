import { describe, expect, it } from "@jest/globals";
import { roles, scopes } from "@wolfpack/api-contract";
import {
  agentKeyState,
  apiKeyState,
  joinTokenState,
  keyLives,
  LABELS_MAX,
  parseLabels,
  roleNames,
  scopeNames,
  tokenLives,
  wholeNumber,
  wolfNameError,
} from "./access-words.ts";

const NOW = Date.UTC(2026, 10, 26, 12);
const BEFORE = "2026-11-26T11:00:00.000Z";
const AFTER = "2026-11-26T13:00:00.000Z";

describe("states of keys and tokens", () => {
  it("calls a key valid until it is over or revoked, whichever came", () => {
    expect(apiKeyState({ revoked_at: null, expires_at: null }, NOW)).toMatchObject({ alive: true });
    expect(apiKeyState({ revoked_at: null, expires_at: AFTER }, NOW).word).toBe("Valid");
    expect(apiKeyState({ revoked_at: null, expires_at: BEFORE }, NOW)).toMatchObject({
      word: "Expired",
      alive: false,
    });
    expect(apiKeyState({ revoked_at: BEFORE, expires_at: BEFORE }, NOW).word).toBe("Revoked");
  });

  it("calls a token open while somebody may still use it", () => {
    const open = { revoked_at: null, expires_at: AFTER, uses: 1, uses_max: 2 };
    expect(joinTokenState(open, NOW)).toMatchObject({ word: "Open", alive: true });
    expect(joinTokenState({ ...open, uses: 2 }, NOW).word).toBe("Used up");
    expect(joinTokenState({ ...open, expires_at: BEFORE }, NOW).word).toBe("Expired");
    expect(joinTokenState({ ...open, revoked_at: BEFORE }, NOW).word).toBe("Revoked");
  });

  it("lets a key that waits be refused, and one that is over be nothing", () => {
    expect(agentKeyState({ status: "pending", expires_at: AFTER }, NOW)).toMatchObject({ alive: true });
    expect(agentKeyState({ status: "active", expires_at: BEFORE }, NOW).alive).toBe(false);
    expect(agentKeyState({ status: "revoked", expires_at: AFTER }, NOW).alive).toBe(false);
  });
});

describe("what the forms offer", () => {
  it("has every role and scope of the API", () => {
    expect(roleNames).toEqual([...roles]);
    expect(scopeNames).toEqual([...scopes]);
  });

  it("offers no life that the API refuses", () => {
    for (const [seconds] of keyLives)
      if (seconds !== "") expect(Number(seconds)).toBeLessThanOrEqual(31_536_000);
    for (const [seconds] of tokenLives) expect(Number(seconds)).toBeLessThanOrEqual(2_592_000);
  });

  it("takes names of wolves as the API does", () => {
    expect(wolfNameError("gpu-1")).toBeUndefined();
    for (const name of ["", "-a", "a b", "a;rm -rf", "ä", "x".repeat(64), "wlf_01KB00000000000000000000WF"])
      expect(wolfNameError(name)).toBeDefined();
  });

  it("reads labels of one line or of many", () => {
    expect(parseLabels("")).toEqual({ labels: {} });
    expect(parseLabels("zone=eu-1a, tier = gold\n\nnote=a=b")).toEqual({
      labels: { zone: "eu-1a", tier: "gold", note: "a=b" },
    });
    expect(parseLabels("empty=")).toEqual({ labels: { empty: "" } });
  });

  it("refuses labels that are none", () => {
    const many = Array.from({ length: LABELS_MAX + 1 }, (_unused, index) => `l${index}=1`).join(",");
    for (const text of ["zone", "=x", "a b=c", "__proto__=x", "a=1,a=2", `a=${"x".repeat(256)}`, many])
      expect(parseLabels(text)).toHaveProperty("error");
  });

  it("reads whole numbers of a range and nothing else", () => {
    expect(wholeNumber(" 12 ", 1, 1000)).toBe(12);
    for (const text of ["", "0", "1001", "1e2", "0x1", "-1", "1.5", "99999999999"])
      expect(wholeNumber(text, 1, 1000)).toBeUndefined();
  });
});
