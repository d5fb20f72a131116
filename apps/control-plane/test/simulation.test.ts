/**
 * The control plane's services against a fleet that misbehaves, from seeds: no wolf is overcommitted, no slot leaks, nothing is stuck,
 * nobody is told what is not so. A failing seed is named with the command that plays it again.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { commandOf, describeFailure, readArguments, simulateCommand } from "./simulation/command.ts";
import { type Options, planOf, weathers } from "./simulation/plan.ts";
import { Player } from "./simulation/player.ts";
import type { RunReport } from "./simulation/run.ts";
import { sabotages } from "./simulation/sabotage.ts";

const SEEDS = 100;
const SEEDS_PER_TEST = 10;
/** Of a test on a machine that is busy with others; alone it takes a twentieth. */
const TEST_MS = 120_000;

const regressions: (Options & { sentence: string })[] = JSON.parse(
  readFileSync(new URL("simulation/regressions.json", import.meta.url), "utf8"),
);
const reports: RunReport[] = [];

let player: Player;
beforeAll(() => {
  player = new Player();
});
afterAll(() => player.stop());

async function hold(options: Options): Promise<RunReport> {
  const report = await player.play(options);
  if (report.violation !== undefined) throw new Error(describeFailure(report));
  return report;
}

describe("a control plane and its fleet under faults", () => {
  const firsts = Array.from({ length: SEEDS / SEEDS_PER_TEST }, (_, index) => index * SEEDS_PER_TEST + 1);

  it.each(firsts.map((first) => [first, first + SEEDS_PER_TEST - 1]))(
    "keep every invariant after every step (seeds %i to %i)",
    async (first, last) => {
      for (let seed = first; seed <= last; seed += 1) reports.push(await hold({ seed }));
    },
    TEST_MS,
  );

  it("went through every weather and everything that the invariants are about", () => {
    expect(new Set(reports.map(({ weather }) => weather))).toEqual(new Set(weathers));
    expect(new Set(reports.map(({ liveness }) => liveness))).toEqual(new Set([true, false]));
    const counts: Record<string, number> = {};
    for (const report of reports)
      for (const [what, times] of Object.entries(report.counts)) counts[what] = (counts[what] ?? 0) + times;
    const seldom = happenings.filter((what) => (counts[what] ?? 0) < 5);
    expect(seldom).toEqual([]);
  });

  it.each(regressions)(
    "hold seed $seed: $sentence",
    async ({ sentence: _, ...options }) => {
      await hold(options);
    },
    TEST_MS,
  );

  it("run the same way twice from one seed, and another way from another", async () => {
    const [once, again, other] = [
      await player.play({ seed: 7 }),
      await player.play({ seed: 7 }),
      await player.play({ seed: 8 }),
    ];
    expect(again.digest).toBe(once.digest);
    expect(again.steps).toBe(once.steps);
    expect(other.digest).not.toBe(once.digest);
  });

  it("stop after as many steps as they are told to", async () => {
    const report = await player.play({ seed: 7, steps: 1000 });
    expect(report).toMatchObject({ steps: 1000, violation: undefined });
  });
});

const happenings = [
  ...["agent crashes", "cuts", "database outages", "mass losses", "evictions frozen", "wolf crashes"],
  ...["replica kills", "replica pauses", "replica restarts", "replicas superseded"],
  ...["creations refused", "lobbies vanished", "forced stops", "stops"],
  ...["operator: cordon", "operator: drain", "operator: maintain", "operator: retire", "operator: unfreeze"],
  ...["session placed → queued", "session starting → queued", "session running → queued"],
  ...["session running → lost", "session lost → running", "session lost → failed"],
  ...["session queued → failed", "session queued → stopped", "session placed → stopping"],
  ...["answers: no-capacity", "answers: placement-impossible", "answers: session-start-failed"],
];

describe("a control plane that is broken on purpose", () => {
  it.each(sabotages)(
    "is found out when it $what",
    async ({ what, noticedBy, weather, seed: known = 1 }) => {
      for (const seed of [known, ...Array.from({ length: SEEDS }, (_, index) => index + 1)]) {
        const { violation } = await player.play({ seed, weather, sabotage: what });
        if (violation === undefined) continue;
        expect(noticedBy).toContain(violation.invariant);
        return;
      }
      throw new Error(`nothing noticed it in ${SEEDS} seeds`);
    },
    TEST_MS,
  );
});

