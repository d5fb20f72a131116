/** `npm run demo` as a process: it must hold every step, and must not leave anything behind. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { wrap } from "../src/demo-lines.ts";
import { readPng } from "../src/png-check.ts";
import { root } from "./repository/workspaces.ts";

const demo = path.join(root, "packages/system-tests/dist/demo.js");

/** Processes of the stack that run now, by command. */
export function stackProcesses(): string[] {
  const listed = execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" }).split("\n");
  // Of this working copy: another one may be at work on the same machine.
  return listed.filter((line) => line.includes(root) && /\/tmp\/wp-|wolfpack-demo-/.test(line));
}

describe("the demo", () => {
  it("holds every step, prints one JSON document, and leaves no process behind", async () => {
    const child = spawn(process.execPath, [demo, "--json"], { stdio: ["ignore", "pipe", "ignore"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const [code] = (await once(child, "close")) as [number];
    const report = JSON.parse(output) as {
      ok: boolean;
      steps: { name: string; ok: boolean; detail: string }[];
    };
    expect(report.steps.filter((step) => !step.ok)).toEqual([]);
    expect(report.steps).toHaveLength(9);
    expect({ code, ok: report.ok }).toEqual({ code: 0, ok: true });
    expect(stackProcesses()).toEqual([]);
  }, 90_000);

  it("stops everything when it is interrupted in the middle, and does not say that all is well", async () => {
    const child = spawn(process.execPath, [demo, "--json"], { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.includes("emulated Wolfs")) child.kill("SIGINT");
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const [code] = (await once(child, "close")) as [number];
    expect(code).toBe(1);
    expect(JSON.parse(output)).toMatchObject({ ok: false });
    expect(stackProcesses()).toEqual([]);
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
