/** Every number that bounds a tunnel, with its unit in its name. SPEC §8 repeats the tables; a test compares them. */
import { type Bounds, COUNT_MAX, checkNumbers, TIMER_MS_MAX, U32_MAX } from "./bounds.ts";
import { RevdialError } from "./errors.ts";

export interface TunnelLimits {
  /**
   * Channels the peer may have open at once; a cancelled one counts until its handler has returned. More is OPEN_FLOOD.
   * Default 1,024.
   */
  channelsMax: number;
  /** Channels that become free and are granted to the peer again within one second; further ones wait. Default 100,000. */
  opensPerSecondMax: number;
  /**
   * Those of them within ten seconds that are free because the peer did not wait for an answer; further ones wait.
   * Default 100,000.
   */
  resetsPerWindowMax: number;
  /**
   * Time that a request of ours waits until the peer grants a channel; REFUSED after it, and at once while all of the peer's
   * `channelsMax` are in use by ours. Default 2,000.
   */
  grantTimeoutMs: number;
  /** Payload bytes of an OPEN, HEAD or END frame. Default 32,768. */
  headBytesMax: number;
  /** Header fields in one head. Default 256. */
  headersMax: number;
  /** Payload bytes of one DATA frame. Default 65,536. */
  dataBytesMax: number;
  /** Payload bytes of one NOTICE frame, of which its type takes at most 64. Default 16,448. */
  noticeBytesMax: number;
  /** NOTICE frames waiting to be sent; further ones are dropped. Default 256. */
  noticesQueuedMax: number;
  /** Bytes of one WebSocket message. Default 1,048,576. */
  messageBytesMax: number;
  /** Bytes a channel may send before the first CREDIT. Default 32,768. */
  windowInitialBytes: number;
  /** Bytes a channel's window may grow to while its reader keeps up. Default 33,554,432. */
  windowMaxBytes: number;
  /**
   * Sum of all windows of a tunnel and of what nobody has read yet, of channels that are over as well; a channel that does not
   * fit is refused. Default 83,886,080.
   */
  receiveBudgetBytes: number;
  /**
   * PONG, CREDIT, RESET of its channels and the like waiting to be sent; a peer that makes us queue more is CONTROL_FLOOD.
   * Default 1,048,576.
   */
  controlQueuedBytesMax: number;
  /** DATA frames without bytes in a row on one channel; more is EMPTY_FLOOD. Default 64. */
  emptyDataMax: number;
  /** Heads below 200 on one channel; more is INTERIM_FLOOD. Default 32. */
  interimHeadsMax: number;
  /** A channel whose bytes wait for so long without any credit of the peer's is reset (STALLED). Default 300,000. */
  stallTimeoutMs: number;
  /** Body bytes of ours queued per channel before its producer has to wait. Default 131,072. */
  sendQueueBytes: number;
  /** Those of all channels together; above it a producer waits that has 16 KiB queued. Default 16,777,216. */
  sendBudgetBytes: number;
  /** Bytes handed to the transport and not yet written; the scheduler waits above it. Default 262,144. */
  socketQueueBytes: number;
  /** Time for the peer's HELLO. Default 10,000. */
  helloTimeoutMs: number;
}

export const defaultLimits: Readonly<TunnelLimits> = {
  channelsMax: 1024,
  opensPerSecondMax: 100_000,
  resetsPerWindowMax: 100_000,
  grantTimeoutMs: 2000,
  headBytesMax: 32 * 1024,
  headersMax: 256,
  dataBytesMax: 64 * 1024,
  noticeBytesMax: 16 * 1024 + 64,
  noticesQueuedMax: 256,
  messageBytesMax: 1024 * 1024,
  windowInitialBytes: 32 * 1024,
  windowMaxBytes: 32 * 1024 * 1024,
  receiveBudgetBytes: 80 * 1024 * 1024,
  controlQueuedBytesMax: 1024 * 1024,
  emptyDataMax: 64,
  interimHeadsMax: 32,
  stallTimeoutMs: 300_000,
  sendQueueBytes: 128 * 1024,
  sendBudgetBytes: 16 * 1024 * 1024,
  socketQueueBytes: 256 * 1024,
  helloTimeoutMs: 10_000,
};

