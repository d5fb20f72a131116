/** Process: many readers of the stream of events, which count what they are told and how long it took to reach them. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { serveCalls } from "./process.ts";

/** What is opened at once. */
const TOGETHER = 50;
const DATA = Buffer.from("\ndata: ");
const REASON = Buffer.from('"reason":"');
const MISSED = Buffer.from("event: missed");

let received = 0;
let missed = 0;
let delays: number[] = [];

function count(chunk: Buffer): void {
  const now = performance.timeOrigin + performance.now();
  for (let at = chunk.indexOf(DATA); at >= 0; at = chunk.indexOf(DATA, at + DATA.length)) received += 1;
  // Its first event is its oldest.
  const said = chunk.indexOf(REASON);
  if (said >= 0) {
    const made = Number.parseFloat(chunk.toString("latin1", said + REASON.length, said + REASON.length + 24));
    if (Number.isFinite(made)) delays.push(now - made);
  }
  if (chunk.includes(MISSED)) missed += 1;
}

async function read(port: number, key: string): Promise<void> {
  const headers = { accept: "text/event-stream", authorization: `Bearer ${key}` };
  const asked = get({ port, path: "/api/v1/events?kind=wolf.intent", agent: false, headers });
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  if (answer.statusCode !== 200) throw new Error(`a stream was refused with ${answer.statusCode}`);
  answer.on("data", count);
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
  received = 0;
  missed = 0;
  delays = [];
}

function seen() {
  const sorted = delays.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return { received, missed, p50Ms: at(0.5), p99Ms: at(0.99) };
}

serveCalls({ open, reset, seen });
