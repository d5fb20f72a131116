import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { defaultWolfPolicy, effectivePolicy } from "@wolfpack/wolf-api";
import { doctorChecks, doctorCodes } from "./codes.ts";
import { policyText, resultJson, resultText, summaryText } from "./report.ts";
import type { Result } from "./run.ts";

const result = (change: Partial<Result>): Result => ({
  code: "D04",
  status: "failed",
  detail: "why",
  durationMs: 3,
  ...change,
});

describe("the doctor's table", () => {
  it("fits 80 columns for every code, whatever a detail says", () => {
    for (const code of doctorCodes) {
      for (const detail of ["", "short", "x".repeat(500), "wörter ".repeat(60)]) {
        const lines = resultText(result({ code, detail })).split("\n");
        expect(lines.filter((line) => line.length > 80)).toEqual([]);
        expect(lines.join(" ")).toContain("Cause:");
      }
    }
  });

  it("gives cause and cure to failures and warnings only", () => {
    expect(resultText(result({ status: "warning" }))).toContain("Cure:");
    expect(resultText(result({ status: "ok" }))).toBe("ok       D04 Certificate trust: why");
    expect(resultText(result({ status: "skipped" }))).not.toContain("Cure:");
  });

  it("adds up, and says when it was interrupted", () => {
    const policy = effectivePolicy(defaultWolfPolicy);
    const results = [result({}), result({ status: "ok" }), result({ status: "skipped" })];
    expect(summaryText(results, false)).toBe("1 ok, 0 warnings, 1 failed, 1 skipped");
    expect(summaryText([result({ status: "warning" })], false)).toBe("0 ok, 1 warning, 0 failed, 0 skipped");
    expect(summaryText([], true)).toMatch(/^interrupted: /);
    const about = { agentVersion: "1.0.0", controlPlane: "http://x", policy, interrupted: true };
    expect(JSON.parse(resultJson(results, about)).verdict).toBe("interrupted");
    expect(
      JSON.parse(resultJson([result({ status: "warning" })], { ...about, interrupted: false })).verdict,
    ).toBe("ok");
  });
});

describe("the policy that the doctor prints", () => {
  it("names every route with its state and every rule, within 80 columns", () => {
    const folders = ["/srv/".padEnd(200, "x")];
    const policy = effectivePolicy({
      ...defaultWolfPolicy,
      open: ["POST /api/v1/lobbies/join"],
      close: ["POST /api/v1/lobbies/stop"],
      mount_folders: folders,
    });
    const text = policyText(policy);
    const flat = text.replace(/\s+/g, " ");
    const [open = "", closed = ""] = flat.split(" closed: ");
    expect(text.split("\n").filter((line) => line.length > 80)).toEqual([]);
    expect(open).toContain("POST /api/v1/lobbies/join");
    expect(open).not.toContain("POST /api/v1/lobbies/stop");
    for (const { route } of policy.closed) expect(closed).toContain(route);
    expect(flat).toContain("process_runners: false");
    expect(flat).toMatch(/state_folders: \[ ?"wolfpack" ?\]/);
    expect(flat.replaceAll(" ", "")).toContain(folders[0]);
  });
});

describe("docs/operations/doctor.md", () => {
  it("lists every code with name, cause and cure, and no other", () => {
    const text = readFileSync(new URL("../../../../docs/operations/doctor.md", import.meta.url), "utf8");
    const rows = [...text.matchAll(/^\| (D\d\d) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm)].map((row) =>
      row.slice(1, 5),
    );
    expect(rows).toEqual(doctorCodes.map((code) => [code, ...Object.values(doctorChecks[code])]));
  });
});