const WINDOW_BYTES_MAX = 0x7fff_ffff;
const PAYLOAD_BYTES_MAX = 0xff_ffff;
/** Below it no head fits that a browser would send. */
const PAYLOAD_BYTES_MIN = 1024;
/** A message must have room for a frame and a full round of bodies (SPEC §8). */
const MESSAGE_ROOM_BYTES_MIN = 128 * 1024;
/** `ws` takes the largest message as a signed number. */
const MESSAGE_BYTES_MAX = 0x7fff_ffff;

/** What each may be: outside of it a tunnel would hang, or its peer would find a violation. */
export const limitBounds: Readonly<Record<keyof TunnelLimits, Bounds>> = {
  channelsMax: [1, 0x7fff_ffff],
  opensPerSecondMax: [1, U32_MAX],
  resetsPerWindowMax: [1, U32_MAX],
  grantTimeoutMs: [1, TIMER_MS_MAX],
  headBytesMax: [PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX],
  headersMax: [1, 0xffff],
  dataBytesMax: [PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX],
  noticeBytesMax: [PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX],
  noticesQueuedMax: [0, U32_MAX],
  messageBytesMax: [PAYLOAD_BYTES_MIN + MESSAGE_ROOM_BYTES_MIN, MESSAGE_BYTES_MAX],
  windowInitialBytes: [1, WINDOW_BYTES_MAX],
  windowMaxBytes: [1, WINDOW_BYTES_MAX],
  receiveBudgetBytes: [1, COUNT_MAX],
  controlQueuedBytesMax: [64 * 1024, U32_MAX],
  emptyDataMax: [0, U32_MAX],
  interimHeadsMax: [0, U32_MAX],
  stallTimeoutMs: [1, TIMER_MS_MAX],
  sendQueueBytes: [1, COUNT_MAX],
  sendBudgetBytes: [1, COUNT_MAX],
  socketQueueBytes: [1, COUNT_MAX],
  helloTimeoutMs: [1, TIMER_MS_MAX],
};

/** The limits of one side, those not given by default. One object for all who give none. Error: ARGUMENT. */
export function limitsOf(given: Partial<TunnelLimits> = {}): TunnelLimits {
  if (typeof given !== "object" || given === null)
    throw new RevdialError("ARGUMENT", "the limits are no object");
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  for (const [name] of set)
    if (!Object.hasOwn(limitBounds, name)) throw new RevdialError("ARGUMENT", `there is no limit ${name}`);
  if (set.length === 0) return defaultLimits;
  const limits: TunnelLimits = { ...defaultLimits, ...Object.fromEntries(set) };
  checkLimits(limits);
  return limits;
}

/** Error: ARGUMENT. */
export function checkLimits(limits: TunnelLimits): void {
  checkNumbers(limits, limitBounds);
  const fault = messageRoomFault(limits) ?? budgetFault(limits);
  if (fault !== undefined) throw new RevdialError("ARGUMENT", fault);
}

function budgetFault({ windowInitialBytes, receiveBudgetBytes }: TunnelLimits): string | undefined {
  return windowInitialBytes > receiveBudgetBytes
    ? "windowInitialBytes is above receiveBudgetBytes"
    : undefined;
}

/** What is wrong with a side whose messages hold no frame of its own limits, or undefined. */
export function messageRoomFault(
  sizes: Pick<TunnelLimits, "headBytesMax" | "dataBytesMax" | "noticeBytesMax" | "messageBytesMax">,
): string | undefined {
  const largest = Math.max(sizes.headBytesMax, sizes.dataBytesMax, sizes.noticeBytesMax);
  return sizes.messageBytesMax < largest + MESSAGE_ROOM_BYTES_MIN
    ? "messageBytesMax is below a frame and 131,072"
    : undefined;
}
