/** `npm run bench -- storm`: thousands of agents whose replica is killed, until every one is back and compared. */
import { setTimeout as pause } from "node:timers/promises";
import { freePort } from "@wolfpack/control-plane/free-ports";
import { LASTED_MS } from "@wolfpack/wolf-revdial-client/parts";
import { FleetRun } from "./fleet-run.ts";
import type { UserCounts } from "./fleet-users.ts";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";
import { atLeast, atMost, row } from "./table.ts";

export interface StormResult {
  rounds: number;
  /** Of the machine, at the start of each round. */
  loadAverages: number[];
  storm: {
    agents: number;
    replicas: number;
    /** Sessions that ran before. */
    sessions: number;
    /** From the kill until every wolf is connected and compared with its Wolf. */
    secondsToRecover: number;
    /** From the kill until a replica listens in its place; 0 where another one does. */
    secondsAway: number;
    /** Wolves that did not come back, sessions that ended or are not there any more, and sandboxes that went. */
    lost: number;
    /** Wolves, sessions and sandboxes that are there twice. */
    duplicates: number;
    /** Of what users asked meanwhile and was answered: wolves listed, sessions created. */
    userApiP50Ms: number;
    userApiP99Ms: number;
    userApiMaxMs: number;
    userApiAnswered: number;
    /** Tries that found nobody, or lost their connection. */
    userApiUnanswered: number;
    userApiRefused: number;
    /** Of agents, by status; 0: nobody answered. */
    refusals: Record<string, number>;
    /** Agents that took to plain HTTP. */
    fallbacks: number;
    fallbackCauses: Record<string, number>;
    /** Of those who took the agents in, CPU seconds from the kill to the end. */
    cpuSeconds: number;
    databaseWrites: number;
    databaseTransactions: number;
  };
}

type Figures = StormResult["storm"];

export const must = { agents: 5000, secondsToRecover: 30, userApiP99Ms: 2000 };
const CONNECTS_PER_SECOND = 100;
const SESSIONS_SHARE = 5;
const USERS = 200;
const RECOVERS_WITHIN_MS = 300_000;
/** What nobody owns is stopped after 5 s, and looked at again. */
const SETTLES_MS = 8000;
const SETTLES_QUICK_MS = 500;
const LOOK_MS = 200;
const BEGUN_AGAIN_WITHIN_S = 30;

export interface StormOptions {
  rounds: number;
  quick: boolean;
  agents: number;
  replicas: number;
  /** A CPU profile of the replica that takes the agents in is written there. */
  profile?: string | undefined;
}

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchStorm(options: StormOptions, stopped: Promise<never>): Promise<StormResult> {
  const found: Figures[] = [];
  const loadAverages: number[] = [];
  for (let at = 0; at < options.rounds; at += 1) {
    const figures = await FleetRun.with((run) => {
      loadAverages.push(run.loadAverage);
      return measure(run, options);
    }, stopped);
    found.push(figures);
  }
  return { rounds: options.rounds, loadAverages, storm: middle(found) };
}

