import { beforeEach, describe, expect, it } from "@jest/globals";
import { type AgentWolfEvent, hostLimits, type WolfImage } from "@wolfpack/api-contract";
import fc from "fast-check";
import { aDisk, aUsage } from "../../test/a-wolf.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import type { UsageReport } from "../wolves/wolf-store.ts";
import { type AgentNotices, agentNotices, type NoticeSink } from "./agent-notices.ts";

let clock: ManualClock;
let lines: { msg: string; why?: string; type?: string; dropped?: number; dropped_total?: number }[];
let notices: AgentNotices;
let health: unknown[];
let reports: Parameters<NoticeSink["report"]>[0][];
let usages: UsageReport[];
let events: AgentWolfEvent[];
let known: unknown[];
let sink: NoticeSink;

beforeEach(() => {
  clock = manualClock();
  lines = [];
  health = [];
  reports = [];
  usages = [];
  events = [];
  known = [];
  sink = {
    health: async (state) => health.push(state),
    report: async (report) => reports.push(report),
    usage: async (report) => usages.push(report),
    event: (event) => void events.push(event),
    capabilities: async (said) => known.push(said),
    images: async (said) => known.push(said),
    relist: () => void known.push("relist"),
  };
  const log = createLogger("trace", { write: (line) => void lines.push(JSON.parse(line)) });
  notices = agentNotices({ wolfId: "wlf_1", clock, log });
});

const say = (type: string, json: unknown) => notices.hear(type, Buffer.from(JSON.stringify(json)));
const event = (seq: number) => ({ seq, event: "wolf::core::events::X", data: {} });
const image = (change: Partial<WolfImage> = {}): WolfImage => ({
  name: "ghcr.io/games-on-whales/xfce:edge",
  state: "present",
  id: `sha256:${"a".repeat(64)}`,
  digest: `sha256:${"b".repeat(64)}`,
  size_bytes: 123,
  created_at: "2026-06-01T10:00:00.000Z",
  ...change,
});
const manyImages = (count: number) =>
  Array.from({ length: count }, (_, i) => image({ name: `${i}`.padStart(255, "x") }));
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
}

