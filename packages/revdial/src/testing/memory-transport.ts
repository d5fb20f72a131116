/** Two transports joined in memory. Messages arrive in order on a later turn of the event loop; a link can be held, cut or spoiled. */
import type { Transport, TransportEvents } from "../transport.ts";

/** What happens to one message on its way. */
export type Fault = { kind: "pass" } | { kind: "hold"; turns: number } | { kind: "cut" };

export interface MemoryLink {
  left: Transport;
  right: Transport;
  /** Ends the link as a lost network does: both sides hear of it, nothing in flight arrives. */
  cut(): void;
  /** While held, messages wait and count as queued: a peer that does not read. */
  hold(side: "left" | "right", held: boolean): void;
  /** Puts a raw message into one side, as a hostile peer would. */
  inject(side: "left" | "right", message: Uint8Array | "text"): void;
}

class MemoryTransport implements Transport {
  queuedBytes = 0;
  peer: MemoryTransport | undefined;
  held = false;
  private events: TransportEvents | undefined;
  private inbox: (Uint8Array | "text" | { close: string })[] = [];
  private delivering = false;
  private over = false;
  private readonly fault: () => Fault;

  constructor(fault: () => Fault) {
    this.fault = fault;
  }

  start(events: TransportEvents): void {
    this.events = events;
    this.deliver();
  }

  send(parts: readonly Uint8Array[]): void {
    if (this.over) return;
    const message = new Uint8Array(Buffer.concat(parts));
    this.queuedBytes += message.byteLength;
    this.peer?.receive(message);
  }

  receive(item: Uint8Array | "text" | { close: string }): void {
    this.inbox.push(item);
    this.deliver();
  }

  deliver(): void {
    if (this.delivering || this.events === undefined) return;
    this.delivering = true;
    setImmediate(() => {
      this.delivering = false;
      this.deliverOne();
    });
  }

  private deliverOne(): void {
    if (this.held || this.over || this.inbox.length === 0) return;
    const fault = this.fault();
    if (fault.kind === "cut") return this.endBoth("the link was cut");
    if (fault.kind === "hold" && fault.turns > 0) {
      this.held = true;
      let turns = fault.turns;
      const wait = () => {
        turns -= 1;
        if (turns > 0) return void setImmediate(wait);
        this.held = false;
        this.deliver();
      };
      setImmediate(wait);
      return;
    }
    const item = this.inbox.shift();
    if (item instanceof Uint8Array) {
      if (this.peer) this.peer.queuedBytes -= item.byteLength;
      this.events?.message(item);
      this.peer?.events?.drain();
    } else if (item === "text") this.events?.notBinary();
    else if (item !== undefined) this.end(item.close);
    if (this.inbox.length > 0) this.deliver();
  }

  end(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.inbox = [];
    this.events?.closed(reason);
  }

  endBoth(reason: string): void {
    const peer = this.peer;
    this.end(reason);
    peer?.end(reason);
  }

  close(code: number, _reason: string): void {
    this.peer?.receive({ close: `the WebSocket was closed with code ${code}` });
    setImmediate(() => this.end(`closed with code ${code}`));
  }

  terminate(): void {
    setImmediate(() => this.endBoth("terminated"));
  }
}

/** `fault` is asked once per delivery; default: everything passes. */
export function memoryTransportPair(fault: () => Fault = () => ({ kind: "pass" })): MemoryLink {
  const left = new MemoryTransport(fault);
  const right = new MemoryTransport(fault);
  left.peer = right;
  right.peer = left;
  const side = (name: "left" | "right") => (name === "left" ? left : right);
  return {
    left,
    right,
    cut: () => left.endBoth("the link was cut"),
    hold(name, held) {
      side(name).held = held;
      if (!held) side(name).deliver();
    },
    inject: (name, message) => side(name).receive(message),
  };
}
