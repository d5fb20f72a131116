/** What all parts of one run share: time, dice, what is going on, and what was found wrong. */
import type { RequestFate, Tunnel } from "../../src/index.ts";
import { ManualClock, type Side } from "../../src/testing/index.ts";
import { belongs, content, type Direction } from "./content.ts";
import type { Dice } from "./dice.ts";
import type { Flow, Outcome, Plan } from "./plan.ts";

/** One direction of one exchange. */
export interface Account {
  /** What the producer gave away, and what the reader took. */
  givenBytes: number;
  takenBytes: number;
  begun: boolean;
  /** The producer gave all it had. */
  ended: boolean;
  /** The producer's generator is over, one way or the other. */
  stopped: boolean;
  /** The reader saw the end of the body. */
  complete: boolean;
  /** The reader left before the end: what is dropped for it counts as taken. */
  left: boolean;
}

export interface Exchange {
  plan: Plan;
  up: Account;
  down: Account;
  /** How often a handler was called for it, and how often one has ended. */
  seen: number;
  handled: number;
  askedAtMs: number;
  /** When the promise of the answer settled. */
  headAtMs: number | undefined;
  outcome: Outcome | undefined;
  sent: RequestFate | undefined;
  interimsHeard: number;
}

/** The producer's failure, or a handler's, that a plan asks for. */
export class Planned extends Error {}

const STREAM_BYTES = 2 * 64 * 1024;

const account = (): Account => ({
  givenBytes: 0,
  takenBytes: 0,
  begun: false,
  ended: false,
  stopped: false,
  complete: false,
  left: false,
});

export class World {
  readonly clock = new ManualClock();
  readonly dice: Dice;
  readonly exchanges = new Map<number, Exchange>();
  readonly faults: string[] = [];
  readonly lines: string[] = [];
  /** What may wait between a producer and its reader, besides one chunk. */
  inFlightBytesMax = Number.POSITIVE_INFINITY;
  /** Interim heads that each side takes for one request; more are dropped on their way. */
  interimHeadsMax: Record<Side, number> = { left: 0, right: 0 };
  tunnels: Record<Side, Tunnel> | undefined;

  constructor(dice: Dice) {
    this.dice = dice;
  }

  add(plan: Plan): Exchange {
    const exchange: Exchange = {
      plan,
      up: account(),
      down: account(),
      seen: 0,
      handled: 0,
      askedAtMs: this.clock.now(),
      headAtMs: undefined,
      outcome: undefined,
      sent: undefined,
      interimsHeard: 0,
    };
    this.exchanges.set(plan.id, exchange);
    return exchange;
  }

  note(line: string): void {
    this.lines.push(`${this.clock.now()} ms: ${line}`);
  }

  fault(sentence: string): void {
    this.faults.push(sentence);
    this.note(`FAULT ${sentence}`);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.setTimer(ms, resolve));
  }

  /** A body as its plan wants it; what may not wait anywhere is a fault of the tunnel. */
  async *produce(exchange: Exchange, direction: Direction, flow: Flow): AsyncGenerator<Uint8Array> {
    const { id, kind } = exchange.plan;
    const account = exchange[direction];
    // A Node stream has a buffer of its own at each end.
    const streamed = kind.startsWith("socket") ? STREAM_BYTES : 0;
    account.begun = true;
    try {
      for (let at = 0; at < flow.bytes; ) {
        if (flow.everyMs > 0) await this.sleep(flow.everyMs);
        if (flow.failsAtBytes !== undefined && at >= flow.failsAtBytes) break;
        const bytes = Math.min(flow.chunkBytes, flow.bytes - at);
        account.givenBytes += bytes;
        const waiting = account.givenBytes - account.takenBytes;
        if (!account.left && waiting > this.inFlightBytesMax + streamed + 2 * flow.chunkBytes)
          this.fault(`exchange ${id}: ${waiting} bytes wait between producer and reader (${direction})`);
        yield content(id, direction, at, bytes);
        at += bytes;
      }
      if (flow.failsAtBytes !== undefined) throw new Planned("the producer fails");
      account.ended = true;
    } finally {
      account.stopped = true;
    }
  }

  /** A chunk has arrived at the reader of a direction; `as`: the direction its bytes were made for. */
  took(exchange: Exchange, direction: Direction, chunk: Uint8Array, as: Direction = direction): void {
    const { id, kind } = exchange.plan;
    const account = exchange[direction];
    if (chunk.byteLength === 0) this.fault(`exchange ${id} (${kind}): an empty chunk`);
    if (!belongs(chunk, id, as, account.takenBytes))
      this.fault(`exchange ${id} (${kind}): bytes of another body at ${account.takenBytes} (${direction})`);
    account.takenBytes += chunk.byteLength;
  }
}