async function measure(run: FleetRun, options: StormOptions): Promise<Figures> {
  const { agents, replicas, quick } = options;
  const listening = await startReplicas(run, replicas);
  const port = replicas === 1 ? (listening[0]?.port ?? 0) : await balanced(run, listening);
  await run.enrol(agents, [port]);
  await run.all("start", { overMs: (agents / CONNECTS_PER_SECOND) * 1000 });
  await run.until("all reconciled", () => isWhole(run, agents), RECOVERS_WITHIN_MS);
  const whole = performance.now();
  const users = await startUsers(run, { port, listening, quick, agents });
  // An agent whose tunnel has lasted for less counts it as a try that failed, and comes back later for it.
  if (!quick) await pause(Math.max(0, whole + LASTED_MS - performance.now()));
  const sessions = await run.query<{ id: string }>("SELECT id FROM session WHERE status = 'running'");
  await users.call("reset");
  await run.all("resetCounts");
  const before = await run.counters();

  const begun = performance.now();
  const victim = listening[0];
  if (victim === undefined) throw new Error("nobody to kill");
  victim.plane.signal("SIGKILL");
  const back = replicas === 1 ? await run.startPlane({ port }) : undefined;
  const secondsAway = back === undefined ? 0 : (performance.now() - begun) / 1000;
  const heir = back?.plane ?? listening[1]?.plane;
  if (options.profile !== undefined) await heir?.call("startProfile");
  const cpuBefore = back === undefined ? ((await heir?.usage())?.cpuMicros ?? 0) : 0;
  await run.until("all back", () => isWhole(run, agents), RECOVERS_WITHIN_MS);
  const secondsToRecover = (performance.now() - begun) / 1000;
  const after = await run.counters();
  const cpuSeconds = (((await heir?.usage())?.cpuMicros ?? 0) - cpuBefore) / 1e6;
  if (options.profile !== undefined) await heir?.call("writeProfile", options.profile);
  const meanwhile = await users.call<UserCounts>("counts");
  const { refusals, fallbacks, fallbackCauses } = await run.counts();
  const { sessions: created } = await users.call<UserCounts>("stop");
  await pause(quick ? SETTLES_QUICK_MS : SETTLES_MS);
  const expected = [...sessions.map(({ id }) => id), ...created];
  const { duplicates, ...first } = await compare(run, agents, expected);
  // A start whose process was killed is begun again once its lock has ended: not lost yet. What is there twice by now, was.
  let { lost } = first;
  for (let left = BEGUN_AGAIN_WITHIN_S; lost > 0 && left > 0; left -= 1) {
    await pause(1000);
    ({ lost } = await compare(run, agents, expected));
  }
  return {
    agents,
    replicas,
    sessions: sessions.length,
    secondsToRecover,
    secondsAway,
    lost,
    duplicates,
    userApiP50Ms: meanwhile.p50Ms,
    userApiP99Ms: meanwhile.p99Ms,
    userApiMaxMs: meanwhile.maxMs,
    userApiAnswered: meanwhile.answered,
    userApiUnanswered: meanwhile.unanswered,
    userApiRefused: Object.values(meanwhile.refused).reduce((sum, count) => sum + count, 0),
    refusals,
    fallbacks,
    fallbackCauses,
    cpuSeconds,
    databaseWrites: after.writes - before.writes,
    databaseTransactions: after.transactions - before.transactions,
  };
}

type Listening = Awaited<ReturnType<FleetRun["startPlane"]>>[];

async function startReplicas(run: FleetRun, replicas: number): Promise<Listening> {
  const started: Listening = [];
  if (replicas === 1) return [await run.startPlane()];
  for (let at = 0; at < replicas; at += 1) {
    const port = await freePort();
    const environment = { WOLFPACK_REPLICA_URL: `http://127.0.0.1:${port}` };
    started.push(await run.startPlane({ port, environment }));
  }
  return started;
}

async function balanced(run: FleetRun, listening: Listening): Promise<number> {
  const balancer = await BenchProcess.start("balancer", "balancer");
  run.others.push(balancer);
  return balancer.call<number>(
    "listen",
    listening.map(({ port }) => port),
  );
}

/** Their sessions run by then, and they ask on. */
async function startUsers(
  run: FleetRun,
  { port, listening, quick, agents }: { port: number; listening: Listening; quick: boolean; agents: number },
): Promise<BenchProcess> {
  const users = await BenchProcess.start("users", "fleet-users");
  run.others.push(users);
  const keys =
    (await listening[0]?.plane.call<string[]>("keys", { count: quick ? 5 : USERS, role: "user" })) ?? [];
  const count = Math.floor(agents / SESSIONS_SHARE);
  await users.call("create", { port, keys, count, atOnce: 8 });
  const isRunning = async () => {
    const [row] = await run.query<{ running: bigint }>(
      "SELECT count(*) AS running FROM session WHERE status = 'running'",
    );
    return Number(row?.running) === count;
  };
  await run.until("all sessions run", isRunning, RECOVERS_WITHIN_MS);
  await users.call("start", { port, keys, listsPerSecond: 10, createsPerSecond: quick ? 2 : 5 });
  await pause(quick ? 200 : 2000);
  return users;
}

/** Every agent has a tunnel, and each wolf's sandboxes were compared through it. */
async function isWhole(run: FleetRun, agents: number): Promise<boolean> {
  await pause(LOOK_MS);
  if ((await run.live()) !== agents) return false;
  const [row] = await run.query<{ whole: bigint }>(
    `SELECT count(*) AS whole FROM wolf_instance
      WHERE connectivity = 'connected' AND tunnel_since IS NOT NULL AND reconciled_epoch = epoch`,
  );
  return Number(row?.whole) === agents;
}

