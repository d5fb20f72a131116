/** Routes as Helix's daemons and clients use them, on a whole control plane. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { HelixDiskHistory, WolfInstance } from "@wolfpack/api-contract";
import request from "supertest";
import { sessionSettings } from "../../test/a-session.ts";
import { aDisk, aUsage } from "../../test/a-wolf.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../../test/control-plane.ts";
import { newId } from "../ids.ts";
import { prismaWolfStore } from "./wolf-store.prisma.ts";
import type { WolfStore } from "./wolf-store.ts";

let api: TestControlPlane;
let store: WolfStore;
let user: { id: string; key: string };

beforeAll(async () => {
  api = await startControlPlane({ healthIntervalMs: 3_600_000 });
  store = prismaWolfStore(api.database.prisma);
  user = await api.user("anna");
});
beforeEach(async () => {
  await api.database.prisma.agentKey.deleteMany();
  await api.database.prisma.wolfInstance.deleteMany();
});
afterAll(() => api.stop());

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const post = (path: string, body: object, key = RUNNER_TOKEN) =>
  request(api.url).post(`/api/v1/${path}`).set(bearer(key)).send(body);
const get = (path: string, key = user.key) => request(api.url).get(`/api/v1/${path}`).set(bearer(key));
const remove = (path: string, key = api.adminKey) =>
  request(api.url).delete(`/api/v1/${path}`).set(bearer(key));
const beat = (name: string, body: object, key?: string) =>
  post(`wolf-instances/${name}/heartbeat`, body, key);
const wolfNamed = async (name: string): Promise<WolfInstance> =>
  WolfInstance.parse((await get(`wolf-instances/${name}`).expect(200)).body);

/** As its agent's first tunnel makes one. */
const connected = async (name: string) => {
  const { id } = await store.registerOnConnect(name, "192.0.2.7", new Date());
  const opened = await store.openTunnel(id, new Date(), { protocol: "helix", legacyCredential: true });
  if (opened === undefined) throw new Error("the wolf is gone");
  return opened;
};
const disk = (mount_point: string, more: object = {}) => ({
  mount_point,
  total_bytes: 1000 * 2 ** 20,
  used_bytes: 820 * 2 ** 20 + 1,
  avail_bytes: 180 * 2 ** 20 - 1,
  used_percent: 82.000_000_1,
  alert_level: "warning",
  ...more,
});
const daemonsBody = {
  desktop_versions: { sway: "a1b2c3" },
  disk_usage: [disk("/var"), disk("/", { alert_level: "ok" })],
  container_usage: [{ container_id: "c", container_name: "n", size_bytes: 1, rw_size_bytes: 0 }],
  privileged_mode_enabled: false,
  gpu_vendor: "nvidia",
  render_node: "/dev/dri/renderD128",
  service_health: { hydra: "ok" },
};

describe("a wolf instance", () => {
  it("shows what its tunnel speaks, and whether it was opened with the token that all hosts share", async () => {
    const { id } = await connected("gpu-1");
    const { tunnel, legacy_credential } = await wolfNamed("gpu-1");
    expect(legacy_credential).toBe(true);
    expect(tunnel).toMatchObject({ epoch: 1, since: expect.any(String), rtt_ms: null, protocol: "helix" });
    await store.loseTunnel(id, 1, sessionSettings().quarantine, new Date());
    // Away or not: switching the shared token off would lock it out.
    expect(await wolfNamed("gpu-1")).toMatchObject({ tunnel: null, legacy_credential: true });
    await store.openTunnel(id, new Date());
    expect(await wolfNamed("gpu-1")).toMatchObject({
      tunnel: { protocol: "revdial" },
      legacy_credential: false,
    });
    expect((await get("wolf-instances")).body[0].tunnel).toMatchObject({ protocol: "revdial" });
  });
});

