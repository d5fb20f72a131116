/**
 * Streams of events to clients, as server-sent events (HTML standard, "Server-sent events"). Each is bounded in what waits for its
 * reader, ends with the credential that opened it, and can be gone on with from the last event that was received.
 */
import { setImmediate as turn } from "node:timers/promises";
import type { EventStreamHello } from "@wolfpack/api-contract";
import type { Response } from "express";
import { type Clock, repeat, type Timer } from "../clock.ts";
import type { LiveBody } from "../http/call.ts";
import { ApiError } from "../http/problem.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import type { Revocations } from "../identity/revocations.ts";
import { BEFORE_ALL, type EventFeed, type Place } from "./event-feed.ts";
import {
  type Frame,
  missedText,
  Outbox,
  type OutboxLimits,
  outboxLimits,
  PIECE_BYTES,
} from "./event-outbox.ts";
import { toEventResponse } from "./event-response.ts";
import type { EventStore, FleetEventRecord } from "./event-store.ts";
import { type EventView, knowsAuthor, type Sight, shows } from "./event-view.ts";

export interface EventStreamsOptions {
  feed: EventFeed;
  store: Pick<EventStore, "horizon" | "between" | "seqOf">;
  revocations: Pick<Revocations, "onRevoked">;
  clock: Clock;
  random: () => number;
  replica: string;
  version: string;
  /** Default: 2,000 of a replica, 60 of a user, 20 of a credential. */
  limits?: Partial<StreamLimits>;
}

export interface StreamLimits extends OutboxLimits {
  streamsMax: number;
  perUserMax: number;
  perCredentialMax: number;
}

export interface StreamRequest {
  principal: UserPrincipal;
  view: EventView;
  /** What the client has seen already. */
  lastEventId: string | undefined;
}

export interface EventStreams {
  /** To be asked for before anything is awaited, so that what is revoked meanwhile ends it. Throws `too-many-streams`. */
  open(request: StreamRequest, response: Response): LiveBody;
  count(): number;
  /** Ends all, each told to come back at another moment. */
  close(): void;
}

const BEAT_MS = 15_000;
/** A comment for whatever stands in between, and an event for pages: no browser tells them of comments. */
const BEAT = ": beat\n\nevent: beat\ndata: {}\n\n";
/** A reader that takes nothing for so long has left, whatever its connection says. */
const STALLED_MS = 60_000;
/** Clients whose stream ends come back spread over this time. */
const RETRY_MIN_MS = 500;
const RETRY_SPREAD_MS = 4500;
/** Streams that are gone on with at once each ask the database. */
const RESUMES_MAX = 4;

interface Stream {
  principal: UserPrincipal;
  group: Group;
  outbox: Outbox;
  response: Response;
  expiry: Timer | undefined;
  /** Since its reader takes nothing. */
  stalled: Timer | undefined;
}

/** Streams that show the same: what they are sent is made once. */
interface Group {
  key: string;
  view: EventView;
  streams: Set<Stream>;
}

