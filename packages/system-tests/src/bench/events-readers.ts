/** Process: many readers of the stream of events, which count what they are told and how long it took to reach them. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { EventCount } from "./events-count.ts";
import { serveCalls } from "./process.ts";

/** What is opened at once. */
const TOGETHER = 50;
const REASON = Buffer.from('"reason":"');

const counts: EventCount[] = [];
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

async function read(port: number, key: string): Promise<void> {
  const headers = { accept: "text/event-stream", authorization: `Bearer ${key}` };
  const asked = get({ port, path: "/api/v1/events?kind=wolf.intent", agent: false, headers });
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  if (answer.statusCode !== 200) throw new Error(`a stream was refused with ${answer.statusCode}`);
  const count = new EventCount();
  counts.push(count);
  answer.on("data", (chunk: Buffer) => {
    count.take(chunk);
    delayOf(chunk);
  });
  answer.on("error", () => undefined);
}

async function open({ port, keys, readers }: { port: number; keys: string[]; readers: number }) {
  for (let at = 0; at < readers; at += TOGETHER) {
    const some = Array.from({ length: Math.min(TOGETHER, readers - at) }, (_, n) => at + n);
    await Promise.all(some.map((n) => read(port, keys[n % keys.length] ?? "")));
  }
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

serveCalls({ open, reset, seen });
