/** Two cores with the messages between them in our hands: whatever is done and in whatever order it arrives, the accounts hold. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Core } from "../src/core.ts";
import type { Effect, LocalEvent } from "../src/core-events.ts";
import { decodeMessage } from "../src/decode.ts";
import { RevdialError } from "../src/errors.ts";
import type { Frame } from "../src/frame.ts";
import { defaultLimits } from "../src/limits.ts";
import { newCore, requestHead } from "./cores.ts";

const limits = {
  channelsMax: 4,
  windowInitialBytes: 1000,
  receiveBudgetBytes: 8 * 1000,
  dataBytesMax: 1024,
  sendQueueBytes: 3000,
  messageBytesMax: 1 << 20,
};

/** What one side knows of a channel: the reference model. */
interface Account {
  ours: boolean;
  sentBytes: number;
  gotBytes: number;
  unread: number;
  canEnd: boolean;
  headSent: boolean;
  ends: number;
  handled: boolean;
}

class Side {
  readonly core: Core;
  readonly outbox: Uint8Array[] = [];
  readonly accounts = new Map<number, Account>();
  /** Per channel: what the wire has granted us, less what we have put on it. */
  readonly granted = new Map<number, number>();
  /** Per channel: what we have granted the peer. */
  readonly given = new Map<number, number>();
  closed = false;

  readonly windowMaxBytes: number;

  constructor(dialled: boolean, windowMaxBytes: number) {
    this.windowMaxBytes = windowMaxBytes;
    this.core = newCore(dialled, { ...limits, windowMaxBytes });
  }

  do(event: LocalEvent, now: number): void {
    try {
      this.take(this.core.input(event, now));
    } catch (error) {
      if (!(error instanceof RevdialError)) throw error;
    }
  }

  open(now: number, end: boolean): void {
    let id: number;
    try {
      id = this.core.claimChannel();
      this.take(this.core.input({ do: "open", channel: id, head: requestHead, end }, now));
    } catch (error) {
      if (error instanceof RevdialError && ["REFUSED", "DRAINING", "CLOSED"].includes(error.code)) return;
      throw error;
    }
    this.add(id, true, !end);
  }

  private add(id: number, ours: boolean, canEnd: boolean): void {
    const zero = { sentBytes: 0, gotBytes: 0, unread: 0, headSent: ours, ends: 0, handled: ours };
    this.accounts.set(id, { ours, canEnd, ...zero });
  }

  take(effects: readonly Effect[]): void {
    for (const effect of effects) {
      expect(this.closed).toBe(false); // No effect after close.
      if (effect.effect === "close") this.closed = true;
      if (effect.effect === "incoming") this.add(effect.channel, false, true);
      if (!("channel" in effect)) continue;
      const account = this.accounts.get(effect.channel) as Account;
      if (effect.effect === "data") {
        account.gotBytes += effect.bytes.byteLength;
        account.unread += effect.bytes.byteLength;
      }
      if (effect.effect === "finished" || effect.effect === "reset") account.ends += 1;
    }
  }

  /** Moves what the core wants to send into the outbox, checking every DATA against the credit on the wire. */
  flush(most: number, now: number): void {
    for (let n = 0; n < most; n += 1) {
      const { parts, effects } = this.core.nextMessage(now);
      if (parts !== undefined) {
        const message = new Uint8Array(Buffer.concat(parts));
        for (const frame of decodeMessage(message, defaultLimits)) this.spend(frame);
        this.outbox.push(message);
      }
      this.take(effects);
      if (parts === undefined) return;
    }
  }

  private spend(frame: Frame): void {
    if (frame.type === "credit") {
      // What the peer may still send, and what of its bytes nobody has read, never exceed the largest window.
      const given = (this.given.get(frame.channel) ?? limits.windowInitialBytes) + frame.bytes;
      this.given.set(frame.channel, given);
      const { gotBytes, unread } = this.accounts.get(frame.channel) as Account;
      expect(given - gotBytes + unread).toBeLessThanOrEqual(this.windowMaxBytes);
    }
    if (frame.type !== "data") return;
    const left = (this.granted.get(frame.channel) ?? limits.windowInitialBytes) - frame.bytes.byteLength;
    expect(left).toBeGreaterThanOrEqual(0);
    expect(frame.bytes.byteLength).toBeLessThanOrEqual(limits.dataBytesMax);
    this.granted.set(frame.channel, left);
    const account = this.accounts.get(frame.channel) as Account;
    account.sentBytes += frame.bytes.byteLength;
  }

