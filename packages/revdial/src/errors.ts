/**
 * The one table of everything that can go wrong in a tunnel: a number for the wire (SPEC §9), a name for programs,
 * and whether a request that met it can have run at the far end.
 */

/** Wire numbers of RESET and GOAWAY codes (SPEC §9). Numbers are never reused. */
export const wireCodes = {
  NONE: 0,
  // RESET: the fate of one channel. 1 to 31, and DRAINING.
  REFUSED: 1,
  CANCELLED: 2,
  DEADLINE: 3,
  SERVICE_UNKNOWN: 4,
  HANDLER_FAILED: 5,
  NOT_NEEDED: 6,
  KIND_UNSUPPORTED: 7,
  STALLED: 8,
  // GOAWAY: the fate of the tunnel. NONE, and from here on.
  DRAINING: 32,
  REPLACED: 33,
  REVOKED: 34,
  PROTOCOL_VERSION: 64,
  FRAME_TRUNCATED: 65,
  FRAME_TOO_LARGE: 66,
  FRAME_TYPE_UNKNOWN: 67,
  FRAME_FLAGS: 68,
  FRAME_MALFORMED: 69,
  HEAD_INVALID: 70,
  HEAD_TOO_LARGE: 71,
  HELLO_EXPECTED: 72,
  HELLO_REPEATED: 73,
  HELLO_TIMEOUT: 74,
  CHANNEL_ID: 75,
  CHANNEL_STATE: 76,
  WINDOW_EXCEEDED: 77,
  CREDIT_INVALID: 78,
  OPEN_FLOOD: 79,
  EMPTY_FLOOD: 81,
  CONTROL_FLOOD: 82,
  MESSAGE_NOT_BINARY: 83,
  INTERIM_FLOOD: 84,
  BODY_LENGTH: 85,
} as const;

/** GOAWAY codes from here on are violations: the sender closes at once. */
export const FIRST_FATAL_CODE = 64;

export type WireCodeName = keyof typeof wireCodes;

/** Codes that exist on one side only and never travel. */
const localCodes = [
  "CLOSED",
  "DEAD_PEER",
  "TRANSPORT_LOST",
  "DESTROYED",
  "CHANNEL_RESET",
  "NOTICE_DROPPED",
  "SOCKET_REFUSED",
  "DIAL_REFUSED",
  "DIAL_FAILED",
  "DIAL_TIMEOUT",
  "ARGUMENT",
] as const;

/**
 * What programs match on. SPEC §9 says which of them the peer sends, and which say that nothing was sent.
 *
 * - `NONE`: no particular reason; on the wire alone, programs meet `CLOSED`
 * - `REFUSED`: no channel or no memory for the request, or what is to serve it takes none; not sent
 * - `CANCELLED`: the caller, or the producer of a body, gave up
 * - `DEADLINE`: the deadline has passed
 * - `SERVICE_UNKNOWN`: nobody serves this service; not sent
 * - `HANDLER_FAILED`: the far end's handler failed; why is not told
 * - `NOT_NEEDED`: the answer ended before the upload did, and no answer had come
 * - `KIND_UNSUPPORTED`: the far end knows no channels of this kind; not sent
 * - `STALLED`: what waited for the reader got no credit for `stallTimeoutMs`
 * - `DRAINING`: the tunnel takes no new requests; what is in flight is finished
 * - `REPLACED`: another tunnel of the same peer has taken over
 * - `REVOKED`: what the peer was let in with is no longer valid
 * - `PROTOCOL_VERSION`: the peer speaks another version, or another subprotocol
 * - `FRAME_TRUNCATED`: a message ended inside a frame, or was empty
 * - `FRAME_TOO_LARGE`: a payload was above its limit; of `notify`: the datagram is
 * - `FRAME_TYPE_UNKNOWN`: a frame of a type that does not exist
 * - `FRAME_FLAGS`: a frame with a flag that does not exist, or not there
 * - `FRAME_MALFORMED`: a frame with a field that cannot be read, or a HELLO out of bounds
 * - `HEAD_INVALID`: a head, path, service or trailer that may not travel
 * - `HEAD_TOO_LARGE`: too many fields, or bytes, in a head
 * - `HELLO_EXPECTED`: another frame before HELLO
 * - `HELLO_REPEATED`: a second HELLO
 * - `HELLO_TIMEOUT`: no HELLO within `helloTimeoutMs`
 * - `CHANNEL_ID`: a channel number of the wrong parity or order, or that was never opened
 * - `CHANNEL_STATE`: a frame that its channel's state does not allow; of a `Reply`: a call out of order
 * - `WINDOW_EXCEEDED`: more bytes than were granted
 * - `CREDIT_INVALID`: a CREDIT or GRANT of nothing, or of too much
 * - `OPEN_FLOOD`: more channels than were granted
 * - `EMPTY_FLOOD`: too many DATA frames without bytes
 * - `CONTROL_FLOOD`: the peer does not read what it makes us answer, or sends too many GOAWAYs
 * - `MESSAGE_NOT_BINARY`: a text message
 * - `INTERIM_FLOOD`: too many heads below 200
 * - `BODY_LENGTH`: more or fewer body bytes than were announced
 * - `CLOSED`: the tunnel has ended in order
 * - `DEAD_PEER`: the peer answered no ping and was not heard for `deadAfterMs`
 * - `TRANSPORT_LOST`: the connection broke
 * - `DESTROYED`: the tunnel was ended here, now
 * - `CHANNEL_RESET`: the peer gave the channel up for a reason that this version does not know
 * - `NOTICE_DROPPED`: a datagram found no room; `notify` returns false
 * - `SOCKET_REFUSED`: an ordinary answer where a byte stream was wanted; with `status` and `detail`
 * - `DIAL_REFUSED`: the server refused the tunnel; with `status`, `retryAfterMs` and `detail`
 * - `DIAL_FAILED`: the network, or a server that speaks something else, kept the tunnel from coming up
 * - `DIAL_TIMEOUT`: no tunnel within `handshakeTimeoutMs`
 * - `ARGUMENT`: misuse by the program; nothing was begun
 */
