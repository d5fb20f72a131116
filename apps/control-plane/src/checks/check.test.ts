import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { HealthCheck } from "@wolfpack/api-contract";
import { manualClock } from "../../test/manual-clock.ts";
import { type Check, createExaminer, type Finding, worstOf } from "./check.ts";
import { type ChecksOptions, controlPlaneChecks } from "./checks.ts";

const words = { title: "Database", warning: "Slow.", failed: "Dead.", cure: "Start it." };
const aCheck = (run: Check["run"], id: Check["id"] = "C01"): Check => ({ id, ...words, run });
const finds = (finding: Finding) => aCheck(async () => finding);

function examined(checks: readonly Check[]) {
  const clock = manualClock();
  const failures: [string, unknown][] = [];
  const now = () => clock.now().getTime();
  const examine = createExaminer({ checks, clock, now, onFailed: (...failure) => failures.push(failure) });
  return { clock, failures, examine };
}

describe("the report of the checks", () => {
  it("is as bad as the worst of them, and what was skipped is no fault", async () => {
    const ok: Finding = { status: "ok", detail: "Well." };
    const { examine } = examined([finds(ok), finds({ status: "warning", detail: "Slow." }), finds(ok)]);
    expect((await examine()).status).toBe("warning");
    expect(worstOf([{ status: "skipped" }, { status: "ok" }])).toBe("ok");
    expect(worstOf([{ status: "failed" }, { status: "warning" }])).toBe("failed");
    expect(worstOf([])).toBe("ok");
  });

  it("has the check's cure where something is wrong, the finding's where it knows better, and none where all is well", async () => {
    const { examine } = examined([
      finds({ status: "warning", detail: "Slow." }),
      finds({ status: "failed", detail: "Full.", advice: "Empty it." }),
      finds({ status: "ok", detail: "Well." }),
      finds({ status: "skipped", detail: "None.", advice: "Make one." }),
    ]);
    const { checks } = await examine();
    expect(checks.map(({ advice }) => advice)).toEqual(["Start it.", "Empty it.", null, "Make one."]);
  });

  it("is one for all who ask at once and within five seconds, and another after that", async () => {
    let made = 0;
    const { clock, examine } = examined([
      aCheck(async () => {
        made += 1;
        return { status: "ok", detail: "Well." };
      }),
    ]);
    const [first, second] = await Promise.all([examine(), examine()]);
    clock.advance(4999);
    expect([second, await examine()]).toEqual([first, first]);
    expect(made).toBe(1);
    clock.advance(1);
    expect((await examine()).at).toBe(clock.now().toISOString());
    expect(made).toBe(2);
  });
});

describe("a check that goes wrong", () => {
  it("has failed when it throws, says nothing of the error, and leaves the others alone", async () => {
    const secret = new Error("password=hunter2");
    const { examine, failures } = examined([
      aCheck(() => Promise.reject(secret), "C02"),
      finds({ status: "ok", detail: "Well." }),
    ]);
    const { status, checks } = await examine();
    expect([status, ...checks.map((check) => check.status)]).toEqual(["failed", "failed", "ok"]);
    expect(JSON.stringify(checks)).not.toContain("hunter2");
    expect(failures).toEqual([["C02", secret]]);
  });

  it("has failed when it throws before it returns a promise", async () => {
    const broken = aCheck(() => {
      throw new Error("at once");
    });
    const { status } = await examined([broken]).examine();
    expect(status).toBe("failed");
  });

  it("has failed after six seconds without an answer, is told so, and leaves no timer behind", async () => {
    let told = false;
    const { clock, examine } = examined([
      aCheck((signal) => {
        signal.addEventListener("abort", () => {
          told = true;
        });
        return new Promise(() => undefined);
      }),
    ]);
    const report = examine();
    clock.advance(6000);
    const [check] = (await report).checks;
    expect(check).toMatchObject({ status: "failed", ms: 6000 });
    expect(check?.detail).toContain("no answer within 6 s");
    expect([told, clock.pending]).toEqual([true, 0]);
  });

  it("shows a host's words on one line and cut, whatever they are", async () => {
    const { examine } = examined([
      finds({ status: "warning", detail: `\u001b[31m${"\ud800x".repeat(600)}\n` }),
    ]);
    const [check] = (await examine()).checks;
    expect(HealthCheck.parse(check)).toEqual(check);
    expect(check?.detail).toHaveLength(500);
    expect(check?.detail).not.toMatch(/\p{Cc}/u);
    expect(check?.detail.isWellFormed()).toBe(true);
  });
});

describe("docs/operations/health-checks.md", () => {
  const checks = controlPlaneChecks({} as ChecksOptions);

  it("lists every check as the code has it, and no other", () => {
    const text = readFileSync(
      new URL("../../../../docs/operations/health-checks.md", import.meta.url),
      "utf8",
    );
    const rows = [...text.matchAll(/^\| (C\d\d) \|(.+)\|$/gm)].map(([, id, rest = ""]) => [
      id,
      ...rest.split(" | ").map((cell) => cell.trim()),
    ]);
    expect(rows).toEqual(
      checks.map(({ id, title, warning, failed, cure }) => [id, title, warning, failed, cure]),
    );
  });

  it("numbers them without gaps, in order", () => {
    expect(checks.map(({ id }) => id)).toEqual(checks.map((_, at) => `C${String(at + 1).padStart(2, "0")}`));
  });
});
