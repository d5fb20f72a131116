import { describe, expect, it } from "@jest/globals";
import {
  actions,
  GuardPolicy,
  HealthCheck,
  HealthReport,
  ListSessionsQuery,
  ListWolvesQuery,
  Me,
  UsageHistory,
  WolfPolicyView,
  WolfTunnelView,
} from "../src/index.ts";

const limits = { concurrent_max: 8, waiting_max: 256, wait_ms: 9000, timeout_ms: 10_000 };
const policy = {
  open: ["GET /api/v1/lobbies"],
  closed: [{ route: "POST /api/v1/docker/images/pull", because: "it pulls images of the caller's choice" }],
  mount_folders: [],
  state_folders: ["wolfpack"],
  helix_homes: null,
  image_prefixes: null,
  process_runners: false,
  base_create_json: false,
  pipelines: false,
  secrets: false,
  limits: { read: limits, change: limits, create: limits, pull: limits },
};

describe("what an agent may say of its guard", () => {
  it("is a policy, and of later versions more, which is left out", () => {
    expect(GuardPolicy.parse({ ...policy, telepathy: true })).toEqual(policy);
    expect(WolfPolicyView.safeParse({ guard: "agent", policy, unknown_because: null }).success).toBe(true);
  });

  it.each([
    ["no list of routes", { ...policy, open: "all" }],
    ["a route over two lines", { ...policy, open: ["GET /\nX"] }],
    ["more than 200 routes", { ...policy, open: Array(201).fill("GET /") }],
    ["a reason of 301 characters", { ...policy, closed: [{ route: "GET /", because: "x".repeat(301) }] }],
    ["an escape sequence for a folder", { ...policy, mount_folders: ["/\u001b[2J"] }],
    ["65 folders", { ...policy, mount_folders: Array(65).fill("/srv") }],
    ["yes for a rule", { ...policy, secrets: "yes" }],
    ["no limits", { ...policy, limits: {} }],
    [
      "half of a place",
      { ...policy, limits: { ...policy.limits, read: { ...limits, concurrent_max: 0.5 } } },
    ],
  ])("is not %s", (_what, said) => {
    expect(GuardPolicy.safeParse(said).success).toBe(false);
  });
});

describe("histories", () => {
  const at = "2026-11-23T12:00:00.000Z";
  const sample = { at, cpu_load: null, memory_available_bytes: null, gpus: [] };
  const tunnel = {
    epoch: 3,
    protocol: "revdial",
    transport: "websocket",
    since: at,
    replica: "rep_1",
    rtt_ms: null,
    rtt_history: [{ at, ms: 0.4 }],
    channels: 0,
    requests_total: 0,
    bytes_in: 0,
    bytes_out: 0,
    reconnects: 0,
  };

  it("have 360 points at most", () => {
    expect(UsageHistory.safeParse(Array(360).fill(sample)).success).toBe(true);
    expect(UsageHistory.safeParse(Array(361).fill(sample)).success).toBe(false);
    expect(WolfTunnelView.safeParse(tunnel).success).toBe(true);
    const rtt_history = Array(361).fill({ at, ms: 1 });
    expect(WolfTunnelView.safeParse({ ...tunnel, rtt_history }).success).toBe(false);
  });

  it("have no negative figures, nor any beyond all", () => {
    for (const wrong of [{ memory_available_bytes: -1 }, { memory_available_bytes: 0.5 }, { cpu_load: NaN }])
      expect(UsageHistory.safeParse([{ ...sample, ...wrong }]).success).toBe(false);
    for (const wrong of [{ rtt_ms: Infinity }, { bytes_in: -1 }, { rtt_history: [{ at, ms: -1 }] }])
      expect(WolfTunnelView.safeParse({ ...tunnel, ...wrong }).success).toBe(false);
  });
});

describe("the health of the control plane", () => {
  const check = { id: "C01", title: "Database", status: "ok", detail: "Well.", advice: null, ms: 1 };

  it("has numbered checks, and is never skipped as a whole", () => {
    const report = { status: "ok", at: "2026-11-23T12:00:00.000Z", replica: "rep_1", version: "0.1.0" };
    expect(HealthReport.safeParse({ ...report, checks: [check] }).success).toBe(true);
    expect(HealthReport.safeParse({ ...report, checks: [], status: "skipped" }).success).toBe(false);
    for (const id of ["C1", "D01", "C001", ""])
      expect(HealthCheck.safeParse({ ...check, id }).success).toBe(false);
  });
});

describe("who calls", () => {
  const user = {
    id: "usr_01KB00000000000000000000WF",
    name: "anna",
    role: "user",
    disabled: false,
    sessions_max: null,
    creates_per_minute: null,
    revision: 1,
    created_at: "2026-11-23T12:00:00.000Z",
  };

  it("may be told what it may do, and by an earlier version is not", () => {
    expect(Me.parse(user).actions).toBeUndefined();
    expect(Me.parse({ ...user, actions: ["session.create", "later.action"] }).actions).toHaveLength(2);
    expect(Object.keys(actions)).toContain("health.read");
  });
});

describe("pages of wolves and of sessions", () => {
  it("have 1,000 items at most", () => {
    for (const query of [ListWolvesQuery, ListSessionsQuery]) {
      expect(query.parse({ limit: "1000" }).limit).toBe(1000);
      expect(query.parse({}).limit).toBe(100);
      for (const limit of ["1001", "0", "-1", "10000", "1e3", "1000.0"])
        expect(query.safeParse({ limit }).success).toBe(false);
    }
  });
});
