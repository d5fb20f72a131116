/**
 * Events as they happen, each once and none left out as far as the server can help it: the stream, resumed where it broke; where a
 * server has none, or none to spare, page after page from the last event seen, until the stream is tried again.
 */
import { FleetEvent, Problem, parseTolerantly, WolfpackApiError } from "@wolfpack/api-contract";
import type { Connection } from "../connection.ts";
import type { Edges } from "../edges.ts";
import { Failed, Interrupted } from "../errors.ts";
import { failureOf, isPassing, networkReason, passes } from "../failure.ts";
import { createSseParser } from "./sse.ts";

export interface EventFilter {
  kind?: string;
  session_id?: string;
  wolf_instance_id?: string;
  actor_id?: string;
}

export interface Followed {
  event(event: FleetEvent): Promise<void>;
  /** What whoever looks at it should know: events are missing, the stream has broken. */
  note(sentence: string): Promise<void>;
}

/** Three comments of the server, which sends one every 15 s, are missing. */
const SILENCE_MAX_MS = 45_000;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;
const POLL_MS = 2000;
/** So long pages are asked for, at least half of it, before the stream is tried again. */
const STREAM_AGAIN_MS = 60_000;
const PAGE = 200;
const SEEN_MAX = 2000;

type End =
  | { kind: "broken"; why: string; retryMs: number | undefined; wasUp: boolean }
  | { kind: "no-stream"; why: string };

export interface FollowOptions {
  connection: Connection;
  edges: Edges;
  filter: EventFilter;
  /** The last event that is known. */
  after: string;
  silenceMaxMs?: number;
}

/** Ends by the signal only, with Interrupted, or by what does not pass, such as a key that is refused. */
export async function follow(
  { connection, edges, filter, after, silenceMaxMs = SILENCE_MAX_MS }: FollowOptions,
  followed: Followed,
): Promise<never> {
  const seen = createSeen();
  let cursor = after;
  const moved = (to: string) => {
    cursor = to;
  };
  const told: Followed = {
    note: followed.note,
    async event(event) {
      if (!seen.isNew(event.id)) return;
      await followed.event(event);
    },
  };
  let isPolled = false;
  for (let failures = 0; ; ) {
    const end = await stream({ connection, edges, filter, cursor, silenceMaxMs }, told, moved);
    if (edges.signal.aborted) throw new Interrupted();
    if (end.kind === "no-stream") {
      // Said once, not each time that the stream is tried in vain.
      if (!isPolled) await followed.note(`${end.why}: it is asked every ${POLL_MS / 1000} s.`);
      isPolled = true;
      failures = 0;
      const untilMs = edges.now() + STREAM_AGAIN_MS * (0.5 + edges.random() / 2);
      await poll({ connection, edges, filter, cursor }, untilMs, told, moved);
      continue;
    }
    if (end.wasUp) {
      failures = 0;
      isPolled = false;
    }
    // The first time is said, for the person who waits; after that it is known.
    if (failures === 0) await followed.note(`The stream has broken off (${end.why}); it is resumed.`);
    failures += 1;
    await edges.pause(retryDelay(failures, end.retryMs, edges.random()), edges.signal);
    if (edges.signal.aborted) throw new Interrupted();
  }
}

/** Full jitter, so that not all come back at once; never sooner than half of what the server asked for. */
export function retryDelay(failures: number, toldMs: number | undefined, random: number): number {
  const most = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(10, failures - 1));
  const base = Math.min(RETRY_MAX_MS, toldMs ?? 0);
  return Math.round(Math.max(base / 2, random * Math.max(most, base)));
}

interface Ask {
  connection: Connection;
  edges: Edges;
  filter: EventFilter;
  cursor: string;
}

