/** `npm run simulate -- guard`: hostile requests through the agent's guard, against an emulator that dies of them. */
import { parseArgs } from "node:util";
import { runSeed } from "./run.ts";

const usage = `usage: npm run simulate -- guard [--seeds N] [--first N] [--requests N]

  --seeds N      how many seeds, 1 to 10,000, default 100
  --first N      the first of them, default 1: to play a seed again
  --requests N   requests per seed, 1 to 100,000, default 1,000
`;

function integer(flag: string, text: string, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new TypeError(`--${flag} is 1 to ${max.toLocaleString("en")}\n${usage}`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: process.argv.slice(2),
    options: {
      seeds: { type: "string", default: "100" },
      first: { type: "string", default: "1" },
      requests: { type: "string", default: "1000" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const first = integer("first", values.first, 2 ** 31);
  const seeds = integer("seeds", values.seeds, 10_000);
  const perSeed = integer("requests", values.requests, 100_000);
  let requests = 0;
  let passed = 0;
  let failed = 0;
  for (let seed = first; seed < first + seeds; seed += 1) {
    const result = await runSeed(seed, perSeed);
    requests += result.requests;
    passed += result.passed;
    if (result.faults.length === 0) continue;
    failed += 1;
    for (const fault of result.faults.slice(0, 5)) process.stdout.write(`seed ${seed}: ${fault}\n`);
  }
  process.stdout.write(
    `seeds ${first} to ${first + seeds - 1}: ${requests} requests, ${passed} seen by Wolf, ${failed} seeds with a death, a stall or an odd request\n`,
  );
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
