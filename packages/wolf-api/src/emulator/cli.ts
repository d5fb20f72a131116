#!/usr/bin/env node
/** `wolf-emulator`: the emulator as a process. One JSON line on stdout when it listens; exit 2 on wrong flags, 1 when it dies. */
import { parseArgs } from "node:util";
import { startWolfEmulator, type WolfEmulatorOptions } from "./emulator.ts";
import { type FailureMode, type FailureRule, FailureRuleError, failureModes } from "./failures.ts";
import { wolfGenerations } from "./generations.ts";

/** `none` describes nothing of itself. */
const generations = [...wolfGenerations, "none"] as const;
const usage = `usage: wolf-emulator (--socket <path> | --port <n>) [--state-folder <dir>] [--start-delay-ms <n>] [--generation <date>] [--hazards] [--fail "<on>=<mode>[xN]"]…
modes: ${failureModes.join(", ")}
generations: ${generations.join(", ")}`;

class UsageError extends Error {}

function integer(name: string, value: string, max: number): number {
  if (!/^\d{1,9}$/.test(value) || Number(value) > max)
    throw new UsageError(`--${name} has to be a whole number up to ${max}`);
  return Number(value);
}

function generationOf(name: string): (typeof generations)[number] {
  const generation = generations.find((candidate) => candidate === name);
  if (generation === undefined) throw new UsageError(`--generation ${name} is not known`);
  return generation;
}

function failureRule(text: string): FailureRule {
  const match = /^(.+)=([a-z0-9-]+?)(?:x(\d{1,6}))?$/.exec(text);
  const mode = match?.[2] as FailureMode;
  if (match === null || !failureModes.includes(mode))
    throw new UsageError(`--fail ${text} is not "<on>=<mode>[xN]"`);
  return { on: match[1] as string, mode, ...(match[3] === undefined ? {} : { times: Number(match[3]) }) };
}

function readFlags(): { options: WolfEmulatorOptions; rules: FailureRule[] } {
  let flags: {
    socket?: string;
    port?: string;
    "state-folder"?: string;
    "start-delay-ms"?: string;
    generation?: string;
    hazards?: boolean;
    fail?: string[];
  };
  try {
    ({ values: flags } = parseArgs({
      options: {
        socket: { type: "string" },
        port: { type: "string" },
        "state-folder": { type: "string" },
        "start-delay-ms": { type: "string" },
        generation: { type: "string" },
        hazards: { type: "boolean" },
        fail: { type: "string", multiple: true },
      },
    }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const { socket, port } = flags;
  if (socket === "" || flags["state-folder"] === "") throw new UsageError("A path has to be given.");
  if ((socket === undefined) === (port === undefined)) throw new UsageError("give either --socket or --port");
  const listen =
    socket !== undefined ? { unixSocket: socket } : { port: integer("port", port ?? "", 65_535) };
  const options: WolfEmulatorOptions = {
    listen,
    onProblem: (problem) => console.error(`wolf-emulator: ${problem}`),
  };
  if (flags.generation !== undefined) options.generation = generationOf(flags.generation);
  if (flags.hazards) options.hazards = true;
  if (flags["state-folder"] !== undefined) options.stateFolder = flags["state-folder"];
  if (flags["start-delay-ms"] !== undefined)
    options.containerStartDelayMs = integer("start-delay-ms", flags["start-delay-ms"], 600_000);
  return { options, rules: (flags.fail ?? []).map(failureRule) };
}

async function main(): Promise<number> {
  const { options, rules } = readFlags();
  const emulator = await startWolfEmulator(options);
  try {
    for (const rule of rules) emulator.fail(rule);
  } catch (error) {
    await emulator.close();
    throw error;
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void emulator.close());
  console.log(JSON.stringify({ ready: true, address: emulator.address }));
  return (await emulator.closed) === "died" ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  const usageError = error instanceof UsageError || error instanceof FailureRuleError;
  const message = error instanceof Error ? error.message : String(error);
  console.error(usageError ? `wolf-emulator: ${message}\n${usage}` : `wolf-emulator: ${message}`);
  process.exitCode = usageError ? 2 : 1;
}
