/**
 * Bytes that are no message of ours: a recorded conversation cut at every offset, split anywhere, changed anywhere, and
 * noise. A core answers with effects or ends with a code; nothing else comes out, nothing of a broken message takes
 * effect, and nothing stays behind.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Effect } from "../src/core-events.ts";
import { decodeMessage } from "../src/decode.ts";
import { RevdialError, revdialErrorCodes } from "../src/errors.ts";
import type { Message } from "../src/frame.ts";
import type { TunnelResponse } from "../src/index.ts";
import { defaultLimits } from "../src/limits.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { newCore, requestHead, Victim } from "./cores.ts";
import { collect, get, text, untilAborted } from "./support.ts";

const bytes = (count: number) => new Uint8Array(count).fill(7);

/** What a dialler says in a conversation with everything in it, message by message. Channel 2 is one of the acceptor's. */
function record(): Uint8Array[] {
  const peer = newCore(true);
  const messages: Uint8Array[] = [];
  const flush = () => {
    for (let next = peer.nextMessage(0); next.parts !== undefined; next = peer.nextMessage(0))
      messages.push(new Uint8Array(Buffer.concat(next.parts)));
  };
  flush();
  const acceptor = newCore(false);
  peer.input(new Uint8Array(Buffer.concat(acceptor.nextMessage(0).parts ?? [])), 0);
  acceptor.input(messages[0] as Uint8Array, 0);
  acceptor.input({ do: "open", channel: acceptor.claimChannel(), head: requestHead, end: false }, 0);
  acceptor.input({ do: "data", channel: 2, bytes: bytes(300) }, 0);
  for (let next = acceptor.nextMessage(0); next.parts !== undefined; next = acceptor.nextMessage(0))
    peer.input(new Uint8Array(Buffer.concat(next.parts)), 0);
  const head = { ...requestHead, method: "POST", deadlineMs: 9000, headers: [["x-a", "1"]] as const };
  peer.input({ do: "open", channel: peer.claimChannel(), head, end: false }, 0);
  peer.input({ do: "data", channel: 1, bytes: bytes(200) }, 0);
  peer.input({ do: "tick" }, 0);
  flush();
  peer.input({ do: "end", channel: 1, trailers: [["x-sum", "2"]] }, 0);
  peer.input({ do: "head", channel: 2, status: 103, headers: [["link", "</a>"]], end: false }, 0);
  peer.input(
    { do: "head", channel: 2, status: 200, headers: [["content-type", "text/plain"]], end: false },
    0,
  );
  peer.input({ do: "data", channel: 2, bytes: bytes(100) }, 0);
  peer.input({ do: "notice", notice: "heartbeat", payload: bytes(20) }, 0);
  flush();
  peer.input({ do: "open", channel: peer.claimChannel(), head: requestHead, end: true }, 0);
  peer.input({ do: "reset", channel: 2, code: "CANCELLED", reason: "enough" }, 0);
  flush();
  peer.input({ do: "goaway", code: "DRAINING", retryAfterMs: 5, reason: "bye" }, 0);
  flush();
  return messages;
}

const conversation = record();

/** An acceptor that has heard the first messages of the conversation. */
function after(count: number): Victim {
  const victim = new Victim({}, false);
  victim.core.input(conversation[0] as Uint8Array, 0);
  victim.do({ do: "open", channel: victim.core.claimChannel(), head: requestHead, end: false });
  victim.do({ do: "data", channel: 2, bytes: bytes(300) });
  victim.sent();
  for (const message of conversation.slice(1, count)) victim.core.input(message, 0);
  victim.sent();
  return victim;
}

/** What must hold of any answer to any bytes; the code it ended with, if it did. */
function judged(victim: Victim, effects: readonly Effect[]): string | undefined {
  const closes = effects.filter((effect) => effect.effect === "close");
  const { live, slots, budgetUsedBytes } = victim.core.size;
  expect(closes.length).toBeLessThanOrEqual(1);
  expect(live).toBeLessThanOrEqual(4);
  expect(slots).toBeLessThanOrEqual(4);
  expect(budgetUsedBytes).toBeLessThanOrEqual(4 * defaultLimits.windowInitialBytes);
  const [close] = closes;
  if (close?.effect !== "close") return undefined;
  expect(effects.at(-1)).toBe(close);
  expect(revdialErrorCodes).toContain(close.code);
  victim.sent();
  expect(victim.core.input(conversation[1] as Uint8Array, 0)).toEqual([]);
  expect(victim.sent()).toEqual([]);
  return close.code;
}

/** The frames of a message as far as they are compared here, or the code it is refused with. */
function reading(message: Message): string {
  try {
    const frames = decodeMessage(message, defaultLimits);
    return JSON.stringify(frames, (_key, value) =>
      typeof value === "bigint"
        ? `${value}`
        : value?.type === "Buffer"
          ? Buffer.from(value.data).toString("hex")
          : value,
    );
  } catch (error) {
    if (error instanceof RevdialError) return error.code;
    throw error;
  }
}

function split(message: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [0, ...cuts.map((cut) => cut % (message.byteLength + 1)), message.byteLength].toSorted(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, index) => message.subarray(at[index], end));
}

