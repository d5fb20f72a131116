/** What benches of a fleet have in common: a PostgreSQL that syncs to disk, replicas, and processes full of agents. */
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { createPrisma } from "@wolfpack/control-plane/parts";
import type { PlaneResources, PlaneSettings } from "./fleet-plane.ts";
import type { AgentCounts } from "./light-agent.ts";
import { BenchProcess } from "./process.ts";

export const RUNNER_TOKEN = "a-runner-token-of-the-bench";
/** One process of agents would need a whole core for itself. */
const CLIENTS = 2;
const LOOK_MS = 50;
const GC = ["--expose-gc"];

/** What PostgreSQL has done so far. */
export interface DatabaseCounters {
  /** Ids of transactions: only those that write are given one. */
  writes: number;
  /** Rows inserted, updated and deleted. */
  rows: number;
  /** Transactions, reads included. */
  transactions: number;
  walBytes: number;
}

export class FleetRun {
  readonly url: string;
  readonly loadAverage = loadavg()[0] ?? Number.NaN;
  readonly clients: BenchProcess[] = [];
  readonly planes: BenchProcess[] = [];
  /** Ended with everything else. */
  readonly others: BenchProcess[] = [];
  private readonly folder: string;
  private readonly prisma: ReturnType<typeof createPrisma>;

  private constructor(url: string, folder: string) {
    this.url = url;
    this.folder = folder;
    this.prisma = createPrisma(url);
  }

  /** Runs `measure`, and leaves nothing behind. Rejects when `stopped` does. */
  static async with<Result>(
    measure: (run: FleetRun) => Promise<Result>,
    stopped: Promise<never>,
  ): Promise<Result> {
    const folder = mkdtempSync(path.join(tmpdir(), "bench-"));
    const starting = startEmbeddedPostgres({ dataDir: path.join(folder, "postgres"), durable: true });
    let run: FleetRun | undefined;
    try {
      const { url } = await Promise.race([starting, stopped]);
      run = new FleetRun(url, folder);
      return await Promise.race([measure(run), stopped]);
    } finally {
      await run?.end();
      await starting.then(
        (postgres) => postgres.stop(),
        () => undefined,
      );
      rmSync(folder, { recursive: true, force: true });
    }
  }

  private async end(): Promise<void> {
    await Promise.all([...this.clients, ...this.planes, ...this.others].map((process) => process.stop()));
    await this.prisma.$disconnect();
  }

  /** A replica that listens, and where. */
  async startPlane(settings: Partial<PlaneSettings> = {}): Promise<{ plane: BenchProcess; port: number }> {
    const plane = await BenchProcess.start("control plane", "fleet-plane", GC);
    this.planes.push(plane);
    const whole: PlaneSettings = { url: this.url, dataDir: this.folder, port: 0, ...settings };
    return { plane, port: await plane.call<number>("open", whole) };
  }

  /** So many agents, enrolled; seconds it took. */
  async enrol(agents: number, ports: number[]): Promise<number> {
    const begun = performance.now();
    const each = Math.ceil(agents / CLIENTS);
    for (let at = 0; at < CLIENTS; at += 1)
      this.clients.push(await BenchProcess.start("agents", "fleet-agents"));
    await Promise.all(
      this.clients.map((client, at) =>
        client.call("enrol", {
          from: at * each,
          count: Math.min(each, agents - at * each),
          ports,
          token: RUNNER_TOKEN,
        }),
      ),
    );
    return (performance.now() - begun) / 1000;
  }

  /** Of every process of agents. */
  all<Value>(call: string, argument?: unknown): Promise<Value[]> {
    return Promise.all(this.clients.map((client) => client.call<Value>(call, argument)));
  }

  async live(): Promise<number> {
    return (await this.all<number>("live")).reduce((sum, live) => sum + live, 0);
  }

  async counts(): Promise<AgentCounts> {
    const all = await this.all<AgentCounts>("counts");
    const together = (of: (counts: AgentCounts) => Record<string, number>) => {
      const sums: Record<string, number> = {};
      for (const counts of all)
        for (const [name, count] of Object.entries(of(counts))) sums[name] = (sums[name] ?? 0) + count;
      return sums;
    };
    const sum = (of: (counts: AgentCounts) => number) => all.reduce((so, counts) => so + of(counts), 0);
    return {
      connects: sum(({ connects }) => connects),
      refusals: together(({ refusals }) => refusals),
      fallbackCauses: together(({ fallbackCauses }) => fallbackCauses),
      fallbacks: sum(({ fallbacks }) => fallbacks),
      notices: sum(({ notices }) => notices),
      noticesDropped: sum(({ noticesDropped }) => noticesDropped),
      lobbiesCreated: sum(({ lobbiesCreated }) => lobbiesCreated),
    };
  }

  /** Resolves to the seconds until it held; rejects when it does not within `withinMs`. */
  async until(what: string, holds: () => Promise<boolean>, withinMs: number): Promise<number> {
    const begun = performance.now();
    while (!(await holds())) {
      if (performance.now() - begun > withinMs) throw new Error(`${what}: not within ${withinMs / 1000} s`);
      await pause(LOOK_MS);
    }
    return (performance.now() - begun) / 1000;
  }

  async counters(): Promise<DatabaseCounters> {
    const [row] = await this.prisma.$queryRaw<Record<keyof DatabaseCounters, bigint>[]>`
      SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS writes,
        (tup_inserted + tup_updated + tup_deleted) AS rows, xact_commit AS transactions,
        (pg_current_wal_lsn() - '0/0')::bigint AS "walBytes"
      FROM pg_stat_database WHERE datname = current_database()`;
    if (row === undefined) throw new Error("PostgreSQL counts nothing");
    const { writes, rows, transactions, walBytes } = row;
    return {
      writes: Number(writes),
      rows: Number(rows),
      transactions: Number(transactions),
      walBytes: Number(walBytes),
    };
  }

  query<Row>(sql: string): Promise<Row[]> {
    return this.prisma.$queryRawUnsafe<Row[]>(sql);
  }
}

export const resourcesOf = (plane: BenchProcess) => plane.call<PlaneResources>("resources");