describe("npm run simulate -- fleet", () => {
  const held: RunReport = {
    options: { seed: 0 },
    weather: "calm",
    liveness: false,
    wolves: 3,
    steps: 1000,
    virtualMs: 3_600_000,
    counts: { lobbies: 2 },
    violation: undefined,
    log: [],
    digest: "",
  };
  const violation = { invariant: "ledger", sentence: "wlf_1 counts 2 slots", step: 999, atMs: 12_345 };
  const broken = async (options: Options): Promise<RunReport> =>
    options.seed === 12
      ? { ...held, options, violation, log: ["12.345 s #999 something"] }
      : { ...held, options };

  async function played(...args: string[]) {
    const out: string[] = [];
    const err: string[] = [];
    const sink = { out: (text: string) => void out.push(text), err: (text: string) => void err.push(text) };
    const code = await simulateCommand(args, sink, broken);
    return { code, out: out.join(""), err: err.join("") };
  }

  it("names invariant, step, moment, the last lines and the command that plays it again, and ends with 1", async () => {
    const { code, out, err } = await played("--seeds", "20", "--wolves", "3");
    expect(code).toBe(1);
    expect(out).toBe("19 of 20 seeds held, 20000 steps in 20 hours of virtual time\n");
    expect(err).toContain("✗ seed 12 (calm, 3 wolves): ledger: wlf_1 counts 2 slots");
    expect(err).toContain("at step 999, after 12.345 s");
    expect(err).toContain("12.345 s #999 something");
    expect(err).toContain("npm run simulate -- fleet --seed 12 --wolves 3\n");
  });

  it("ends with 0 when every seed held", async () => {
    expect(await played("--seeds", "3")).toMatchObject({ code: 0, err: "" });
  });

  it("gives one JSON document and nothing else on its output", async () => {
    const { code, out } = await played("--seed", "11", "--seeds", "2", "--json");
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      subject: "fleet",
      first: 11,
      seeds: 2,
      steps: 2000,
      virtualHours: 2,
      counts: { lobbies: 4 },
      failed: [{ options: { seed: 12 }, violation }],
    });
  });

  it("plays the seed that its command names", () => {
    const options: Options = { seed: 12, wolves: 40, hours: 0.5, weather: "replicas", steps: 77 };
    const [, args = ""] = commandOf(options).split(" -- fleet ");
    const asked = readArguments(args.split(" "));
    expect(asked).toMatchObject({
      first: 12,
      count: 1,
      options: { wolves: 40, hours: 0.5, weather: "replicas", steps: 77 },
    });
  });

  it.each([
    ["--seeds", "0"],
    ["--seeds", "1.5"],
    ["--seeds", "-1"],
    ["--seeds", "1e3"],
    ["--seed", "4294967296"],
    ["--seed", "0x10"],
    ["--wolves", "0"],
    ["--wolves", "5001"],
    ["--hours", "0"],
    ["--hours", "1001"],
    ["--hours", "NaN"],
    ["--steps", "0"],
    ["--weather", "sunny"],
    ["--wolfs", "3"],
    ["--json=yes"],
    ["everything"],
    ["--seeds"],
  ])("refuses %s %s with a sentence, the usage and 2", async (...args) => {
    const { code, out, err } = await played(...args);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toContain("usage: npm run simulate -- fleet");
  });

  it("takes as many wolves and hours as it is given", () => {
    expect(planOf({ seed: 1, wolves: 5000, hours: 24 })).toMatchObject({ wolves: 5000, untilMs: 86_400_000 });
  });

  it("runs by itself, as Node takes it", () => {
    const main = fileURLToPath(new URL("simulation/main.ts", import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [main, "--seed", "3", "--steps", "500"], {
      encoding: "utf8",
    });
    expect(stdout).toMatch(/^1 of 1 seeds held, 500 steps/);
    expect(status).toBe(0);
  });
});
