/** `npm run bench -- events`: one replica that tells many readers of many changes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { lostOf } from "./events-count.ts";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

export interface EventsResult {
  rounds: number;
  events: {
    subscribers: number;
    /** Changes that were really made. */
    eventsPerSecond: number;
    /** To all subscribers together. */
    deliveredPerSecond: number;
    /** From before the change's statement to its reader's process. */
    p50Ms: number;
    p99Ms: number;
    /** Of the control plane, after the load. */
    rssBytesPerSubscriber: number;
    /** Of its process, in cores. */
    cpu: number;
    lost: number;
  };
}

const SUBSCRIBERS = 1000;
const PER_SECOND = 100;
/** Streams of one credential, as many as it may have. */
const PER_KEY = 20;
interface Load {
  subscribers: number;
  warmUpSeconds: number;
  seconds: number;
  /** What is still on its way then is lost. */
  arrivesMs: number;
}
const whole: Load = { subscribers: SUBSCRIBERS, warmUpSeconds: 3, seconds: 15, arrivesMs: 3000 };
const short: Load = { subscribers: 100, warmUpSeconds: 0.5, seconds: 1, arrivesMs: 300 };
/** Of what there is to be delivered: timers and the last write take a moment too. */
const DELIVERED_SHARE_MIN = 0.95;
const RSS_BYTES_MAX = 100_000;

type Figures = EventsResult["events"];

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchEvents(
  { rounds, quick }: { rounds: number; quick: boolean },
  stopped: Promise<never>,
): Promise<EventsResult> {
  const load = quick ? short : whole;
  const found: Figures[] = [];
  for (let at = 0; at < rounds; at += 1) found.push(await round(load, stopped));
  const middle = (of: (figures: Figures) => number) => median(found.map(of));
  return {
    rounds,
    events: {
      subscribers: load.subscribers,
      eventsPerSecond: middle(({ eventsPerSecond }) => eventsPerSecond),
      deliveredPerSecond: middle(({ deliveredPerSecond }) => deliveredPerSecond),
      p50Ms: middle(({ p50Ms }) => p50Ms),
      p99Ms: middle(({ p99Ms }) => p99Ms),
      rssBytesPerSubscriber: middle(({ rssBytesPerSubscriber }) => rssBytesPerSubscriber),
      cpu: middle(({ cpu }) => cpu),
      lost: found.reduce((sum, { lost }) => sum + lost, 0),
    },
  };
}

async function round(load: Load, stopped: Promise<never>): Promise<Figures> {
  const folder = mkdtempSync(path.join(tmpdir(), "bench-"));
  const starting = startEmbeddedPostgres({ dataDir: path.join(folder, "postgres"), durable: true });
  const processes: BenchProcess[] = [];
  const start = async (name: string, module: string) => {
    const started = await BenchProcess.start(name, module);
    processes.push(started);
    return started;
  };
  try {
    const { url } = await Promise.race([starting, stopped]);
    const plane = await start("control plane", "events-plane");
    const readers = await start("readers", "events-readers");
    const measured = measure(plane, readers, { url, dataDir: folder }, load);
    return await Promise.race([measured, stopped]);
  } finally {
    await Promise.all(processes.map((process) => process.stop()));
    await starting.then(
      (postgres) => postgres.stop(),
      () => undefined,
    );
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(
  plane: BenchProcess,
  readers: BenchProcess,
  database: { url: string; dataDir: string },
  { subscribers, warmUpSeconds, seconds, arrivesMs }: Load,
): Promise<Figures> {
  const opened = await plane.call<{ port: number; keys: string[] }>("open", {
    ...database,
    keys: Math.ceil(subscribers / PER_KEY),
  });
  const run = (from: number, forSeconds: number) =>
    plane.call<{ changes: number; seconds: number }>("run", {
      from,
      perSecond: PER_SECOND,
      seconds: forSeconds,
    });
  // Compiled, and with as much memory as changes alone take.
  const { changes: before } = await run(0, warmUpSeconds);
  const alone = await plane.usage();
  await readers.call("open", { ...opened, readers: subscribers });
  const { changes: warm } = await run(before, warmUpSeconds);
  await pause(arrivesMs);
  await readers.call("reset");
  const begun = await plane.usage();
  const { changes, seconds: took } = await run(before + warm, seconds);
  const ended = await plane.usage();
  await pause(arrivesMs);
  const seen = await readers.call<{ received: number; missed: number; p50Ms: number; p99Ms: number }>("seen");
  return {
    subscribers,
    eventsPerSecond: changes / took,
    deliveredPerSecond: seen.received / took,
    p50Ms: seen.p50Ms,
    p99Ms: seen.p99Ms,
    rssBytesPerSubscriber: Math.max(0, ended.rssBytes - alone.rssBytes) / subscribers,
    cpu: (ended.cpuMicros - begun.cpuMicros) / 1e6 / took,
    lost: lostOf({ changes, readers: subscribers, received: seen.received, missed: seen.missed }),
  };
}

export function eventsTable({ events }: EventsResult): string {
  const row = (name: string, figure: string, must = "", missed = false) =>
    `${name.padEnd(44)} ${figure.padStart(9)}${must === "" ? "" : `   must be ${must}${missed ? ": MISSED" : ""}`}`;
  const rounded = (value: number) => Math.round(value).toLocaleString("en");
  const { deliveredPerSecond: delivered, lost, rssBytesPerSubscriber: rss } = events;
  const deliveredMin = events.subscribers * PER_SECOND * DELIVERED_SHARE_MIN;
  return [
    row("subscribers", rounded(events.subscribers)),
    row("events per second", events.eventsPerSecond.toFixed(1)),
    row(
      "delivered per second",
      rounded(delivered),
      `≥ ${rounded(deliveredMin)}`,
      !(delivered >= deliveredMin),
    ),
    row("ms from change to reader, median", events.p50Ms.toFixed(1)),
    row("ms from change to reader, 99th percentile", events.p99Ms.toFixed(1)),
    row("RSS per subscriber, KB", (rss / 1000).toFixed(1), "< 100", !(rss < RSS_BYTES_MAX)),
    row("control plane's CPU, cores", events.cpu.toFixed(2)),
    row("lost", rounded(lost), "0", lost !== 0),
    "",
  ].join("\n");
}
