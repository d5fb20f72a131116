/** `npm run bench -- tunnel|revdial-core|guard|auth|placement|legacy|events|dashboard|forward`; see `usage`. */
import { parseArgs } from "node:util";
import { authTable, benchAuth } from "./bench/auth.ts";
import { benchDashboard, dashboardTable } from "./bench/dashboard.ts";
import { benchEvents, eventsTable } from "./bench/events.ts";
import { benchForward, forwardTable } from "./bench/forward.ts";
import { benchGuard, guardTable } from "./bench/guard.ts";
import { benchLegacy, legacyTable } from "./bench/legacy.ts";
import { benchPlacement, placementTable } from "./bench/placement.ts";
import { benchCore, coreTable } from "./bench/revdial-core.ts";
import { benchTunnel } from "./bench/tunnel.ts";
import { tunnelTable } from "./bench/tunnel-table.ts";
import { interrupted } from "./interrupt.ts";

const usage = `usage: npm run bench -- tunnel|revdial-core|guard|auth|placement|legacy
                        |events|dashboard|forward
                        [--json] [--rounds N] [--quick] [--tunnels N]

  --json       one JSON document instead of the table
  --rounds N   1 to 100, default 3 (1 with --quick)
  --quick      short measurements: for trying it out, not for figures
  --tunnels N  idle tunnels held by one process, 1 to 50,000,
               default 5,000 (500 with --quick)
`;

const benches = [
  "tunnel",
  "revdial-core",
  "guard",
  "auth",
  "placement",
  "legacy",
  "events",
  "dashboard",
  "forward",
];

interface BenchOptions {
  what: string;
  json: boolean;
  rounds: number;
  quick: boolean;
  tunnels: number;
}

/** A whole number, or a TypeError that names the flag. */
function integer(flag: string, text: string | undefined, otherwise: number, max: number): number {
  const value = Number(text ?? otherwise);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new TypeError(`--${flag} is 1 to ${max.toLocaleString("en")}`);
}

/** Undefined: the usage was asked for. */
function readOptions(): BenchOptions | undefined {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      tunnels: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const { json, quick, help } = values;
  if (help) return undefined;
  const [what = "", ...more] = positionals;
  if (more.length > 0 || !benches.includes(what)) throw new TypeError(usage);
  const rounds = integer("rounds", values.rounds, quick ? 1 : 3, 100);
  const tunnels = integer("tunnels", values.tunnels, quick ? 500 : 5000, 50_000);
  return { what, json, rounds, quick, tunnels };
}

class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super("Interrupted.");
    this.exitCode = signal === "SIGINT" ? 130 : 143;
  }
}

async function main(): Promise<void> {
  const asked = readOptions();
  if (asked === undefined) return void process.stdout.write(usage);
  const { what, json, rounds, quick, tunnels } = asked;
  if (what === "revdial-core") {
    const result = await benchCore({ rounds, quick });
    return print(json ? undefined : coreTable(result), result);
  }
  const stopped = interrupted().then((signal) => {
    throw new Interrupted(signal);
  });
  if (what === "guard") {
    const result = await benchGuard({ rounds, quick }, stopped);
    return print(json ? undefined : guardTable(result), result);
  }
  if (what === "auth") {
    const result = await benchAuth({ rounds, quick }, stopped);
    return print(json ? undefined : authTable(result), result);
  }
  if (what === "placement") {
    const result = await benchPlacement({ rounds, quick }, stopped);
    return print(json ? undefined : placementTable(result), result);
  }
  if (what === "legacy") {
    const result = await benchLegacy({ rounds, quick }, stopped);
    return print(json ? undefined : legacyTable(result), result);
  }
  if (what === "events") {
    const result = await benchEvents({ rounds, quick }, stopped);
    return print(json ? undefined : eventsTable(result), result);
  }
  if (what === "dashboard") {
    const result = await benchDashboard({ rounds, quick }, stopped);
    return print(json ? undefined : dashboardTable(result), result);
  }
  if (what === "forward") {
    const result = await benchForward({ rounds, quick }, stopped);
    return print(json ? undefined : forwardTable(result), result);
  }
  const options = {
    rounds,
    seconds: quick ? 0.3 : 4,
    downloadMib: quick ? 16 : 256,
    idleTunnels: tunnels,
    say: (text: string) => process.stderr.write(`• ${text}\n`),
  };
  const result = await benchTunnel(options, stopped);
  print(json ? undefined : tunnelTable(result), result);
}

function print(table: string | undefined, result: unknown): void {
  process.stdout.write(table ?? `${JSON.stringify(result, null, 2)}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  if (error instanceof Interrupted) process.exitCode = error.exitCode;
  else process.exitCode = error instanceof TypeError ? 2 : 1;
}
