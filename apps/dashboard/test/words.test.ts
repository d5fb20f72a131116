import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { gpuOf, inShort, loadOf, stateOf } from "../src/fleet/wolf-words.ts";
import {
  absolute,
  bytes,
  duration,
  many,
  millis,
  plain,
  relative,
  sentence,
  shortId,
} from "../src/ui/text.ts";
import { aWolf } from "./a-wolf.ts";

describe("text from elsewhere", () => {
  it("shows control characters and overrides of the writing direction instead of obeying them", () => {
    expect(plain("a\u001b[31mred")).toBe("a␛[31mred");
    expect(plain("exe\u202egpj")).toBe("exe\\u202egpj");
    expect(plain("a\u200bb\ufeff")).toBe("a\\u200bb\\ufeff");
    expect(plain("line\nline")).toBe("line␊line");
  });

  it("leaves markup as the text that it is, since nothing here is markup", () => {
    expect(plain("<img src=x onerror=alert(1)>")).toBe("<img src=x onerror=alert(1)>");
  });

  it("is cut where it is long, and is a string whatever was given", () => {
    expect(plain("x".repeat(5000))).toHaveLength(301);
    expect(plain(null)).toBe("");
    expect(plain(undefined)).toBe("");
    expect(plain(12)).toBe("12");
    expect(plain({ toString: "", valueOf: 1 })).toBe('{"toString":"","valueOf":1}');
    expect(plain([{ toString: null }])).toBe('[{"toString":null}]');
  });

  it("never has a character that deceives, whatever the input", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
        expect(plain(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
      }),
    );
  });
});

describe("figures", () => {
  it("are short, and a dash where they are not known", () => {
    expect([bytes(0), bytes(1536), bytes(45 * 2 ** 30), bytes(null), bytes(Number.NaN)]).toEqual([
      "0 B",
      "1.5 KiB",
      "45.0 GiB",
      "–",
      "–",
    ]);
    expect([millis(0.92), millis(23.4), millis(1500), millis(600_000), millis(undefined)]).toEqual([
      "0.9 ms",
      "23 ms",
      "1.5 s",
      "600 s",
      "–",
    ]);
    expect([many(1, "wolf", "wolves"), many(10_000, "wolf", "wolves")]).toEqual(["1 wolf", "10,000 wolves"]);
  });

  it("tell how long ago and how long from now, by the largest unit", () => {
    const now = Date.parse("2026-11-26T12:00:00Z");
    expect(relative(now - 1000, now)).toBe("now");
    expect(relative(now - 59_000, now)).toBe("59 s ago");
    expect(relative(now - 3 * 86_400_000, now)).toBe("3 d ago");
    expect(relative(now + 300_000, now)).toBe("in 5 min");
    expect(duration(-5)).toBe("0 s");
    expect(absolute(now)).toContain("2026-11-26 12:00:00 UTC");
    expect(absolute(Number.NaN)).toBe("");
  });

  it("shorten ids so that both ends can be compared", () => {
    expect(shortId("wlf_01KB00000000000000000000WF")).toBe("wlf_01KB0…00WF");
    expect(sentence("wolf-unreachable")).toBe("Wolf unreachable");
  });
});

describe("a wolf's state", () => {
  it("is the status, with the first reason and how many more there are", () => {
    const reasons = [
      { code: "wolf-slow" as const, detail: "Wolf answers after 4.2 s" },
      { code: "disk-critical" as const, detail: "/ has 1 GiB left" },
    ];
    const wolf = aWolf({ status: "degraded", health: "degraded", health_reasons: reasons });
    expect(stateOf(wolf)).toEqual({
      word: "Degraded",
      tone: "warning",
      reason: "Wolf answers after 4.2 s (+1)",
    });
  });

  it("is what operators want where the wolf itself is well", () => {
    const drain = {
      started_at: "2026-11-26T12:00:00.000Z",
      deadline: "2026-11-26T13:00:00.000Z",
      sessions_at_start: 3,
      sessions_left: 2,
      // biome-ignore lint/suspicious/noThenProperty: a word of the API
      then: "cordoned" as const,
    };
    expect(stateOf(aWolf({ intent: "draining", intent_reason: "driver", drain }))).toMatchObject({
      word: "Draining",
      reason: "2 of 3 left: driver",
    });
    expect(stateOf(aWolf({ intent: "maintenance", status: "offline" })).word).toBe("Maintenance");
  });

  it("is offline before anything else that an operator may want of a wolf in the fleet", () => {
    const lost = aWolf({ status: "offline", connectivity: "lost", intent: "cordoned", tunnel: null });
    expect(stateOf(lost)).toMatchObject({ word: "Offline", tone: "danger", reason: "no tunnel" });
  });

  it("never says what a hostile host has named as anything but plain text", () => {
    const wolf = aWolf({ name: "<b>x", gpu_model: "\u202eevil\u001b[2J", labels: { a: "\u0007" } });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(`${inShort(wolf)}${gpuOf(wolf).model}`).not.toMatch(/[\u001b\u202e\u0007]/);
  });

  it("counts slots that others take, and takes a wolf without slots for full", () => {
    const capacity = {
      slots: { max: 10, claimed: 3, other: 2 },
      vram_mb: { max: null, claimed: 0, other: 0 },
      encoder_sessions: { max: null, claimed: 0, other: 0 },
    };
    expect(loadOf(aWolf({ capacity }))).toBe(0.5);
    expect(loadOf(aWolf({ max_sandboxes: 0 }))).toBe(1);
    expect(loadOf(aWolf({ connected_sandboxes: 30 }))).toBe(1);
  });
});