  receive(message: Uint8Array, now: number): void {
    for (const frame of decodeMessage(message, defaultLimits)) {
      if (frame.type === "credit") {
        const before = this.granted.get(frame.channel) ?? limits.windowInitialBytes;
        this.granted.set(frame.channel, before + frame.bytes);
      }
    }
    this.take(this.core.input(message, now));
  }
}

type Step = { side: 0 | 1; act: string; pick: number; size: number };

const step: fc.Arbitrary<Step> = fc.record({
  side: fc.constantFrom(0 as const, 1 as const),
  act: fc.oneof(
    {
      weight: 2,
      arbitrary: fc.constantFrom("open", "openEnd", "head", "headEnd", "end", "reset", "handled", "goaway"),
    },
    { weight: 1, arbitrary: fc.constant("tick") },
    { weight: 3, arbitrary: fc.constant("head") },
    { weight: 8, arbitrary: fc.constantFrom("data", "read") },
    { weight: 12, arbitrary: fc.constantFrom("flush", "deliver") },
  ),
  pick: fc.nat(),
  size: fc.integer({ min: 0, max: 3000 }),
});
const steps = (of: fc.Arbitrary<Step>) => fc.array(of, { minLength: 100, maxLength: 500 });

/** Windows that may not grow make the account exact; those that may grow let more be in flight. */
const windowMax = fc.constantFrom(limits.windowInitialBytes, 4 * limits.windowInitialBytes);

class Run {
  readonly sides: [Side, Side];
  now = 0;
  private settling = false;

  constructor(windowMaxBytes: number) {
    this.sides = [new Side(true, windowMaxBytes), new Side(false, windowMaxBytes)];
    for (const side of this.sides) side.open(0, false); // Before HELLO: it is held.
  }

  apply({ side: index, act, pick, size }: Step): void {
    const side = this.sides[index];
    const other = this.sides[index === 0 ? 1 : 0];
    const ids = [...side.accounts.keys()];
    const id = ids[pick % Math.max(1, ids.length)] ?? 0;
    const account = side.accounts.get(id);
    if (act === "open") return side.open(this.now, false);
    if (act === "openEnd") return side.open(this.now, true);
    if (act === "flush") return side.flush(1 + (pick % 3), this.now);
    if (act === "deliver") {
      for (const message of other.outbox.splice(0, 1 + (pick % 4))) side.receive(message, this.now);
      return;
    }
    if (act === "tick") {
      this.now += pick % 100;
      return side.do({ do: "tick" }, this.now);
    }
    if (act === "goaway") {
      if (pick % 20 === 0) side.do({ do: "goaway", code: "DRAINING", retryAfterMs: 0, reason: "" }, this.now);
      return;
    }
    if (account === undefined) return;
    if (act === "head" || act === "headEnd") {
      if (account.ours || account.headSent || (act === "headEnd" && pick % 4 > 0)) return;
      account.headSent = true;
      if (act === "headEnd") account.canEnd = false;
      side.do({ do: "head", channel: id, status: 200, headers: [], end: act === "headEnd" }, this.now);
    } else if (act === "data" && account.canEnd && account.headSent && !side.core.isFull(id)) {
      side.do({ do: "data", channel: id, bytes: new Uint8Array(size) }, this.now);
    } else if (act === "end" && (pick % 4 === 0 || this.settling) && account.canEnd && account.headSent) {
      account.canEnd = false;
      side.do({ do: "end", channel: id, trailers: pick % 2 === 0 ? [] : [["x-sum", "1"]] }, this.now);
    } else if (act === "reset" && pick % 4 === 0) {
      side.do({ do: "reset", channel: id, code: "CANCELLED", reason: "" }, this.now);
    } else if (act === "read" && account.unread > 0) {
      const bytes = Math.min(account.unread, Math.max(1, size));
      account.unread -= bytes;
      side.do({ do: "consumed", channel: id, bytes }, this.now);
    } else if (act === "handled" && !account.handled) {
      account.handled = true;
      side.do({ do: "handled", channel: id }, this.now);
    }
  }

