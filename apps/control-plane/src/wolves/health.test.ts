import { beforeEach, describe, expect, it } from "@jest/globals";
import type { AgentHeartbeat } from "@wolfpack/api-contract";
import { aDisk, aUsage } from "../../test/a-wolf.ts";
import { healthJudge } from "./health.ts";

let judge: (beat: AgentHeartbeat) => { health: string; reasons: { code: string; detail: string }[] };
beforeEach(() => {
  judge = healthJudge();
});
const codes = (beat: AgentHeartbeat) => {
  const { health, reasons } = judge(beat);
  return [health, ...reasons.map(({ code }) => code)];
};

describe("a wolf's health", () => {
  it("is ok without reasons when Wolf answers and the host is in order", () => {
    expect(judge({ wolf: "ok" })).toEqual({ health: "ok", reasons: [] });
    expect(judge({ wolf: "ok", usage: aUsage(), restarts: { count: 3, recent: false } })).toEqual({
      health: "ok",
      reasons: [],
    });
  });

  it("is failed when Wolf does not answer its agent, and ok with the first answer", () => {
    expect(judge({ wolf: "unreachable", detail: "connect ENOENT" })).toEqual({
      health: "failed",
      reasons: [{ code: "wolf-unreachable", detail: "Wolf does not answer its agent: connect ENOENT" }],
    });
    expect(codes({ wolf: "ok" })).toEqual(["ok"]);
  });

  it("is degraded by a slow Wolf until it answers twice in time, so that one at the limit does not flap", () => {
    expect(codes({ wolf: "slow", detail: "3 s" })).toEqual(["degraded", "wolf-slow"]);
    expect(codes({ wolf: "ok" })).toEqual(["degraded", "wolf-slow"]);
    expect(codes({ wolf: "slow" })).toEqual(["degraded", "wolf-slow"]);
    expect(codes({ wolf: "ok" })).toEqual(["degraded", "wolf-slow"]);
    expect(codes({ wolf: "ok" })).toEqual(["ok"]);
  });

  it("is failed by a Wolf that is stuck until it answers, and degraded until it does so twice in time", () => {
    expect(judge({ wolf: "stuck", detail: "no answer within 25 s" })).toEqual({
      health: "failed",
      reasons: [
        { code: "wolf-stuck", detail: "Wolf takes requests and does not answer: no answer within 25 s" },
      ],
    });
    expect(codes({ wolf: "stuck" })).toEqual(["failed", "wolf-stuck"]);
    expect(judge({ wolf: "ok" })).toEqual({
      health: "degraded",
      reasons: [{ code: "wolf-slow", detail: "Wolf answers again after it was stuck" }],
    });
    expect(codes({ wolf: "ok" })).toEqual(["ok"]);
  });

  it("is degraded, not failed, by a Wolf that was stuck and answers late, however often", () => {
    expect(codes({ wolf: "stuck" })).toEqual(["failed", "wolf-stuck"]);
    for (let beat = 0; beat < 5; beat += 1)
      expect(judge({ wolf: "slow", detail: "answered after 7 s" })).toEqual({
        health: "degraded",
        reasons: [{ code: "wolf-slow", detail: "Wolf answers slowly: answered after 7 s" }],
      });
    expect(codes({ wolf: "stuck" })).toEqual(["failed", "wolf-stuck"]);
  });

  it("forgets that Wolf was stuck when it is gone: the next one is another process", () => {
    judge({ wolf: "stuck" });
    expect(codes({ wolf: "unreachable" })).toEqual(["failed", "wolf-unreachable"]);
    expect(codes({ wolf: "ok" })).toEqual(["ok"]);
    expect(codes({ wolf: "slow" })).toEqual(["degraded", "wolf-slow"]);
  });

  it("is degraded by a recent restart, a GPU that is gone or silent, and a disk that is almost full", () => {
    expect(codes({ wolf: "ok", restarts: { count: 1, recent: true } })).toEqual([
      "degraded",
      "wolf-restarted",
    ]);
    expect(codes({ wolf: "ok", usage: aUsage({ gpu_state: "missing" }) })).toEqual([
      "degraded",
      "gpu-missing",
    ]);
    expect(codes({ wolf: "ok", usage: aUsage({ gpu_state: "unknown" }) })).toEqual([
      "degraded",
      "gpu-unknown",
    ]);
    const disks = [aDisk("/"), aDisk("/a", { level: "critical" }), aDisk("/b", { level: "critical" })];
    expect(judge({ wolf: "ok", usage: aUsage({ disks }) })).toEqual({
      health: "degraded",
      reasons: [{ code: "disk-critical", detail: "Almost full: /a, /b" }],
    });
  });

  it("is degraded by a disk that is not known any more, which may be full", () => {
    const usage = aUsage({ disks: [], disk_detail: "/d (no answer within 3 s)" });
    expect(judge({ wolf: "ok", usage })).toEqual({
      health: "degraded",
      reasons: [{ code: "disk-unknown", detail: "Not every disk is known: /d (no answer within 3 s)" }],
    });
  });

  it("of a wolf that was degraded stays so until its agent, which has just started, knows better", () => {
    const reasons = (["wolf-slow", "wolf-restarted", "gpu-missing", "disk-critical"] as const).map(
      (code) => ({
        code,
        detail: "",
      }),
    );
    judge = healthJudge(reasons);
    expect(codes({ wolf: "ok" })).toEqual(["degraded", "gpu-missing", "disk-critical"]);
    expect(codes({ wolf: "unreachable" })).toEqual([
      "failed",
      "wolf-unreachable",
      "gpu-missing",
      "disk-critical",
    ]);
    expect(codes({ wolf: "ok", usage: aUsage({ gpu_state: null }) })).toEqual(["degraded", "gpu-missing"]);
    expect(codes({ wolf: "ok", usage: aUsage() })).toEqual(["ok"]);
    expect(codes({ wolf: "ok", usage: aUsage({ gpu_state: null }) })).toEqual(["ok"]);
  });

  it("of a wolf whose Wolf was stuck stays failed over a new agent, until Wolf answers", () => {
    judge = healthJudge([{ code: "wolf-stuck", detail: "x" }]);
    expect(judge({ wolf: "slow" })).toEqual({
      health: "failed",
      reasons: [{ code: "wolf-stuck", detail: "x" }],
    });
    expect(codes({ wolf: "ok" })).toEqual(["degraded", "wolf-slow"]);
    expect(codes({ wolf: "ok" })).toEqual(["ok"]);
    judge = healthJudge([{ code: "wolf-stuck", detail: "x" }]);
    // No answer yet, then a late one.
    expect(codes({ wolf: "slow" })).toEqual(["failed", "wolf-stuck"]);
    expect(codes({ wolf: "slow" })).toEqual(["degraded", "wolf-slow"]);
  });

  it("does not wait for ever for an agent that never describes its host", () => {
    judge = healthJudge([{ code: "disk-critical", detail: "" }]);
    const said = Array.from({ length: 19 }, () => codes({ wolf: "ok" })[0]);
    expect([said.indexOf("ok"), said.length]).toEqual([18, 19]);
  });

  it("is not touched by a disk that is only filling", () => {
    expect(codes({ wolf: "ok", usage: aUsage({ disks: [aDisk("/", { level: "warning" })] }) })).toEqual([
      "ok",
    ]);
  });

  it("of a Wolf that does not answer is failed, whatever else is wrong", () => {
    const usage = aUsage({ gpu_state: "unknown" });
    expect(codes({ wolf: "unreachable", usage })).toEqual(["failed", "wolf-unreachable", "gpu-unknown"]);
  });

  it("has no control characters of the agent in its details, and bounds them", () => {
    const [said] = judge({ wolf: "slow", detail: "\u0000took\r\n\u001b[31m9 s\ud800" }).reasons;
    expect(said?.detail).toBe("Wolf answers slowly: took [31m9 s\ufffd");
    expect(judge({ wolf: "slow", detail: "\u0000\n" }).reasons[0]?.detail).toBe("Wolf answers slowly");
    const disks = Array.from({ length: 32 }, (_, i) =>
      aDisk(`/${i}${"x".repeat(200)}`, { level: "critical" }),
    );
    expect(judge({ wolf: "ok", usage: aUsage({ disks }) }).reasons[1]?.detail).toHaveLength(300);
  });
});
