/**
 * Two ends of a tunnel in one process, joined without a wire: what one sends, the other hears on a later turn of the event loop, in
 * order, and what waits counts as queued. How it ends is the business of an owner, who has a real connection to end.
 */
import { fragmentsOf } from "../fragments.ts";
import type { Message } from "../frame.ts";
import { Summary } from "../summary.ts";
import type { Transport, TransportEvents } from "../transport.ts";

/** Whoever has the connection that such a link stands for. */
export interface LinkOwner {
  /** What the near end says carries it, such as "helix". */
  readonly transport: string;
  /** Milliseconds of the last round trip over that connection. */
  readonly rttMs: number | undefined;
  /** One of the ends is done, and the other has heard all it said: to be followed by `cut`. At most once. */
  close(): void;
  /** The same, but at once, and also after `close`. At most once. */
  terminate(): void;
}

/** Delivers nothing before it is opened. */
export class Link {
  /** Of the tunnel that programs get. */
  readonly near: Transport;
  /** Of the tunnel that stands in for the peer, in this process. */
  readonly far: Transport;
  private readonly ends: readonly [LinkEnd, LinkEnd];
  private readonly owner: LinkOwner;
  private opened = false;
  private scheduled = false;
  private closing = false;
  private terminating = false;
  private over = false;

  constructor(owner: LinkOwner) {
    this.owner = owner;
    const near = new NearEnd(this, owner);
    const far = new LinkEnd(this, "memory");
    near.peer = far;
    far.peer = near;
    this.near = near;
    this.far = far;
    this.ends = [far, near];
  }

  /** From now on there is somebody at the other end of the connection. */
  open(): void {
    this.opened = true;
    this.schedule();
  }

  /** Nothing that the near end says from now on arrives; what it is told may still do, until it is cut. */
  deafen(reason: string): void {
    if (!this.over) this.ends[1].deafen(reason);
  }

  /** The connection is gone: both ends hear it, and nothing that is still on its way arrives. */
  cut(reason: string): void {
    if (this.over) return;
    this.over = true;
    for (const end of this.ends) end.cut(reason);
  }

  schedule(): void {
    if (this.scheduled || !this.opened) return;
    this.scheduled = true;
    setImmediate(this.deliver);
  }

  private readonly deliver = (): void => {
    this.scheduled = false;
    // In a turn of its own: whoever was told why has told others by now.
    if (this.ends.some((end) => end.peerIsDone)) this.close();
    else for (const end of this.ends) end.deliver();
    if (this.ends.some((end) => end.hasMore)) this.schedule();
  };

  private close(): void {
    for (const end of this.ends) end.forgetDone();
    if (this.closing) return;
    this.closing = true;
    this.owner.close();
  }

  /** The ends are told once the connection is gone. */
  terminate(): void {
    if (this.terminating || this.over) return;
    this.terminating = true;
    this.closing = true;
    this.owner.terminate();
  }
}

interface Item {
  message: Message;
  bytes: number;
}

/** Behind it nothing comes. */
const DONE: Item = { message: [], bytes: 0 };

class LinkEnd extends Summary implements Transport {
  readonly transport: string;
  queuedBytes = 0;
  peer!: LinkEnd;
  private readonly link: Link;
  private events: TransportEvents | undefined;
  private inbox: Item[] = [];
  private over = false;

  constructor(link: Link, transport: string) {
    super();
    this.link = link;
    this.transport = transport;
  }

  toJSON() {
    const { transport, queuedBytes } = this;
    return { transport, queuedBytes };
  }

  start(events: TransportEvents): void {
    this.events = events;
    if (this.inbox.length > 0) this.link.schedule();
  }

  send(parts: readonly Uint8Array[]): void {
    if (this.over) return;
    let bytes = 0;
    for (const part of parts) bytes += part.byteLength;
    this.queuedBytes += bytes;
    const fragments = fragmentsOf(parts);
    this.peer.take({ message: fragments.length === 1 ? (fragments[0] as Uint8Array) : fragments, bytes });
  }

  close(): void {
    if (this.over) return;
    this.peer.take(DONE);
    // Before anybody was there: what was said, such as why, is for the other end of the link.
    this.link.open();
  }

  terminate(): void {
    this.link.terminate();
  }

  take(item: Item): void {
    this.inbox.push(item);
    this.link.schedule();
  }

  get hasMore(): boolean {
    return this.events !== undefined && this.inbox.length > 0;
  }

  /** All that its peer had to say has been delivered. */
  get peerIsDone(): boolean {
    return this.inbox[0] === DONE;
  }

  forgetDone(): void {
    if (this.peerIsDone) this.inbox = [];
  }

  /** What has come until now. */
  deliver(): void {
    const { events, peer, inbox } = this;
    if (events === undefined || inbox.length === 0) return;
    const done = inbox.indexOf(DONE);
    const items = done < 0 ? inbox : inbox.slice(0, done);
    this.inbox = done < 0 ? [] : [DONE];
    for (const { message, bytes } of items) {
      if (this.over) return;
      peer.queuedBytes -= bytes;
      events.message(message);
    }
    peer.drained();
  }

  private drained(): void {
    if (!this.over) this.events?.drain();
  }

  deafen(reason: string): void {
    queueMicrotask(() => {
      if (!this.over) this.events?.deaf(reason);
    });
  }

  cut(reason: string): void {
    this.over = true;
    this.inbox = [];
    this.queuedBytes = 0;
    // Whoever cuts may stand in the middle of one of the ends.
    queueMicrotask(() => this.events?.closed(reason));
  }
}

class NearEnd extends LinkEnd {
  private readonly owner: LinkOwner;

  constructor(link: Link, owner: LinkOwner) {
    super(link, owner.transport);
    this.owner = owner;
  }

  get rttMs(): number | undefined {
    return this.owner.rttMs;
  }
}
