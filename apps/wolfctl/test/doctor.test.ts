/** `wolfctl doctor`: each thing that may be wrong has its finding, with what to do, within 80 columns. */
import { chmodSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { findingText } from "../src/commands/doctor.ts";
import { clockCheck, versionCheck } from "../src/doctor/checks.ts";
import { columnsOf } from "../src/output/printable.ts";
import { noPaint } from "../src/output/style.ts";
import { machine, NOW_MS, type TestEdges } from "./edges.ts";
import { HOSTILE, userId } from "./objects.ts";
import { problem, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

let server: ScriptedServer;
let here: ReturnType<typeof machine>;
const date = { date: new Date(NOW_MS).toUTCString() };
const check = { id: "C01", title: "Database", status: "ok", detail: "answers", advice: null, ms: 3 };

beforeAll(async () => {
  server = await scriptedServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  here = machine(server.url);
  server.on("GET /healthz", { body: { status: "ok", version: "0.1.3" }, headers: date });
  server.on("GET /readyz", { body: { status: "ok" } });
  server.on("GET /api/v1/me", {
    body: {
      id: userId(1),
      name: HOSTILE,
      role: "admin",
      disabled: false,
      sessions_max: null,
      creates_per_minute: null,
      revision: 1,
      created_at: "2026-11-26T21:00:00.000Z",
    },
  });
  server.on("GET /api/v1/events", (_asked, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write("event: hello\ndata: {}\n\n");
    return undefined;
  });
  server.on("GET /api/v1/health", {
    body: { status: "ok", at: "2026-11-26T21:00:00.000Z", replica: "r", version: "0.1.3", checks: [check] },
  });
});
afterEach(() => here.remove());

/** Statuses by code. */
async function examined(options: Parameters<typeof here.run>[1] = {}) {
  const { code, out } = await here.run(["doctor", "-o", "json"], options);
  const report = JSON.parse(out) as {
    verdict: string;
    checks: { id: string; status: string; detail: string; advice: string | null }[];
  };
  return {
    code,
    verdict: report.verdict,
    of: Object.fromEntries(report.checks.map(({ id, status }) => [id, status])),
    checks: report.checks,
  };
}

describe("the doctor", () => {
  it("finds everything well, its own checks first, then the control plane's", async () => {
    const { code, verdict, of } = await examined();
    expect([code, verdict]).toEqual([0, "ok"]);
    expect(of).toEqual({
      W01: "ok",
      W02: "ok",
      W03: "ok",
      W04: "ok",
      W05: "ok",
      W06: "ok",
      W07: "ok",
      W08: "ok",
      C01: "ok",
    });
  });

  it("fails with what the control plane has found, and shows it harmlessly within 80 columns", async () => {
    const bad = {
      ...check,
      id: "C05",
      status: "failed",
      detail: HOSTILE.repeat(9),
      advice: "Set WOLFPACK_PUBLIC_URL.",
    };
    server.on("GET /api/v1/health", {
      body: {
        status: "failed",
        at: "2026-11-26T21:00:00.000Z",
        replica: "r",
        version: "0.1.3",
        checks: [bad],
      },
    });
    const { code, out } = await here.run(["doctor"]);
    expect(code).toBe(1);
    expect(out).toContain("FAILED   C05 Database:");
    expect(out).toContain("Try: Set WOLFPACK_PUBLIC_URL.");
    expect(out).toMatch(/\n8 ok, 0 warnings, 1 failed, 0 skipped\n$/);
    expect(out.split("\n").filter((line) => columnsOf(line) > 80 || /\p{C}/u.test(line))).toEqual([]);
    expect((await here.run(["doctor", "-o", "name"])).out).toBe("C05\n");
  });

  it("skips what a user may not ask, and what an older control plane cannot say", async () => {
    server.on("GET /api/v1/health", problem(403, "forbidden", "No."));
    expect((await examined()).of.C00).toBe("skipped");
    server.on("GET /api/v1/health", problem(404, "not-found", "No."));
    expect(await examined()).toMatchObject({ code: 0, of: { C00: "skipped" } });
    server.on("GET /api/v1/health", problem(500, "internal", "No."));
    expect(await examined()).toMatchObject({ code: 1, of: { C00: "failed" } });
  });

  it("says that nothing is set up, and skips the rest", async () => {
    const { code, of, checks } = await examined({ env: {} });
    expect(code).toBe(1);
    expect(of).toEqual({
      W01: "failed",
      W02: "skipped",
      W03: "skipped",
      W04: "skipped",
      W05: "skipped",
      W06: "skipped",
      W07: "skipped",
      W08: "skipped",
    });
    expect(checks[0]?.advice).toContain("wolfctl config set");
  });

  it("says that nobody is there, or somebody else", async () => {
    const gone = await scriptedServer();
    await gone.stop();
    const { checks } = await examined({ env: { ...here.env, WOLFPACK_URL: gone.url } });
    expect(checks[2]).toMatchObject({ status: "failed", detail: "nothing listens there" });
    server.on("GET /healthz", { body: "<html>", headers: { "content-type": "text/html" } });
    expect((await examined()).checks[2]?.detail).toContain("no control plane of Wolfpack");
  });

  it("goes on without a key that can be read, and says whose the key is not", async () => {
    chmodSync(here.keyFile, 0o644);
    expect((await examined()).of).toMatchObject({ W02: "failed", W03: "ok", W05: "ok", W07: "skipped" });
    chmodSync(here.keyFile, 0o600);
    server.on("GET /api/v1/me", problem(401, "unauthenticated", "Send a valid API key."));
    const { of, checks } = await examined();
    expect(of).toMatchObject({ W07: "failed", W08: "skipped" });
    expect(checks[6]).toMatchObject({
      detail: expect.stringContaining("unauthenticated"),
      advice: expect.stringContaining("set-key"),
    });
  });

  it("says that a control plane is not ready, and that events come by pages", async () => {
    server.on("GET /readyz", problem(503, "database-unavailable", "The database does not answer."));
    server.on("GET /api/v1/events", { body: [] });
    const { code, of } = await examined();
    expect([code, of]).toEqual([1, expect.objectContaining({ W04: "failed", W08: "warning" })]);
  });

  describe("gives each check 10 s", () => {
    let edges: TestEdges | undefined;
    const onLimit = (of: TestEdges) => {
      edges = of;
    };
    const timeIsOver = () => {
      for (const { ms, over } of edges?.limits ?? []) if (ms === 10_000) over.abort();
    };
    const silent = () => {
      timeIsOver();
      return new Promise<undefined>(() => undefined);
    };
    const late = { status: "failed", detail: "no result within 10 s" };

    it("of its own, the key's too", async () => {
      server.on("GET /api/v1/me", silent);
      const { code, checks } = await examined({ onLimit });
      expect([code, checks.find(({ id }) => id === "W07")]).toEqual([1, expect.objectContaining(late)]);
      expect(checks.at(-1)).toMatchObject({ id: "W08", status: "skipped" });
    });

    it("with all tries and the waits between them", async () => {
      const draining = { ...problem(503, "draining", "No."), headers: { "retry-after": "15" } };
      server.on("GET /api/v1/me", draining);
      server.asked.length = 0;
      const { checks } = await examined({ onLimit, onPause: timeIsOver });
      expect(checks.find(({ id }) => id === "W07")).toMatchObject(late);
      expect(server.asked.filter(({ path }) => path === "/api/v1/me")).toHaveLength(1);
    });

    it("of the control plane's own, and says all it has found all the same", async () => {
      server.on("GET /api/v1/health", silent);
      const { code, of, checks } = await examined({ onLimit });
      expect([code, of.W08]).toEqual([1, "ok"]);
      expect(checks.at(-1)).toMatchObject({ id: "C00", ...late, advice: expect.stringContaining("log") });
      server.on("GET /api/v1/health", (_asked, response) => void response.destroy());
      expect((await examined()).checks.at(-1)).toMatchObject({ id: "C00", status: "failed" });
    });
  });

  it("ends at once with Ctrl-C, also while the control plane examines itself", async () => {
    const stop = new AbortController();
    server.on("GET /api/v1/health", () => {
      stop.abort();
      return new Promise(() => undefined);
    });
    expect(await here.run(["doctor"], { stop })).toMatchObject({ code: 130, err: "" });
  });

  it("ends at once with Ctrl-C", async () => {
    const stop = new AbortController();
    server.on("GET /readyz", () => {
      stop.abort();
      return new Promise(() => undefined);
    });
    expect((await here.run(["doctor"], { stop })).code).toBe(130);
  });
});

describe("the checks", () => {
  it("judge clocks by 30 s and 5 minutes, to either side", () => {
    const at = (ms: number) =>
      clockCheck(new Date(NOW_MS - 500).toUTCString(), NOW_MS - 500 + 500 + ms).status;
    expect([0, 29_000, -29_000, 31_000, -31_000, 301_000, -302_000].map(at)).toEqual([
      "ok",
      "ok",
      "ok",
      "warning",
      "warning",
      "failed",
      "failed",
    ]);
    expect(clockCheck(null, NOW_MS).status).toBe("skipped");
  });

  it("judge versions by their first and second numbers", () => {
    expect(
      ["0.1.9", "0.2.0", "1.1.0", "nonsense"].map((version) => versionCheck("0.1.0", version).status),
    ).toEqual(["ok", "warning", "failed", "failed"]);
  });

  it("fit 80 columns whatever they find", () => {
    const text = findingText(
      {
        id: "W01",
        title: "Settings",
        status: "warning",
        detail: "x".repeat(500),
        advice: "wörter ".repeat(40),
        ms: 1,
      },
      { width: 80, paint: noPaint },
    );
    expect(text.split("\n").filter((line) => columnsOf(line) > 80)).toEqual([]);
  });
});
