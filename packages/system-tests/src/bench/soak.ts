/**
 * `npm run bench -- soak`: a day of a fleet in some minutes: agents come and go, wolves join and are removed, sessions begin and end, screens are looked at, events are
 * read, users are revoked. Afterwards everything is what it was.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { PlaneResources } from "./fleet-plane.ts";
import { FleetRun, RUNNER_TOKEN, resourcesOf } from "./fleet-run.ts";
import type { UserCounts } from "./fleet-users.ts";
import { BenchProcess } from "./process.ts";
import { atMost, row } from "./table.ts";

export interface SoakResult {
  minutes: number;
  loadAverages: number[];
  soak: {
    agents: number;
    /**
     * Per hour of the day that the minutes stand for. Of the control plane, garbage collected, by least squares through the quiet moments
     * after the first third.
     */
    rssSlopeBytesPerHour: number;
    heapSlopeBytesPerHour: number;
    /**
     * The least of the last third of the looks less the least of the first, all with the same agents connected and nothing else: what is
     * open at one look and gone at the next stays nowhere. Of handles and files without connections of the database.
     */
    handlesMore: number;
    timersMore: number;
    filesMore: number;
    databaseConnectionsMore: number;
    /** What there was of each. */
    rounds: number;
    sessions: number;
    reconnects: number;
    requests: number;
    streams: number;
    revocations: number;
    /** That joined and were removed. */
    wolvesRemoved: number;
    /** Answers of 500 and more. */
    serverErrors: number;
    samples: { minutes: number; rssBytes: number; heapBytes: number }[];
  };
}

export const must = { rssSlopeBytesPerHour: 2 * 2 ** 20 };
const AGENTS = 200;
const AGENTS_QUICK = 20;
const SETTLES_MS = 3000;
const SETTLES_QUICK_MS = 500;
const WITHIN_MS = 120_000;
/** What compilers and caches take at first is no leak. */
const FIRST_SHARE = 1 / 3;
const HOURS = 24;
/** Behind the numbers of the agents that stay. */
const FIRST_VISITOR = 100_000;
const visitorsOf = (quick: boolean) => (quick ? 2 : 20);

export interface SoakOptions {
  minutes: number;
  quick: boolean;
}

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchSoak(options: SoakOptions, stopped: Promise<never>): Promise<SoakResult> {
  const loadAverages: number[] = [];
  const soak = await FleetRun.with((run) => {
    loadAverages.push(run.loadAverage);
    return measure(run, options);
  }, stopped);
  return { minutes: options.minutes, loadAverages, soak };
}

interface Seen extends PlaneResources {
  minutes: number;
  databaseConnections: number;
}

async function measure(run: FleetRun, { minutes, quick }: SoakOptions): Promise<SoakResult["soak"]> {
  const agents = quick ? AGENTS_QUICK : AGENTS;
  const { plane, port } = await run.startPlane();
  await run.enrol(agents, [port]);
  await run.all("start", { overMs: quick ? 100 : 2000 });
  const users = await BenchProcess.start("users", "fleet-users");
  run.others.push(users);
  const begun = performance.now();
  const isQuiet = async () => {
    const [row] = await run.query<{ live: bigint }>(
      "SELECT count(*) AS live FROM session WHERE ended_at IS NULL",
    );
    return Number(row?.live) === 0 && (await run.live()) === agents;
  };
  const look = async (): Promise<Seen> => {
    await run.until("quiet", isQuiet, WITHIN_MS);
    await pause(quick ? SETTLES_QUICK_MS : SETTLES_MS);
    let databaseConnections = await connectionsOf(run);
    let resources = await resourcesOf(plane);
    // One that ended between both looks would be a handle more or less.
    const isSame = async () => {
      const now = await connectionsOf(run);
      if (now === databaseConnections) return true;
      databaseConnections = now;
      resources = await resourcesOf(plane);
      return false;
    };
    await run.until("as many connections as before", isSame, WITHIN_MS);
    return {
      ...resources,
      // Those that its pool holds come and go with how much is asked, and have a line of their own.
      handles: resources.handles - databaseConnections,
      files: resources.files - databaseConnections,
      minutes: (performance.now() - begun) / 60_000,
      databaseConnections,
    };
  };
  const seen: Seen[] = [];
  let revocations = 0;
  const [admin = ""] = await plane.call<string[]>("keys", { count: 1, role: "admin" });
  await churn(run, { plane, users, port, quick, admin, turn: 0 });
  do {
    seen.push(await look());
    revocations += await churn(run, { plane, users, port, quick, admin, turn: seen.length });
  } while ((performance.now() - begun) / 60_000 < minutes || seen.length < 3);
  seen.push(await look());
  const counts = await users.call<UserCounts>("counts");
  const { connects } = await run.counts();
  // One churn ahead of the first look, and one behind each but the last.
  const wolvesRemoved = visitorsOf(quick) * seen.length;
  return {
    ...slopes(seen, minutes),
    ...more(seen),
    agents,
    ...summary(counts),
    revocations,
    rounds: seen.length,
    wolvesRemoved,
    reconnects: connects - agents - wolvesRemoved,
  };
}

