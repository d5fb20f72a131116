/** The codec against `vectors/`, against messages cut anywhere, and against noise. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { decodeMessage } from "../src/decode.ts";
import { encodeFrame } from "../src/encode.ts";
import { RevdialError } from "../src/errors.ts";
import type { Frame } from "../src/frame.ts";
import { defaultLimits } from "../src/limits.ts";

interface Vectors<T> {
  vectors: (T & { name: string; hex: string })[];
}

function load<T>(file: string): Vectors<T>["vectors"] {
  return (JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), "utf8")) as Vectors<T>)
    .vectors;
}

const good = load<{ frames: Record<string, unknown>[] }>("frames.json");
const bad = load<{ error: string }>("errors.json");
const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));

/** A frame in the form of the vectors: bytes as hex, 64-bit numbers as text. */
function plain(frame: Frame): unknown {
  return JSON.parse(
    JSON.stringify(frame, (_key, value) =>
      typeof value === "bigint"
        ? value.toString()
        : value instanceof Uint8Array
          ? Buffer.from(value).toString("hex")
          : value?.type === "Buffer" // What JSON makes of one before we see it.
            ? Buffer.from(value.data).toString("hex")
            : value,
    ),
  );
}

/** Frames, or the code of the RevdialError; any other exception fails the test. */
function outcome(message: Uint8Array): Frame[] | string {
  try {
    return decodeMessage(message, defaultLimits);
  } catch (error) {
    if (error instanceof RevdialError) return error.code;
    throw error;
  }
}

describe("the frame codec", () => {
  it.each(good)("decodes $name", ({ hex, frames }) => {
    expect(decodeMessage(bytesOf(hex), defaultLimits).map(plain)).toEqual(frames);
  });

  it.each(good.filter(({ name }) => !name.includes("ignored")))(
    "encodes $name to the same bytes",
    ({ hex }) => {
      const frames = decodeMessage(bytesOf(hex), defaultLimits);
      expect(Buffer.concat(frames.map((frame) => encodeFrame(frame, defaultLimits))).toString("hex")).toBe(
        hex,
      );
    },
  );

  it.each(bad)("refuses $name", ({ hex, error }) => {
    expect(outcome(bytesOf(hex))).toBe(error);
  });

  it("has a vector for every frame type and every code a message alone can cause", () => {
    const types = new Set(good.flatMap(({ frames }) => frames.map((frame) => frame.type)));
    expect([...types].toSorted()).toEqual(
      [
        "hello",
        "open",
        "head",
        "data",
        "end",
        "reset",
        "credit",
        "ping",
        "pong",
        "goaway",
        "notice",
        "grant",
      ].toSorted(),
    );
    expect([...new Set(bad.map(({ error }) => error))].toSorted()).toEqual([
      "CHANNEL_ID",
      "FRAME_FLAGS",
      "FRAME_MALFORMED",
      "FRAME_TOO_LARGE",
      "FRAME_TRUNCATED",
      "FRAME_TYPE_UNKNOWN",
      "HEAD_INVALID",
      "HEAD_TOO_LARGE",
    ]);
  });

  it("answers every message cut at every offset with frames or a code", () => {
    for (const { hex, frames } of good) {
      const message = bytesOf(hex);
      for (let cut = 0; cut < message.byteLength; cut += 1) {
        const result = outcome(message.subarray(0, cut));
        // Only a cut between two frames leaves a whole message.
        if (typeof result === "string") expect(result).toBe("FRAME_TRUNCATED");
        else expect(result.map(plain)).toEqual(frames.slice(0, result.length));
      }
    }
  });

  it("answers random bytes with frames or a code", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        outcome(bytes);
      }),
      { numRuns: 3000 },
    );
  });

  it("answers a good message with some bytes changed with frames or a code", () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(
        fc.constantFrom(...good),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        ({ hex }, changes) => {
          const message = bytesOf(hex);
          for (const [at, value] of changes) message[at % message.byteLength] = value;
          outcome(message);
        },
      ),
      { numRuns: 5000 },
    );
  });

  it("decodes whatever it encodes to the same frames", () => {
    const name = fc.stringMatching(/^x-[a-z0-9]{1,8}$/);
    const value = fc.stringMatching(/^[!-~]([ -~]{0,10}[!-~])?$/);
    const headers = fc.array(fc.tuple(name, value), { maxLength: 5 });
    const channel = fc.integer({ min: 1, max: 0xffff_ffff });
    const bytes = fc.uint8Array({ maxLength: 200 });
    const reason = fc.string({ maxLength: 50 });
    const u32 = fc.nat(0x7fff_ffff);
    const frame: fc.Arbitrary<Frame> = fc.oneof(
      fc.record({
        type: fc.constant("head" as const),
        channel,
        end: fc.boolean(),
        // None of a head that has no body.
        status: fc.integer({ min: 205, max: 599 }),
        length: fc.option(fc.maxSafeNat(), { nil: undefined }),
        headers,
      }),
      fc.record({ type: fc.constant("data" as const), channel, end: fc.boolean(), bytes }),
      fc.record({ type: fc.constant("end" as const), channel, trailers: headers }),
      fc.record({ type: fc.constant("reset" as const), channel, code: fc.nat(0xffff), reason }),
      fc.record({ type: fc.constant("credit" as const), channel, bytes: u32 }),
      fc.record({ type: fc.constant("grant" as const), channels: u32 }),
      fc.record({ type: fc.constant("ping" as const), token: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
      fc.record({
        type: fc.constant("goaway" as const),
        lastChannel: u32,
        code: fc.nat(0xffff),
        retryAfterMs: u32,
        reason,
      }),
      fc.record({
        type: fc.constant("notice" as const),
        notice: fc.stringMatching(/^[a-z]{1,63}$/),
        payload: bytes,
      }),
    );
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 6 }), (frames) => {
        const message = new Uint8Array(Buffer.concat(frames.map((one) => encodeFrame(one, defaultLimits))));
        expect(decodeMessage(message, defaultLimits).map(plain)).toEqual(frames.map(plain));
      }),
      { numRuns: 300 },
    );
  });

  it("cuts a long reason at a character, never inside one", () => {
    const encoded = encodeFrame(
      { type: "reset", channel: 1, code: 1, reason: "é".repeat(300) },
      defaultLimits,
    );
    expect(decodeMessage(encoded, defaultLimits)).toMatchObject([{ reason: "é".repeat(127) }]);
  });
});
