/** `npm run bench -- tunnel|revdial-core|tunnel-profile|guard|auth|placement|legacy|events|dashboard|forward|rolling|fleet|storm|soak`; see `usage`. */
import { parseArgs } from "node:util";
import { authTable, benchAuth } from "./bench/auth.ts";
import { benchDashboard, dashboardTable } from "./bench/dashboard.ts";
import { benchEvents, eventsTable } from "./bench/events.ts";
import { benchFleet, fleetTable } from "./bench/fleet.ts";
import { benchForward, forwardTable } from "./bench/forward.ts";
import { benchGuard, guardTable } from "./bench/guard.ts";
import { benchLegacy, legacyTable } from "./bench/legacy.ts";
import { benchPlacement, placementTable } from "./bench/placement.ts";
import { benchCore, coreTable } from "./bench/revdial-core.ts";
import { benchRolling, rollingTable } from "./bench/rolling.ts";
import { benchSoak, soakTable } from "./bench/soak.ts";
import { benchStorm, stormTable } from "./bench/storm.ts";
import { benchTunnel } from "./bench/tunnel.ts";
import { benchTunnelProfile, tunnelProfileTable } from "./bench/tunnel-profile.ts";
import { tunnelTable } from "./bench/tunnel-table.ts";
import { interrupted } from "./interrupt.ts";

const usage = `usage: npm run bench -- tunnel|revdial-core|guard|auth|placement|legacy
                        |events|dashboard|forward|rolling|fleet
                        |storm|soak|tunnel-profile
                        [--json] [--rounds N] [--quick] [--tunnels N]
                        [--agents N] [--replicas N] [--profile FILE]
                        [--minutes N]

  --json       one JSON document instead of the table
  --rounds N   1 to 100, default 3 (1 with --quick)
  --quick      short measurements: for trying it out, not for figures
  --tunnels N  idle tunnels held by one process, 1 to 50,000,
               default 5,000 (500 with --quick)
  --agents N   of a fleet, 2 to 15,000, default 5,000 (20 with --quick)
  --replicas N of a storm, 1 to 2, default 1
  --minutes N  of a soak, 1 to 1,440, default 30: they stand for a day
  --profile FILE  of a storm: the CPU of who takes the agents in
`;

interface BenchOptions {
  what: string;
  json: boolean;
  rounds: number;
  quick: boolean;
  tunnels: number;
  agents: number;
  replicas: number;
  profile: string | undefined;
  minutes: number;
}

/** A whole number, or a TypeError that names the flag. */
function integer(flag: string, text: string | undefined, otherwise: number, max: number, min = 1): number {
  const value = Number(text ?? otherwise);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new TypeError(`--${flag} is ${min} to ${max.toLocaleString("en")}`);
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
      agents: { type: "string" },
      replicas: { type: "string" },
      profile: { type: "string" },
      minutes: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const { json, quick, help } = values;
  if (help) return undefined;
  const [what = "", ...more] = positionals;
  if (more.length > 0 || !(Object.hasOwn(others, what) || what === "tunnel" || what === "revdial-core"))
    throw new TypeError(usage);
  const rounds = integer("rounds", values.rounds, quick ? 1 : 3, 100);
  const tunnels = integer("tunnels", values.tunnels, quick ? 500 : 5000, 50_000);
  const agents = integer("agents", values.agents, quick ? 20 : 5000, 15_000, 2);
  const replicas = integer("replicas", values.replicas, 1, 2);
  const minutes = quick ? 1 / 60 : integer("minutes", values.minutes, 30, 1440);
  return { what, json, rounds, quick, tunnels, agents, replicas, profile: values.profile, minutes };
}

class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super("Interrupted.");
    this.exitCode = signal === "SIGINT" ? 130 : 143;
  }
}

/** A bench and its table. */
const of =
  <Result>(
    run: (asked: BenchOptions, stopped: Promise<never>) => Promise<Result>,
    table: (result: Result) => string,
  ) =>
  async (asked: BenchOptions, stopped: Promise<never>): Promise<void> => {
    const result = await run(asked, stopped);
    print(asked.json ? undefined : table(result), result);
  };

const others: Record<string, ReturnType<typeof of>> = {
  guard: of(benchGuard, guardTable),
  auth: of(benchAuth, authTable),
  placement: of(benchPlacement, placementTable),
  legacy: of(benchLegacy, legacyTable),
  events: of(benchEvents, eventsTable),
  dashboard: of(benchDashboard, dashboardTable),
  forward: of(benchForward, forwardTable),
  rolling: of(benchRolling, rollingTable),
  fleet: of(benchFleet, fleetTable),
  storm: of(benchStorm, stormTable),
  soak: of(benchSoak, soakTable),
  "tunnel-profile": of(benchTunnelProfile, tunnelProfileTable),
};

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
  const other = others[what];
  if (other !== undefined) return other(asked, stopped);
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
