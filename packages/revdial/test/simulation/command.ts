/** `npm run simulate -- revdial`: reads the arguments, runs the seeds, tells what was found. */
import type { RunReport } from "./run.ts";

export interface Sink {
  /** The result. */
  out(text: string): void;
  /** Everything for a person who watches. */
  err(text: string): void;
}

export const usage = "usage: npm run simulate -- revdial [--seeds N] [--seed S] [--json]";
const SEEDS_DEFAULT = 200;
const SEEDS_MAX = 10_000_000;
const SEED_MAX = 0xffff_ffff;
const PROGRESS_EVERY = 100;

export interface Asked {
  first: number;
  count: number;
  json: boolean;
}

/** What the arguments ask for, or a sentence about what is wrong with them. */
export function readArguments(args: readonly string[]): Asked | string {
  const [subject, ...flags] = args;
  if (subject === undefined) return "What is to be simulated? There is: revdial.";
  if (subject !== "revdial") return `There is no simulation of ${subject}; there is: revdial.`;
  const numbers = new Map<string, number>();
  let json = false;
  for (let at = 0; at < flags.length; at += 1) {
    const flag = flags[at] as string;
    if (flag === "--json") {
      json = true;
      continue;
    }
    const max = { "--seeds": SEEDS_MAX, "--seed": SEED_MAX }[flag];
    if (max === undefined) return `Unknown argument ${flag}.`;
    if (numbers.has(flag)) return `${flag} is given twice.`;
    at += 1;
    const value = flags[at] ?? "";
    if (!/^\d{1,10}$/.test(value) || Number(value) > max || Number(value) < (flag === "--seeds" ? 1 : 0))
      return `${flag} takes a whole number up to ${max}, not "${value}".`;
    numbers.set(flag, Number(value));
  }
  const seed = numbers.get("--seed");
  return {
    first: seed ?? 1,
    count: numbers.get("--seeds") ?? (seed === undefined ? SEEDS_DEFAULT : 1),
    json,
  };
}

/** A failed run for a person: what was wrong, what came before it, and how to see it again. */
export function describeFailure({ seed, weather, ends, faults, log }: RunReport): string {
  return [
    `✗ seed ${seed} (${weather}; the tunnels ended with ${ends.join(" and ")})`,
    ...faults.map((fault) => `    ${fault}`),
    "  what happened last:",
    ...log.map((line) => `    ${line}`),
    `  alone: npm run simulate -- revdial --seed ${seed}`,
  ].join("\n");
}

function add(sum: Record<string, number>, more: Record<string, number>): void {
  for (const [key, count] of Object.entries(more)) sum[key] = (sum[key] ?? 0) + count;
}

/** Runs one seed; a promise that nobody looked after is a fault of the run. */
async function watched(seed: number, run: (seed: number) => Promise<RunReport>): Promise<RunReport> {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  try {
    const report = await run(seed);
    for (const reason of unhandled)
      report.faults.push(`nobody handled: ${reason instanceof Error ? reason.stack : reason}`);
    return report;
  } finally {
    process.off("unhandledRejection", note);
  }
}

/** The exit code: 0 when every run held, 1 when one did not, 2 for arguments that make no sense. */
export async function simulateCommand(
  args: readonly string[],
  sink: Sink,
  run: (seed: number) => Promise<RunReport>,
): Promise<number> {
  const asked = readArguments(args);
  if (typeof asked === "string") {
    sink.err(`${asked}\n${usage}\n`);
    return 2;
  }
  const failed: RunReport[] = [];
  const outcomes: Record<string, number> = {};
  const frames: Record<string, number> = {};
  let exchanges = 0;
  for (let done = 0; done < asked.count; done += 1) {
    const report = await watched(asked.first + done, run);
    exchanges += report.exchanges;
    add(outcomes, report.outcomes);
    add(frames, report.frames);
    if (report.faults.length > 0) {
      failed.push(report);
      sink.err(`${describeFailure(report)}\n`);
    }
    if ((done + 1) % PROGRESS_EVERY === 0 && done + 1 < asked.count)
      sink.err(`• ${done + 1} of ${asked.count} seeds, ${failed.length} failed\n`);
  }
  const { first, count } = asked;
  if (asked.json) {
    const document = { subject: "revdial", first, seeds: count, exchanges, outcomes, frames, failed };
    sink.out(`${JSON.stringify(document, undefined, 2)}\n`);
  } else sink.out(`${count - failed.length} of ${count} seeds held, ${exchanges} exchanges\n`);
  return failed.length === 0 ? 0 : 1;
}
