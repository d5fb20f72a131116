/** What a tunnel needs from below: whole messages in order, and to know how many bytes still wait. */

import type { Message } from "./frame.ts";

export interface TransportEvents {
  /** Bytes have come, of a message that need not be whole yet: the peer is there. */
  bytes(): void;
  /** Whole, or in the fragments it came in. */
  message(message: Message): void;
  /** A text message. */
  text(): void;
  /** The peer does not speak this protocol: the subprotocol is another one. */
  foreign(reason: string): void;
  /** The peer takes nothing any more; what it has said may still be on its way, until `closed`. */
  deaf(reason: string): void;
  /** Fewer bytes are waiting than before. */
  drain(): void;
  /** Called exactly once, also after `terminate`. */
  closed(reason: string): void;
}

export interface Transport {
  /** What carries the tunnel, for logs: "websocket", "http", "helix" or "memory". */
  readonly transport: string;
  /** Milliseconds of the last round trip, of a transport that measures by itself; then the tunnel's own pings say less. */
  readonly rttMs?: number | undefined;
  /** Starts delivery; called once, before anything is sent. */
  start(events: TransportEvents): void;
  /** Sends the parts as one message. They must not be changed afterwards. */
  send(parts: readonly Uint8Array[]): void;
  /** Bytes handed over and not yet written. */
  readonly queuedBytes: number;
  /** Ends in order after what was sent: WebSocket close with this code and reason (≤ 123 bytes). */
  close(code: number, reason: string): void;
  /** Ends now. */
  terminate(): void;
}
