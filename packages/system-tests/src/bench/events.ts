/** `npm run bench -- events`: one replica that tells many readers of many changes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { lostOf } from "./events-count.ts";
import { dueTo, readerOf } from "./events-mix.ts";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

export interface EventsResult {
  rounds: number;
  events: {
    subscribers: number;
    /** Changes that were really made. */
    eventsPerSecond: number;
    /** To all subscribers together: what is due to them by their filters, and what they got. */
    duePerSecond: number;
    deliveredPerSecond: number;
    /** From before the change's statement to its reader's process. */
    p50Ms: number;
    p99Ms: number;
    /** Of the control plane, after the load. */
    rssBytesPerSubscriber: number;
    /** Of all that process then. */
    rssBytes: number;
    /** Of its process, in cores. */
    cpu: number;
    lost: number;
    /** Readers that stopped reading; and those of them that were told, once they read again, that events are missing. */
    stalled: number;
    stalledTold: number;
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
  /** Events of 2 KB, told to those that do not read before the others come: the system's buffers of a connection take 4 MB. */
  flood: number;
  /** What is still on its way then is lost. */
  arrivesMs: number;
}
const whole: Load = {
  subscribers: SUBSCRIBERS,
  warmUpSeconds: 3,
  seconds: 15,
  flood: 2500,
  arrivesMs: 3000,
};
const short: Load = { subscribers: 100, warmUpSeconds: 0.5, seconds: 1, flood: 0, arrivesMs: 300 };
/** Of what there is to be delivered: timers and the last write take a moment too. */
const DELIVERED_SHARE_MIN = 0.95;
const RSS_BYTES_MAX = 100_000;
/** A process with 1,000 wolves that change all the time has 200 MB by itself; and a thousand times that. */
const RSS_TOTAL_BYTES_MAX = 300_000_000;

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
      duePerSecond: middle(({ duePerSecond }) => duePerSecond),
      deliveredPerSecond: middle(({ deliveredPerSecond }) => deliveredPerSecond),
      p50Ms: middle(({ p50Ms }) => p50Ms),
      p99Ms: middle(({ p99Ms }) => p99Ms),
      rssBytesPerSubscriber: middle(({ rssBytesPerSubscriber }) => rssBytesPerSubscriber),
      // The most of any round: that much has to be there.
      rssBytes: Math.max(...found.map(({ rssBytes }) => rssBytes)),
      cpu: middle(({ cpu }) => cpu),
      lost: found.reduce((sum, { lost }) => sum + lost, 0),
      stalled: middle(({ stalled }) => stalled),
      stalledTold: Math.min(...found.map(({ stalledTold }) => stalledTold)),
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
  { subscribers, warmUpSeconds, seconds, flood, arrivesMs }: Load,
): Promise<Figures> {
  const opened = await plane.call<{ port: number; keys: string[]; wolves: string[] }>("open", {
    ...database,
    keys: Math.ceil(subscribers / PER_KEY),
  });
  let made = 0;
  const run = async (forSeconds: number) => {
    const from = made;
    const done = await plane.call<{ changes: number; seconds: number }>("run", {
      from,
      perSecond: PER_SECOND,
      seconds: forSeconds,
    });
    made += done.changes;
    return { from, ...done };
  };
  // Compiled, and with as much memory as changes alone take.
  await run(warmUpSeconds);
  const alone = await plane.usage();
  await readers.call("open", { ...opened, readers: subscribers, stalled: true });
  await plane.call("flood", { events: flood });
  await readers.call("open", { ...opened, readers: subscribers, stalled: false });
  await run(warmUpSeconds);
  await pause(arrivesMs);
  await readers.call("reset");
  const begun = await plane.usage();
  const { from, changes, seconds: took } = await run(seconds);
  const ended = await plane.usage();
  await pause(arrivesMs);
  const seen = await readers.call<{ received: number; missed: number; p50Ms: number; p99Ms: number }>("seen");
  const all = Array.from({ length: subscribers }, (_, n) => readerOf(n, opened.wolves));
  const due = dueTo(all, { from, changes }, opened.wolves.length);
  const stalledTold = await readers.call<number>("goOn");
  return {
    subscribers,
    stalled: all.filter(({ stalled }) => stalled).length,
    stalledTold,
    eventsPerSecond: changes / took,
    duePerSecond: due / took,
    deliveredPerSecond: seen.received / took,
    p50Ms: seen.p50Ms,
    p99Ms: seen.p99Ms,
    rssBytes: ended.rssBytes,
    rssBytesPerSubscriber: Math.max(0, ended.rssBytes - alone.rssBytes) / subscribers,
    cpu: (ended.cpuMicros - begun.cpuMicros) / 1e6 / took,
    lost: lostOf({ due, received: seen.received, missed: seen.missed }),
  };
}

export function eventsTable({ events }: EventsResult): string {
  const row = (name: string, figure: string, must = "", missed = false) =>
    `${name.padEnd(44)} ${figure.padStart(9)}${must === "" ? "" : `   must be ${must}${missed ? ": MISSED" : ""}`}`;
  const rounded = (value: number) => Math.round(value).toLocaleString("en");
  const { deliveredPerSecond: delivered, lost, rssBytesPerSubscriber: rss, rssBytes: total } = events;
  // Of as many changes as were wanted, not of those that were made: a control plane that writes too slowly delivers too little.
  const wanted = Math.max(events.duePerSecond, (events.duePerSecond / events.eventsPerSecond) * PER_SECOND);
  const deliveredMin = wanted * DELIVERED_SHARE_MIN;
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
    row("RSS of the control plane, MB", (total / 1e6).toFixed(0), "< 300", !(total < RSS_TOTAL_BYTES_MAX)),
    row("control plane's CPU, cores", events.cpu.toFixed(2)),
    row("lost", rounded(lost), "0", lost !== 0),
    row("readers that stopped, told what they missed", `${events.stalledTold} of ${events.stalled}`),
    "",
  ].join("\n");
}
