/** The bench as somebody calls it, and what programs read of it. How fast anything is, no test says. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import { authTable } from "../src/bench/auth.ts";
import { type DashboardResult, dashboardTable } from "../src/bench/dashboard.ts";
import { type EventsResult, eventsTable } from "../src/bench/events.ts";
import { type FleetResult, fleetTable } from "../src/bench/fleet.ts";
import { forwardTable } from "../src/bench/forward.ts";
import { medianShares } from "../src/bench/lanes.ts";
import { type LegacyResult, legacyTable } from "../src/bench/legacy.ts";
import { type SoakResult, slope, soakTable } from "../src/bench/soak.ts";
import { type StormResult, stormTable } from "../src/bench/storm.ts";
import { type TunnelProfile, tunnelProfileTable } from "../src/bench/tunnel-profile.ts";
import { type TunnelResult, tunnelTable } from "../src/bench/tunnel-table.ts";
import { findBrowser } from "../src/browser.ts";

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

/** Every line reached, in the last digits of what is shown. */
function reached(): TunnelResult {
  const cpu = ["load", "gateway", "agent", "origin"].map((process) => ({
    process,
    microsPerRequest: 123,
    rssPeakBytes: 1,
  }));
  const lane = {
    smallGet64PerSecond: 123_456,
    smallGet64P99Ms: 12.345,
    smallGet1P50Ms: 1.2345,
    downloadMegabytesPerSecond: 1234.5,
    cpu,
  };
  return {
    rounds: 3,
    smallGet64: { ratioToDirectGateway: 0.75, ratioToHttp2OverWs: 2.5, requestsPerSecond: 1 },
    smallGet1: { p50RatioToDirectGateway: 1.8, p50Ms: 1 },
    download: { ratioToDirectGateway: 0.7, ratioToHttp2OverWs: 1, megabytesPerSecond: 1 },
    smallGetDuringDownloads: { p99Ms: 10, perSecond: 1 },
    smallGetDuringSlowReader: { p99Ms: 3, perSecond: 1 },
    stalledChannel: { othersThroughputRatio: 0.95 },
    longLink: { firstCallMs: 55, ratioToRawTcp: 0.8, megabytesPerSecond: 1, rawTcpMegabytesPerSecond: 1 },
    wedge: { noticedSeconds: 15, survivedStallOf10Seconds: true },
    idleTunnel: { rssBytes: 40_000, held: 5000 },
    absolute: { direct: lane, tunnel: lane },
  };
}

