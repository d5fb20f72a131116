/** `npm run bench -- revdial-core`: the tunnel's codec and core alone, in a process of their own per round. */
import type { CoreRate } from "./core.ts";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

/** Megabytes: more than any measured run allocates. */
const YOUNG_SPACE_MB = 256;
const WEIGHED_RUNS = 20_000;

export interface CoreResult {
  rounds: number;
  /** Encoded and decoded again, by kind of frame. */
  codec: Record<string, CoreRate>;
  /** A request and its answer between two cores: three frames. */
  exchange: CoreRate & { microsecondsPerExchange: number };
}

export async function benchCore(options: { rounds: number; quick: boolean }): Promise<CoreResult> {
  const runs = options.quick ? 20_000 : 200_000;
  const codec: Record<string, CoreRate[]> = {};
  const exchanges: CoreRate[] = [];
  const roomy = [`--max-semi-space-size=${YOUNG_SPACE_MB}`, `--min-semi-space-size=${YOUNG_SPACE_MB}`];
  for (let round = 0; round < options.rounds; round += 1) {
    const fast = await BenchProcess.start("core", "core");
    const weighing = await BenchProcess.start("core", "core", ["--expose-gc", ...roomy]);
    /** Fresh memory for everything costs time: what is weighed is not timed. */
    const both = async (call: string, argument: { runs: number; frame?: string }): Promise<CoreRate> => {
      const { framesPerSecond } = await fast.call<CoreRate>(call, argument);
      const { bytesAllocatedPerFrame } = await weighing.call<CoreRate>(call, {
        ...argument,
        runs: WEIGHED_RUNS,
      });
      return { framesPerSecond, bytesAllocatedPerFrame };
    };
    try {
      for (const frame of await fast.call<string[]>("names")) {
        codec[frame] ??= [];
        codec[frame].push(await both("codec", { frame, runs }));
      }
      exchanges.push(await both("exchange", { runs }));
    } finally {
      await Promise.all([fast.stop(), weighing.stop()]);
    }
  }
  const exchange = middle(exchanges);
  return {
    rounds: options.rounds,
    codec: Object.fromEntries(Object.entries(codec).map(([frame, rates]) => [frame, middle(rates)])),
    exchange: { ...exchange, microsecondsPerExchange: 3e6 / exchange.framesPerSecond },
  };
}

function middle(rates: readonly CoreRate[]): CoreRate {
  return {
    framesPerSecond: median(rates.map((rate) => rate.framesPerSecond)),
    bytesAllocatedPerFrame: median(rates.map((rate) => rate.bytesAllocatedPerFrame)),
  };
}

export function coreTable({ codec, exchange }: CoreResult): string {
  const line = (name: string, { framesPerSecond, bytesAllocatedPerFrame }: CoreRate) =>
    `${name.padEnd(28)} ${Math.round(framesPerSecond).toLocaleString("en").padStart(12)} ${bytesAllocatedPerFrame.toFixed(0).padStart(14)}`;
  return [
    `${"encoded and decoded".padEnd(28)} ${"frames/s".padStart(12)} ${"bytes/frame".padStart(14)}`,
    ...Object.entries(codec).map(([frame, rate]) => line(frame, rate)),
    line("exchange between two cores", exchange),
    `an exchange takes ${exchange.microsecondsPerExchange.toFixed(1)} µs`,
    "",
  ].join("\n");
}
