/** `npm run bench -- fleet`: thousands of agents held by one replica; what each costs, and what their heartbeats cost. */
import { setTimeout as pause } from "node:timers/promises";
import { type DatabaseCounters, FleetRun, RUNNER_TOKEN, resourcesOf } from "./fleet-run.ts";
import { median } from "./lanes.ts";
import type { BenchProcess } from "./process.ts";
import { atLeast, atMost, row } from "./table.ts";

export interface FleetResult {
  rounds: number;
  /** Of the machine, at the start of each round. */
  loadAverages: number[];
  fleet: {
    /** Held at the end of everything. */
    agents: number;
    /** Over the process before its first agent, garbage collected; after a while of heartbeats at their own pace. */
    rssBytesPerAgent: number;
    /** The same after all load of below. */
    rssBytesPerAgentAfterLoad: number;
    enrolmentsPerSecond: number;
    /** Through tunnels, with figures that are others each time, taken by the control plane. */
    heartbeatsPerSecond: number;
    /** Transactions that write, meanwhile. */
    databaseWritesPerSecond: number;
    databaseRowsPerSecond: number;
    walBytesPerSecond: number;
    /** Cores of the control plane meanwhile. */
    cpu: number;
    /** At the agents' own pace: a heartbeat in 10 s each. */
    ownPace: { heartbeatsPerSecond: number; databaseWritesPerSecond: number; cpu: number };
    /** `POST …/heartbeat`, of wolves without tunnels: what was answered. */
    http: { heartbeatsPerSecond: number; databaseWritesPerSecond: number; cpu: number };
  };
}

type Figures = FleetResult["fleet"];

interface Load {
  agents: number;
  perSecond: number;
  /** Before figures are taken: the first of many writes come together. */
  warmUpSeconds: number;
  seconds: number;
  httpPerSecond: number;
  httpSeconds: number;
}

export const must = {
  agents: 5000,
  rssBytesPerAgent: 40_000,
  heartbeatsPerSecond: 2000,
  databaseWritesPerSecond: 2,
};
/** Each is a whole request of the API, over a connection of its own. */
const HTTP_PER_SECOND = 300;
const CONNECTS_PER_SECOND = 100;
const COUNTED_SHARE_MIN = 0.95;
const OWN_PACE_SECONDS = 10;

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchFleet(
  { rounds, quick, agents }: { rounds: number; quick: boolean; agents: number },
  stopped: Promise<never>,
): Promise<FleetResult> {
  const load: Load = quick
    ? { agents, perSecond: 200, warmUpSeconds: 0.5, seconds: 1, httpPerSecond: 50, httpSeconds: 1 }
    : {
        agents,
        perSecond: must.heartbeatsPerSecond,
        warmUpSeconds: 15,
        seconds: 35,
        httpPerSecond: HTTP_PER_SECOND,
        httpSeconds: 10,
      };
  const found: Figures[] = [];
  const loadAverages: number[] = [];
  for (let at = 0; at < rounds; at += 1)
    found.push(
      await FleetRun.with((run) => {
        loadAverages.push(run.loadAverage);
        return measure(run, load);
      }, stopped),
    );
  return { rounds, loadAverages, fleet: middle(found) };
}

async function measure(run: FleetRun, load: Load): Promise<Figures> {
  const { agents, perSecond } = load;
  const { plane, port } = await run.startPlane();
  const idle = await resourcesOf(plane);
  const enrolledIn = await run.enrol(agents, [port]);
  await run.all("start", { overMs: (agents / CONNECTS_PER_SECOND) * 1000 });
  await run.until("all connected", async () => (await run.live()) === agents, 300_000);
  const perAgent = (rssBytes: number) => (rssBytes - idle.rssBytes) / agents;
  const own = async (seconds: number) => {
    await beat(run, agents / OWN_PACE_SECONDS);
    return during(run, plane, () => pause(seconds * 1000));
  };
  // What came with the tunnels is written by then.
  await own(load.warmUpSeconds);
  const ownPace = await own(load.seconds);
  const { rssBytes } = await resourcesOf(plane);
  await beat(run, perSecond);
  await pause(load.warmUpSeconds * 1000);
  const beats = await during(run, plane, () => pause(load.seconds * 1000));
  await beat(run, 0);
  const http = await overHttp(run, plane, load);
  const after = await resourcesOf(plane);
  return {
    agents: await run.live(),
    rssBytesPerAgent: perAgent(rssBytes),
    rssBytesPerAgentAfterLoad: perAgent(after.rssBytes),
    enrolmentsPerSecond: agents / enrolledIn,
    heartbeatsPerSecond: beats.heartbeatsPerSecond,
    databaseWritesPerSecond: beats.databaseWritesPerSecond,
    databaseRowsPerSecond: beats.databaseRowsPerSecond,
    walBytesPerSecond: beats.walBytesPerSecond,
    cpu: beats.cpu,
    ownPace,
    http,
  };
}

const beat = (run: FleetRun, perSecond: number) =>
  run.all("beat", { perSecond: perSecond / run.clients.length });

