/**
 * Whole tunnels over a bad link, from seeds: every promise settles, every answer belongs to its question, every byte is
 * accounted for, nothing is left. A failing seed is named with the command that runs it alone.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import { describeFailure, readArguments, simulateCommand } from "./simulation/command.ts";
import { foundSeeds } from "./simulation/found-seeds.ts";
import { kinds } from "./simulation/plan.ts";
import { type RunReport, simulate } from "./simulation/run.ts";
import { weathers } from "./simulation/weather.ts";

const SEEDS = 200;
const SEEDS_PER_TEST = 20;
const main = fileURLToPath(new URL("simulation/main.ts", import.meta.url));
const command = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });

const reports: RunReport[] = [];

async function hold(seed: number): Promise<RunReport> {
  const report = await simulate(seed);
  if (report.faults.length > 0) throw new Error(describeFailure(report));
  return report;
}

describe("two tunnels over a bad link", () => {
  const firsts = Array.from({ length: SEEDS / SEEDS_PER_TEST }, (_, index) => index * SEEDS_PER_TEST + 1);

  it.each(firsts.map((first) => [first, first + SEEDS_PER_TEST - 1]))(
    "settle everything, lose nothing and cross nothing (seeds %i to %i)",
    async (first, last) => {
      for (let seed = first; seed <= last; seed += 1) reports.push(await hold(seed));
    },
  );

  it("went through every kind of exchange, every weather and every way to end", () => {
    const outcomes = new Set(reports.flatMap((report) => Object.keys(report.outcomes)));
    const ways = new Set([...outcomes].map((outcome) => outcome.split(" ")[1]));
    expect(new Set([...outcomes].map((outcome) => outcome.split(" ")[0]))).toEqual(new Set(kinds));
    expect(new Set(reports.map((report) => report.weather))).toEqual(new Set(weathers));
    expect([...ways].toSorted()).toEqual(
      expect.arrayContaining([
        ...["answered", "left", "CANCELLED", "DEADLINE", "REFUSED", "SERVICE_UNKNOWN", "HANDLER_FAILED"],
        ...[
          "HEAD_INVALID",
          "SOCKET_REFUSED",
          "DRAINING",
          "CLOSED",
          "TRANSPORT_LOST",
          "DEAD_PEER",
          "DESTROYED",
        ],
      ]),
    );
    const frames = new Set(reports.flatMap((report) => Object.keys(report.frames)));
    expect(frames.size).toBe(12); // Every type that SPEC §4 names.
  });

  it.each(foundSeeds)("hold seed %i: %s", async (seed) => {
    await hold(seed);
  });

  it("run the same way twice from one seed", async () => {
    const [once, again] = [await simulate(7), await simulate(7)];
    expect(again.digest).toBe(once.digest);
    expect((await simulate(8)).digest).not.toBe(once.digest);
  });
});

describe("npm run simulate", () => {
  const held: RunReport = {
    seed: 0,
    weather: "calm",
    exchanges: 3,
    outcomes: { "echo answered": 3 },
    frames: {},
    ends: ["CLOSED", "DRAINING"],
    faults: [],
    log: ["5 ms: something"],
    digest: "",
  };
  const broken = async (seed: number) => ({
    ...held,
    seed,
    faults: seed === 12 ? ["bytes of another body"] : [],
  });

  async function played(run: (seed: number) => Promise<RunReport>, ...args: string[]) {
    const out: string[] = [];
    const err: string[] = [];
    const code = await simulateCommand(
      args,
      { out: (text) => void out.push(text), err: (text) => void err.push(text) },
      run,
    );
    return { code, out: out.join(""), err: err.join("") };
  }

  it("names the seed of a run that failed and the command that runs it alone, and ends with 1", async () => {
    const { code, out, err } = await played(broken, "revdial", "--seeds", "20");
    expect(code).toBe(1);
    expect(out).toBe("19 of 20 seeds held, 60 exchanges\n");
    expect(err).toContain("✗ seed 12");
    expect(err).toContain("bytes of another body");
    expect(err).toContain("npm run simulate -- revdial --seed 12\n");
  });

  it("gives one JSON document and nothing else on its output", async () => {
    const { code, out } = await played(broken, "revdial", "--seed", "11", "--seeds", "2", "--json");
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      subject: "revdial",
      first: 11,
      seeds: 2,
      exchanges: 6,
      outcomes: { "echo answered": 6 },
      failed: [{ seed: 12, faults: ["bytes of another body"] }],
    });
  });

  it("counts a promise that nobody looked after as a fault", async () => {
    const careless = async () => {
      process.emit("unhandledRejection", new Error("forgotten"), Promise.resolve());
      return { ...held, faults: [] };
    };
    const { code, err } = await played(careless, "revdial", "--seed", "1");
    expect(code).toBe(1);
    expect(err).toContain("nobody handled: Error: forgotten");
  });

  it("runs as a process, one seed or several", () => {
    const { status, stdout, stderr } = command("revdial", "--seed", "3", "--seeds", "2");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^2 of 2 seeds held, \d+ exchanges\n$/);
  });

  it("runs 200 seeds, or the one that is named, when no number is given", () => {
    expect(readArguments(["revdial"])).toEqual({ first: 1, count: 200, json: false });
    expect(readArguments(["revdial", "--seed", "9", "--json"])).toEqual({ first: 9, count: 1, json: true });
  });

  it.each([
    [[], "What is to be simulated?"],
    [["tunnels"], "There is no simulation of tunnels"],
    [["revdial", "--sed", "5"], "Unknown argument --sed."],
    [["revdial", "5"], "Unknown argument 5."],
    [["revdial", "--seed"], '--seed takes a whole number up to 4294967295, not "".'],
    [["revdial", "--seed", "-1"], 'not "-1"'],
    [["revdial", "--seed", "4294967296"], 'not "4294967296"'],
    [["revdial", "--seeds", "0"], 'not "0"'],
    [["revdial", "--seeds", "1e3"], 'not "1e3"'],
    [["revdial", "--seed", "1", "--seed", "2"], "--seed is given twice."],
  ])("refuses %j with a sentence, its usage and 2", async (args, sentence) => {
    const { code, out, err } = await played(broken, ...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(sentence);
    expect(err).toContain("usage: npm run simulate -- revdial");
  });

  it("ends its process with 2 when it is asked for nonsense", () => {
    const { status, stdout, stderr } = command("revdial", "--seeds", "many");
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain('not "many"');
  });
});
