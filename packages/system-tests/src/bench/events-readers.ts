/** Process: many readers of the stream of events, which count what they are told and how long it took to reach them. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { EventCount } from "./events-count.ts";
import { type Reader, readerOf } from "./events-mix.ts";
import { serveCalls } from "./process.ts";

/** What is opened at once. */
const TOGETHER = 50;
const WAIT_MS = 50;
const WAITS_MAX = 100;
const REASON = Buffer.from('"reason":"');

const counts: EventCount[] = [];
const sleeping: IncomingMessage[] = [];
let delays: number[] = [];

function delayOf(chunk: Buffer): void {
  const now = performance.timeOrigin + performance.now();
  // Its first event is its oldest.
  const said = chunk.indexOf(REASON);
  if (said >= 0) {
    const made = Number.parseFloat(chunk.toString("latin1", said + REASON.length, said + REASON.length + 24));
    if (Number.isFinite(made)) delays.push(now - made);
  }
}

async function read(port: number, key: string, { query, stalled }: Reader): Promise<void> {
  const headers = { accept: "text/event-stream", authorization: `Bearer ${key}` };
  const asked = get({ port, path: `/api/v1/events${query}`, agent: false, headers });
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  if (answer.statusCode !== 200) throw new Error(`a stream was refused with ${answer.statusCode}`);
  answer.on("error", () => undefined);
  if (stalled) {
    answer.pause();
    return void sleeping.push(answer);
  }
  const count = new EventCount();
  counts.push(count);
  answer.on("data", (chunk: Buffer) => {
    count.take(chunk);
    delayOf(chunk);
  });
}

interface Opened {
  port: number;
  keys: string[];
  wolves: string[];
}

/** Those that stop reading, or the others. */
async function open({
  port,
  keys,
  wolves,
  readers,
  stalled,
}: Opened & { readers: number; stalled: boolean }) {
  const all = Array.from({ length: readers }, (_, n) => ({ n, reader: readerOf(n, wolves) }));
  const wanted = all.filter(({ reader }) => (reader.stalled ?? false) === stalled);
  for (let at = 0; at < wanted.length; at += TOGETHER)
    await Promise.all(
      wanted.slice(at, at + TOGETHER).map(({ n, reader }) => read(port, keys[n % keys.length] ?? "", reader)),
    );
}

/** They read again; resolves to how many of them are told that events are missing. */
async function goOn(): Promise<number> {
  const told = await Promise.all(
    sleeping.map(async (answer) => {
      const count = new EventCount();
      answer.on("data", (chunk: Buffer) => count.take(chunk));
      answer.resume();
      for (let waits = 0; count.missed === 0 && waits < WAITS_MAX; waits += 1) await pause(WAIT_MS);
      return count.missed > 0;
    }),
  );
  return told.filter(Boolean).length;
}

/** From now on everything counts. */
function reset(): void {
  for (const count of counts) {
    count.events = 0;
    count.missed = 0;
  }
  delays = [];
}

function seen() {
  const sorted = delays.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  const sum = (of: (count: EventCount) => number) => counts.reduce((all, count) => all + of(count), 0);
  const received = sum(({ events }) => events);
  const missed = sum((count) => count.missed);
  return { received, missed, p50Ms: at(0.5), p99Ms: at(0.99) };
}

serveCalls({ open, goOn, reset, seen });