/** Of PostgreSQL to clients, but for the one that asks. */
async function connectionsOf(run: FleetRun): Promise<number> {
  const [row] = await run.query<{ connections: bigint }>(
    `SELECT count(*) AS connections FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
  );
  return Number(row?.connections);
}

interface Churn {
  plane: BenchProcess;
  users: BenchProcess;
  port: number;
  quick: boolean;
  admin: string;
  turn: number;
}

/** An hour or two of a day: everything at once. Resolves to how many users were revoked. */
async function churn(run: FleetRun, { plane, users, port, quick, admin, turn }: Churn): Promise<number> {
  const count = quick ? 2 : 10;
  const keys = await plane.call<string[]>("keys", { count, role: "user" });
  const some = quick ? 4 : 40;
  await Promise.all([
    users.call("day", {
      port,
      keys,
      admin,
      sessions: quick ? 4 : 60,
      streams: quick ? 2 : 20,
      reads: quick ? 20 : 300,
    }),
    ...run.clients.map((client) => client.call("flap", { from: turn * some, count: some / 2 })),
    run.all("beat", { perSecond: quick ? 10 : 100 }),
  ]);
  await run.all("beat", { perSecond: 0 });
  // By now no session would be placed at them.
  const visitors = { count: visitorsOf(quick), port, token: RUNNER_TOKEN, admin };
  await run.clients[0]?.call("visit", { ...visitors, from: FIRST_VISITOR + turn * visitors.count });
  return plane.call<number>("revokeUsers");
}

const summary = ({ answered, refused, sessions, streams }: UserCounts) => ({
  sessions: sessions.length,
  requests: answered,
  streams,
  serverErrors: Object.entries(refused).reduce(
    (sum, [status, times]) => sum + (Number(status) >= 500 ? times : 0),
    0,
  ),
});

function more(seen: readonly Seen[]) {
  if (seen.length === 0) throw new Error("nothing was seen");
  const third = Math.ceil(seen.length / 3);
  const growth = (of: (one: Seen) => number) =>
    Math.min(...seen.slice(-third).map(of)) - Math.min(...seen.slice(0, third).map(of));
  return {
    handlesMore: growth(({ handles }) => handles),
    timersMore: growth(({ timers }) => timers),
    filesMore: growth(({ files }) => files),
    databaseConnectionsMore: growth(({ databaseConnections }) => databaseConnections),
  };
}

function slopes(seen: readonly Seen[], minutes: number) {
  const last = seen.at(-1)?.minutes ?? 0;
  const later = seen.filter((one) => one.minutes >= last * FIRST_SHARE);
  const hours = (of: (one: Seen) => number) => slope(later, of) / (HOURS / minutes);
  return {
    rssSlopeBytesPerHour: hours(({ rssBytes }) => rssBytes),
    heapSlopeBytesPerHour: hours(({ heapBytes }) => heapBytes),
    samples: seen.map(({ minutes, rssBytes, heapBytes }) => ({ minutes, rssBytes, heapBytes })),
  };
}

/** Per minute, by least squares. */
export function slope<One extends { minutes: number }>(
  seen: readonly One[],
  of: (one: One) => number,
): number {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const at = seen.map(({ minutes }) => minutes);
  const value = seen.map(of);
  const [atMean, valueMean] = [mean(at), mean(value)];
  const spread = at.reduce((sum, x) => sum + (x - atMean) ** 2, 0);
  return spread === 0
    ? 0
    : at.reduce((sum, x, n) => sum + (x - atMean) * ((value[n] ?? 0) - valueMean), 0) / spread;
}

export function soakTable({ soak, minutes, loadAverages }: SoakResult): string {
  const mib = 2 ** 20;
  return [
    row("minutes", minutes),
    row("agents", soak.agents),
    row(
      "RSS grows, MiB per hour",
      soak.rssSlopeBytesPerHour / mib,
      2,
      atMost(must.rssSlopeBytesPerHour / mib),
    ),
    row("heap grows, MiB per hour", soak.heapSlopeBytesPerHour / mib, 2),
    row("handles more", soak.handlesMore, 0, atMost(0)),
    row("timers more", soak.timersMore, 0, atMost(0)),
    row("files more", soak.filesMore, 0, atMost(0)),
    row("connections of the database more", soak.databaseConnectionsMore, 0, atMost(0)),
    row("rounds of churn", soak.rounds),
    row("sessions", soak.sessions),
    row("agents that came back", soak.reconnects),
    row("requests", soak.requests),
    row("streams of events", soak.streams),
    row("users revoked", soak.revocations),
    row("wolves removed", soak.wolvesRemoved),
    row("answers of 500 and more", soak.serverErrors, 0, atMost(0)),
    `load average at the start: ${loadAverages.map((load) => load.toFixed(1)).join(", ")}`,
    "",
  ].join("\n");
}
