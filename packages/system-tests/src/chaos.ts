/** `npm run chaos`: a bad network between any two programs, or the main job played behind each of them; see `usage`. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type { Address } from "./chaos/link.ts";
import {
  isProfileName,
  type Profile,
  type ProfileName,
  profileNames,
  profiles,
  scaled,
} from "./chaos/profiles.ts";
import { startChaosProxy } from "./chaos/proxy.ts";
import { type ProfileResult, playProfile, quickFactor, suiteEnv } from "./chaos/suite.ts";
import { readToxics } from "./chaos/toxics.ts";
import { interrupted } from "./interrupt.ts";
import { Stack } from "./stack.ts";

const usage = `usage: npm run chaos -- --listen HOST:PORT --to HOST:PORT
                         [--profile NAME] [--up TOXICS] [--down TOXICS]
                         [--scale FACTOR] [--seed N]
       npm run chaos -- --suite [--profile NAME] [--quick] [--minutes N]
                         [--seed N] [--json]

  --profile NAME   ${profileNames.slice(0, 4).join(", ")},
                   ${profileNames.slice(4).join(", ")}; default lan, with
                   --suite all of them at once
  --up TOXICS      in place of the profile's, towards --to: names and whole
  --down TOXICS    numbers, such as latencyMs=80,jitterMs=20
  --scale FACTOR   of the profile's periods, above 0 to 10, default 1
  --quick          periods of a third, and of 2 s for nat-expiry
  --minutes N      at work for so long at least, 0 to 1,440, default 0
  --seed N         of all chances, default 1

While the proxy runs, a line with a profile's name changes to it. Profiles
and toxics: docs/operations/chaos.md.
`;

const say = (line: string) => process.stderr.write(`${line}\n`);

function addressOf(flag: string, text: string | undefined): Address {
  const [, host = "", port = ""] = /^(.+):(\d{1,5})$/.exec(text ?? "") ?? [];
  if (host === "" || Number(port) > 65_535) throw new TypeError(`--${flag} is HOST:PORT`);
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
}

function nameOf(text: string): ProfileName {
  if (isProfileName(text)) return text;
  throw new TypeError(`"${text}" is none of ${profileNames.join(", ")}`);
}

function numberOf(flag: string, text: string, holds: (value: number) => boolean, range: string): number {
  const value = Number(text);
  if (text !== "" && holds(value)) return value;
  throw new TypeError(`--${flag} is ${range}`);
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      listen: { type: "string" },
      to: { type: "string" },
      profile: { type: "string" },
      up: { type: "string" },
      down: { type: "string" },
      scale: { type: "string", default: "1" },
      seed: { type: "string", default: "1" },
      suite: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      minutes: { type: "string", default: "0" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const factor = numberOf(
    "scale",
    values.scale,
    (value) => value > 0 && value <= 10,
    "above 0, and 10 at most",
  );
  const seed = numberOf(
    "seed",
    values.seed,
    (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32,
    "a whole number",
  );
  const minutes = numberOf("minutes", values.minutes, (value) => value >= 0 && value <= 1440, "0 to 1,440");
  return { ...values, factor, seed, minutes };
}

type Options = ReturnType<typeof readOptions>;

/** Until Ctrl-C. */
async function runProxy({ listen, to, profile = "lan", up, down, factor, seed }: Options): Promise<number> {
  const as = (name: string): Profile => ({
    ...scaled(profiles[nameOf(name)], factor),
    ...(up !== undefined && { up: readToxics(up) }),
    ...(down !== undefined && { down: readToxics(down) }),
  });
  const near = addressOf("listen", listen);
  const stopped = interrupted();
  const proxy = await startChaosProxy({ listen: near, to: addressOf("to", to), profile: as(profile), seed });
  say(`${near.host}:${proxy.port} leads to ${to}, ${profile}. Ctrl-C ends it.`);
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    try {
      proxy.set(as(line.trim()));
      say(`${line.trim()} from now on; so far ${JSON.stringify(proxy.counts())}`);
    } catch (error) {
      say((error as Error).message);
    }
  });
  await stopped;
  lines.close();
  say(JSON.stringify(proxy.counts()));
  await proxy.close();
  return 0;
}

const columns: [title: string, of: (result: ProfileResult) => string | number][] = [
  ["profile", ({ profile }) => profile],
  ["s", ({ seconds }) => seconds],
  ["jobs", ({ jobs }) => jobs],
  ["calls", ({ calls }) => calls],
  ["again", ({ retries }) => retries],
  ["not started", ({ startsFailed }) => startsFailed],
  ["events", ({ events }) => events],
  ["outages", ({ proxy }) => proxy.outages],
  ["cut", ({ proxy }) => proxy.cut],
  ["forgotten", ({ proxy }) => proxy.forgotten],
  ["tunnels", ({ tunnels }) => tunnels],
  [
    "taken for dead after ms",
    ({ downs }) => downs.flatMap(({ silentMs }) => silentMs ?? []).join(" ") || "–",
  ],
  ["wolf became", ({ connectivity }) => connectivity.join(" ") || "–"],
];

/** All at once: each waits for its link most of the time. */
async function runSuite({ profile, quick, seed, minutes, json }: Options): Promise<number> {
  const names = profile === undefined ? profileNames : [nameOf(profile)];
  const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-chaos-"));
  const stopped = interrupted();
  const crash = Promise.withResolvers<never>();
  crash.promise.catch(() => undefined);
  void stopped.then((signal) => crash.reject(new Error(`interrupted by ${signal}`)));
  const onCrash = (name: string, code: number) =>
    crash.reject(new Error(`the ${name} ended by itself with code ${code}`));
  const starting = Stack.start({ dataDir, port: 0, hosts: [], env: suiteEnv, say, onCrash });
  const results: ProfileResult[] = [];
  let failures = 0;
  try {
    const stack = await starting;
    const play = async (name: ProfileName) => {
      try {
        results.push(
          await playProfile({ stack, name, factor: quick ? quickFactor(name) : 1, seed, minutes }),
        );
        say(`✓ ${name}`);
      } catch (error) {
        failures += 1;
        say(`✗ ${name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    };
    await Promise.race([Promise.all(names.map(play)), crash.promise]);
  } finally {
    await starting.then(
      (stack) => stack.stop(),
      () => undefined,
    );
    rmSync(dataDir, { recursive: true, force: true });
  }
  const sorted = results.toSorted(
    (a, b) => profileNames.indexOf(a.profile) - profileNames.indexOf(b.profile),
  );
  if (json) process.stdout.write(`${JSON.stringify(sorted, null, 2)}\n`);
  else {
    const row = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |\n`;
    process.stdout.write(row(columns.map(([title]) => title)) + row(columns.map(() => "---")));
    for (const result of sorted) process.stdout.write(row(columns.map(([, of]) => of(result))));
  }
  return failures === 0 ? 0 : 1;
}

try {
  const options = readOptions();
  if (options.help) process.stdout.write(usage);
  else process.exitCode = await (options.suite ? runSuite(options) : runProxy(options));
} catch (error) {
  const wrong = error instanceof TypeError;
  say(wrong ? `${error.message}\n${usage}` : error instanceof Error ? error.message : String(error));
  process.exitCode = wrong ? 2 : 1;
}