describe("the tunnel's table", () => {
  const missed = (result: TunnelResult) =>
    tunnelTable(result)
      .split("\n")
      .filter((line) => line.endsWith("MISSED"));

  it("fits a terminal of 80 columns, and says nothing of what is just reached", () => {
    expect(missed(reached())).toEqual([]);
    for (const line of tunnelTable(reached()).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each<[string, Partial<TunnelResult>]>([
    [
      "64 GETs at once, per second ÷ HTTP/2",
      { smallGet64: { ...reached().smallGet64, ratioToHttp2OverWs: 2.499 } },
    ],
    ["1 GET at a time, p50", { smallGet1: { p50RatioToDirectGateway: 1.801, p50Ms: 1 } }],
    ["tunnels held by one process", { idleTunnel: { rssBytes: 1, held: 4999 } }],
    ["wedged peer noticed", { wedge: { noticedSeconds: 15.1, survivedStallOf10Seconds: true } }],
    ["wedged peer noticed", { wedge: { noticedSeconds: Number.NaN, survivedStallOf10Seconds: true } }],
    ["wedged peer noticed", { wedge: { noticedSeconds: 2, survivedStallOf10Seconds: false } }],
  ])("names as missed: %s, %j", (line, other) => {
    const found = missed({ ...reached(), ...other });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(line);
  });

  it("has the middle of all rounds for each process, and its highest peak", () => {
    const round = (microsPerRequest: number, rssPeakBytes: number) => [
      { process: "agent", microsPerRequest, rssPeakBytes },
    ];
    expect(medianShares([round(30, 1), round(10, 3), round(20, 2)])).toEqual(round(20, 3));
  });
});

describe("the table of authentication", () => {
  const reached = {
    rounds: 3,
    apiCall: { remembered: 49.9, lookedUp: 1234.5 },
    connect: { all: 999.9, signature: 123.4 },
  };

  it("fits a terminal of 80 columns, and says nothing of what is just reached", () => {
    expect(authTable(reached)).not.toContain("MISSED");
    for (const line of authTable(reached).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each([
    { ...reached, apiCall: { ...reached.apiCall, remembered: 50 } },
    { ...reached, connect: { ...reached.connect, all: 1000 } },
    { ...reached, connect: { ...reached.connect, all: Number.NaN } },
  ])("names what is missed: %j", (result) => {
    expect(authTable(result).match(/MISSED/g)).toHaveLength(1);
  });
});

describe("the table of the hop between replicas", () => {
  it("has both ways and both ratios, in 80 columns", () => {
    const [right, wrong] = [
      { p50Ms: 1.5, perSecond: 900 },
      { p50Ms: 3.25, perSecond: 450 },
    ];
    const forward = { right, wrong, ratio1: 2.167, ratio64: 2, failed: 3 };
    const table = forwardTable({ rounds: 3, forward });
    for (const figure of ["1.50 ms", "3.25 ms", "900/s", "450/s", "2.17 alone", "2.00 with 64", "3 failed"])
      expect(table).toContain(figure);
    for (const line of table.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });
});

describe("the table of legacy tunnels", () => {
  const cpu = { plane: 123.4, client: 1234.5, origin: 12.3 };
  const reached: LegacyResult = {
    rounds: 3,
    legacy: {
      pooledRequestsPerSecond: 123_456,
      perPickupRequestsPerSecond: 12_345,
      ratio: 5,
      cpu: { pooled: cpu, perPickup: cpu },
    },
  };

  it("fits a terminal of 80 columns, and says nothing of what is just reached", () => {
    expect(legacyTable(reached)).not.toContain("MISSED");
    for (const line of legacyTable(reached).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each([4.999, Number.NaN])("names a ratio of %d as missed", (ratio) => {
    expect(legacyTable({ ...reached, legacy: { ...reached.legacy, ratio } })).toContain("MISSED");
  });
});

describe("the table of events", () => {
  const reached: EventsResult = {
    rounds: 3,
    events: {
      subscribers: 1000,
      eventsPerSecond: 100,
      duePerSecond: 90_000,
      deliveredPerSecond: 85_500,
      p50Ms: 12.34,
      p99Ms: 1234.5,
      rssBytesPerSubscriber: 99_999,
      rssBytes: 299_999_999,
      cpu: 0.25,
      lost: 0,
      stalled: 20,
      stalledTold: 20,
    },
  };

  it("fits a terminal of 80 columns, and says nothing of what is just reached", () => {
    expect(eventsTable(reached)).not.toContain("MISSED");
    for (const line of eventsTable(reached).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each([
    { lost: 1 },
    { deliveredPerSecond: 85_499 },
    { deliveredPerSecond: Number.NaN },
    // Half of the changes were made, and all of those delivered.
    { eventsPerSecond: 50, duePerSecond: 45_000, deliveredPerSecond: 45_000 },
    { rssBytesPerSubscriber: 100_000 },
    { rssBytes: 300_000_000 },
    { rssBytes: Number.NaN },
  ])("names what is missed: %j", (other) => {
    expect(
      eventsTable({ ...reached, events: { ...reached.events, ...other } }).match(/MISSED/g),
    ).toHaveLength(1);
  });
});

describe("the table of the dashboard", () => {
  const reached: DashboardResult = {
    rounds: 3,
    dashboard: {
      wolves: 10_000,
      firstRowsMs: 500,
      interactiveMs: 1999,
      paintMs: 99.9,
      paintMsMax: 99.9,
      rows: 23,
    },
  };

  it("fits a terminal of 80 columns, and says nothing of what is just reached", () => {
    expect(dashboardTable(reached)).not.toContain("MISSED");
    for (const line of dashboardTable(reached).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each([
    { interactiveMs: 2000 },
    { paintMs: 100 },
    { paintMs: Number.NaN },
    { paintMsMax: 100 },
    { paintMsMax: Number.NaN },
  ])("names what is missed: %j", (other) => {
    const result = { ...reached, dashboard: { ...reached.dashboard, ...other } };
    expect(dashboardTable(result).match(/MISSED/g)).toHaveLength(1);
  });
});

describe("the table of a fleet", () => {
  const paced = { heartbeatsPerSecond: 500, databaseWritesPerSecond: 2, cpu: 0.5 };
  const reached: FleetResult = {
    rounds: 3,
    loadAverages: [0.5, 12.25, 1],
    fleet: {
      agents: 5000,
      rssBytesPerAgent: 40_000,
      rssBytesPerAgentAfterLoad: 123_456,
      enrolmentsPerSecond: 123.4,
      heartbeatsPerSecond: 1999,
      databaseWritesPerSecond: 2,
      databaseRowsPerSecond: 1234.5,
      walBytesPerSecond: 1_234_567,
      cpu: 0.75,
      ownPace: paced,
      http: { ...paced, heartbeatsPerSecond: 2000 },
    },
  };

  it("fits a terminal of 80 columns, and says nothing of what is just reached", () => {
    expect(fleetTable(reached)).not.toContain("MISSED");
    for (const line of fleetTable(reached).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each([
    { agents: 4999 },
    { rssBytesPerAgent: 40_001 },
    { rssBytesPerAgent: Number.NaN },
    { heartbeatsPerSecond: 1800 },
    { databaseWritesPerSecond: 2.1 },
    { ownPace: { ...paced, databaseWritesPerSecond: 2.1 } },
  ])("names what is missed: %j", (other) => {
    const result = { ...reached, fleet: { ...reached.fleet, ...other } };
    expect(fleetTable(result).match(/MISSED/g)).toHaveLength(1);
  });
});

describe("the table of a storm", () => {
  const reached: StormResult = {
    rounds: 3,
    loadAverages: [0.5],
    storm: {
      agents: 5000,
      replicas: 1,
      sessions: 1000,
      secondsToRecover: 30,
      secondsAway: 1.5,
      lost: 0,
      duplicates: 0,
      userApiP50Ms: 12.3,
      userApiP99Ms: 2000,
      userApiMaxMs: 12_345,
      userApiAnswered: 450,
      userApiUnanswered: 20,
      userApiRefused: 0,
      refusals: { 0: 12_345, 503: 1234 },
      fallbacks: 3,
      fallbackCauses: { DIAL_TIMEOUT: 3 },
      cpuSeconds: 25,
      databaseWrites: 12_345,
      databaseTransactions: 45_678,
    },
  };

  it("fits a terminal of 80 columns, and says nothing of what is just reached", () => {
    expect(stormTable(reached)).not.toContain("MISSED");
    for (const line of stormTable(reached).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each([
    { agents: 4999 },
    { secondsToRecover: 30.1 },
    { secondsToRecover: Number.NaN },
    { lost: 1 },
    { duplicates: 1 },
    { userApiP99Ms: 2001 },
  ])("names what is missed: %j", (other) => {
    const result = { ...reached, storm: { ...reached.storm, ...other } };
    expect(stormTable(result).match(/MISSED/g)).toHaveLength(1);
  });
});

describe("the table of a soak", () => {
  const soak = {
    agents: 200,
    rssSlopeBytesPerHour: 2 * 2 ** 20,
    heapSlopeBytesPerHour: 1000,
    handlesMore: 0,
    timersMore: 0,
    filesMore: 0,
    databaseConnectionsMore: 0,
    rounds: 12,
    sessions: 720,
    reconnects: 480,
    requests: 12_345,
    streams: 240,
    revocations: 120,
    wolvesRemoved: 260,
    serverErrors: 0,
    samples: [],
  };
  const reached: SoakResult = { minutes: 30, loadAverages: [0.5], soak };

  it("fits a terminal of 80 columns, and says nothing of what is just reached", () => {
    expect(soakTable(reached)).not.toContain("MISSED");
    for (const line of soakTable(reached).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each([
    { rssSlopeBytesPerHour: 2 * 2 ** 20 + 100_000 },
    { rssSlopeBytesPerHour: Number.NaN },
    { handlesMore: 1 },
    { timersMore: 1 },
    { filesMore: 1 },
    { databaseConnectionsMore: 1 },
    { serverErrors: 1 },
  ])("names what is missed: %j", (other) => {
    expect(soakTable({ ...reached, soak: { ...soak, ...other } }).match(/MISSED/g)).toHaveLength(1);
  });

  it("takes the slope of a straight line for what it is, however the points lie about it", () => {
    const seen = [0, 1, 2, 3].map((minutes) => ({
      minutes,
      bytes: 7 + 5 * minutes + (minutes % 3 === 0 ? 1 : -1),
    }));
    expect(slope(seen, ({ bytes }) => bytes)).toBeCloseTo(5);
    expect(slope(seen.slice(0, 1), ({ bytes }) => bytes)).toBe(0);
  });
});

describe("npm run bench", () => {
  it("tells how it is used, and what it cannot be asked", async () => {
    const [help, nothing, unknown] = await Promise.all([bench("--help"), bench(), bench("rocket")]);
    expect([help.code, nothing.code, unknown.code]).toEqual([0, 2, 2]);
    for (const text of [help.stdout, nothing.stderr, unknown.stderr])
      expect(text).toContain("npm run bench -- tunnel|revdial-core");
    for (const line of help.stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
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

  it.each([
    [["fleet", "--agents", "1"], "--agents is 2 to 15,000"],
    [["storm", "--replicas", "3"], "--replicas is 1 to 2"],
    [["soak", "--minutes", "0"], "--minutes is 1 to 1,440"],
  ])("refuses %j and starts nothing", async (args, reason) => {
    const { code, stdout, stderr } = await bench(...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(reason);
  });

  // Each waits most of the time, so all three at once.
  it("gives a fleet, a storm and a soak as JSON documents: nobody is lost or there twice", async () => {
    const whats = ["fleet", "storm", "soak"];
    const outcomes = await Promise.all(whats.map((what) => bench(what, "--quick", "--json")));
    expect(outcomes.map(({ code, stderr }) => [code, code === 0 ? "" : stderr])).toEqual(
      whats.map(() => [0, ""]),
    );
    const [fleet, storm, soak] = outcomes.map(({ stdout }): unknown => JSON.parse(stdout));
    const missing = (document: unknown, figures: string[]) =>
      figures.filter((key) => typeof at(document, key) !== "number");
    expect(
      missing(fleet, [
        "fleet.rssBytesPerAgent",
        "fleet.heartbeatsPerSecond",
        "fleet.databaseWritesPerSecond",
        "fleet.http.heartbeatsPerSecond",
      ]),
    ).toEqual([]);
    expect(at(fleet, "fleet.agents")).toBe(20);
    expect(missing(storm, ["storm.agents", "storm.secondsToRecover", "storm.userApiP99Ms"])).toEqual([]);
    expect([at(storm, "storm.lost"), at(storm, "storm.duplicates")]).toEqual([0, 0]);
    expect(missing(soak, ["soak.rssSlopeBytesPerHour", "soak.filesMore"])).toEqual([]);
    expect(at(soak, "soak.wolvesRemoved")).toBeGreaterThanOrEqual(6);
    expect([at(soak, "soak.handlesMore"), at(soak, "soak.serverErrors")]).toEqual([0, 0]);
  }, 180_000);

  it("gives codec and core as one JSON document", async () => {
    const { code, stdout } = await bench("revdial-core", "--quick", "--json");
    expect(code).toBe(0);
    expect(at(JSON.parse(stdout), "exchange.microsecondsPerExchange")).toBeGreaterThan(0);
  });

  it("gives what the agent's guard costs as one JSON document", async () => {
    const { code, stdout } = await bench("guard", "--quick", "--json");
    expect(code).toBe(0);
    const figures = [
      "get.bare",
      "get.guarded",
      "get.ratio",
      "get.pairs.median",
      "create.bare",
      "create.addedMicros",
    ];
    expect(figures.filter((key) => typeof at(JSON.parse(stdout), key) !== "number")).toEqual([]);
  }, 60_000);

  it("gives what authentication costs as one JSON document", async () => {
    const { code, stdout } = await bench("auth", "--quick", "--json");
    expect(code).toBe(0);
    const figures = ["apiCall.remembered", "apiCall.lookedUp", "connect.all", "connect.signature"];
    expect(figures.filter((key) => typeof at(JSON.parse(stdout), key) !== "number")).toEqual([]);
  }, 60_000);

  it("gives what many readers of events cost as one JSON document", async () => {
    const { code, stdout } = await bench("events", "--quick", "--json");
    expect(code).toBe(0);
    const figures = [
      "subscribers",
      "eventsPerSecond",
      "deliveredPerSecond",
      "p99Ms",
      "rssBytesPerSubscriber",
      "rssBytes",
    ];
    expect(figures.filter((key) => typeof at(JSON.parse(stdout), `events.${key}`) !== "number")).toEqual([]);
    expect(at(JSON.parse(stdout), "events.lost")).toBe(0);
  }, 60_000);

  const withBrowser = findBrowser() === undefined ? it.skip : it;
  withBrowser(
    "gives what the dashboard takes to show a fleet as one JSON document, where there is Chromium",
    async () => {
      const { code, stdout } = await bench("dashboard", "--quick", "--json");
      expect(code).toBe(0);
      const figures = ["wolves", "firstRowsMs", "interactiveMs", "paintMs", "paintMsMax", "rows"];
      const { dashboard } = JSON.parse(stdout) as DashboardResult;
      expect(figures.filter((key) => !((at(dashboard, key) as number) > 0))).toEqual([]);
      expect([dashboard.wolves, dashboard.paintMsMax >= dashboard.paintMs]).toEqual([1000, true]);
    },
    90_000,
  );

  it("gives what legacy tunnels carry as one JSON document", async () => {
    const { code, stdout } = await bench("legacy", "--quick", "--json");
    expect(code).toBe(0);
    const figures = ["pooledRequestsPerSecond", "perPickupRequestsPerSecond", "ratio", "cpu.pooled.plane"];
    expect(figures.filter((key) => typeof at(JSON.parse(stdout), `legacy.${key}`) !== "number")).toEqual([]);
  }, 60_000);

  it("gives who spends the time of gateway and agent as one JSON document", async () => {
    const { code, stdout } = await bench("tunnel-profile", "--quick", "--json");
    expect(code).toBe(0);
    const { profiles } = JSON.parse(stdout) as TunnelProfile;
    expect(profiles.map(({ lane, process, load }) => [lane, process, load])).toEqual([
      ["direct", "gateway", "small requests"],
      ["direct", "gateway", "downloads"],
      ["tunnel", "gateway", "small requests"],
      ["tunnel", "agent", "small requests"],
      ["tunnel", "gateway", "downloads"],
      ["tunnel", "agent", "downloads"],
    ]);
    for (const { shares } of profiles)
      expect(shares.reduce((sum, [, share]) => sum + share, 0)).toBeCloseTo(1, 5);
    expect(tunnelProfileTable({ profiles }).split("\n")[0]).toBe("direct: gateway, small requests");
  }, 60_000);

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
