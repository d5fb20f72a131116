/** `npm run bench -- placement`: decisions of the pure policy, and placements that are written, through the service. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { median } from "./lanes.ts";
import { benchPlacementPure, type PlacementPureResult } from "./placement-pure.ts";
import { BenchProcess } from "./process.ts";

export interface PlacementResult {
  rounds: number;
  pure: PlacementPureResult;
  durable: {
    wolves: number;
    placementsPerSecond: number;
    /** At 100 per second. */
    p50Ms: number;
    p99Ms: number;
  };
  /** Two control planes at once on one database, asked for more than fits. */
  replicas: {
    processes: number;
    slots: number;
    placed: number;
    refused: number;
    overcommits: number;
    /** Slots that are left although somebody was refused. */
    undercommits: number;
  };
  overcommits: number;
}

const WOLVES = 1000;
const SESSIONS = 6000;
const PARALLEL = 256;
const PER_SECOND = 100;
const REPLICAS = 2;
/** Of a fleet that two replicas fight for; a wolf of it has 12 slots. */
const FEW_WOLVES = 100;
const SLOTS = 12;
const must = { decisionsPerSecond: 10_000, placementsPerSecond: 1000, p99Ms: 100 };

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchPlacement(
  { rounds, quick }: { rounds: number; quick: boolean },
  stopped: Promise<never>,
): Promise<PlacementResult> {
  const pure = benchPlacementPure({ rounds, quick });
  const folder = mkdtempSync(path.join(tmpdir(), "bench-"));
  let plane: BenchProcess | undefined;
  const starting = startEmbeddedPostgres({ dataDir: folder });
  const rates: number[] = [];
  const waits: number[] = [];
  let overcommits = 0;
  const round = async (running: BenchProcess, url: string) => {
    const sessions = quick ? SESSIONS / 10 : SESSIONS;
    await running.call("open", { url, wolves: WOLVES });
    // Compiled and connected by then.
    await running.call("flood", { sessions: sessions / 4, parallel: PARALLEL });
    rates.push(sessions / (await running.call<number>("flood", { sessions, parallel: PARALLEL })));
    waits.push(
      ...(await running.call<number[]>("paced", { perSecond: PER_SECOND, seconds: quick ? 1 : 10 })),
    );
    overcommits += await running.call<number>("overcommits");
  };
  const others: BenchProcess[] = [];
  /** Half as much again as there is room for, from both at once. */
  const fight = async (url: string): Promise<PlacementResult["replicas"]> => {
    const wolves = quick ? FEW_WOLVES / 10 : FEW_WOLVES;
    const slots = wolves * SLOTS;
    for (let at = 0; at < REPLICAS; at += 1) {
      const one = await BenchProcess.start("control plane", "placement-plane");
      others.push(one);
      await one.call(at === 0 ? "open" : "join", { url, wolves });
    }
    const race = { sessions: (slots * 1.5) / REPLICAS, parallel: PARALLEL };
    const outcomes = await Promise.all(
      others.map((one) => one.call<{ placed: number; refused: number }>("race", race)),
    );
    const placed = outcomes.reduce((sum, one) => sum + one.placed, 0);
    return {
      processes: REPLICAS,
      slots,
      placed,
      refused: outcomes.reduce((sum, one) => sum + one.refused, 0),
      overcommits: (await others[0]?.call<number>("overcommits")) ?? Number.NaN,
      undercommits: slots - placed,
    };
  };
  let replicas: PlacementResult["replicas"];
  try {
    const { url } = await Promise.race([starting, stopped]);
    for (let at = 0; at < rounds; at += 1) {
      plane = await BenchProcess.start("control plane", "placement-plane");
      await Promise.race([round(plane, url), stopped]);
      await plane.stop();
    }
    replicas = await Promise.race([fight(url), stopped]);
  } finally {
    await Promise.all([plane, ...others].map((process) => process?.stop()));
    await starting.then(
      (postgres) => postgres.stop(),
      () => undefined,
    );
    rmSync(folder, { recursive: true, force: true });
  }
  waits.sort((a, b) => a - b);
  const quantile = (share: number) =>
    waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0;
  const durable = {
    wolves: WOLVES,
    placementsPerSecond: median(rates),
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  };
  return { rounds, pure, durable, replicas, overcommits: overcommits + replicas.overcommits };
}

export function placementTable({ pure, durable, replicas, overcommits }: PlacementResult): string {
  const row = (name: string, value: number, digits: number, limit?: { value: number; least: boolean }) => {
    const text = value.toLocaleString("en", { maximumFractionDigits: digits });
    if (limit === undefined) return `${name.padEnd(44)} ${text.padStart(10)}`;
    const holds = limit.least ? value >= limit.value : value < limit.value;
    const verdict = `${limit.least ? "must be at least" : "must be less than"} ${limit.value.toLocaleString("en")}`;
    return `${name.padEnd(44)} ${text.padStart(10)}   ${verdict}${holds ? "" : ": MISSED"}`;
  };
  return [
    ...Object.entries(pure).map(([wolves, { decisionsPerSecond }]) =>
      row(
        `decisions per second, ${Number(wolves).toLocaleString("en")} wolves`,
        decisionsPerSecond,
        0,
        wolves === "10000" ? { value: must.decisionsPerSecond, least: true } : undefined,
      ),
    ),
    row(
      `written placements per second, ${durable.wolves.toLocaleString("en")} wolves`,
      durable.placementsPerSecond,
      0,
      {
        value: must.placementsPerSecond,
        least: true,
      },
    ),
    row(`ms at ${PER_SECOND} per second, median`, durable.p50Ms, 1),
    row(`ms at ${PER_SECOND} per second, 99th percentile`, durable.p99Ms, 1, {
      value: must.p99Ms,
      least: false,
    }),
    row(`placed by ${replicas.processes} replicas at once`, replicas.placed, 0),
    row(`  of ${replicas.slots.toLocaleString("en")} slots, left`, replicas.undercommits, 0, {
      value: 1,
      least: false,
    }),
    row("  refused", replicas.refused, 0),
    row("wolves with wrong claims", overcommits, 0, { value: 1, least: false }),
    "",
  ].join("\n");
}
