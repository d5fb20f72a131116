/** `npm run bench -- tunnel|revdial-core [--json] [--rounds N] [--quick]`. */
import { parseArgs } from "node:util";
import { benchCore, coreTable } from "./bench/revdial-core.ts";
import { benchTunnel } from "./bench/tunnel.ts";
import { tunnelTable } from "./bench/tunnel-table.ts";

const usage = "usage: npm run bench -- tunnel|revdial-core [--json] [--rounds N] [--quick]";

function options(): { what: string; json: boolean; rounds: number; quick: boolean } {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
    },
  });
  const [what = "", ...more] = positionals;
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
  if (more.length > 0 || !["tunnel", "revdial-core"].includes(what)) throw new TypeError(usage);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) throw new TypeError("--rounds is 1 to 100");
  return { what, json: values.json, rounds, quick: values.quick };
}

async function main(): Promise<void> {
  const { what, json, rounds, quick } = options();
  if (what === "revdial-core") {
    const result = await benchCore({ rounds, quick });
    return print(json ? undefined : coreTable(result), result);
  }
  const result = await benchTunnel({
    rounds,
    seconds: quick ? 1 : 4,
    downloadMib: quick ? 64 : 256,
    idleTunnels: quick ? 500 : 5000,
    say: (text) => process.stderr.write(`• ${text}\n`),
  });
  print(json ? undefined : tunnelTable(result), result);
}

function print(table: string | undefined, result: unknown): void {
  process.stdout.write(table ?? `${JSON.stringify(result, null, 2)}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
}