export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const { feed, revocations, clock, random, replica, version } = options;
  const limits = {
    streamsMax: 2000,
    perUserMax: 60,
    perCredentialMax: 20,
    ...outboxLimits,
    ...options.limits,
  };
  const groups = new Map<string, Group>();
  const byCredential = createCounts();
  const byUser = createCounts();
  let count = 0;
  let beating: Timer | undefined;
  const resumes = turns(RESUMES_MAX);

  revocations.onRevoked((_kind, objectId) => {
    for (const stream of all())
      if (stream.principal.credentialId === objectId || stream.principal.userId === objectId) end(stream);
  });

  function* all(): Iterable<Stream> {
    for (const group of [...groups.values()]) yield* [...group.streams];
  }

  /** Piece by piece: sockets take them meanwhile, so what a quick reader can take need not wait here. */
  async function listener(events: readonly FleetEventRecord[]): Promise<void> {
    const made = createFrames();
    for (const piece of piecesOf(events, made)) {
      tell(piece, made);
      await turn();
    }
  }

  function tell(events: readonly FleetEventRecord[], made: Frames): void {
    for (const { view, streams } of groups.values()) {
      const shown = events.filter((event) => shows(view, event)).map((event) => made.of(event, view.sight));
      if (shown.length === 0) continue;
      const together = Buffer.from(shown.map(({ text }) => text).join(""));
      for (const { outbox } of streams) outbox.add(shown, together);
    }
  }

  function enter({ principal, view }: StreamRequest, response: Response): Stream {
    const { credentialId, userId, expiresAt } = principal;
    const ofCredential = byCredential.of(credentialId);
    if (ofCredential >= limits.perCredentialMax) throw tooMany(ofCredential, limits.perCredentialMax);
    const ofUser = byUser.of(userId);
    if (ofUser >= limits.perUserMax) throw tooMany(ofUser, limits.perUserMax);
    if (count >= limits.streamsMax) throw tooMany(count, limits.streamsMax);
    const key = JSON.stringify(view);
    const group = groups.get(key) ?? { key, view, streams: new Set() };
    groups.set(key, group);
    const stream: Stream = {
      principal,
      group,
      outbox: new Outbox(limits),
      response,
      expiry: expiresAt && clock.setTimer(expiresAt.getTime() - clock.now().getTime(), () => end(stream)),
      stalled: undefined,
    };
    group.streams.add(stream);
    byCredential.change(credentialId, 1);
    byUser.change(userId, 1);
    if (count === 0) {
      feed.add(listener);
      beating = repeat(clock, BEAT_MS, beat);
    }
    count += 1;
    response.once("close", () => leave(stream));
    return stream;
  }

  function leave(stream: Stream): void {
    const { group, principal } = stream;
    if (!group.streams.delete(stream)) return;
    stream.expiry?.cancel();
    stream.stalled?.cancel();
    if (group.streams.size === 0) groups.delete(group.key);
    byCredential.change(principal.credentialId, -1);
    byUser.change(principal.userId, -1);
    count -= 1;
    if (count > 0) return;
    feed.remove(listener);
    beating?.cancel();
  }

  async function beat(): Promise<void> {
    for (const { outbox } of all()) outbox.beat(BEAT);
  }

  function end(stream: Stream, lastWords = ""): void {
    leave(stream);
    // Not even begun, or of a reader that takes nothing: there is nothing to end politely.
    if (!stream.response.headersSent || stream.outbox.isStuck) stream.response.destroy();
    else stream.response.end(lastWords);
  }

  const retry = () => `retry: ${RETRY_MIN_MS + Math.floor(random() * RETRY_SPREAD_MS)}\n`;

  async function begin(stream: Stream, lastEventId: string | undefined): Promise<void> {
    const { response, outbox, group } = stream;
    const place = await feed.place();
    const resumed =
      lastEventId === undefined ? undefined : await resumes(() => resume(lastEventId, group.view, place));
    if (response.closed) return;
    const hello = { replica, version, cursor: resumed?.cursor ?? place.id } satisfies EventStreamHello;
    writeHead(response);
    if (response.req.method === "HEAD") return void response.end();
    response.on("drain", () => {
      stream.stalled?.cancel();
      stream.stalled = undefined;
      outbox.drained();
    });
    const head = `${retry()}id: ${hello.cursor}\nevent: hello\ndata: ${JSON.stringify(hello)}\n\n${resumed?.missed ?? ""}`;
    const write = (chunk: string | Buffer) => {
      const takes = response.write(chunk);
      // Not a timeout of the socket: Node forgives the first one while something is being written.
      if (!takes && group.streams.has(stream))
        stream.stalled ??= clock.setTimer(STALLED_MS, () => end(stream));
      return takes;
    };
    outbox.open({ write }, head, hello.cursor, resumed?.frames ?? [], resumed?.upTo ?? place.seq);
  }

  /** What came after that event, unless it is too much, or nobody knows any more. */
  async function resume(lastEventId: string, view: EventView, place: Place) {
    const { store } = options;
    const { settled } = await store.horizon();
    // What the feed has told is settled, whatever is being written by now.
    let upTo = place.seq;
    if (settled > upTo) upTo = settled;
    const from = lastEventId === BEFORE_ALL.id ? BEFORE_ALL.seq : await store.seqOf(lastEventId);
    const tooLate = {
      cursor: place.id,
      frames: [],
      upTo: place.seq,
      missed: missedText(lastEventId, "too-late"),
    };
    if (from === undefined) return tooLate;
    const events = await store.between(from, upTo, limits.eventsMax + 1, view);
    const made = createFrames();
    const frames = events.map((event) => made.of(event, view.sight));
    const bytes = frames.reduce((sum, frame) => sum + frame.bytes, 0);
    if (frames.length > limits.eventsMax || bytes > limits.bytesMax) return tooLate;
    return { cursor: lastEventId, frames, upTo, missed: undefined };
  }

  return {
    open(request, response) {
      const stream = enter(request, response);
      return {
        async live() {
          try {
            await begin(stream, request.lastEventId);
          } catch (error) {
            leave(stream);
            if (!response.closed) throw error;
          }
        },
      };
    },
    count: () => count,
    close() {
      for (const stream of all()) end(stream, `${retry()}\n`);
    },
  };
}

