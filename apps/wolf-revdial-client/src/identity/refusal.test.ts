import { describe, expect, it } from "@jest/globals";
import { RegistrationFailed } from "../control-plane.ts";
import { clockSentence } from "./refusal.ts";

const nowMs = Date.parse("2026-11-23T12:00:00.000Z");
const refused = (serverTime: string | undefined, code = "clock-skew") =>
  new RegistrationFailed("refused", { status: 401, code, serverTime });

describe("what is said of clocks that differ too much", () => {
  it.each([
    ["2026-11-23T11:00:00.000Z", "60 min ahead"],
    ["2026-11-23T12:06:10.000Z", "6 min 10 s behind"],
  ])("has both times, how far they are apart, and the code (%s)", (serverTime, words) => {
    expect(clockSentence(refused(serverTime), nowMs)).toBe(
      `the clocks differ too much: it is 2026-11-23T12:00:00.000Z on this host and ${serverTime} at the control plane, so this host's is ${words} (clock-skew); synchronise both by NTP`,
    );
  });

  it.each(["", "soon", "NaN"])("makes up no distance from a time that is none (%j)", (serverTime) => {
    expect(clockSentence(refused(serverTime), nowMs)).toMatch(/ at the control plane \(clock-skew\);/);
  });

  it("is nothing where the control plane does not say what time it is, or refuses for another reason", () => {
    expect(clockSentence(refused(undefined), nowMs)).toBeUndefined();
    expect(clockSentence(refused("2026-11-23T11:00:00.000Z", "proof-refused"), nowMs)).toBeUndefined();
    expect(clockSentence(new Error("clock-skew"), nowMs)).toBeUndefined();
    expect(clockSentence(undefined, nowMs)).toBeUndefined();
  });
});