export type RevdialErrorCode = WireCodeName | (typeof localCodes)[number];

/** Every code a program can meet, for documents and tests. */
export const revdialErrorCodes: readonly RevdialErrorCode[] = [
  ...(Object.keys(wireCodes) as WireCodeName[]),
  ...localCodes,
];

/** `not-sent`: the far end has not seen the request, it is safe to send it again. `may-have-run`: it may have. */
export type RequestFate = "not-sent" | "may-have-run";

const namesByNumber = new Map<number, WireCodeName>(
  (Object.entries(wireCodes) as [WireCodeName, number][]).map(([name, number]) => [number, name]),
);

/** RESET codes that say the handler never saw the request (SPEC §9). */
export const neverHandled: ReadonlySet<number> = new Set([
  wireCodes.REFUSED,
  wireCodes.SERVICE_UNKNOWN,
  wireCodes.KIND_UNSUPPORTED,
  wireCodes.DRAINING,
]);

/** The name of a RESET code from the wire; numbers of a later version, or of GOAWAY, read as the general CHANNEL_RESET. */
export function resetCodeName(number: number): RevdialErrorCode {
  const ofChannels = number > wireCodes.NONE && number <= wireCodes.DRAINING;
  return (ofChannels && namesByNumber.get(number)) || "CHANNEL_RESET";
}

/** The name of a GOAWAY code from the wire; numbers of a later version, or of RESET, read as CLOSED. */
export function goawayCodeName(number: number): RevdialErrorCode {
  return (number >= wireCodes.DRAINING && namesByNumber.get(number)) || "CLOSED";
}

export interface RevdialErrorOptions {
  cause?: unknown;
  sent?: RequestFate;
  /** HTTP status of a refused upgrade (DIAL_REFUSED, SOCKET_REFUSED). */
  status?: number;
  /** The server's wish, in milliseconds, from `Retry-After` or GOAWAY. */
  retryAfterMs?: number;
  /** Body of a refused upgrade, at most 4 KiB (DIAL_REFUSED, SOCKET_REFUSED). */
  detail?: string;
}

/** The only error this library throws or rejects with. Match on `code`, never on the message. */
export class RevdialError extends Error {
  readonly code: RevdialErrorCode;
  /** What became of the request; undefined where the error is not about the sending of one, such as a body read twice. */
  readonly sent: RequestFate | undefined;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly detail: string | undefined;

  constructor(code: RevdialErrorCode, message: string, options: RevdialErrorOptions = {}) {
    super(`${code}: ${message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "RevdialError";
    this.code = code;
    this.sent = options.sent;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.detail = options.detail;
  }
}

/** What comes before a request leaves: whatever it throws, nothing was sent. */
export function beforeSending<Result>(run: () => Result): Result {
  try {
    return run();
  } catch (error) {
    if (error instanceof RevdialError) (error as { sent: RequestFate | undefined }).sent ??= "not-sent";
    throw error;
  }
}