describe("the heartbeat of Helix's daemon", () => {
  it("names the wolf by its name, and tells of its GPU and disks", async () => {
    const { id } = await connected("gpu-1");
    expect((await beat("gpu-1", daemonsBody).expect(200)).body).toEqual({ status: "ok" });
    const wolf = await wolfNamed("gpu-1");
    expect(wolf).toMatchObject({ id, gpu_type: "nvidia", max_sandboxes: 20, status: "online", images: null });
    expect(wolf.usage).toMatchObject({
      cpu_load: null,
      memory_available_bytes: null,
      disks: [
        { mount: "/var", level: "warning", available_bytes: 180 * 2 ** 20 - 1 },
        { mount: "/", level: "ok" },
      ],
    });
    const samples = (await get("wolf-instances/gpu-1/disk-history").expect(200)).body;
    expect(samples.map(({ mount }: { mount: string }) => mount)).toEqual(["/var", "/"]);
  });

  it.each([
    [{ gpu_vendor: "AMD" }, "amd"],
    [{ gpu_vendor: "neuron" }, "none"],
    [{ gpu_vendor: "none" }, "none"],
    [{ gpu_vendor: "nvidia", render_node: "SOFTWARE" }, "none"],
    [{ gpu_vendor: "" }, "intel"],
    [{ gpu_vendor: null, desktop_versions: null }, "intel"],
    [{ privileged_mode_enabled: true }, "intel"],
  ])("of %j makes an Intel host %s", async (body, gpuType) => {
    const { id } = await connected("gpu-1");
    await store.heartbeat(id, { gpuType: "intel" }, new Date());
    await beat("gpu-1", body).expect(200);
    expect((await wolfNamed("gpu-1")).gpu_type).toBe(gpuType);
  });

  it.each([
    [{ used_percent: 79.9, alert_level: "" }, "ok"],
    [{ used_percent: 80, alert_level: "full" }, "warning"],
    [{ used_percent: 95, alert_level: null }, "critical"],
    [{ used_percent: undefined, alert_level: undefined }, "warning"],
    [{ used_percent: null, total_bytes: 0, alert_level: null }, "ok"],
    [{ used_percent: 1, alert_level: "critical" }, "critical"],
  ])("of a disk with %j gives it the level %s", async (more, level) => {
    await connected("gpu-1");
    await beat("gpu-1", { disk_usage: [disk("/", more)] }).expect(200);
    expect((await wolfNamed("gpu-1")).usage?.disks[0]?.level).toBe(level);
  });

  it("is taken by its later path too, and with the wolf's id", async () => {
    const { id } = await connected("gpu-1");
    await post("sandboxes/gpu-1/heartbeat", daemonsBody).expect(200);
    expect((await wolfNamed("gpu-1")).gpu_type).toBe("nvidia");
    await post(`sandboxes/${id}/heartbeat`, { gpu_vendor: "amd" }).expect(200);
    expect((await wolfNamed(id)).gpu_type).toBe("amd");
  });

  it("is one sample for every five minutes, however often it comes", async () => {
    await connected("gpu-1");
    for (let n = 0; n < 5; n += 1) await beat("gpu-1", daemonsBody).expect(200);
    // Five minutes may have begun in between.
    expect([2, 4]).toContain(await api.database.prisma.diskSample.count());
  });

  it("changes nothing that an agent of ours says", async () => {
    const { id } = await store.registerOnConnect("gpu-1", "", new Date());
    const { epoch = 0 } = (await store.openTunnel(id, new Date())) ?? {};
    const usage = aUsage({ disks: [aDisk("/ours")] });
    await store.changeUsage(id, epoch, { usage, wolfRestarts: 0, sampleIds: [newId("dsk")] }, new Date());
    await beat("gpu-1", daemonsBody).expect(200);
    expect(await wolfNamed("gpu-1")).toMatchObject({
      gpu_type: "none",
      usage: { disks: [{ mount: "/ours" }] },
    });
    expect(await api.database.prisma.diskSample.count()).toBe(1);
  });

  it("does not bring back a wolf whose tunnel is lost", async () => {
    const { id } = await connected("gpu-1");
    await api.database.prisma.wolfInstance.update({
      where: { id },
      data: { connectivity: "lost", tunnel_since: null },
    });
    await beat("gpu-1", daemonsBody).expect(200);
    expect(await wolfNamed("gpu-1")).toMatchObject({ status: "offline", connectivity: "lost", tunnel: null });
  });

  it("of a name or id that nobody has is a 404, whatever it looks like", async () => {
    await connected("gpu-1");
    for (const name of [
      "local",
      "GPU-1",
      "wolf-gpu-1",
      newId("wlf"),
      newId("ses"),
      "wlf_1",
      "%00",
      "a%2fb",
      "..%2f",
    ])
      for (const path of ["wolf-instances", "sandboxes"]) {
        const answer = await post(`${path}/${name}/heartbeat`, daemonsBody);
        expect([name, answer.status, answer.body.code]).toEqual([name, 404, "wolf-not-found"]);
      }
    expect((await wolfNamed("gpu-1")).usage).toBeNull();
  });

  const bad: [string, object, string][] = [
    ["a vendor that is a list", { gpu_vendor: ["nvidia"] }, "body.gpu_vendor"],
    ["a vendor with a control character", { gpu_vendor: "nvidia\u001b[31m" }, "body.gpu_vendor"],
    ["disks that are text", { disk_usage: "/" }, "body.disk_usage"],
    [
      "a thousand disks",
      { disk_usage: Array.from({ length: 400 }, (_, n) => disk(`/${n}`)) },
      "body.disk_usage",
    ],
    ["a disk twice", { disk_usage: [disk("/"), disk("/")] }, "body.disk_usage"],
    ["a disk without figures", { disk_usage: [{ mount_point: "/" }] }, "body.disk_usage.0.total_bytes"],
    ["NUL in a mount point", { disk_usage: [disk("/\u0000")] }, "body.disk_usage.0.mount_point"],
    ["bytes as text", { disk_usage: [disk("/", { used_bytes: "1" })] }, "body.disk_usage.0.used_bytes"],
    ["an unknown field and none of its own", { desktop_version: {} }, "body.desktop_version"],
  ];
  it.each(bad)("with %s is refused, names the place and changes nothing", async (_what, body, place) => {
    await connected("gpu-1");
    const answer = await beat("gpu-1", body).expect(400);
    expect([answer.body.code, answer.body.errors[0].path]).toEqual(["invalid-request", place]);
    expect((await wolfNamed("gpu-1")).usage).toBeNull();
    expect(await api.database.prisma.diskSample.count()).toBe(0);
  });

  it("of more than 64 KiB is refused", async () => {
    await connected("gpu-1");
    const containers = Array.from({ length: 2000 }, (_, n) => ({
      container_id: `container-${n}`,
      size_bytes: n,
    }));
    const answer = await beat("gpu-1", { container_usage: containers });
    expect([answer.status, answer.body.code]).toEqual([413, "payload-too-large"]);
  });

  it("with the shared token is refused for a wolf that has a key, by name as by id, and leaves an event", async () => {
    const { id } = await connected("gpu-1");
    await api.database.prisma.agentKey.create({
      data: {
        id: newId("agk"),
        wolf_instance_id: id,
        public_key: Buffer.alloc(32, 7),
        status: "active",
        enrolled_by: "runner-token",
        created_at: new Date(),
        expires_at: new Date(Date.now() + 60_000),
      },
    });
    for (const path of [`wolf-instances/${id}`, "wolf-instances/gpu-1", "sandboxes/gpu-1"])
      expect((await post(`${path}/heartbeat`, daemonsBody).expect(403)).body.code).toBe("forbidden");
    expect(await wolfNamed("gpu-1")).toMatchObject({ gpu_type: "none", usage: null });
    await beat("gpu-1", daemonsBody, api.adminKey).expect(200);
  });

  it("is for nobody else", async () => {
    await connected("gpu-1");
    await beat("gpu-1", daemonsBody, user.key).expect(403);
    await request(api.url).post("/api/v1/sandboxes/gpu-1/heartbeat").send(daemonsBody).expect(401);
  });
});