/** As large as what is written at once, if nobody filters. */
function* piecesOf(events: readonly FleetEventRecord[], made: Frames): Iterable<FleetEventRecord[]> {
  let piece: FleetEventRecord[] = [];
  let bytes = 0;
  for (const event of events) {
    const more = made.of(event).bytes;
    if (piece.length > 0 && bytes + more > PIECE_BYTES) {
      yield piece;
      piece = [];
      bytes = 0;
    }
    piece.push(event);
    bytes += more;
  }
  yield piece;
}

type Frames = ReturnType<typeof createFrames>;

/** Each is made once for all who are shown its author, and once for all others. */
function createFrames() {
  const whole = new Map<FleetEventRecord, Frame>();
  const reduced = new Map<FleetEventRecord, Frame>();
  return {
    of(event: FleetEventRecord, sight?: Sight): Frame {
      const made = sight === undefined || knowsAuthor(sight, event) ? whole : reduced;
      const known = made.get(event);
      if (known !== undefined) return known;
      const text = `id: ${event.id}\ndata: ${JSON.stringify(toEventResponse(event, sight))}\n\n`;
      const frame = { id: event.id, seq: event.seq, text, bytes: Buffer.byteLength(text) };
      made.set(event, frame);
      return frame;
    },
  };
}

function createCounts() {
  const counts = new Map<string, number>();
  const of = (key: string) => counts.get(key) ?? 0;
  return {
    of,
    change(key: string, by: number): void {
      const now = of(key) + by;
      if (now === 0) counts.delete(key);
      else counts.set(key, now);
    },
  };
}

/** The end of the connection is that of the stream: chunks would cost three writes for each. */
function writeHead(response: Response): void {
  response.useChunkedEncodingByDefault = false;
  // Not Express's way, which adds a charset: there is but one.
  response.setHeader("content-type", "text/event-stream");
  response.set({
    "cache-control": "no-store, no-transform",
    // nginx passes on what it gets, instead of when it has enough.
    "x-accel-buffering": "no",
    connection: "close",
  });
  response.vary("Accept");
  response.flushHeaders();
}

function tooMany(current: number, limit: number): ApiError {
  return new ApiError("too-many-streams", `${current} streams of events are open, of ${limit} at most.`, {
    extras: { limit, current },
  });
}

/** So many at once, the others in their order. */
function turns(max: number): <Value>(run: () => Promise<Value>) => Promise<Value> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (run) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
