/** `npm run bench -- forward`: what it costs that a request comes to a replica which does not hold its wolf's tunnel. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import type { Asked } from "./forward-ends.ts";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

const RUNNER_TOKEN = "runner-token-of-the-bench";
const MANY = 64;
const TRIES = 200;
const TRY_MS = 50;

interface Way {
  /** One at a time. */
  p50Ms: number;
  /** So many at once. */
  perSecond: number;
}

export interface ForwardResult {
  rounds: number;
  forward: {
    right: Way;
    wrong: Way;
    /** Wrong to right: times as long alone, times as long (rates the other way round) with 64 at once; medians of the rounds' ratios. */
    ratio1: number;
    ratio64: number;
    failed: number;
  };
}

interface Round {
  right: { one: Asked; many: Asked };
  wrong: { one: Asked; many: Asked };
}

interface Plane {
  port: number;
  key: string;
}

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchForward(
  { rounds, quick }: { rounds: number; quick: boolean },
  stopped: Promise<never>,
): Promise<ForwardResult> {
  const seconds = quick ? 0.5 : 4;
  const folder = mkdtempSync(path.join(tmpdir(), "bench-"));
  const starting = startEmbeddedPostgres({ dataDir: folder, durable: false });
  const processes: BenchProcess[] = [];
  const start = async (name: string, module: string) => {
    const started = await BenchProcess.start(name, module);
    processes.push(started);
    return started;
  };
  const found: Round[] = [];
  const measure = async () => {
    const { url } = await starting;
    const planes: Plane[] = [];
    for (const name of ["right replica", "wrong replica"]) {
      const plane = await start(name, "forward-plane");
      planes.push(await plane.call<Plane>("open", { url, dataDir: folder, token: RUNNER_TOKEN }));
    }
    const [right, wrong] = planes as [Plane, Plane];
    const host = await start("host", "forward-ends");
    const load = await start("load", "forward-ends");
    const wolfId = await host.call<string>("connect", { port: right.port, token: RUNNER_TOKEN });
    const ask = (plane: Plane, parallel: number, forSeconds = seconds) =>
      load.call<Asked>("ask", { ...plane, wolfId, parallel, seconds: forSeconds });
    await known(() => ask(wrong, 1, 0.01));
    for (const plane of [right, wrong]) await ask(plane, MANY, seconds / 2);
    const both = async (plane: Plane) => ({ one: await ask(plane, 1), many: await ask(plane, MANY) });
    for (let at = 0; at < rounds; at += 1) {
      // Each is first in every other round.
      if (at % 2 === 0) found.push({ right: await both(right), wrong: await both(wrong) });
      else {
        const first = await both(wrong);
        found.push({ wrong: first, right: await both(right) });
      }
    }
  };
  try {
    await Promise.race([measure(), stopped]);
    return resultOf(rounds, found);
  } finally {
    await Promise.all(processes.map((process) => process.stop()));
    await starting.then(
      (postgres) => postgres.stop(),
      () => undefined,
    );
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Replicas hear of each other within a renewal, and of the tunnel with the next look at the fleet. */
async function known(ask: () => Promise<Asked>): Promise<void> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const { failed, p50Ms } = await ask();
    if (failed === 0 && p50Ms > 0) return;
    await new Promise((resolve) => setTimeout(resolve, TRY_MS));
  }
  throw new Error("the wolf cannot be asked through the other replica");
}

function resultOf(rounds: number, found: readonly Round[]): ForwardResult {
  const way = (name: "right" | "wrong"): Way => ({
    p50Ms: median(found.map((round) => round[name].one.p50Ms)),
    perSecond: median(found.map((round) => round[name].many.perSecond)),
  });
  const all = found.flatMap(({ right, wrong }) => [right.one, right.many, wrong.one, wrong.many]);
  return {
    rounds,
    forward: {
      right: way("right"),
      wrong: way("wrong"),
      ratio1: median(found.map(({ right, wrong }) => wrong.one.p50Ms / right.one.p50Ms)),
      ratio64: median(found.map(({ right, wrong }) => right.many.perSecond / wrong.many.perSecond)),
      failed: all.reduce((sum, { failed }) => sum + failed, 0),
    },
  };
}

export function forwardTable({ forward }: ForwardResult): string {
  const row = (name: string, { p50Ms, perSecond }: Way) =>
    `${name.padEnd(34)}${p50Ms.toFixed(2).padStart(8)} ms ${perSecond.toFixed(0).padStart(9)}/s`;
  return [
    `${"a wolf's lobbies, asked through".padEnd(34)}${"1, p50".padStart(11)} ${`${MANY} at once`.padStart(11)}`,
    row("the replica with its tunnel", forward.right),
    row("the other one", forward.wrong),
    `times as long: ${forward.ratio1.toFixed(2)} alone, ${forward.ratio64.toFixed(2)} with ${MANY} at once; ${forward.failed} failed`,
    "",
  ].join("\n");
}