describe("the shared token where it only enrols", () => {
  let strict: TestControlPlane;
  beforeAll(async () => {
    strict = await startControlPlane({ legacyRunnerToken: false });
  });
  afterAll(() => strict.stop());

  it("registers and keeps alive no wolf, known or not, and does not say which is there", async () => {
    await prismaWolfStore(strict.database.prisma).registerOnConnect("gpu-1", "", new Date());
    const calls: [string, object][] = [
      ["wolf-instances/register", { name: "gpu-2", address: "x" }],
      ["sandboxes/register", { name: "gpu-2", address: "x" }],
      ["wolf-instances/gpu-1/heartbeat", daemonsBody],
      ["sandboxes/gpu-1/heartbeat", daemonsBody],
      ["sandboxes/gpu-2/heartbeat", daemonsBody],
    ];
    for (const [path, body] of calls) {
      const answer = await request(strict.url).post(`/api/v1/${path}`).set(bearer(RUNNER_TOKEN)).send(body);
      expect([path, answer.status, answer.body.code]).toEqual([path, 403, "forbidden"]);
    }
    expect(await strict.database.prisma.wolfInstance.count()).toBe(1);
  });
});

describe("the registry in Helix's words", () => {
  it("registers by either path, and the same name is the same wolf", async () => {
    const body = { name: "gpu-1", address: "10.0.0.1:1234", max_sandboxes: 0, gpu_type: "Quadro" };
    const first = (await post("wolf-instances/register", body).expect(200)).body;
    const again = (await post("sandboxes/register", body).expect(200)).body;
    expect(WolfInstance.parse(again)).toMatchObject({ id: first.id, max_sandboxes: 10, gpu_type: "none" });
  });

  it("is listed and removed by the later path too, with the wolf's name or id", async () => {
    const { id } = await connected("gpu-1");
    expect((await get("sandboxes").expect(200)).body).toEqual((await get("wolf-instances")).body);
    expect((await get("sandboxes?name=gpu-1")).body).toMatchObject([{ id }]);
    await remove("sandboxes/gpu-1", user.key).expect(403);
    expect((await remove("sandboxes/gpu-1").expect(200)).body).toEqual({ status: "ok" });
    expect((await remove("wolf-instances/gpu-1").expect(404)).body.code).toBe("wolf-not-found");
    const again = await connected("gpu-1");
    await remove(`sandboxes/${again.id}`).expect(200);
    expect((await get("sandboxes")).body).toEqual([]);
  });

  it("removes under its id in the audit log, whatever it was called", async () => {
    const { id } = await connected("gpu-9");
    await remove("wolf-instances/gpu-9").expect(200);
    const events = await api.database.prisma.auditEvent.findMany({
      where: { action: "wolf.remove", object: { in: [id, "gpu-9"] } },
    });
    expect(events.map(({ object, result }) => [object, result])).toEqual([[id, "allowed"]]);
  });

  it("steers a wolf by its id only", async () => {
    await connected("gpu-1");
    const answer = await post("wolf-instances/gpu-1/cordon", {}, api.adminKey).expect(404);
    expect(answer.body.code).toBe("wolf-not-found");
  });
});

