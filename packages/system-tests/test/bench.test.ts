/** The bench as somebody calls it, and what programs read of it. How fast anything is, no test says. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";

const program = fileURLToPath(new URL("../dist/bench.js", import.meta.url));

function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr }),
    );
  });
}

/** Of every process its parent: from /proc, since a small Linux has no `ps`. */
function parents(): [pid: number, parent: number][] {
  if (!existsSync("/proc/self/stat")) {
    const table = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
    return table.map((line) => line.trim().split(/ +/).map(Number) as [number, number]);
  }
  return readdirSync("/proc").flatMap((pid) => {
    const stat = /^\d+$/.test(pid) && readIfThere(`/proc/${pid}/stat`);
    if (!stat) return [];
    return [[Number(pid), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])]];
  });
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // It has ended meanwhile.
  }
}

/** Every process below `pid`. */
function descendants(pid: number): number[] {
  const pairs = parents();
  const below = (parent: number): number[] =>
    pairs.filter(([, of]) => of === parent).flatMap(([child]) => [child, ...below(child)]);
  return below(pid);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The value at a path of dots. */
function at(document: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>((value, name) => (value as Record<string, unknown> | undefined)?.[name], document);
}

const keys = [
  "rounds",
  "smallGet64.ratioToDirectGateway",
  "smallGet64.ratioToHttp2OverWs",
  "smallGet64.requestsPerSecond",
  "smallGet1.p50RatioToDirectGateway",
  "download.ratioToDirectGateway",
  "download.megabytesPerSecond",
  "smallGetDuringDownloads.p99Ms",
  "smallGetDuringSlowReader.p99Ms",
  "stalledChannel.othersThroughputRatio",
  "longLink.ratioToRawTcp",
  "longLink.firstCallMs",
  "wedge.noticedSeconds",
  "idleTunnel.rssBytes",
];

describe("npm run bench", () => {
  it("tells how it is used, and what it cannot be asked", async () => {
    const [help, nothing, unknown] = await Promise.all([bench("--help"), bench(), bench("rocket")]);
    expect([help.code, nothing.code, unknown.code]).toEqual([0, 2, 2]);
    for (const text of [help.stdout, nothing.stderr, unknown.stderr])
      expect(text).toContain("npm run bench -- tunnel|revdial-core");
    for (const line of help.stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  it.each([
    [["tunnel", "--rounds", "0"], "--rounds is 1 to 100"],
    [["tunnel", "--rounds", "two"], "--rounds is 1 to 100"],
    [["tunnel", "--tunnels", "50001"], "--tunnels is 1 to 50,000"],
    [["tunnel", "--loud"], "'--loud'"],
    [["tunnel", "revdial-core"], "usage"],
  ])("refuses %j and measures nothing", async (args, reason) => {
    const { code, stdout, stderr } = await bench(...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(reason);
  });

  it("gives codec and core as one JSON document", async () => {
    const { code, stdout } = await bench("revdial-core", "--quick", "--json");
    expect(code).toBe(0);
    expect(at(JSON.parse(stdout), "exchange.microsecondsPerExchange")).toBeGreaterThan(0);
  });

  it("gives every line of the tunnel's table in one JSON document", async () => {
    const { code, stdout } = await bench("tunnel", "--quick", "--json", "--tunnels", "50");
    expect(code).toBe(0);
    const result: unknown = JSON.parse(stdout);
    expect(keys.filter((key) => typeof at(result, key) !== "number")).toEqual([]);
    expect(typeof at(result, "wedge.survivedStallOf10Seconds")).toBe("boolean");
    expect(at(result, "idleTunnel.held")).toBe(50);
  }, 240_000);

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)(
    "ends at %s with %i, and leaves no process and no file",
    async (signal, expected) => {
      const folder = mkdtempSync(path.join(tmpdir(), "wolfpack-bench-test-"));
      const child = spawn(process.execPath, [program, "tunnel", "--quick"], {
        env: { ...process.env, TMPDIR: folder },
        stdio: ["ignore", "ignore", "pipe"],
      });
      try {
        const exit = once(child, "exit");
        await new Promise<void>((resolve) => {
          let said = "";
          child.stderr.setEncoding("utf8").on("data", (text: string) => {
            said += text;
            if (said.includes("warming up")) resolve();
          });
        });
        const started = descendants(child.pid as number);
        expect(started.length).toBeGreaterThan(6);
        child.kill(signal);
        expect(await exit).toEqual([expected, null]);
        // sshd's own child ends when it notices that nobody is left, and nobody is told of it.
        while (started.some(isAlive)) await setTimeout(10);
        expect(readdirSync(folder)).toEqual([]);
      } finally {
        child.kill("SIGKILL");
        rmSync(folder, { recursive: true, force: true });
      }
    },
    60_000,
  );
});
