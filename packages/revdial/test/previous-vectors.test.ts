/**
 * Messages of the last released revision, read by today's code. It stands for an agent of that revision, of which there is no build to
 * run: what it sends is understood as it meant it, what it would have been sent is encoded as it knows it, and what it refuses is refused;
 * its records are cut and put together as before, and what it does is answered as it was.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { decodeMessage } from "../src/decode.ts";
import { encodeFrame } from "../src/encode.ts";
import { RevdialError } from "../src/errors.ts";
import type { Frame } from "../src/frame.ts";
import { defaultLimits } from "../src/limits.ts";
import { readsRecords } from "./records.ts";
import { play, sequencesOf } from "./sequences.ts";

interface Vector {
  name: string;
  hex: string;
  frames?: Record<string, unknown>[];
  error?: string;
}

const folder = new URL("../vectors-previous/", import.meta.url);
const load = (file: string) =>
  (JSON.parse(readFileSync(new URL(file, folder), "utf8")) as { vectors: Vector[] }).vectors;
const good = load("frames.json");
const bad = load("errors.json");
const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));

/** As the vectors write it: bytes as hex, 64-bit numbers as text. */
const plain = (frame: Frame): unknown => {
  const written = (value: unknown): unknown => {
    if (typeof value === "bigint") return value.toString();
    if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
    if (Array.isArray(value)) return value.map(written);
    if (typeof value !== "object" || value === null) return value;
    const fields = Object.entries(value).filter(([, field]) => field !== undefined);
    return Object.fromEntries(fields.map(([name, field]) => [name, written(field)]));
  };
  return written(frame);
};

describe("a peer of the revision before", () => {
  it("has left its vectors, all of them", () => {
    expect(readdirSync(folder).toSorted()).toEqual([
      "README.md",
      "errors.json",
      "frames.json",
      "records.json",
      "sequences.json",
    ]);
    expect([good.length > 20, bad.length > 20]).toEqual([true, true]);
  });

  it.each(good)("is understood when it sends $name", ({ hex, frames = [] }) => {
    const read = decodeMessage(bytesOf(hex), defaultLimits).map(plain) as Record<string, unknown>[];
    // Fields may have been added since.
    expect(read).toHaveLength(frames.length);
    for (const [at, frame] of frames.entries()) expect(read[at]).toMatchObject(frame);
  });

  it.each(good.filter(({ name }) => !name.includes("ignored")))(
    "is sent $name in the bytes that it knows",
    ({ hex }) => {
      const frames = decodeMessage(bytesOf(hex), defaultLimits);
      const again = Buffer.concat(frames.map((frame) => encodeFrame(frame, defaultLimits)));
      expect(again.toString("hex")).toBe(hex);
    },
  );

  it.each(bad)("is refused with the same code when it sends $name", ({ hex, error }) => {
    let code: string | undefined;
    try {
      decodeMessage(bytesOf(hex), defaultLimits);
    } catch (thrown) {
      if (!(thrown instanceof RevdialError)) throw thrown;
      code = thrown.code;
    }
    expect(code).toBe(error);
  });

  describe("over HTTP", () => readsRecords("vectors-previous"));

  it.each(sequencesOf("vectors-previous"))("is answered as it was: $name", (sequence) => {
    const { wanted, got } = play(sequence);
    expect(wanted.length).toBeGreaterThan(0);
    // Fields may have been added since.
    expect(got).toMatchObject(wanted);
  });
});