describe("notices of an agent", () => {
  it("become health, description and events", async () => {
    notices.open(sink);
    say("heartbeat", { wolf: "unreachable", detail: "connect ENOENT" });
    say("inventory", { gpu_type: "amd", max_sandboxes: 3, agent_version: "1.2.3", labels: { a: "b" } });
    say("wolf-event", event(1));
    await settle();
    expect(health).toEqual([
      {
        health: "failed",
        reasons: [{ code: "wolf-unreachable", detail: "Wolf does not answer its agent: connect ENOENT" }],
      },
    ]);
    expect(reports).toEqual([
      {
        gpuType: "amd",
        maxSandboxes: 3,
        labels: { a: "b" },
        region: null,
        costPerHour: null,
        agentVersion: "1.2.3",
        encoderSessionsMax: null,
      },
    ]);
    expect(events).toEqual([event(1)]);
    expect(lines).toEqual([]);
  });

  it("become what placement counts with: the GPU that sessions render on, and how many streams it encodes", async () => {
    notices = agentNotices({
      wolfId: "wlf_1",
      clock,
      log: createLogger("silent"),
      renderNode: "/dev/dri/renderD129",
    });
    notices.open(sink);
    const card = (n: number, more: object = {}) => ({
      id: `card${n}`,
      vendor: "amd",
      model: `model ${n}`,
      driver: null,
      vram_bytes: n * 2 ** 30,
      render_node: `/dev/dri/renderD${127 + n}`,
      ...more,
    });
    const sayGpus = async (gpus: object[], more: object = {}) => {
      const facts = { gpu_type: "amd", max_sandboxes: 3, agent_version: "1", labels: {} };
      say("inventory", { ...facts, host: { cpu_model: null, cpu_count: 8, memory_bytes: 1, gpus }, ...more });
      await settle();
    };
    await sayGpus([card(1, { vendor: "intel" }), card(3), card(2)], { encoder_sessions_max: 5 });
    await sayGpus([card(4)]);
    await sayGpus([card(1, { vendor: "intel" })]);
    await sayGpus([], { host: undefined });
    expect(reports).toMatchObject([
      {
        encoderSessionsMax: 5,
        gpu: { model: "model 2", renderNode: "/dev/dri/renderD129", vramMb: 2048 },
        host: { cpu_count: 8 },
      },
      { encoderSessionsMax: null, gpu: { renderNode: "/dev/dri/renderD131", vramMb: 4096 } },
      { gpu: { model: null, renderNode: null, vramMb: null } },
      { gpu: undefined, host: undefined },
    ]);
  });

  it("become capabilities, unknown ones too, and reasons to list the lobbies again", async () => {
    notices.open(sink);
    const capabilities = { schema_hash: "a".repeat(64), features: ["lobbies"], missing: [] };
    say("capabilities", capabilities);
    await settle();
    say("relist", { reason: "stream-was-down" });
    say("capabilities", { schema_hash: null, features: [], missing: [] });
    await settle();
    expect(known).toEqual([capabilities, "relist", null]);
  });

  it("become images, and none when Wolf does not say", async () => {
    notices.open(sink);
    say("images", { images: [image()] });
    await settle();
    say("images", { images: null });
    await settle();
    const most = manyImages(hostLimits.imagesMax);
    say("images", { images: most });
    await settle();
    expect(known).toEqual([[image()], null, most]);
    expect(JSON.stringify(most).length).toBeLessThan(15 * 1024);
    expect(lines).toEqual([]);
  });

  it("write health only when it changes, and its recovery", async () => {
    notices.open(sink);
    for (const wolf of ["ok", "ok", "slow", "slow", "ok", "ok"]) {
      say("heartbeat", { wolf });
      await settle();
    }
    expect(health).toEqual([
      { health: "ok", reasons: [] },
      { health: "degraded", reasons: [{ code: "wolf-slow", detail: "Wolf answers slowly" }] },
      { health: "ok", reasons: [] },
    ]);
  });

  it("do not make a wolf well that was degraded before, until they describe its host", async () => {
    notices.open(sink, [{ code: "disk-critical", detail: "Almost full: /" }]);
    say("heartbeat", { wolf: "ok" });
    await settle();
    say("heartbeat", { wolf: "ok", usage: aUsage() });
    await settle();
    expect(health).toEqual([
      { health: "degraded", reasons: [{ code: "disk-critical", detail: "Almost full: /" }] },
      { health: "ok", reasons: [] },
    ]);
  });

  it("of an agent of before, whose usage has fewer fields, are taken", async () => {
    notices.open(sink);
    const { disk_detail, ...usage } = aUsage();
    say("heartbeat", { wolf: "ok", usage });
    await settle();
    expect(usages).toMatchObject([{ usage: { ...usage, disk_detail } }]);
  });

  it("write a host's figures every thirty seconds at most, and judge all of them at once", async () => {
    notices.open(sink);
    const beat = (cpu_load: number, level: "ok" | "critical") =>
      say("heartbeat", { wolf: "ok", usage: aUsage({ cpu_load, disks: [aDisk("/", { level })] }) });
    for (let i = 0; i < 50; i += 1) beat(i, i === 49 ? "critical" : "ok");
    await settle();
    expect(usages).toEqual([
      { usage: aUsage({ cpu_load: 0 }), wolfRestarts: 0, sampleIds: [expect.stringMatching(/^dsk_/)] },
    ]);
    expect(health.at(-1)).toEqual({
      health: "degraded",
      reasons: [{ code: "disk-critical", detail: "Almost full: /" }],
    });
    clock.advance(30_000);
    beat(7, "ok");
    await settle();
    expect(usages).toHaveLength(2);
  });

  const gpu = {
    id: "0000:01:00.0",
    vendor: "nvidia",
    model: null,
    driver: null,
    vram_bytes: null,
    render_node: null,
  };
  const host = { cpu_model: null, cpu_count: 8, memory_bytes: 1, gpus: [gpu] };
  const facts = { max_sandboxes: 3, agent_version: "1", labels: {} };
  const beatWith = (usage: object) =>
    ["heartbeat", { wolf: "ok", usage: { ...aUsage(), ...usage } }] as const;
  const inventoryWith = (more: object) => ["inventory", { ...facts, host: { ...host, ...more } }] as const;
  const hostile: (readonly [string, object])[] = [
    beatWith({ disks: Array.from({ length: 10_000 }, (_, i) => aDisk(`/${i}`)) }),
    beatWith({ disks: Array.from({ length: 33 }, (_, i) => aDisk(`/${i}`)) }),
    beatWith({ disks: [aDisk("/"), aDisk("/")] }),
    beatWith({ disks: [aDisk("/", { total_bytes: -1 })] }),
    beatWith({ disks: [aDisk("/", { used_bytes: 1e300 })] }),
    beatWith({ disks: [aDisk("/", { used_bytes: 0.5 })] }),
    beatWith({ disks: [aDisk("/", { used_bytes: Number.NaN })] }),
    beatWith({ disks: [aDisk("data")] }),
    beatWith({ disks: [aDisk("/\u0000")] }),
    beatWith({ disks: [aDisk("/\ud800")] }),
    beatWith({ disks: [aDisk(`/${"x".repeat(255)}`)] }),
    beatWith({ disks: [{ ...aDisk("/"), epoch: 9 }] }),
    beatWith({ cpu_load: Number.POSITIVE_INFINITY, memory_available_bytes: -1 }),
    beatWith({ gpu_state: "idle" }),
    beatWith({ gpu_detail: "x".repeat(201) }),
    beatWith({ gpus: [{ id: "a", utilisation_percent: 101 }] }),
    beatWith({ mood: "good" }),
    ["heartbeat", { wolf: "ok", restarts: { count: -1, recent: false } }],
    ["heartbeat", { wolf: "ok", restarts: { count: 2 ** 31, recent: false } }],
    inventoryWith({ gpus: Array.from({ length: 17 }, (_, i) => ({ ...gpu, id: `${i}` })) }),
    inventoryWith({ gpus: [gpu, gpu] }),
    inventoryWith({ gpus: [{ ...gpu, vendor: "none" }] }),
    inventoryWith({ gpus: [{ ...gpu, vram_bytes: "16 GB" }] }),
    inventoryWith({ cpu_count: 0 }),
    inventoryWith({ memory_bytes: 1e30 }),
    inventoryWith({ mood: "good" }),
  ];

  it.each(hostile)("of a host that cannot be are refused and change nothing (%#: %s)", async (type, json) => {
    notices.open(sink);
    say("inventory", { ...facts, host });
    say(...beatWith({}));
    await settle();
    const before = JSON.stringify([health, reports, usages]);
    clock.advance(60_000);
    say(type, json);
    await settle();
    expect(JSON.stringify([health, reports, usages])).toBe(before);
    expect(lines).toEqual([expect.objectContaining({ why: "does not fit its schema", type, dropped: 1 })]);
  });

  it("that come before the epoch is known are kept, in order", () => {
    say("wolf-event", event(1));
    say("wolf-event", event(2));
    expect(events).toEqual([]);
    notices.open(sink);
    say("wolf-event", event(3));
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3]);
  });

  it("that come before the epoch is known are kept up to sixteen", () => {
    for (let seq = 1; seq <= 18; seq += 1) say("wolf-event", event(seq));
    notices.open(sink);
    notices.close();
    expect(events).toHaveLength(16);
    expect(lines.at(-1)).toMatchObject({ msg: "notices dropped", why: "too early", dropped_total: 2 });
  });

  const inventory = { gpu_type: "amd", max_sandboxes: 3, agent_version: "1", labels: {} };
  const bad: [why: string, type: string, payload: string][] = [
    ["not JSON", "heartbeat", ""],
    ["not JSON", "heartbeat", '{"wolf":"ok"'],
    ["not JSON", "heartbeat", '{"wolf":"ok"} x'],
    ["does not fit its schema", "heartbeat", "null"],
    ["does not fit its schema", "heartbeat", '{"wolf":"fine"}'],
    ["does not fit its schema", "heartbeat", '{"wolf":"ok","extra":1}'],
    // What time a host thinks it is is nobody's business.
    ["does not fit its schema", "heartbeat", '{"wolf":"ok","time":"1999-12-31T23:59:59.000Z"}'],
    ["does not fit its schema", "heartbeat", JSON.stringify({ wolf: "ok", detail: "x".repeat(201) })],
    ["does not fit its schema", "inventory", JSON.stringify({ ...inventory, max_sandboxes: 0 })],
    ["does not fit its schema", "inventory", JSON.stringify({ ...inventory, max_sandboxes: 1001 })],
    ["does not fit its schema", "inventory", JSON.stringify({ ...inventory, encoder_sessions_max: 0 })],
    ["does not fit its schema", "inventory", JSON.stringify({ ...inventory, encoder_sessions_max: 1001 })],
    ["does not fit its schema", "inventory", JSON.stringify({ ...inventory, gpu_type: "voodoo" })],
    ["does not fit its schema", "inventory", JSON.stringify({ ...inventory, name: "another-wolf" })],
    ["does not fit its schema", "inventory", JSON.stringify({ ...inventory, labels: { "": "x" } })],
    ["does not fit its schema", "wolf-event", JSON.stringify({ ...event(0) })],
    ["does not fit its schema", "wolf-event", JSON.stringify({ ...event(1), data: [] })],
    ["does not fit its schema", "wolf-event", "[".repeat(8000) + "]".repeat(8000)],
    ["does not fit its schema", "capabilities", "{}"],
    ["does not fit its schema", "capabilities", '{"schema_hash":"x","features":[],"missing":[]}'],
    ["does not fit its schema", "capabilities", '{"schema_hash":null,"features":["A b"],"missing":[]}'],
    ["does not fit its schema", "capabilities", '{"schema_hash":null,"features":[],"missing":["\\u0000"]}'],
    ["does not fit its schema", "images", "{}"],
    ["does not fit its schema", "images", JSON.stringify({ images: [image(), image()] })],
    ["does not fit its schema", "images", JSON.stringify({ images: [image({ name: "a\nb" })] })],
    ["does not fit its schema", "images", JSON.stringify({ images: [image({ id: "sha256:X" })] })],
    ["does not fit its schema", "images", JSON.stringify({ images: [image({ size_bytes: -1 })] })],
    ["does not fit its schema", "images", JSON.stringify({ images: [image({ created_at: "now" })] })],
    ["does not fit its schema", "images", JSON.stringify({ images: manyImages(hostLimits.imagesMax + 1) })],
    ["does not fit its schema", "relist", '{"reason":"because"}'],
    ["unknown type", "toString", "{}"],
    ["unknown type", "__proto__", "{}"],
    ["unknown type", "restart", "{}"],
  ];

  it.each(bad)("are dropped and counted when one is %s (%s %s)", async (why, type, payload) => {
    notices.open(sink);
    notices.hear(type, Buffer.from(payload));
    await settle();
    expect([health, reports, events]).toEqual([[], [], []]);
    expect(lines).toEqual([
      expect.objectContaining({ wolf_id: "wlf_1", msg: "notices dropped", why, type, dropped: 1 }),
    ]);
  });

  it("are dropped when they are not UTF-8", () => {
    notices.open(sink);
    notices.hear("heartbeat", Buffer.from([0x22, 0xff, 0x22]));
    expect(lines).toEqual([expect.objectContaining({ why: "not JSON" })]);
  });

  it("of any bytes throw nothing", () => {
    notices.open(sink);
    const types = fc.oneof(fc.constantFrom("heartbeat", "inventory", "wolf-event"), fc.string());
    const payloads = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.json().map((text) => new TextEncoder().encode(text)),
    );
    fc.assert(
      fc.property(types, payloads, (type, payload) => {
        notices.hear(type, payload);
      }),
    );
  });

  it("are taken up to a burst of 500, then a hundred per second", () => {
    notices.open(sink);
    for (let seq = 1; seq <= 600; seq += 1) say("wolf-event", event(seq));
    expect(events).toHaveLength(500);
    clock.advance(1000);
    for (let seq = 601; seq <= 800; seq += 1) say("wolf-event", event(seq));
    expect(events).toHaveLength(600);
  });

  it("in a flood cost one line per ten seconds and one at the end, and together they count all", () => {
    notices.open(sink);
    for (let i = 0; i < 2000; i += 1) say("nonsense", {});
    expect(lines).toHaveLength(1);
    clock.advance(10_000);
    say("nonsense", {});
    expect(lines).toHaveLength(2);
    for (let i = 0; i < 10; i += 1) say("nonsense", {});
    notices.close();
    expect(lines.map(({ dropped }) => dropped)).toEqual([1, 2000, 10]);
    expect(lines.at(-1)?.dropped_total).toBe(2011);
  });

  it("after the end of the tunnel are not heard, and nothing is written any more", async () => {
    let failing = true;
    notices.open({
      ...sink,
      async health() {
        if (failing) throw new Error("the database is down");
        health.push("late");
      },
    });
    say("heartbeat", { wolf: "slow" });
    await settle();
    expect(lines).toEqual([expect.objectContaining({ msg: "notice not written yet" })]);
    notices.close();
    failing = false;
    say("wolf-event", event(1));
    clock.advance(60_000);
    await settle();
    expect([health, events]).toEqual([[], []]);
    expect(clock.pending).toBe(0);
  });

  it("that came early are forgotten when the tunnel ends before its epoch is known", () => {
    say("wolf-event", event(1));
    notices.close();
    notices.open(sink);
    expect(events).toEqual([]);
  });

  it("are written once the database is back", async () => {
    let failing = true;
    notices.open({
      ...sink,
      async report(report) {
        if (failing) throw new Error("the database is down");
        reports.push(report);
      },
    });
    say("inventory", inventory);
    await settle();
    failing = false;
    clock.advance(5000);
    await settle();
    expect(reports).toHaveLength(1);
  });
});
