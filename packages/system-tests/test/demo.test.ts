/** `npm run demo` as a process: it must hold every step, and must not leave anything behind. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { wrap } from "../src/demo-lines.ts";
import { readPng } from "../src/png-check.ts";
import { root } from "./repository/workspaces.ts";

const demo = path.join(root, "packages/system-tests/dist/demo.js");

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-demo-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function start() {
  const child = spawn(process.execPath, [demo, "--json"], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said.err += text;
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, ...said }));
  return { child, ended };
}

/** Processes of this demo that run now, by command: other stacks run beside it. What they have in common is inherited. */
function processes(): string[] {
  const listed = execFileSync("ps", ["axeww", "-o", "pid=,command="], {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  return listed.split("\n").filter((line) => line.includes(folder));
}

describe("the demo", () => {
  it("holds every step, prints one JSON document, and leaves no process behind", async () => {
    const { code, out } = await start().ended;
    const report = JSON.parse(out) as {
      ok: boolean;
      steps: { name: string; ok: boolean; detail: string }[];
    };
    expect(report.steps.filter((step) => !step.ok)).toEqual([]);
    expect(report.steps).toHaveLength(9);
    expect({ code, ok: report.ok }).toEqual({ code: 0, ok: true });
    expect(processes()).toEqual([]);
  }, 90_000);

  it("stops everything when it is interrupted in the middle, and does not say that all is well", async () => {
    const { child, ended } = start();
    let running = 0;
    child.stderr.on("data", (text: string) => {
      if (!text.includes("emulated Wolfs")) return;
      running = processes().length;
      child.kill("SIGINT");
    });
    const { code, out } = await ended;
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ ok: false });
    expect(running).toBeGreaterThan(1);
    expect(processes()).toEqual([]);
  }, 60_000);

  it("refuses an unknown argument with 2", () => {
    const { status, stderr } = spawnSync(process.execPath, [demo, "--jsno"], { encoding: "utf8" });
    expect(status).toBe(2);
    expect(stderr).toContain("Unknown argument --jsno");
  });

  it("wraps its lines at 80 columns, indented", () => {
    const lines = wrap("word ".repeat(60).trim(), "    ").split("\n");
    expect(lines.length).toBeGreaterThan(3);
    expect(lines.every((line) => line.length <= 80 && /^ {4}\S/.test(line))).toBe(true);
    expect(wrap("x".repeat(100), "    ")).toBe(`    ${"x".repeat(100)}`);
  });

  it.each([
    ["no picture", Buffer.from("<html>")],
    ["half a picture", Buffer.from("89504e470d0a1a0a", "hex")],
    [
      "a damaged chunk",
      Buffer.from("89504e470d0a1a0a0000000d4948445200000001000000010806000000ffffffff", "hex"),
    ],
  ])("does not take %s for a screenshot", (_name, bytes) => {
    expect(() => readPng(bytes)).toThrow();
  });
});
