/** The frames of the protocol as data (SPEC §3–§6); `encode.ts` and `decode.ts` are the two ways between them and bytes. */
import type { HeaderList } from "./head.ts";
import type { TunnelLimits } from "./limits.ts";

export const PROTOCOL_VERSION = 3;

/** SPEC §4. Unknown types below 0x40 are an error, from 0x40 on they are skipped. */
export const frameTypes = {
  hello: 0x00,
  open: 0x01,
  head: 0x02,
  data: 0x03,
  end: 0x04,
  reset: 0x05,
  credit: 0x06,
  ping: 0x07,
  pong: 0x08,
  goaway: 0x09,
  notice: 0x0a,
  grant: 0x0b,
} as const;
export const FLAG_END = 0x01;
/** OPEN and HEAD say how long their body is. */
export const FLAG_LENGTH = 0x02;
/** Payload of the small frames (SPEC §8). */
export const SMALL_BYTES_MAX = 512;

/** One message, whole or in the fragments it came in. */
export type Message = Uint8Array | readonly Uint8Array[];

/** The only status below 200 that is an answer: a socket is open from here on (SPEC §6.5). */
export const SWITCHING = 101;

/** What the codec needs to know of the limits. */
export type FrameLimits = Pick<
  TunnelLimits,
  "headBytesMax" | "headersMax" | "dataBytesMax" | "noticeBytesMax"
>;

/** OPEN's kinds (SPEC §6.1); every other number is refused with KIND_UNSUPPORTED. */
export const channelKinds = { request: 0, socket: 1 } as const;

export interface OpenHead {
  /** One of `channelKinds`; of a kind that a later version may bring nothing else is read. */
  kind: number;
  service: string;
  method: string;
  path: string;
  /** Time the request has left when it is sent; 0 is no deadline. */
  deadlineMs: number;
  /** W3C trace context, or "". */
  traceparent: string;
  /** Sockets only: what HTTP's `Upgrade` names, or "" for a plain byte stream. A request has "". */
  protocol: string;
  /** Bytes of the body, which is held to it; undefined where its end will tell. */
  length?: number | undefined;
  headers: HeaderList;
}

export type Frame =
  | {
      type: "hello";
      version: number;
      channelsMax: number;
      windowBytes: number;
      headBytesMax: number;
      dataBytesMax: number;
      noticeBytesMax: number;
      messageBytesMax: number;
      headersMax: number;
      interimHeadsMax: number;
      emptyDataMax: number;
      incarnation: bigint;
      agent: string;
      features: readonly string[];
    }
  | ({ type: "open"; channel: number; end: boolean } & OpenHead)
  | {
      type: "head";
      channel: number;
      end: boolean;
      status: number;
      /** As in OPEN. Of an answer to HEAD, and of a 304: what the body would have had. */
      length?: number | undefined;
      headers: HeaderList;
    }
  | { type: "data"; channel: number; end: boolean; bytes: Uint8Array }
  | { type: "end"; channel: number; trailers: HeaderList }
  | { type: "reset"; channel: number; code: number; reason: string }
  | { type: "credit"; channel: number; bytes: number }
  | { type: "ping"; token: bigint }
  | { type: "pong"; token: bigint }
  | { type: "goaway"; lastChannel: number; code: number; retryAfterMs: number; reason: string }
  | { type: "notice"; notice: string; payload: Uint8Array }
  | { type: "grant"; channels: number };