describe("GET /wolf-instances/{id}/disk-history?hours=", () => {
  const HOUR_MS = 3_600_000;
  const history = async (query: string, id = "gpu-1"): Promise<HelixDiskHistory> =>
    HelixDiskHistory.parse((await get(`wolf-instances/${id}/disk-history?${query}`).expect(200)).body);

  /** A sample of each mount, so many hours ago. */
  async function fill(wolf: { id: string }, ...hours: number[]): Promise<void> {
    for (const ago of hours) {
      const at = new Date(Date.now() - ago * HOUR_MS);
      const disks = ["/", "/var"].map((mount) =>
        aDisk(mount, { total_bytes: 3 * 2 ** 20, used_bytes: 2 ** 20 + 5 }),
      );
      const usage = aUsage({ disks });
      const sampleIds = disks.map(() => newId("dsk"));
      await store.heartbeat(wolf.id, { daemon: { disks: { usage, sampleIds } } }, at);
    }
  }

  it("answers an object with the wolf, its samples in MiB, and no containers", async () => {
    const wolf = await connected("gpu-1");
    await fill(wolf, 30, 2);
    const answer = await history("hours=24");
    expect(answer).toMatchObject({ wolf_instance_id: wolf.id, wolf_name: "gpu-1", containers: [] });
    const figures = { total_mb: 3, used_mb: 1, avail_mb: 55 * 1024, used_percent: 33.33, alert_level: "ok" };
    expect(answer.history).toEqual(
      ["/", "/var"].map((mount_point) => ({ ...figures, timestamp: expect.any(String), mount_point })),
    );
    expect((await history("hours=24", wolf.id)).history).toEqual(answer.history);
  });

  it.each([
    ["1", 0],
    ["3", 1],
    ["24", 1],
    ["168", 3],
    ["169", 1],
    ["0", 1],
    ["-5", 1],
    ["", 1],
    ["week", 1],
    ["1e2", 1],
  ])("of %s hours has %s samples of a mount", async (hours, samples) => {
    await fill(await connected("gpu-1"), 160, 100, 2);
    expect((await history(`hours=${hours}&mount=%2Fvar`)).history).toHaveLength(samples);
  });

  it("has the newest ten thousand, oldest first", async () => {
    const { id } = await connected("gpu-1");
    await api.database.prisma.$executeRaw`
      INSERT INTO disk_sample (id, wolf_instance_id, mount, slot, at, total_bytes, used_bytes, available_bytes, level)
      SELECT 'dsk_' || lpad(n::text, 6, '0'), ${id}, '/' || n, n, now() - interval '1 hour' + n * interval '1 millisecond', 1, 1, 0, 'ok'
      FROM generate_series(1, 10010) AS n`;
    const mounts = (await history("hours=24")).history.map(({ mount_point }) => mount_point);
    expect([mounts.length, mounts[0], mounts.at(-1)]).toEqual([10_000, "/11", "/10010"]);
  });

  it("left out answers the list as ever", async () => {
    await fill(await connected("gpu-1"), 2);
    const { body } = await get("sandboxes/gpu-1/disk-history?limit=1").expect(200);
    expect(body).toMatchObject([{ id: expect.stringMatching(/^dsk_/), mount: "/" }]);
  });

  it("of a wolf that is not there is a 404, and with pages or a range a 400", async () => {
    const { id } = await connected("gpu-1");
    for (const name of ["gpu-2", newId("wlf"), "%00"])
      expect((await get(`wolf-instances/${name}/disk-history?hours=24`).expect(404)).body.code).toBe(
        "wolf-not-found",
      );
    for (const more of [
      `cursor=${newId("dsk")}`,
      "since=2026-01-01T00:00:00Z",
      "until=2026-01-01T00:00:00Z",
      "hours=2",
    ])
      expect((await get(`wolf-instances/${id}/disk-history?hours=24&${more}`).expect(400)).body.code).toBe(
        "invalid-request",
      );
  });
});
