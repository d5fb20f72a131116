/** `npm run simulate -- api`: the corpus and mutations of it against the built control plane, and how long each case took. */
import { parseArgs } from "node:util";
import { contractCases } from "./contract-cases.ts";
import type { HostileCase } from "./http-cases.ts";
import { httpCases } from "./http-cases.ts";
import { mutants } from "./mutants.ts";
import { startProcess } from "./process.ts";
import { faultOf, runCorpus } from "./run.ts";
import { exchange } from "./wire.ts";

const LIMIT_MS = 50;
const usage = `usage: npm run simulate -- api [--cases N] [--seed S] [--json]

  --cases N   hostile requests, 1 to 1,000,000, default 5,000: the corpus first, then mutations of it
  --seed S    of the mutations, default 1
  --json      one JSON document

Ends with 1 when one was answered with a fault, or when the 99th percentile took more than ${LIMIT_MS} ms.
`;

function integer(flag: string, text: string, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new TypeError(`--${flag} is 1 to ${max.toLocaleString("en")}\n${usage}`);
}

const at = (sorted: readonly number[], share: number) =>
  Math.round((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0) * 10) / 10;

/** A mutant may be an honest request again, or one that waits for more: only a fault of ours is one. */
function faultOfMutant(attack: HostileCase, result: Parameters<typeof faultOf>[1]): string | undefined {
  const bad = result.answers.find(({ status }) => status >= 500 && status !== 503);
  return bad === undefined ? undefined : faultOf(attack, { ...result, answers: [bad] });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: process.argv.slice(2),
    options: {
      cases: { type: "string", default: "5000" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const count = integer("cases", values.cases, 1_000_000);
  const seed = integer("seed", values.seed, 2 ** 31);
  const plane = await startProcess(["--disable-proto=delete"]);
  const took: number[] = [];
  let faults: string[];
  try {
    const keys = { admin: plane.adminKey, runner: plane.runnerToken };
    const corpus = [...httpCases(keys.admin), ...contractCases(keys)];
    // One after the other: a case waits for none but itself.
    faults = await runCorpus(plane.port, corpus.slice(0, count), {
      seen: (_attack, { milliseconds }) => void took.push(milliseconds),
      atOnce: 1,
    });
    for (const attack of mutants(corpus, seed, count - took.length)) {
      const result = await exchange(plane.port, attack.bytes, { cutOff: true });
      took.push(result.milliseconds);
      const fault = faultOfMutant(attack, result);
      if (fault !== undefined) faults.push(`${attack.name}: ${fault}`);
    }
  } finally {
    await plane.stop();
  }
  const errors = plane.lines.filter((line) => (JSON.parse(line) as { level: number }).level >= 50);
  const sorted = took.toSorted((a, b) => a - b);
  const slow = took.filter((milliseconds) => milliseconds > LIMIT_MS).length;
  const result = {
    cases: took.length,
    seed,
    faults: faults.length + errors.length,
    p50_ms: at(sorted, 0.5),
    p99_ms: at(sorted, 0.99),
    max_ms: at(sorted, 1),
    above_50_ms: slow,
  };
  for (const fault of [...faults, ...errors].slice(0, 10)) process.stderr.write(`${fault}\n`);
  process.stdout.write(
    values.json
      ? `${JSON.stringify(result)}\n`
      : `${result.cases} hostile requests, ${result.faults} faults; each took ${result.p50_ms} ms (median), ${result.p99_ms} ms (99th percentile), ${result.max_ms} ms (the slowest); ${slow} took more than ${LIMIT_MS} ms\n`,
  );
  return result.faults === 0 && result.p99_ms <= LIMIT_MS ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
}