/** What PostgreSQL says against what the Wolfs run. */
async function compare(
  run: FleetRun,
  agents: number,
  expected: string[],
): Promise<{ lost: number; duplicates: number }> {
  const wolves = await run.query<{ name: string; connectivity: string }>(
    "SELECT name, connectivity FROM wolf_instance",
  );
  const names = new Set(wolves.map(({ name }) => name));
  const connected = wolves.filter(({ connectivity }) => connectivity === "connected").length;
  const sessions = await run.query<{ id: string; status: string; wolf: string | null }>(
    "SELECT id, status, wolf_instance_id AS wolf FROM session",
  );
  const lobbies = (await run.all<{ wolfId: string; name: string }[]>("lobbies")).flat();
  const places = new Map<string, string[]>();
  for (const { wolfId, name } of lobbies) places.set(name, [...(places.get(name) ?? []), wolfId]);
  const known = new Map(sessions.map((session) => [session.id, session]));
  const isThere = (id: string) => {
    const session = known.get(id);
    return session?.status === "running" && places.get(id)?.includes(session.wolf ?? "") === true;
  };
  const wanted = new Set(expected);
  return {
    lost: agents - connected + [...wanted].filter((id) => !isThere(id)).length,
    duplicates:
      wolves.length -
      names.size +
      Math.max(0, wolves.length - agents) +
      // A request that was sent again, with its key, has made one session.
      sessions.filter(({ id }) => !wanted.has(id)).length +
      [...places.values()].reduce((sum, where) => sum + where.length - 1, 0) +
      [...places.keys()].filter((id) => !wanted.has(id)).length,
  };
}

function middle(found: readonly Figures[]): Figures {
  const [first] = found;
  if (first === undefined) throw new Error("there was no round");
  const of = (value: (figures: Figures) => number) => median(found.map(value));
  const sum = (value: (figures: Figures) => number) => found.reduce((so, figures) => so + value(figures), 0);
  return {
    agents: first.agents,
    replicas: first.replicas,
    sessions: of(({ sessions }) => sessions),
    secondsToRecover: of(({ secondsToRecover }) => secondsToRecover),
    secondsAway: of(({ secondsAway }) => secondsAway),
    lost: sum(({ lost }) => lost),
    duplicates: sum(({ duplicates }) => duplicates),
    userApiP50Ms: of(({ userApiP50Ms }) => userApiP50Ms),
    userApiP99Ms: of(({ userApiP99Ms }) => userApiP99Ms),
    userApiMaxMs: of(({ userApiMaxMs }) => userApiMaxMs),
    userApiAnswered: of(({ userApiAnswered }) => userApiAnswered),
    userApiUnanswered: of(({ userApiUnanswered }) => userApiUnanswered),
    userApiRefused: of(({ userApiRefused }) => userApiRefused),
    refusals: found.at(-1)?.refusals ?? {},
    fallbackCauses: found.at(-1)?.fallbackCauses ?? {},
    fallbacks: of(({ fallbacks }) => fallbacks),
    cpuSeconds: of(({ cpuSeconds }) => cpuSeconds),
    databaseWrites: of(({ databaseWrites }) => databaseWrites),
    databaseTransactions: of(({ databaseTransactions }) => databaseTransactions),
  };
}

export function stormTable({ storm, loadAverages }: StormResult): string {
  const told = (counts: Record<string, number>) =>
    Object.entries(counts)
      .map(([name, count]) => `${name}: ${count}`)
      .join(", ") || "none";
  return [
    row("agents", storm.agents, 0, atLeast(must.agents)),
    row("replicas", storm.replicas, 0),
    row("sessions before", storm.sessions, 0),
    row("seconds until all are back", storm.secondsToRecover, 1, atMost(must.secondsToRecover)),
    row("  of which nobody listened", storm.secondsAway, 1),
    row("lost", storm.lost, 0, atMost(0)),
    row("duplicates", storm.duplicates, 0, atMost(0)),
    row("users meanwhile, ms, median", storm.userApiP50Ms, 0),
    row("  99th percentile", storm.userApiP99Ms, 0, atMost(must.userApiP99Ms)),
    row("  the slowest", storm.userApiMaxMs, 0),
    row("  answered", storm.userApiAnswered, 0),
    row("  refused", storm.userApiRefused, 0),
    row("  nobody answered", storm.userApiUnanswered, 0),
    row("agents over plain HTTP", storm.fallbacks, 0),
    row("CPU of who took them in, s", storm.cpuSeconds, 1),
    row("transactions that write", storm.databaseWrites, 0),
    row("all transactions", storm.databaseTransactions, 0),
    `agents refused: ${told(storm.refusals)}`,
    `over plain HTTP because of: ${told(storm.fallbackCauses)}`,
    `load average at the start: ${loadAverages.map((load) => load.toFixed(1)).join(", ")}`,
    "",
  ].join("\n");
}
