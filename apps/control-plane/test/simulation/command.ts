/** `npm run simulate -- fleet`: reads the arguments, runs the seeds, tells what was found and how to see it again. */
import { parseArgs } from "node:util";
import { type Options, type Weather, weathers } from "./plan.ts";
import type { Hooks, RunReport } from "./run.ts";

export interface Sink {
  /** The result. */
  out(text: string): void;
  /** Everything for a person who watches. */
  err(text: string): void;
}

export const usage = `usage: npm run simulate -- fleet [--seeds N] [--seed S] [--wolves N] [--hours N] [--weather W] [--steps N] [--trace] [--json]

  --seeds N    how many seeds, 1 to 1,000,000, default 100 (1 with --seed)
  --seed S     the first of them, default 1: to play one again
  --wolves N   1 to 5,000; default: 3 to 14, by the seed
  --hours N    of virtual time, more than 0 to 1,000, before the fleet has to come to rest; default: 12 to 25 minutes, by the seed
  --weather W  what goes wrong: ${weathers.join(", ")}; default: by the seed
  --steps N    ends each run after so many events
  --trace      every line of what happens, and of the services' own logs
  --json       one JSON document
`;
const SEEDS_DEFAULT = 100;
const SEED_MAX = 0xffff_ffff;
const PROGRESS_EVERY = 20;

export interface Asked {
  first: number;
  count: number;
  options: Omit<Options, "seed">;
  trace: boolean;
  json: boolean;
}

class UsageError extends Error {}

function numberOf(
  flag: string,
  text: string | undefined,
  min: number,
  max: number,
  whole = true,
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (
    /^\d{1,10}(\.\d{1,6})?$/.test(text) &&
    value >= min &&
    value <= max &&
    (!whole || Number.isInteger(value))
  )
    return value;
  const range = `${min} to ${max.toLocaleString("en")}`;
  throw new UsageError(`--${flag} is ${whole ? "a whole number from" : "from"} ${range}, not "${text}".`);
}

function weatherOf(text: string | undefined): Weather | undefined {
  const weather = weathers.find((one) => one === text);
  if (text !== undefined && weather === undefined)
    throw new UsageError(`--weather is one of ${weathers.join(", ")}, not "${text}".`);
  return weather;
}

/** What the arguments ask for, or a sentence about what is wrong with them. */
export function readArguments(args: readonly string[]): Asked | string {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        seeds: { type: "string" },
        seed: { type: "string" },
        wolves: { type: "string" },
        hours: { type: "string" },
        weather: { type: "string" },
        steps: { type: "string" },
        trace: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
      },
    });
    const seed = numberOf("seed", values.seed, 0, SEED_MAX);
    return {
      first: seed ?? 1,
      count: numberOf("seeds", values.seeds, 1, 1_000_000) ?? (seed === undefined ? SEEDS_DEFAULT : 1),
      options: {
        wolves: numberOf("wolves", values.wolves, 1, 5000),
        hours: numberOf("hours", values.hours, 0.001, 1000, false),
        weather: weatherOf(values.weather),
        steps: numberOf("steps", values.steps, 1, 10_000_000_000),
      },
      trace: values.trace,
      json: values.json,
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The command that plays a run again. */
export function commandOf({ seed, ...options }: Options): string {
  const flags = Object.entries(options).map(([name, value]) =>
    value === undefined ? "" : ` --${name} ${value}`,
  );
  return `npm run simulate -- fleet --seed ${seed}${flags.join("")}`;
}

/** A failed run for a person: what was violated, what came before it, and how to see it again. */
export function describeFailure({ options, weather, wolves, violation, log }: RunReport): string {
  if (violation === undefined) return "";
  const { invariant, sentence, step, atMs } = violation;
  return [
    `✗ seed ${options.seed} (${weather}, ${wolves} wolves): ${invariant}: ${sentence}`,
    `  at step ${step}, after ${(atMs / 1000).toFixed(3)} s of virtual time; what happened last:`,
    ...log.map((line) => `    ${line}`),
    `  again: ${commandOf(options)}`,
  ].join("\n");
}

const hoursOf = (ms: number) => Math.round(ms / 3600) / 1000;

/** The exit code: 0 when every run held, 1 when one did not, 2 for arguments that make no sense. */
export async function simulateCommand(
  args: readonly string[],
  sink: Sink,
  run: (options: Options, hooks: Hooks) => Promise<RunReport>,
): Promise<number> {
  const asked = readArguments(args);
  if (typeof asked === "string") {
    sink.err(`${asked}\n${usage}`);
    return 2;
  }
  const { first, count } = asked;
  const failed: RunReport[] = [];
  const counts: Record<string, number> = {};
  let [steps, virtualMs] = [0, 0];
  for (let done = 1; done <= count; done += 1) {
    const options = { seed: (first + done - 1) >>> 0, ...asked.options };
    const report = await run(options, asked.trace ? { onLine: (line) => sink.err(`${line}\n`) } : {});
    steps += report.steps;
    virtualMs += report.virtualMs;
    for (const [what, times] of Object.entries(report.counts)) counts[what] = (counts[what] ?? 0) + times;
    if (report.violation !== undefined) {
      failed.push(report);
      sink.err(`${describeFailure(report)}\n`);
    }
    if (done % PROGRESS_EVERY === 0 && done < count)
      sink.err(`• ${done} of ${count} seeds, ${failed.length} failed\n`);
  }
  const virtualHours = hoursOf(virtualMs);
  if (asked.json) {
    const document = { subject: "fleet", first, seeds: count, steps, virtualHours, counts, failed };
    sink.out(`${JSON.stringify(document, undefined, 2)}\n`);
  } else
    sink.out(
      `${count - failed.length} of ${count} seeds held, ${steps} steps in ${virtualHours} hours of virtual time\n`,
    );
  return failed.length === 0 ? 0 : 1;
}
