/**
 * Two transports joined in memory. Messages arrive in order, each on a later turn of the event loop. Faults come from
 * a function (give it seeded dice) or by hand: delay, a cut both sides hear of, a link that drops everything and says nothing.
 */
import type { Transport, TransportEvents } from "../transport.ts";

/** What happens to one delivery: passes, waits for some turns, cuts the link, or drops this and everything after it. */
export type Fault = { kind: "pass" } | { kind: "delay"; turns: number } | { kind: "cut" } | { kind: "drop" };

export type Side = "left" | "right";

export interface MemoryLink {
  left: Transport;
  right: Transport;
  /** Ends the link as a reset connection does: both sides hear of it, nothing in flight arrives. */
  cut(): void;
  /** From now on nothing arrives and nobody is told, as when a cable is pulled or the peer's machine stops. */
  drop(): void;
  /** While held, messages to this side wait and count as queued at the other: a peer that does not read. */
  hold(side: Side, held: boolean): void;
  /** Puts a raw message before one side, as a hostile peer would. */
  inject(side: Side, message: Uint8Array | "text"): void;
  /** Called with every message on its way to a side. */
  tap(listener: (to: Side, message: Uint8Array) => void): void;
}

interface Wire {
  dropped: boolean;
  fault: () => Fault;
  taps: ((to: Side, message: Uint8Array) => void)[];
}

type Item = Uint8Array | "text" | { close: string };

class MemoryTransport implements Transport {
  readonly transport = "memory";
  queuedBytes = 0;
  peer: MemoryTransport | undefined;
  held = false;
  private readonly side: Side;
  private readonly wire: Wire;
  private events: TransportEvents | undefined;
  private inbox: Item[] = [];
  private scheduled = false;
  private over = false;

  constructor(side: Side, wire: Wire) {
    this.side = side;
    this.wire = wire;
  }

  start(events: TransportEvents): void {
    this.events = events;
    this.schedule(1);
  }

  send(parts: readonly Uint8Array[]): void {
    if (this.over) return;
    const message = new Uint8Array(Buffer.concat(parts));
    this.queuedBytes += message.byteLength;
    this.peer?.receive(message);
  }

  receive(item: Item): void {
    if (this.over || this.wire.dropped) return;
    if (item instanceof Uint8Array) for (const tap of this.wire.taps) tap(this.side, item);
    this.inbox.push(item);
    this.schedule(1);
  }

  schedule(turns: number): void {
    if (this.scheduled || this.events === undefined) return;
    this.scheduled = true;
    let left = turns;
    const turn = () => {
      left -= 1;
      if (left > 0) return void setImmediate(turn);
      this.scheduled = false;
      this.deliver();
    };
    setImmediate(turn);
  }

  private deliver(): void {
    if (this.held || this.over || this.wire.dropped || this.inbox.length === 0) return;
    const fault = this.wire.fault();
    if (fault.kind === "cut") return this.endBoth("the link was cut");
    if (fault.kind === "drop") {
      this.wire.dropped = true;
      return;
    }
    if (fault.kind === "delay" && fault.turns > 0) return this.schedule(fault.turns);
    const item = this.inbox.shift();
    if (item instanceof Uint8Array) {
      if (this.peer) this.peer.queuedBytes -= item.byteLength;
      this.events?.message(item);
      this.peer?.drained();
    } else if (item === "text") this.events?.text();
    else if (item !== undefined) this.endBoth(item.close);
    if (this.inbox.length > 0) this.schedule(1);
  }

  private drained(): void {
    if (!this.over) this.events?.drain();
  }

  /** Tells this side, once. */
  private end(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.inbox = [];
    this.events?.closed(reason);
  }

  endBoth(reason: string): void {
    this.end(reason);
    if (!this.wire.dropped) this.peer?.end(reason);
  }

  close(code: number, _reason: string): void {
    this.peer?.receive({ close: `the WebSocket was closed with code ${code}` });
  }

  terminate(): void {
    setImmediate(() => this.endBoth("the link was terminated"));
  }
}

/** `fault` is asked once per delivery; default: everything passes. */
export function memoryTransportPair(fault: () => Fault = () => ({ kind: "pass" })): MemoryLink {
  const wire: Wire = { dropped: false, fault, taps: [] };
  const left = new MemoryTransport("left", wire);
  const right = new MemoryTransport("right", wire);
  left.peer = right;
  right.peer = left;
  const sides = { left, right };
  return {
    left,
    right,
    cut: () => left.endBoth("the link was cut"),
    drop() {
      wire.dropped = true;
    },
    hold(side, held) {
      sides[side].held = held;
      if (!held) sides[side].schedule(1);
    },
    inject: (side, message) => sides[side].receive(message),
    tap: (listener) => void wire.taps.push(listener),
  };
}