  private get quiet(): boolean {
    return this.sides.every(
      ({ core, outbox, accounts }) =>
        core.size.live + core.size.slots + outbox.length === 0 &&
        [...accounts.values()].every(({ unread }) => unread === 0),
    );
  }

  /** Everybody finishes what they began, and the wire runs empty. */
  settle(): void {
    this.settling = true;
    for (let round = 0; round < 100 && !this.quiet; round += 1) {
      for (const [index, side] of this.sides.entries()) {
        for (const pick of side.accounts.keys()) {
          const at = [...side.accounts.keys()].indexOf(pick);
          for (const act of ["head", "end", "read", "handled"]) {
            this.apply({ side: index as 0 | 1, act, pick: at, size: 5000 });
          }
        }
        side.flush(50, this.now);
        while (this.sides[1 - index]?.outbox.length)
          this.apply({ side: index as 0 | 1, act: "deliver", pick: 0, size: 0 });
      }
    }
  }
}

describe("two cores", () => {
  it("keep every account, whatever is done and however messages interleave", () => {
    fc.assert(
      fc.property(steps(step), windowMax, (acts, windowMaxBytes) => {
        const run = new Run(windowMaxBytes);
        for (const one of acts) {
          run.apply(one);
          for (const side of run.sides) {
            const { size } = side.core;
            expect(size.budgetUsedBytes).toBeGreaterThanOrEqual(0);
            expect(size.budgetUsedBytes).toBeLessThanOrEqual(limits.receiveBudgetBytes);
            expect(size.slots).toBeLessThanOrEqual(limits.channelsMax);
          }
        }
        run.settle();
        const [left, right] = run.sides;
        for (const [side, other] of [
          [left, right],
          [right, left],
        ] as const) {
          for (const [id, account] of side.accounts) {
            // Every open ends, once; and nothing was lost or invented on a channel that ended in order.
            if (!side.closed) expect([id, account.ends]).toEqual([id, 1]);
            expect(account.ends).toBeLessThanOrEqual(1);
            const there = other.accounts.get(id);
            expect(account.gotBytes).toBeLessThanOrEqual(there?.sentBytes ?? 0);
          }
          if (!side.closed) expect(side.core.size).toEqual({ live: 0, slots: 0, budgetUsedBytes: 0 });
        }
      }),
      { numRuns: 60 },
    );
  });

  it("deliver every answer to its last byte when nobody resets", () => {
    const calm = step.filter(({ act }) => act !== "reset" && act !== "goaway");
    fc.assert(
      fc.property(steps(calm), windowMax, (acts, windowMaxBytes) => {
        const run = new Run(windowMaxBytes);
        for (const one of acts) run.apply(one);
        run.settle();
        const [left, right] = run.sides;
        for (const [opener, handler] of [
          [left, right],
          [right, left],
        ] as const) {
          for (const [id, account] of opener.accounts) {
            const there = handler.accounts.get(id);
            // Refused for want of a slot, or not: the opener has the whole answer. An upload may be cut short by it.
            if (account.ours) expect([id, account.gotBytes]).toEqual([id, there?.sentBytes ?? 0]);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it("never answer a misuse of ours with an effect, and never change for it", () => {
    const core = newCore(true, limits);
    core.input(new Uint8Array(Buffer.concat(newCore(false, limits).nextMessage(0).parts ?? [])), 0);
    const id = core.claimChannel();
    expect(() =>
      core.input({ do: "open", channel: id, head: { ...requestHead, path: "no slash" }, end: true }, 0),
    ).toThrow("HEAD_INVALID");
    expect(core.size).toEqual({ live: 0, slots: 0, budgetUsedBytes: 0 });
    core.input({ do: "open", channel: core.claimChannel(), head: requestHead, end: false }, 0);
    expect(() => core.input({ do: "head", channel: 3, status: 200, headers: [], end: true }, 0)).toThrow(
      "CHANNEL_STATE",
    );
    expect(core.input({ do: "data", channel: 99, bytes: new Uint8Array(1) }, 0)).toEqual([]);
  });

  it("refuse limits that no peer could keep to", () => {
    expect(() => newCore(true, { channelsMax: 0 })).toThrow("ARGUMENT");
    expect(() => newCore(true, { messageBytesMax: 65_536 })).toThrow("ARGUMENT");
    expect(() => newCore(true, { windowInitialBytes: 2 ** 31 })).toThrow("ARGUMENT");
  });
});