async function stream(
  { connection, edges, filter, cursor, silenceMaxMs }: Ask & { silenceMaxMs: number },
  followed: Followed,
  moved: (cursor: string) => void,
): Promise<End> {
  const silence = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), silenceMaxMs);
  };
  const parser = createSseParser();
  let wasUp = false;
  const broken = (why: string): End => ({ kind: "broken", why, retryMs: parser.retryMs(), wasUp });
  try {
    heard();
    const query = new URLSearchParams({ ...filter });
    const reply = await connection.request(`/api/v1/events${query.size === 0 ? "" : `?${query}`}`, {
      headers: { accept: "text/event-stream", "last-event-id": cursor },
      signal: AbortSignal.any([edges.signal, silence.signal]),
    });
    const type = reply.headers.get("content-type") ?? "";
    if (reply.status !== 200) return refusal(reply.status, await reply.text(), broken);
    if (!type.startsWith("text/event-stream") || reply.body === null) {
      await reply.body?.cancel();
      return { kind: "no-stream", why: "This control plane has no stream of events" };
    }
    const decoder = new TextDecoder();
    for await (const chunk of reply.body as unknown as AsyncIterable<Uint8Array>) {
      heard();
      wasUp = true;
      for (const { event, data, id } of parser.push(decoder.decode(chunk, { stream: true }))) {
        const to = await take(event, data, followed);
        if (to ?? id) moved(to ?? id);
      }
    }
    return broken("its server has ended it");
  } catch (error) {
    if (error instanceof WolfpackApiError || error instanceof Failed) throw error;
    return broken(
      silence.signal.aborted ? `nothing heard for ${silenceMaxMs / 1000} s` : networkReason(error),
    );
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** Prints an event, or says what the server says of the stream; the cursor that it names besides its id, if any. */
async function take(event: string, data: string, followed: Followed): Promise<string | undefined> {
  const json = parsed(data);
  if (event === "message") {
    const known = knownAs(readEvent, json);
    if (known !== undefined) await followed.event(known);
    else await followed.note("The server sent an event that this version does not understand.");
    return undefined;
  }
  const { cursor, after, reason } = (typeof json === "object" && json !== null ? json : {}) as Record<
    string,
    unknown
  >;
  if (event === "missed")
    await followed.note(
      `Events are missing${typeof after === "string" ? ` after ${after}` : ""}${typeof reason === "string" ? ` (${reason})` : ""}: read them again with wolfctl events.`,
    );
  return event === "hello" && typeof cursor === "string" ? cursor : undefined;
}

function refusal(status: number, text: string, broken: (why: string) => End): End {
  const problem = knownAs(readProblem, parsed(text));
  if (problem !== undefined) {
    const { code, detail } = problem;
    if (code === "too-many-streams") return { kind: "no-stream", why: detail.replace(/\.$/, "") };
    // What passes is waited for; a key that is refused stays so.
    if (isPassing(status)) return broken(detail);
    throw new WolfpackApiError(code, detail, { status, problem });
  }
  if (status === 406) return { kind: "no-stream", why: "This control plane has no stream of events" };
  if (isPassing(status)) return broken(`answered with ${status}`);
  throw new WolfpackApiError("unexpected-reply", `status ${status} without a problem`, { status });
}

/** Pages, until that time; while the server does not answer, longer. Throws what no wait mends. */
async function poll(
  { connection, edges, filter, cursor }: Ask,
  untilMs: number,
  followed: Followed,
  moved: (cursor: string) => void,
): Promise<void> {
  let after = cursor;
  for (let failures = 0; failures > 0 || edges.now() < untilMs; ) {
    const query = { ...filter, limit: PAGE, cursor: after };
    const page = await connection.call("listEvents", { query }).catch((error: unknown) => {
      if (passes(error)) return { error };
      throw error;
    });
    let waitMs = POLL_MS;
    if ("error" in page) {
      if (failures === 0) await followed.note(`${outage(page.error, connection)} It is waited for.`);
      failures += 1;
      waitMs = Math.max(POLL_MS, retryDelay(failures, undefined, edges.random()));
    } else {
      failures = 0;
      for (const event of page.body) await followed.event(event);
      after = page.body.at(-1)?.id ?? after;
      moved(after);
      if (page.body.length === PAGE) waitMs = 0;
    }
    if (waitMs > 0) await edges.pause(waitMs, edges.signal);
    if (edges.signal.aborted) throw new Interrupted();
  }
}

const outage = (error: unknown, { target }: Connection) =>
  failureOf(error, target.url.origin).lines[0] ?? "There is no answer.";

/** As replies are read (connection.ts). */
function knownAs<Known>(read: (json: unknown) => Known, json: unknown): Known | undefined {
  try {
    return read(json);
  } catch {
    return undefined;
  }
}
const readEvent = (json: unknown) => parseTolerantly(FleetEvent, json);
const readProblem = (json: unknown) => parseTolerantly(Problem, json);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Ids that were printed lately: a stream that is resumed may repeat some. */
function createSeen() {
  const ids = new Set<string>();
  return {
    isNew(id: string): boolean {
      if (ids.has(id)) return false;
      ids.add(id);
      if (ids.size > SEEN_MAX) for (const oldest of [...ids].slice(0, SEEN_MAX / 2)) ids.delete(oldest);
      return true;
    },
  };
}