async function during(run: FleetRun, plane: BenchProcess, work: () => Promise<unknown>) {
  const before = await seen(run, plane);
  await work();
  const after = await seen(run, plane);
  const seconds = (after.at - before.at) / 1000;
  const rate = (of: (counters: DatabaseCounters) => number) =>
    (of(after.database) - of(before.database)) / seconds;
  return {
    seconds,
    heartbeatsPerSecond: (after.sent - before.sent) / seconds,
    databaseWritesPerSecond: rate(({ writes }) => writes),
    databaseRowsPerSecond: rate(({ rows }) => rows),
    walBytesPerSecond: rate(({ walBytes }) => walBytes),
    cpu: (after.cpuMicros - before.cpuMicros) / 1e6 / seconds,
  };
}

async function seen(run: FleetRun, plane: BenchProcess) {
  const [database, { notices, noticesDropped }, { cpuMicros }] = await Promise.all([
    run.counters(),
    run.counts(),
    plane.usage(),
  ]);
  return { at: performance.now(), database, sent: notices - noticesDropped, cpuMicros };
}

/** Of wolves as agents of before register them, by the RUNNER_TOKEN: whoever has a tunnel needs no such heartbeat. */
async function overHttp(run: FleetRun, plane: BenchProcess, { httpPerSecond, httpSeconds }: Load) {
  await run.all("registerByHttp", { token: RUNNER_TOKEN });
  let answered = 0;
  const figures = await during(run, plane, async () => {
    const done = await run.all<{ statuses: Record<string, number> }>("beatByHttp", {
      token: RUNNER_TOKEN,
      perSecond: httpPerSecond / run.clients.length,
      seconds: httpSeconds,
    });
    for (const { statuses } of done) {
      const { 200: ok = 0, ...others } = statuses;
      if (Object.keys(others).length > 0)
        throw new Error(`heartbeats were refused: ${JSON.stringify(others)}`);
      answered += ok;
    }
  });
  const { databaseWritesPerSecond, cpu, seconds } = figures;
  return { heartbeatsPerSecond: answered / seconds, databaseWritesPerSecond, cpu };
}

function middle(found: readonly Figures[]): Figures {
  const of = (value: (figures: Figures) => number) => median(found.map(value));
  const paced = (value: (figures: Figures) => Figures["http"]) => ({
    heartbeatsPerSecond: of((figures) => value(figures).heartbeatsPerSecond),
    databaseWritesPerSecond: of((figures) => value(figures).databaseWritesPerSecond),
    cpu: of((figures) => value(figures).cpu),
  });
  return {
    agents: Math.min(...found.map(({ agents }) => agents)),
    rssBytesPerAgent: of(({ rssBytesPerAgent }) => rssBytesPerAgent),
    rssBytesPerAgentAfterLoad: of(({ rssBytesPerAgentAfterLoad }) => rssBytesPerAgentAfterLoad),
    enrolmentsPerSecond: of(({ enrolmentsPerSecond }) => enrolmentsPerSecond),
    heartbeatsPerSecond: of(({ heartbeatsPerSecond }) => heartbeatsPerSecond),
    databaseWritesPerSecond: of(({ databaseWritesPerSecond }) => databaseWritesPerSecond),
    databaseRowsPerSecond: of(({ databaseRowsPerSecond }) => databaseRowsPerSecond),
    walBytesPerSecond: of(({ walBytesPerSecond }) => walBytesPerSecond),
    cpu: of(({ cpu }) => cpu),
    ownPace: paced(({ ownPace }) => ownPace),
    http: paced(({ http }) => http),
  };
}

export function fleetTable({ fleet, loadAverages }: FleetResult): string {
  return [
    row("agents held", fleet.agents, 0, atLeast(must.agents)),
    row("RSS per agent, bytes", fleet.rssBytesPerAgent, 0, atMost(must.rssBytesPerAgent)),
    row("  after all load", fleet.rssBytesPerAgentAfterLoad, 0),
    row("enrolments per second", fleet.enrolmentsPerSecond, 0),
    row(
      "heartbeats per second",
      fleet.heartbeatsPerSecond,
      0,
      atLeast(must.heartbeatsPerSecond * COUNTED_SHARE_MIN),
    ),
    row("  writes per second", fleet.databaseWritesPerSecond, 2, atMost(must.databaseWritesPerSecond)),
    row("  rows written per second", fleet.databaseRowsPerSecond, 0),
    row("  log written, KB per second", fleet.walBytesPerSecond / 1000, 0),
    row("  control plane's CPU, cores", fleet.cpu, 2),
    row("at their own pace: heartbeats per second", fleet.ownPace.heartbeatsPerSecond, 0),
    row(
      "  writes per second",
      fleet.ownPace.databaseWritesPerSecond,
      2,
      atMost(must.databaseWritesPerSecond),
    ),
    row("  control plane's CPU, cores", fleet.ownPace.cpu, 2),
    row("over HTTP: heartbeats per second", fleet.http.heartbeatsPerSecond, 0),
    row("  writes per second", fleet.http.databaseWritesPerSecond, 2),
    row("  control plane's CPU, cores", fleet.http.cpu, 2),
    `load average at the start: ${loadAverages.map((load) => load.toFixed(1)).join(", ")}`,
    "",
  ].join("\n");
}
