/** `npm run bench -- legacy`: requests through a legacy client, with data connections that are kept and with one for each. */
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

export interface LegacyResult {
  rounds: number;
  legacy: {
    pooledRequestsPerSecond: number;
    perPickupRequestsPerSecond: number;
    /** In the middle of the rounds' ratios. */
    ratio: number;
    /** CPU of each process, µs per request. */
    cpu: { pooled: LegacyCpu; perPickup: LegacyCpu };
  };
}

interface LegacyCpu {
  plane: number;
  client: number;
  origin: number;
}

const PARALLEL = 32;
const RATIO_MIN = 5;
/** The original's habit, and ours. */
const lanes = { pooled: null, perPickup: 0 } as const;
type LaneName = keyof typeof lanes;

interface Lane {
  plane: BenchProcess;
  client: BenchProcess;
}

interface Measured {
  perSecond: number;
  cpu: LegacyCpu;
}

async function measure(lane: Lane, origin: BenchProcess, seconds: number): Promise<Measured> {
  const processes = { plane: lane.plane, client: lane.client, origin };
  const usages = () => Promise.all(Object.values(processes).map((process) => process.usage()));
  const before = await usages();
  const startedAt = performance.now();
  const perSecond = await lane.plane.call<number>("ask", { parallel: PARALLEL, seconds });
  const requests = (perSecond * (performance.now() - startedAt)) / 1000;
  const after = await usages();
  const spent = after.map(({ cpuMicros }, at) => (cpuMicros - (before[at]?.cpuMicros ?? 0)) / requests);
  const [plane = 0, client = 0, originMicros = 0] = spent;
  return { perSecond, cpu: { plane, client, origin: originMicros } };
}

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchLegacy(
  { rounds, quick }: { rounds: number; quick: boolean },
  stopped: Promise<never>,
): Promise<LegacyResult> {
  const seconds = quick ? 0.5 : 4;
  const processes: BenchProcess[] = [];
  const start = async (name: string, module: string) => {
    const started = await BenchProcess.start(name, module);
    processes.push(started);
    return started;
  };
  const found: Record<LaneName, Measured[]> = { pooled: [], perPickup: [] };
  const round = async (at: number, origin: BenchProcess, originPort: number) => {
    // Each is first in every other round, and lives for one: two processes of one program differ for as long as they live.
    for (const name of at % 2 === 0
      ? (["pooled", "perPickup"] as const)
      : (["perPickup", "pooled"] as const)) {
      const lane: Lane = {
        plane: await start("control plane", "legacy-plane"),
        client: await start("legacy client", "legacy-client"),
      };
      const plane = await lane.plane.call<number>("listen", lanes[name]);
      await lane.client.call("connect", { plane, origin: originPort });
      // Compiled, and the pool filled, by then.
      await lane.plane.call("ask", { parallel: PARALLEL, seconds: seconds / 2 });
      found[name].push(await measure(lane, origin, seconds));
      await Promise.all([lane.plane.stop(), lane.client.stop()]);
    }
  };
  try {
    const origin = await start("origin", "origin");
    const originPort = await origin.call<number>("listen");
    for (let at = 0; at < rounds; at += 1) await Promise.race([round(at, origin, originPort), stopped]);
    return resultOf(rounds, found);
  } finally {
    await Promise.all(processes.map((process) => process.stop()));
  }
}

function resultOf(rounds: number, found: Record<LaneName, Measured[]>): LegacyResult {
  const rate = (name: LaneName) => median(found[name].map(({ perSecond }) => perSecond));
  const cpu = (name: LaneName): LegacyCpu => {
    const of = (process: keyof LegacyCpu) => median(found[name].map((measured) => measured.cpu[process]));
    return { plane: of("plane"), client: of("client"), origin: of("origin") };
  };
  const ratios = found.pooled.map(
    ({ perSecond }, at) => perSecond / (found.perPickup[at]?.perSecond ?? Number.NaN),
  );
  return {
    rounds,
    legacy: {
      pooledRequestsPerSecond: rate("pooled"),
      perPickupRequestsPerSecond: rate("perPickup"),
      ratio: median(ratios),
      cpu: { pooled: cpu("pooled"), perPickup: cpu("perPickup") },
    },
  };
}

export function legacyTable({ legacy }: LegacyResult): string {
  const row = (name: string, perSecond: number, { plane, client, origin }: LegacyCpu) => {
    const micros = [plane, client, origin].map((value) => value.toFixed(0).padStart(7)).join("");
    return `${name.padEnd(28)}${perSecond.toFixed(0).padStart(8)}/s ${micros}`;
  };
  return [
    `${PARALLEL} at once, CPU µs per request          plane client origin`,
    row("data connections kept", legacy.pooledRequestsPerSecond, legacy.cpu.pooled),
    row("one pick-up for each request", legacy.perPickupRequestsPerSecond, legacy.cpu.perPickup),
    `ratio ${legacy.ratio.toFixed(2)}   must be at least ${RATIO_MIN}${legacy.ratio >= RATIO_MIN ? "" : ": MISSED"}`,
    "",
  ].join("\n");
}
