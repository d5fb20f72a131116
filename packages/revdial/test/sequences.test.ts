/** The core against `vectors/sequences.json`: what one message alone cannot cause. */
import { describe, expect, it } from "@jest/globals";
import { wireCodes } from "../src/errors.ts";
import { frameTypes } from "../src/frame.ts";
import { play, sequencesOf } from "./sequences.ts";

const sequences = sequencesOf("vectors");

describe("the core", () => {
  it.each(sequences)("does what the vectors say: $name", (sequence) => {
    const { wanted, got } = play(sequence);
    expect(wanted.length).toBeGreaterThan(0);
    expect(got).toEqual(wanted);
  });

  it("has a sequence for every code of the wire and every frame type", () => {
    const sent = sequences.flatMap(({ steps }) =>
      steps.flatMap((step) => [...(step.sent ?? []), ...(step.sentAll ?? [])]),
    );
    const codes = new Set(sent.map(({ code }) => code).filter((code) => code !== undefined));
    // Nobody here has reason to say NONE: it is only heard.
    const said = Object.entries(wireCodes).filter(([name]) => name !== "NONE");
    expect(said.filter(([, number]) => !codes.has(number))).toEqual([]);
    expect(sequences.some(({ name }) => name.startsWith("NONE"))).toBe(true);
    const types = new Set(sent.map(({ type }) => type));
    expect(Object.keys(frameTypes).filter((type) => !types.has(type))).toEqual([]);
  });
});
