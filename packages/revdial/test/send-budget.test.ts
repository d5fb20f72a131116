/** What a tunnel queues for peers that do not take it: bounded for all channels together, and never to the last byte for one. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Effect } from "../src/core-events.ts";
import type { Frame } from "../src/frame.ts";
import type { TunnelLimits } from "../src/limits.ts";
import { hello, open, Victim } from "./cores.ts";

const CHUNK_BYTES = 4096;
/** What a channel may queue whatever the others do (SPEC §8). */
const SHARE_BYTES = 16_384;

/** Answers on channels of the peer, which gives them no credit: each is written until it is told to wait. */
class Answers {
  readonly victim: Victim;
  readonly queued = new Map<number, number>();
  readonly waiting = new Set<number>();
  private next = 1;

  constructor(limits: Partial<TunnelLimits>) {
    this.victim = new Victim(limits, false);
    this.victim.say({ ...hello, windowBytes: 0 } as Frame);
  }

  begin(): number {
    const channel = this.next;
    this.next += 2;
    this.victim.say(open(channel, { end: true }));
    this.victim.do({ do: "head", channel, status: 200, headers: [], end: false });
    this.queued.set(channel, 0);
    this.fill(channel);
    return channel;
  }

  fill(channel: number): void {
    while (!this.waiting.has(channel)) {
      this.victim.do({ do: "data", channel, bytes: new Uint8Array(CHUNK_BYTES) });
      this.queued.set(channel, (this.queued.get(channel) ?? 0) + CHUNK_BYTES);
      if (this.victim.core.isFull(channel)) this.waiting.add(channel);
    }
  }

  /** The peer takes so many bytes of a channel; whoever hears that there is room goes on. */
  take(channel: number, bytes: number): number[] {
    this.victim.say({ type: "credit", channel, bytes });
    const told: number[] = [];
    for (;;) {
      const { parts, effects } = this.victim.core.nextMessage(0);
      for (const effect of effects as readonly Effect[])
        if (effect.effect === "drained") told.push(effect.channel);
      if (parts === undefined) break;
    }
    this.queued.set(channel, (this.queued.get(channel) ?? 0) - bytes);
    for (const one of told) this.waiting.delete(one);
    return told;
  }

  get total(): number {
    return [...this.queued.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}

const limits = { sendQueueBytes: 64 * 1024, sendBudgetBytes: 256 * 1024 };

describe("a tunnel's budget for what it sends", () => {
  it("is shared: full queues first, then a share for everybody", () => {
    const answers = new Answers(limits);
    const first = Array.from({ length: 4 }, () => answers.begin());
    expect(first.map((channel) => answers.queued.get(channel))).toEqual([65_536, 65_536, 65_536, 65_536]);
    const later = Array.from({ length: 100 }, () => answers.begin());
    for (const channel of later) expect(answers.queued.get(channel)).toBe(SHARE_BYTES);
    expect(answers.total).toBe(limits.sendBudgetBytes + 100 * SHARE_BYTES);
  });

  it("lets a channel go on whose peer takes its share, however full the others are", () => {
    const answers = new Answers(limits);
    for (let n = 0; n < 4; n += 1) answers.begin();
    const channel = answers.begin();
    for (let round = 0; round < 50; round += 1) {
      expect(answers.take(channel, SHARE_BYTES)).toEqual([channel]);
      answers.fill(channel);
      expect(answers.queued.get(channel)).toBe(SHARE_BYTES);
    }
  });

  it("is free again when channels end, in order or not", () => {
    const answers = new Answers(limits);
    const first = Array.from({ length: 4 }, () => answers.begin());
    answers.victim.say({ type: "reset", channel: first[0] as number, code: 2, reason: "" });
    answers.victim.do({ do: "reset", channel: first[1] as number, code: "CANCELLED", reason: "" });
    answers.take(first[2] as number, 65_536);
    expect(answers.queued.get(answers.begin())).toBe(limits.sendQueueBytes);
    expect(answers.queued.get(answers.begin())).toBe(limits.sendQueueBytes);
  });

  it("is free again when a socket is refused, and what it had to say is void", () => {
    const victim = new Victim({ sendQueueBytes: 10_000, sendBudgetBytes: 10_000 });
    const connect = () => {
      const channel = victim.core.claimChannel();
      const { type: _, end, channel: __, ...head } = open(channel, { kind: 1 }) as Frame & { type: "open" };
      victim.do({ do: "open", channel, head, end });
      return channel;
    };
    const [refused, other] = [connect(), connect()];
    victim.sent();
    victim.do({ do: "data", channel: refused, bytes: new Uint8Array(200_000) });
    victim.say({ type: "head", channel: refused, status: 403, headers: [], end: true });
    victim.do({ do: "data", channel: other, bytes: new Uint8Array(9000) });
    expect(victim.core.isFull(other)).toBe(false);
  });

  it("holds its bounds, and leaves nobody waiting, whatever is taken when", () => {
    const act = fc.oneof(
      fc.constant<"begin">("begin"),
      fc.record({ pick: fc.nat(), bytes: fc.integer({ min: 1, max: 100_000 }) }),
    );
    const budgets = fc.constantFrom(1, 10_000, 100_000, 1_000_000);
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), budgets, (acts, sendBudgetBytes) => {
        const answers = new Answers({ sendQueueBytes: 64 * 1024, sendBudgetBytes });
        for (const one of acts) {
          const channels = [...answers.queued.keys()];
          if (one === "begin") answers.begin();
          else if (channels.length > 0) {
            const channel = channels[one.pick % channels.length] as number;
            answers.take(channel, Math.min(one.bytes, answers.queued.get(channel) ?? 0));
            // Nothing is left of it: its producer must have heard.
            if (answers.queued.get(channel) === 0) expect(answers.waiting.has(channel)).toBe(false);
            answers.fill(channel);
          }
          const most = sendBudgetBytes + answers.queued.size * (SHARE_BYTES + CHUNK_BYTES);
          expect(answers.total).toBeLessThanOrEqual(most);
        }
      }),
      { numRuns: 200 },
    );
  });
});
