/**
 * The main job through each of the seven bad networks, all at once, as real processes: the command `npm run chaos -- --suite` with
 * the periods of its --quick.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { beforeAll, describe, expect, it } from "@jest/globals";
import { type ProfileName, profileNames } from "../../src/chaos/profiles.ts";
import type { ProfileResult } from "../../src/chaos/suite.ts";
import { root } from "../../src/stack.ts";

/** The design's bound: a peer is dead after 14.5 s of silence, and less than 15 s. */
const DETECTED_MS_MAX = 15_000;
const command = path.join(root, "packages/system-tests/dist/chaos.js");

/** It takes a minute as a rule, beside whatever else is tested. */
const RUN_MS_MAX = 170_000;

let results: ProfileResult[] = [];
let said = "";

async function run(...flags: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [command, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
    // Whatever keeps it: it must not outlive its test, and what it has said is shown.
    timeout: RUN_MS_MAX,
    killSignal: "SIGKILL",
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

beforeAll(async () => {
  const { stdout, stderr } = await run("--suite", "--quick", "--json");
  said = stderr;
  results = JSON.parse(stdout || "[]") as ProfileResult[];
}, 180_000);

function resultOf(name: ProfileName): ProfileResult {
  const result = results.find(({ profile }) => profile === name);
  if (result === undefined) throw new Error(said);
  return result;
}

const codesOf = ({ downs }: ProfileResult) => [...new Set(downs.map(({ code }) => code))].toSorted();
const silencesOf = ({ downs }: ProfileResult, who: string) =>
  downs.filter(({ by }) => by === who).flatMap(({ silentMs }) => silentMs ?? []);

describe("the main job", () => {
  it.each(profileNames)("is done behind %s, with nothing lost and nothing twice", (name) => {
    expect(resultOf(name).jobs).toBeGreaterThanOrEqual(3);
  });

  it.each(["lan", "wan", "transatlantic"] as const)(
    "needs one tunnel and no second try behind %s",
    (name) => {
      const result = resultOf(name);
      expect(result).toMatchObject({
        tunnels: 1,
        downs: [],
        connectivity: [],
        retries: 0,
        streamsResumed: 0,
      });
      expect(result.proxy).toMatchObject({ cut: 0, forgotten: 0 });
    },
  );

  it("meets no peer taken for dead behind a bad hotel's network, however it stalls", () => {
    const result = resultOf("bad-hotel");
    expect(result.proxy.outages).toBeGreaterThan(0);
    expect(result.downs.filter(({ code }) => code === "DEAD_PEER")).toEqual([]);
    expect(result.connectivity).not.toContain("lost");
  });

  it("goes on behind a link that flaps: each cut is known at once, and none is silence", () => {
    const result = resultOf("flap");
    expect(result.proxy.outages).toBeGreaterThan(0);
    expect(result.proxy.cut).toBeGreaterThan(0);
    expect(codesOf(result)).toEqual(["TRANSPORT_LOST"]);
    expect(result.connectivity.slice(0, 2)).toEqual(["suspect", "connected"]);
    expect(result.connectivity).not.toContain("lost");
  });

  it("outlives a black hole: both sides find the silence within 15 s, the wolf is suspect, and then back", () => {
    const result = resultOf("blackhole");
    expect(result.connectivity[0]).toBe("suspect");
    expect(result.connectivity.at(-1)).toBe("connected");
    for (const who of ["control plane", "agent"]) {
      expect(silencesOf(result, who).length).toBeGreaterThan(0);
      expect(Math.max(...silencesOf(result, who))).toBeLessThan(DETECTED_MS_MAX);
    }
  });

  it("outlives a middle box that forgets quiet connections: found within 15 s, and replaced", () => {
    const result = resultOf("nat-expiry");
    expect(result.proxy.forgotten).toBeGreaterThan(0);
    expect(result.tunnels).toBeGreaterThan(1);
    expect(codesOf(result)).toEqual(["DEAD_PEER"]);
    for (const who of ["control plane", "agent"])
      expect(Math.max(...silencesOf(result, who))).toBeLessThan(DETECTED_MS_MAX);
  });
});

describe("the command", () => {
  it.each([
    [["--to", "127.0.0.1:1"], "--listen is HOST:PORT"],
    [["--listen", "127.0.0.1:0", "--to", "127.0.0.1:99999"], "--to is HOST:PORT"],
    [["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--profile", "moon"], '"moon" is none of lan'],
    [["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--up", "speed=1"], '"speed" is none of latencyMs'],
    [["--suite", "--profile", "toString"], '"toString" is none of lan'],
    [["--scale", "0"], "--scale is above 0"],
    [["--seed", "-1"], "--seed"],
    [["--wolf"], "--wolf"],
  ])("refuses %j with exit code 2 and what is wrong", async (flags, why) => {
    const { code, stdout, stderr } = await run(...flags);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(why);
  });

  it("cannot listen where somebody else does, and says so with exit code 1", async () => {
    const { code, stderr } = await run("--listen", "192.0.2.1:1", "--to", "127.0.0.1:1");
    expect({ code, lines: stderr.trim().split("\n").length }).toEqual({ code: 1, lines: 1 });
  });
});
