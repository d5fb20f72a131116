/** The core against `vectors/sequences.json`: what one message alone cannot cause. */
import { describe, expect, it } from "@jest/globals";
import { wireCodes } from "../src/errors.ts";
import { frameTypes } from "../src/frame.ts";
import { play, sequences } from "./sequences.ts";

describe("the core", () => {
  it.each(sequences)("does what the vectors say: $name", (sequence) => {
    const { wanted, got } = play(sequence);
    expect(wanted.length).toBeGreaterThan(0);
    expect(got).toEqual(wanted);
  });

  it("has a sequence for every code of the wire and every frame type", () => {
    const sent = sequences.flatMap(({ steps }) => steps.flatMap((step) => step.sent ?? []));
    const codes = new Set(sent.map(({ code }) => code).filter((code) => code !== undefined));
    // NONE says nothing; a message that is not binary never reaches the core.
    const causable = Object.entries(wireCodes).filter(
      ([name]) => name !== "NONE" && name !== "MESSAGE_NOT_BINARY",
    );
    expect(causable.filter(([, number]) => !codes.has(number))).toEqual([]);
    const types = new Set(sent.map(({ type }) => type));
    // Not compared are HELLO and PING; CREDIT and NOTICE of ours need a reader and a sender beyond the core.
    const uncompared = ["hello", "ping", "credit", "notice"];
    expect(Object.keys(frameTypes).filter((type) => !types.has(type) && !uncompared.includes(type))).toEqual(
      [],
    );
  });
});
