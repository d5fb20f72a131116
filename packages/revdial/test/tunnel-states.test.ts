/** The table of SPEC §11.1, cell by cell: a tunnel is brought into each state, and each event happens to it. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { createTunnel } from "../src/core-tunnel.ts";
import { decodeMessage } from "../src/decode.ts";
import type { Frame } from "../src/frame.ts";
import { defaultLimits } from "../src/limits.ts";
import { ManualClock } from "../src/testing/index.ts";
import type { Transport, TransportEvents } from "../src/transport.ts";
import type { Tunnel } from "../src/tunnel.ts";
import { hello, open, write } from "./cores.ts";
import { states } from "./spec-table.ts";
import { failure, get, signal } from "./support.ts";

const events = ["peer's HELLO", "peer's GOAWAY below 64", "other frames", "no channel left, all written"];
const table = states(events, "what it is", "this side may send");
type State = "greeting" | "open" | "draining" | "closing" | "closed";

const goaway = (code: number): Frame => ({
  type: "goaway",
  lastChannel: 0,
  code,
  retryAfterMs: 0,
  reason: "",
});
const ping: Frame = { type: "ping", token: 1n };

/** A transport in our hands; it closes when it is told to. */
class Hand implements Transport {
  readonly transport = "hand";
  queuedBytes: number;

  readonly sent: Frame[] = [];
  closedWith: number | undefined;
  lost = false;
  readonly clock = new ManualClock();
  readonly tunnel: Tunnel;
  readonly answer = signal<{ status: number }>();
  private events: TransportEvents | undefined;

  /** `holds`: more waits in it than may, and nothing is handed over. */
  constructor(holds = false) {
    this.queuedBytes = holds ? defaultLimits.socketQueueBytes : 0;
    this.tunnel = createTunnel(this, false, { clock: this.clock });
    this.tunnel.serve(() => this.answer.seen);
    this.tunnel.ready.catch(() => undefined);
  }

  hear(...frames: Frame[]): void {
    this.events?.message(write(...frames));
  }

  /** Everything is written. */
  drain(): void {
    this.queuedBytes = 0;
    this.events?.drain();
  }

  start(events: TransportEvents): void {
    this.events = events;
  }

  send(parts: readonly Uint8Array[]): void {
    this.sent.push(...decodeMessage(new Uint8Array(Buffer.concat(parts)), defaultLimits));
  }

  close(code: number): void {
    this.closedWith = code;
  }

  /** The peer answers the close, or the path is cut. */
  gone(): void {
    this.lost = true;
    this.events?.closed("gone");
  }

  terminate(): void {
    this.gone();
  }

  /** The state, by what can be seen of it. */
  get state(): State {
    if (this.lost) return "closed";
    if (this.closedWith !== undefined) return "closing";
    if (this.tunnel.draining) return "draining";
    return this.tunnel.peer === undefined ? "greeting" : "open";
  }

  settle(): Promise<void> {
    return this.clock.advance(0);
  }
}

let hand: Hand | undefined;

afterEach(() => hand?.tunnel.destroy());

/**
 * Ways into each state. Where there is no channel yet, only what cannot be written keeps a tunnel that drains from closing in the same
 * turn: "held" ones cannot write.
 */

const ways: [state: State, way: string, reach: (hand: Hand) => void][] = [
  ["greeting", "held", () => undefined],
  ["open", "with a channel", (h) => h.hear(hello, open(1, { end: true }))],
  [
    "draining",
    "by our GOAWAY",
    (h) => {
      h.hear(hello, open(1, { end: true }));
      void h.tunnel.close();
    },
  ],
  ["draining", "by the peer's GOAWAY", (h) => h.hear(hello, open(1, { end: true }), goaway(32))],
  [
    "draining",
    "held, before the peer's HELLO",
    (h) => {
      void h.tunnel.close();
      h.hear(goaway(32));
    },
  ],
  ["closing", "by a violation", (h) => h.hear(hello, hello)],
  ["closing", "in order", (h) => h.hear(hello, goaway(32))],
  [
    "closed",
    "by the loss of its transport",
    (h) => {
      h.hear(hello);
      h.gone();
    },
  ],
];

function begin(way = ""): Hand {
  hand = new Hand(way.startsWith("held"));
  return hand;
}

