/** What both stores of wolves promise about hosts whose agent is one of Helix. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { aDisk, aUsage } from "../../test/a-wolf.ts";
import { aReport, at, implementations, lenient, mustBe, OWNER, type Stores } from "../../test/stores.ts";
import { newId } from "../ids.ts";
import type { DaemonReport, TunnelOrigin, Wolf, WolfStore } from "./wolf-store.ts";

const ofHelix: TunnelOrigin = { protocol: "helix", legacyCredential: true };

describe.each(implementations)("hosts of Helix in %s", (_name, open) => {
  let stores: Stores;
  let store: WolfStore;
  beforeAll(async () => {
    stores = await open();
  });
  beforeEach(async () => {
    await stores.clear();
    await stores.addOwner(OWNER);
    store = stores.wolves;
  });
  afterAll(() => stores.close());

  const register = (name: string) =>
    store.register({ id: newId("wlf"), name, address: "10.0.0.1", ...aReport() }, at(0));
  const reload = (id: string): Promise<Wolf> => mustBe(store.get(id));
  const all = () => store.list({ limit: 100, after: undefined });

  describe("the tunnel of a wolf", () => {
    it("is one of an agent of ours with its own key, unless something else is said", async () => {
      const { id, tunnelBy } = await register("a");
      const native = { protocol: "revdial", legacyCredential: false };
      expect(tunnelBy).toEqual(native);
      expect(await store.openTunnel(id, at(1))).toMatchObject({ tunnelBy: native, epoch: 1 });
    });

    it("says how the newest was opened, with its epoch", async () => {
      const { id } = await register("a");
      for (const [n, tunnelBy] of [ofHelix, { ...ofHelix, protocol: "revdial" as const }].entries()) {
        const opened = await store.openTunnel(id, at(1), tunnelBy);
        expect(opened).toMatchObject({ tunnelBy, epoch: n + 1 });
        expect(await reload(id)).toEqual(opened);
      }
      expect(await store.openTunnel(id, at(2))).toMatchObject({ tunnelBy: { legacyCredential: false } });
    });

    it("of an unknown wolf does not open", async () => {
      expect(await store.openTunnel(newId("wlf"), at(1), ofHelix)).toBeUndefined();
    });

    it("says how it was opened also when it is lost", async () => {
      const { id } = await register("a");
      const { epoch } = await mustBe(store.openTunnel(id, at(1), ofHelix));
      await store.loseTunnel(id, epoch, lenient, at(2));
      expect(await reload(id)).toMatchObject({ tunnelSince: null, tunnelBy: ofHelix });
    });
  });

  /** With everything that an agent of ours says, and a live tunnel. */
  async function described(): Promise<Wolf> {
    const { id } = await register("a");
    const { epoch } = await mustBe(store.openTunnel(id, at(1)));
    const gpu = { model: "RTX 4090", renderNode: "/dev/dri/renderD128", vramMb: 24_000 };
    const report = aReport({ agentVersion: "1.2.3", encoderSessionsMax: 8, labels: { rack: "7" } });
    await store.changeReport(id, epoch, { ...report, gpu }, at(2));
    await store.changeHealth(id, epoch, "failed", [{ code: "wolf-stuck", detail: "x" }], at(2));
    await store.changeCapabilities(id, epoch, { schema_hash: "1", features: [], missing: ["GET /x"] }, at(2));
    await store.changeImages(id, epoch, [], at(2));
    const figures = {
      id: "gpu-0",
      utilisation_percent: 1,
      vram_used_bytes: 2 ** 30,
      encoder_sessions: 2,
      encoder_percent: 3,
    };
    await store.changeUsage(
      id,
      epoch,
      { usage: aUsage({ gpus: [figures] }), wolfRestarts: 4, sampleIds: ["d"] },
      at(2),
    );
    const wolf = await reload(id);
    expect(wolf).toMatchObject({ vramMb: { other: 1024 }, encoderSessions: { other: 2 }, wolfRestarts: 4 });
    return wolf;
  }

  describe("an agent of Helix after one of ours", () => {
    it("leaves what the host consists of, and nothing that would never change again", async () => {
      const before = await described();
      const after = await mustBe(store.openTunnel(before.id, at(3), ofHelix));
      expect(after).toEqual({
        ...before,
        epoch: 2,
        tunnelSince: at(3),
        tunnelBy: ofHelix,
        lastHeartbeat: at(3),
        updatedAt: at(3),
        health: "ok",
        healthReasons: [],
        capabilities: null,
        images: null,
        usage: null,
        agentVersion: null,
        wolfRestarts: 0,
        vramMb: { ...before.vramMb, other: 0 },
        encoderSessions: { ...before.encoderSessions, other: 0 },
      });
    });

    it("forgets once: its next tunnel keeps what was said meanwhile", async () => {
      const { id } = await described();
      const { epoch } = await mustBe(store.openTunnel(id, at(3), ofHelix));
      await store.changeHealth(id, epoch, "degraded", [{ code: "wolf-slow", detail: "9 s" }], at(4));
      await store.heartbeat(id, { daemon: disksOf("/var") }, at(4));
      const again = await store.openTunnel(id, at(5), ofHelix);
      expect(again).toMatchObject({ health: "degraded", usage: { disks: [{ mount: "/var" }] } });
    });

    it("is followed by one of ours without a gap: what is known stays until that says more", async () => {
      const { id } = await register("a");
      await store.openTunnel(id, at(1), ofHelix);
      await store.heartbeat(id, { daemon: disksOf("/var") }, at(2));
      expect(await store.openTunnel(id, at(3))).toMatchObject({ usage: { disks: [{ mount: "/var" }] } });
    });
  });

  const disksOf = (...mounts: string[]): DaemonReport => ({
    disks: {
      usage: aUsage({
        memory_available_bytes: null,
        gpu_state: null,
        disks: mounts.map((mount) => aDisk(mount)),
      }),
      sampleIds: mounts.map(() => newId("dsk")),
    },
  });

  describe("registration by the first tunnel", () => {
    it("of an unknown name makes a wolf that nobody has described", async () => {
      const wolf = await store.registerOnConnect("gpu-1", "192.0.2.7", at(5));
      expect(wolf).toMatchObject({
        id: expect.stringMatching(/^wlf_[0-9A-Z]{26}$/),
        name: "gpu-1",
        address: "192.0.2.7",
        gpuType: "none",
        maxSandboxes: 20,
        labels: {},
        intent: "active",
        connectivity: "connected",
        lastHeartbeat: at(5),
        epoch: 0,
        tunnelSince: null,
        createdAt: at(5),
      });
      expect(await store.getByName("gpu-1")).toEqual(wolf);
    });

    it("of a known name changes nothing", async () => {
      const known = await described();
      expect(await store.registerOnConnect("a", "192.0.2.7", at(9))).toEqual(known);
      expect(await reload(known.id)).toEqual(known);
    });

    it("fifty times at once makes one wolf, and all are told of it", async () => {
      const wolves = await Promise.all(
        Array.from({ length: 50 }, (_, n) => store.registerOnConnect("gpu-1", `192.0.2.${n}`, at(n))),
      );
      expect(await all()).toEqual([wolves[0]]);
      for (const wolf of wolves) expect(wolf).toEqual(wolves[0]);
    });

    it("at the same time as a removal answers a wolf that was there", async () => {
      const { id } = await register("a");
      const [wolf] = await Promise.all([
        store.registerOnConnect("a", "", at(1)),
        store.deregister(id, false, at(1)),
      ]);
      expect(wolf.name).toBe("a");
    });

    it("does not lift what an operator decided, nor a retirement", async () => {
      const { id } = await register("a");
      await store.changeIntent(id, { from: ["active"], to: "retired", reason: "sold" }, at(1));
      expect(await store.registerOnConnect("a", "", at(2))).toMatchObject({ id, intent: "retired" });
    });

    it("makes another wolf of the same name once the first was removed", async () => {
      const { id } = await store.registerOnConnect("a", "", at(0));
      await store.deregister(id, false, at(1));
      expect((await store.registerOnConnect("a", "", at(2))).id).not.toBe(id);
    });

    it("tells names apart by case and takes none of them for SQL", async () => {
      for (const name of ["a", "A", "' OR 1=1 --"]) await store.registerOnConnect(name, "", at(0));
      expect((await all()).map(({ name }) => name).sort()).toEqual(["' OR 1=1 --", "A", "a"]);
    });
  });

  describe("a heartbeat of its daemon", () => {
    it("tells the GPU's type and the disks of a host that nobody else describes", async () => {
      const { id } = await store.registerOnConnect("a", "", at(0));
      expect(await store.heartbeat(id, { daemon: { gpuType: "amd", ...disksOf("/", "/var") } }, at(5))).toBe(
        true,
      );
      const wolf = await reload(id);
      expect(wolf).toMatchObject({ gpuType: "amd", maxSandboxes: 20, lastHeartbeat: at(5), health: "ok" });
      expect(wolf.usage).toMatchObject({ received_at: at(5).toISOString(), gpu_state: null });
      expect(wolf.usage?.disks.map(({ mount }) => mount)).toEqual(["/", "/var"]);
    });

    it("without either leaves both as they are", async () => {
      const { id } = await store.registerOnConnect("a", "", at(0));
      await store.heartbeat(id, { daemon: { gpuType: "amd", ...disksOf("/") } }, at(5));
      await store.heartbeat(id, { daemon: {} }, at(6));
      expect(await reload(id)).toMatchObject({
        gpuType: "amd",
        usage: { received_at: at(5).toISOString() },
        lastHeartbeat: at(6),
      });
    });

    it("is not believed where the newest tunnel is one of ours, live or lost", async () => {
      const { id, epoch } = await described();
      const said = async () => {
        await store.heartbeat(id, { daemon: { gpuType: "intel", ...disksOf("/var") } }, at(9));
        const { gpuType, usage, lastHeartbeat } = await reload(id);
        return { gpuType, mounts: usage?.disks.map(({ mount }) => mount), lastHeartbeat };
      };
      const ours = { gpuType: "nvidia", mounts: ["/"], lastHeartbeat: at(1) };
      expect(await said()).toEqual(ours);
      await store.loseTunnel(id, epoch, lenient, at(5));
      expect(await said()).toEqual(ours);
    });

    it("says of a wolf that has had a tunnel nothing about whether it is there", async () => {
      const { id } = await register("a");
      const { epoch } = await mustBe(store.openTunnel(id, at(1), ofHelix));
      await store.heartbeat(id, { daemon: {} }, at(30));
      expect(await reload(id)).toMatchObject({ connectivity: "connected", lastHeartbeat: at(1) });
      await store.loseTunnel(id, epoch, lenient, at(40));
      await store.heartbeat(id, { daemon: {} }, at(50));
      expect(await reload(id)).toMatchObject({ connectivity: "suspect", connectivitySince: at(40) });
      await store.markLost(id, epoch, at(60));
      await store.heartbeat(id, { daemon: { gpuType: "amd" } }, at(70));
      expect(await reload(id)).toMatchObject({
        connectivity: "lost",
        connectivitySince: at(60),
        lastHeartbeat: at(1),
        gpuType: "amd",
      });
    });

    it("does not keep a tunnel that exists in the database only", async () => {
      const { id } = await register("a");
      await store.openTunnel(id, at(1), ofHelix);
      await store.heartbeat(id, { daemon: {} }, at(100));
      expect(await store.markStale(at(90), [], at(130))).toEqual(["a"]);
    });

    it("brings back a wolf that never had a tunnel", async () => {
      const { id } = await register("a");
      await store.markStale(at(10), [], at(130));
      await store.heartbeat(id, { daemon: {} }, at(140));
      expect(await reload(id)).toMatchObject({ connectivity: "connected", connectivitySince: at(140) });
    });

    it("of an unknown wolf says so and makes none", async () => {
      expect(await store.heartbeat(newId("wlf"), { daemon: disksOf("/") }, at(5))).toBe(false);
      expect(await all()).toEqual([]);
    });
  });
});
