import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { root } from "./repository/workspaces.ts";

interface Script {
  addUp(
    reports: readonly object[],
    failedStages: readonly string[],
  ): { passed: number; failed: number; skipped: number };
  skippedIn(reports: readonly object[]): string[];
  summaryLine(sum: { passed: number; failed: number; skipped: number }): string;
}
const script = path.join(root, "scripts/wolfpack.mjs");
const { addUp, skippedIn, summaryLine } = (await import(script)) as Script;
const report = (passed: number, failed = 0, pending = 0, files: object[] = []) => ({
  numPassedTests: passed,
  numFailedTests: failed,
  numPendingTests: pending,
  numTodoTests: 0,
  testResults: files,
});

describe("the summary of npm test", () => {
  it("adds up all workspaces", () => {
    expect(summaryLine(addUp([report(3), report(4)], []))).toBe("7 passed, 0 failed");
    expect(summaryLine(addUp([report(3, 1), report(4, 0, 2)], []))).toBe("7 passed, 1 failed, 2 skipped");
  });

  it("counts a stage that failed, and a test file that could not be loaded", () => {
    expect(addUp([report(3)], ["build", "lint"]).failed).toBe(2);
    expect(
      addUp(
        [
          report(3, 0, 0, [
            { status: "failed", assertionResults: [] },
            { status: "passed", assertionResults: [{}] },
          ]),
        ],
        [],
      ).failed,
    ).toBe(1);
  });

  it("names what was skipped, however many tests that are", () => {
    const test = (status: string, title: string, ...ancestorTitles: string[]) => ({
      status,
      title,
      ancestorTitles,
    });
    const tests = [
      test("pending", "signs in", "the browser", "people"),
      test("pending", "signs out", "the browser"),
      test("pending", "alone"),
      test("passed", "works", "the rest"),
    ];
    const reports = [report(1, 0, 3, [{ status: "passed", assertionResults: tests }]), report(2)];
    expect(skippedIn(reports)).toEqual(["the browser (2 tests)", "alone (1 test)"]);
  });

  it("is no success when nothing ran", () => {
    expect(summaryLine(addUp([], []))).toBe("0 passed, 0 failed");
  });
});

describe("scripts/wolfpack.mjs", () => {
  it.each([[[]], [["deploy"]], [["--help"]]])("refuses %j with its usage and 2", (args) => {
    const { status, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });
    expect(status).toBe(2);
    expect(stderr).toContain("start|test|demo");
  });

  it("is the door of every command that the documents tell to type in a fresh clone", () => {
    const read = (file: string) => readFileSync(path.join(root, file), "utf8");
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const documents = ["README.md", "CONTRIBUTING.md", "docs/agent.md", "docs/performance.md"]
      .map(read)
      .join();
    const typed = new Set(
      [...documents.matchAll(/\bnpm (?:run )?(start|test|[a-z:]+)\b/g)].flatMap(([, name = ""]) =>
        name in scripts ? [name] : [],
      ),
    );
    expect([...typed].toSorted()).toEqual([
      ...["bench", "build", "chaos", "demo", "sbom", "simulate", "start", "test"],
    ]);
    for (const name of typed) expect(scripts[name]).toBe(`exec node scripts/wolfpack.mjs ${name}`);
  });
});