const happen: Record<string, (hand: Hand) => unknown> = {
  "peer's HELLO": (h) => h.hear(hello),
  "peer's GOAWAY below 64": (h) => h.hear(goaway(33)),
  "other frames": (h) => h.hear(ping),
  "no channel left, all written": (h) => {
    const closing = h.state === "closing";
    h.drain();
    h.answer.give({ status: 204 });
    if (closing) h.gone();
  },
};

/** What the cell means for a tunnel in this state. */
function meant(cell: string, state: State, helloDue: boolean): State | "violation" {
  if (cell === "stays" || cell === "ignored") return state;
  if (cell === "stays, if due") return helloDue ? state : "violation";
  if (cell === "stays, unless HELLO is due") return helloDue ? "violation" : state;

  return cell === "" ? "violation" : (cell as State);
}

describe("a tunnel's states", () => {
  it("are those of the table, and so are the events", () => {
    expect([...table.keys()]).toEqual([...new Set(ways.map(([state]) => state))]);
    expect(Object.keys(happen)).toEqual(events);
  });

  it.each(ways.flatMap(([state, way, reach]) => events.map((event) => [state, way, event, reach] as const)))(
    "%s (%s): %s leads where the table says",
    async (state, way, event, reach) => {
      const hand = begin(way);
      reach(hand);
      await hand.settle();
      expect(hand.state).toBe(state);
      const { length } = hand.sent;
      const helloDue = hand.tunnel.peer === undefined;
      happen[event]?.(hand);
      await hand.settle();
      // Of "closed" no cell says anything: nobody is there.
      const cell = state === "closed" ? "ignored" : (table.get(state)?.get(event) as string);
      const expected = meant(cell, state, helloDue);
      if (expected === "violation") {
        const violation = expect.objectContaining({ type: "goaway", code: expect.any(Number) });
        expect([hand.state, hand.closedWith, hand.sent.at(-1)]).toEqual(["closing", 1002, violation]);
        expect((hand.sent.at(-1) as Frame & { type: "goaway" }).code).toBeGreaterThanOrEqual(64);
        return;
      }

      expect(hand.state).toBe(expected);
      if (cell === "ignored") expect(hand.sent).toHaveLength(length);
    },
  );

  it.each(ways.filter(([state]) => state !== "closed"))(
    "%s (%s): a GOAWAY of 64 or above closes, the loss of the transport and its owner end it",
    async (state, way, reach) => {
      for (const [event, expected] of [
        [(h: Hand) => h.hear(goaway(70)), "closing"],
        [(h: Hand) => h.gone(), "closed"],
        [(h: Hand) => h.tunnel.destroy(), state === "closing" ? state : "closed"],
      ] as const) {
        const hand = begin(way);
        reach(hand);
        await hand.settle();
        event(hand);
        await hand.settle();
        expect(hand.state).toBe(expected);
        // Whatever the peer does: a close frame that nobody answers is not waited for.
        await hand.clock.advance(1000);
        expect(hand.state).toBe("closed");
      }
    },
  );
});

describe("what a side may send", () => {
  /** What it does send, whatever it is asked to. */
  async function sentAfter(state: State): Promise<string[]> {
    const hand = begin();
    ways.find(([reached]) => reached === state)?.[2](hand);
    await hand.settle();
    const { length } = hand.sent;
    const asked = failure(hand.tunnel.request(get("/")));
    hand.tunnel.notify("notice", new Uint8Array(1));
    await hand.clock.advance(6000);
    const sent = hand.sent.slice(state === "greeting" ? 0 : length).map(({ type }) => type);
    hand.tunnel.destroy();
    await asked;
    return [...new Set(sent)];
  }

  it.each([
    ["greeting", "HELLO, GOAWAY", ["hello"]],
    ["open", "everything", ["notice", "open", "ping"]],
    ["draining", "everything but OPEN", ["notice", "ping"]],
    ["closing", "GOAWAY, if a violation is why", []],
    ["closed", "nothing", []],
  ] as const)("%s: %s", async (state, said, sent) => {
    const rows = states(["this side may send"], "what it is");
    expect(rows.get(state)?.get("this side may send")).toBe(said);
    expect((await sentAfter(state)).toSorted()).toEqual(sent);
  });
});
