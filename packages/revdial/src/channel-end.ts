/** Our end of one channel: how the tunnel drives it, and what it may ask of the tunnel. */
import type { RevdialError, WireCodeName } from "./errors.ts";
import type { HeaderList } from "./head.ts";

/** Called in order, from within the tunnel's turn; nothing comes after `onClosed`. */
export interface ChannelEnd {
  /** Why we ended it ourselves, for the error's `cause`. */
  readonly cause: unknown;
  onInterim(status: number, headers: HeaderList): void;
  onHead(status: number, headers: HeaderList): void;
  /** The bytes count against the receive budget until `consumed` is called for them, once for each, read or dropped. */
  onData(bytes: Uint8Array): void;
  onEnded(trailers: HeaderList): void;
  /** `data` had no more room; now it has. */
  onDrained(): void;
  /** Both directions are over: in order, or with the error that ended them before their time. */
  onClosed(error: RevdialError | undefined): void;
}

/** Does nothing for a channel that is over. Throws a RevdialError for what SPEC does not let travel. */
export interface ChannelPort {
  /** `length`: bytes of the body, where it is known. */
  head(channel: number, status: number, length: number | undefined, headers: HeaderList, end: boolean): void;
  /** False when there is no room for more until `onDrained`. */
  data(channel: number, bytes: Uint8Array): boolean;
  end(channel: number, trailers: HeaderList): void;
  reset(channel: number, code: WireCodeName, reason: string): void;
  /** Also after the end of the channel. */
  consumed(channel: number, bytes: number): void;
  /** The handler of one of the peer's channels has stopped. */
  handled(channel: number): void;
  /** What a callback of the program threw, for `onHandlerError`. */
  report(error: unknown): void;
}
