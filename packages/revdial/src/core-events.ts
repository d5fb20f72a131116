/** What goes into the core and what comes out: plain values, so that a run can be recorded, replayed and compared. */
import type { RequestFate, RevdialErrorCode, WireCodeName } from "./errors.ts";
import type { OpenHead } from "./frame.ts";
import type { GrowthPool } from "./growth-pool.ts";
import type { HeaderList } from "./head.ts";
import type { TunnelLimits } from "./limits.ts";

export interface PeerHello {
  version: number;
  /** What the peer calls itself, such as `wolf-revdial-client/0.1.0`. */
  agent: string;
  incarnation: bigint;
  features: readonly string[];
}

export type LocalEvent =
  | { do: "open"; channel: number; head: OpenHead; end: boolean }
  | {
      do: "head";
      channel: number;
      status: number;
      length?: number | undefined;
      headers: HeaderList;
      end: boolean;
    }
  | { do: "data"; channel: number; bytes: Uint8Array }
  | { do: "end"; channel: number; trailers: HeaderList }
  | { do: "reset"; channel: number; code: WireCodeName; reason: string }
  /** The reader took this many body bytes: they become credit. */
  | { do: "consumed"; channel: number; bytes: number }
  /** The handler of an inbound channel has stopped: its slot is free once the channel is closed. */
  | { do: "handled"; channel: number }
  | { do: "notice"; notice: string; payload: Uint8Array }
  | { do: "goaway"; code: WireCodeName; retryAfterMs: number; reason: string }
  /** Time has passed. `heardAt`: when the last byte of the peer came, of a message that need not be whole. */
  | { do: "tick"; heardAt?: number | undefined }
  /** The peer has sent a text message. */
  | { do: "text" }
  /** The transport is gone or about to be: nothing comes out any more. */
  | { do: "stop" };

export type Effect =
  | { effect: "ready"; peer: PeerHello }
  | { effect: "incoming"; channel: number; head: OpenHead; end: boolean }
  /** A head below 200 that is not a socket's 101: the real one is still to come. */
  | { effect: "interim"; channel: number; status: number; headers: HeaderList }
  | {
      effect: "head";
      channel: number;
      status: number;
      length: number | undefined;
      headers: HeaderList;
    }
  | { effect: "data"; channel: number; bytes: Uint8Array }
  | { effect: "ended"; channel: number; trailers: HeaderList }
  /** The channel's queue has room again. */
  | { effect: "drained"; channel: number }
  /** The channel is over before its time, by either side or by its deadline. */
  | { effect: "reset"; channel: number; code: RevdialErrorCode; reason: string; sent: RequestFate }
  /** Both directions are finished: the channel is forgotten. */
  | { effect: "finished"; channel: number }
  | { effect: "notice"; notice: string; payload: Uint8Array }
  | { effect: "goaway"; code: number; retryAfterMs: number; reason: string; lastChannel: number }
  /** We go away: no new channel is opened. */
  | { effect: "leaving"; reason: string }
  /** The drain is over but for what the transport has to write yet; told once. */
  | { effect: "handedOver" }
  | { effect: "rtt"; ms: number }
  /** The tunnel is over. One last `nextMessage` may hold a GOAWAY; after it there is nothing, whatever is put in. */
  | { effect: "close"; code: RevdialErrorCode; reason: string };

export interface CoreOptions {
  limits: TunnelLimits;
  /** The side that dialled opens odd channels, the side that accepted even ones. */
  dialled: boolean;
  agent: string;
  incarnation: bigint;
  features: readonly string[];
  pingIntervalMs: number;
  deadAfterMs: number;
  /** Default: only this tunnel's budget bounds what its windows grow by. */
  growthPool?: GrowthPool;
}