describe("a core", () => {
  it("hears the recorded conversation to its end", () => {
    const types = new Set(
      conversation.flatMap((message) => decodeMessage(message, defaultLimits)).map(({ type }) => type),
    );
    expect(types.size).toBeGreaterThanOrEqual(9);
    const victim = after(conversation.length);
    expect(victim.core.draining).toBe(true);
  });

  it("ends with FRAME_TRUNCATED, and with nothing else, when a message is cut inside a frame", () => {
    let cuts = 0;
    for (const [index, message] of conversation.entries()) {
      if (index === 0) continue;
      for (let cut = 0; cut < message.byteLength; cut += 1) {
        const victim = after(index);
        const effects = victim.core.input(message.subarray(0, cut), 0);
        const code = judged(victim, effects);
        cuts += 1;
        // A cut between two frames leaves a whole message; any other has no effect but the end.
        if (code === undefined) expect(reading(message.subarray(0, cut))).toContain('"type"');
        else expect([code, effects.length]).toEqual(["FRAME_TRUNCATED", 1]);
      }
    }
    expect(cuts).toBeGreaterThan(500);
  });

  it("ends with a code, or goes on, whatever byte of a message is changed to whatever", () => {
    const place = fc.tuple(fc.integer({ min: 1, max: conversation.length - 1 }), fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(place, ([index, at, value]) => {
        const victim = after(index);
        const message = (conversation[index] as Uint8Array).slice();
        message[at % message.byteLength] = value;
        judged(victim, victim.core.input(message, 0));
      }),
      { numRuns: 3000 },
    );
  });

  it("ends with a code, or goes on, whatever noise it hears after HELLO", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(conversation.length - 1), (noise, index) => {
        const victim = after(index + 1);
        judged(victim, victim.core.input(noise, 0));
      }),
      { numRuns: 3000 },
    );
  });

  it("ends with a code, or goes on, whatever frames of noise it hears: right lengths, wrong everything else", () => {
    const frame = fc
      .tuple(
        fc.integer({ min: 0, max: 0x48 }),
        fc.constantFrom(0, 1, 2),
        fc.nat(6),
        fc.uint8Array({ maxLength: 60 }),
      )
      .map(([type, flags, channel, payload]) => {
        const header = Buffer.from([0, 0, payload.byteLength, type, flags, 0, 0, 0, channel]);
        return Buffer.concat([header, payload]);
      });
    const codes = new Set<string | undefined>();
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 5 }), (frames) => {
        const victim = after(3);
        codes.add(judged(victim, victim.core.input(new Uint8Array(Buffer.concat(frames)), 0)));
      }),
      { numRuns: 5000 },
    );
    expect(codes.size).toBeGreaterThanOrEqual(6);
  });
});

describe("a message in fragments", () => {
  const { vectors } = JSON.parse(
    readFileSync(new URL("../vectors/errors.json", import.meta.url), "utf8"),
  ) as {
    vectors: { hex: string }[];
  };
  const messages = [...conversation, ...vectors.map(({ hex }) => new Uint8Array(Buffer.from(hex, "hex")))];

  it("reads as the whole does, wherever it is cut, right or wrong", () => {
    const cuts = fc.array(fc.nat(), { maxLength: 6 });
    fc.assert(
      fc.property(fc.constantFrom(...messages), cuts, (message, at) => {
        expect(reading(split(message, at))).toBe(reading(message));
      }),
      { numRuns: 3000 },
    );
  });

  it("reads as the whole does when it is cut before and behind every body", () => {
    for (const message of conversation) {
      for (let cut = 0; cut <= message.byteLength; cut += 1) {
        expect(reading(split(message, [cut]))).toBe(reading(message));
        expect(reading(split(message, [cut, cut + 9]))).toBe(reading(message));
      }
    }
  });

  it("is nothing when all its fragments are empty", () => {
    expect(reading([])).toBe("FRAME_TRUNCATED");
    expect(reading([new Uint8Array(), new Uint8Array()])).toBe("FRAME_TRUNCATED");
  });
});

describe("a whole tunnel", () => {
  it("settles everything with a code when noise comes, and never calls it its own mistake", async () => {
    const noise = fc.oneof(
      fc.uint8Array({ minLength: 0, maxLength: 100 }),
      fc.tuple(fc.constantFrom(...conversation), fc.nat(), fc.nat(255)).map(([message, at, value]) => {
        const changed = message.slice();
        changed[at % changed.byteLength] = value;
        return changed;
      }),
    );
    const read = (reply: TunnelResponse) => collect(reply.body).catch((error: unknown) => error);
    await fc.assert(
      fc.asyncProperty(fc.array(noise, { minLength: 1, maxLength: 4 }), async (messages) => {
        const mistakes: unknown[] = [];
        const onHandlerError = (error: unknown) => void mistakes.push(error);
        const { left, right, link, ready } = tunnelPair({ both: { onHandlerError } });
        await ready;
        left.serve((request) => untilAborted(request.signal));
        right.serve(async (request) => ({ status: 200, body: await collect(request.body) }));
        // The noise may be an answer to it.
        const asked = right.request(get("/")).then(read, (error: unknown) => error);
        const answered = left
          .request({ ...get("/"), method: "POST", body: text.encode("x") })
          .then(read, (error: unknown) => error);
        for (const message of messages) link.inject("right", message);
        // A tunnel that survives the noise is ended here.
        link.inject("right", new Uint8Array());
        const ends = await Promise.all([left.closed, right.closed]);
        for (const { code } of ends) expect(["DESTROYED", "ARGUMENT"]).not.toContain(code);
        for (const outcome of await Promise.all([asked, answered]))
          if (!Buffer.isBuffer(outcome)) expect(outcome).toBeInstanceOf(RevdialError);
        // Callers that noise made up are told that it failed here; nothing else is wrong.
        for (const error of mistakes) expect(error).toBeInstanceOf(RevdialError);
        expect([left.draining, right.draining]).toEqual([true, true]);
      }),
      { numRuns: 300 },
    );
  });
});
