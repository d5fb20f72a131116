/**
 * The life of one channel as a table (SPEC §6, figure 2), and its windows. An absent cell is a protocol error when the
 * peer caused the event, a misuse when we did; frames for a channel that is closed never get this far, because a peer
 * may still be sending when our reset reaches it.
 */
import { ChunkQueue } from "./chunk-queue.ts";
import { RevdialError } from "./errors.ts";
import { channelKinds, type OpenHead, SWITCHING } from "./frame.ts";
import type { HeaderList } from "./head.ts";

export type ChannelState =
  | "opening" // we opened it and wait for the response head
  | "openingEnded" // as opening, our request body has ended
  | "accepted" // the peer opened it and waits for our head
  | "acceptedEnded" // as accepted, the request body has ended
  | "open"
  | "localEnded"
  | "remoteEnded"
  | "closed";

export type ChannelEvent =
  | "localHead"
  | "remoteHead"
  | "localData"
  | "remoteData"
  | "localEnd"
  | "remoteEnd"
  | "reset";

export const channelTransitions: Record<ChannelState, Partial<Record<ChannelEvent, ChannelState>>> = {
  opening: { remoteHead: "open", localData: "opening", localEnd: "openingEnded", reset: "closed" },
  openingEnded: { remoteHead: "localEnded", reset: "closed" },
  accepted: { localHead: "open", remoteData: "accepted", remoteEnd: "acceptedEnded", reset: "closed" },
  acceptedEnded: { localHead: "remoteEnded", reset: "closed" },
  open: {
    localData: "open",
    remoteData: "open",
    localEnd: "localEnded",
    remoteEnd: "remoteEnded",
    reset: "closed",
  },
  localEnded: { remoteData: "localEnded", remoteEnd: "closed", reset: "closed" },
  remoteEnded: { localData: "remoteEnded", localEnd: "closed", reset: "closed" },
  closed: {},
};

/** The state after an event. Error: CHANNEL_STATE. */
export function advance(state: ChannelState, event: ChannelEvent): ChannelState {
  const next = channelTransitions[state][event];
  if (next === undefined) throw new RevdialError("CHANNEL_STATE", `${event} in state ${state}`);
  return next;
}

/** Our state moves when a frame leaves; what we have said counts before that as well. Error: CHANNEL_STATE. */
export function checkSayable(channel: Channel, event: "localData" | "localEnd"): void {
  advance(channel.state, event);
  if (channel.endSaid) throw new RevdialError("CHANNEL_STATE", `${event} behind our END`);
}

/** What the core remembers of one live channel. */
export interface Channel {
  readonly id: number;
  /** Opened by the peer: it holds one of the slots we offer until its handler has returned. */
  readonly inbound: boolean;
  /** A byte stream once its handler has answered 101 (SPEC §6.5). */
  readonly socket: boolean;
  /** Its request asks for a head only: the length of the answer is that of a body which does not come. */
  readonly headOnly: boolean;
  state: ChannelState;
  /** The OPEN frame has been handed to the transport. */
  openSent: boolean;
  /** Opened by us before the peer's HELLO: nothing of it may leave yet. */
  held: boolean;
  /** Body bytes that the head of each direction has announced and that are still to come; undefined: it has not. */
  toSend: number | undefined;
  toReceive: number | undefined;
  /** Bytes we may still send. */
  sendCredit: number;
  /** Bytes the peer may still send. */
  receiveCredit: number;
  /** Size our receive window is topped up to. */
  windowBytes: number;
  /** Bytes delivered to the reader's queue and not yet taken by it. */
  unreadBytes: number;
  /** Bytes taken by the reader and not yet given back as credit. */
  consumedBytes: number;
  /** What the channel holds of the tunnel's receive budget. */
  committedBytes: number;
  /** Inbound only: the handler has stopped, the slot is free once the channel is closed. */
  released: boolean;
  /** Bytes consumed since the window was last grown, and when that count began: the measure for growth. The first begins with them. */
  grownSinceBytes: number;
  grownSinceAt: number | undefined;
  /** What of ours is void: a body where none may be, or all we had to say on a socket that was refused (SPEC §6.2, §6.5). */
  muted: "body" | "all" | undefined;
  /** Heads below 200 so far, of whichever side answers. */
  interimHeads: number;
  /** When a tick first saw body bytes wait without credit. */
  blockedSince: number | undefined;
  /** DATA frames without bytes in a row. */
  emptyData: number;
  /** Body bytes waiting to be framed. */
  readonly queue: ChunkQueue;
  /** We have said our END, in whatever frame: nothing may follow it, though it may wait for its turn yet. */
  endSaid: boolean;
  /** The queue ends with the end of our direction, with these trailers. */
  endQueued: HeaderList | undefined;
  /** The producer filled the queue and waits for `drained`. */
  full: boolean;
  /** Already in one of the scheduler's rounds. */
  scheduled: boolean;
  /** Body bytes the channel may still send in this round. */
  deficitBytes: number;
  /** Body bytes sent since the channel last had nothing to send: above one quantum it counts as bulk. */
  burstBytes: number;
  /** Time at which both ends give up, in core milliseconds. */
  deadlineAt: number | undefined;
}

export function newChannel(
  id: number,
  inbound: boolean,
  { kind, method, length }: Pick<OpenHead, "kind" | "method" | "length">,
  sendCredit: number,
  windowBytes: number,
): Channel {
  return {
    id,
    inbound,
    socket: kind === channelKinds.socket,
    headOnly: method === "HEAD",
    state: inbound ? "accepted" : "opening",
    openSent: inbound,
    held: false,
    toSend: inbound ? undefined : length,
    toReceive: inbound ? length : undefined,
    sendCredit,
    receiveCredit: windowBytes,
    windowBytes,
    unreadBytes: 0,
    consumedBytes: 0,
    committedBytes: 0,
    released: !inbound,
    grownSinceBytes: 0,
    grownSinceAt: undefined,
    muted: undefined,
    interimHeads: 0,
    blockedSince: undefined,
    emptyData: 0,
    queue: new ChunkQueue(),
    endSaid: false,
    endQueued: undefined,
    full: false,
    scheduled: false,
    deficitBytes: 0,
    burstBytes: 0,
    deadlineAt: undefined,
  };
}

/** Whether a head is the answer, not one that precedes it. Error: HEAD_INVALID for 101 on a request. */
export function isFinal(channel: Channel, status: number): boolean {
  if (status >= 200) return true;
  if (status !== SWITCHING) return false;
  if (channel.socket) return true;
  throw new RevdialError("HEAD_INVALID", "status 101 on a request");
}
