/** What a store of wolves promises, for both that there are. What only PostgreSQL can break is in wolf-races.test.ts. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { Connectivity, type HealthReason, type WolfImage } from "@wolfpack/api-contract";
import { aUsage } from "../../test/a-wolf.ts";
import {
  aPlaceableWolf,
  aSessionThatIs,
  at,
  implementations,
  lenient,
  mustBe,
  OWNER,
  type Stores,
} from "../../test/stores.ts";
import { newId } from "../ids.ts";
import { type ConnectivityEvent, connectivityTransitions, derivedStatus } from "./wolf-lifecycle.ts";
import type { Wolf, WolfReport, WolfStore } from "./wolf-store.ts";

const report: WolfReport = {
  gpuType: "nvidia",
  maxSandboxes: 4,
  labels: { rack: "7", "a/b": "ü 'quoted' {}" },
  region: "eu",
  costPerHour: 1.25,
  agentVersion: "0.1.0",
  encoderSessionsMax: 8,
};

describe.each(implementations)("wolves in %s", (_name, open) => {
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

  const slow: HealthReason = { code: "wolf-slow", detail: "9 s" };
  const register = (name: string, changes: Partial<WolfReport> = {}, now = at(0)) =>
    store.register({ id: newId("wlf"), name, address: "10.0.0.1", ...report, ...changes }, now);

  const reload = (id: string): Promise<Wolf> => mustBe(store.get(id));
  const count = async () => (await store.list({ limit: 2000, after: undefined })).length;

  /** A wolf with a live tunnel of epoch 1. */
  async function connected(name: string): Promise<Wolf> {
    const { id } = await register(name);
    return mustBe(store.openTunnel(id, at(1)));
  }

  describe("registering a wolf", () => {
    it("keeps every field", async () => {
      const wolf = await register("a");
      const { encoderSessionsMax, ...described } = report;
      expect(wolf).toEqual({
        ...described,
        id: expect.stringMatching(/^wlf_/),
        name: "a",
        address: "10.0.0.1",
        capabilities: null,
        connectivity: "connected",
        connectivitySince: at(0),
        health: "ok",
        healthReasons: [],
        intent: "active",
        intentSince: at(0),
        intentReason: null,
        drain: null,
        gpuModel: null,
        renderNode: null,
        connectedSandboxes: 0,
        otherLobbies: 0,
        vramMb: { max: null, claimed: 0, other: 0 },
        encoderSessions: { max: encoderSessionsMax, claimed: 0, other: 0 },
        reconciledEpoch: 0,
        createFailures: 0,
        quarantine: null,
        lastHeartbeat: at(0),
        epoch: 0,
        tunnelSince: null,
        tunnelReplicaId: null,
        tunnelRttMs: null,
        tunnelClockOffsetMs: null,
        tunnelBy: { protocol: "revdial", legacyCredential: false },
        host: null,
        usage: null,
        wolfRestarts: 0,
        images: null,
        createdAt: at(0),
        updatedAt: at(0),
      });
      expect(await store.get(wolf.id)).toEqual(wolf);
      expect(await store.getByName("a")).toEqual(wolf);
    });

    it("again resumes the same wolf with its tunnel, epoch and count, and takes the new description", async () => {
      const first = await aPlaceableWolf(store, "a", { vramMb: 8192 });
      await aSessionThatIs("running", stores, first);
      const before = await reload(first.id);
      const again = await register(
        "a",
        { gpuType: "amd", maxSandboxes: 9, region: null, encoderSessionsMax: 3 },
        at(60),
      );
      const { encoderSessionsMax: _, ...described } = report;
      expect(again).toEqual({
        ...before,
        ...described,
        address: "10.0.0.1",
        gpuType: "amd",
        maxSandboxes: 9,
        region: null,
        connectedSandboxes: 1,
        encoderSessions: { max: 3, claimed: 1, other: 0 },
        lastHeartbeat: at(60),
        updatedAt: at(60),
      });
    });

    it("thirty times at once under one name makes one wolf", async () => {
      const wolves = await Promise.all(Array.from({ length: 30 }, () => register("same")));
      expect(new Set(wolves.map(({ id }) => id)).size).toBe(1);
      expect(await count()).toBe(1);
    });

    it("tells names apart by case and takes none of them for SQL", async () => {
      const names = ["a", "A", "a.b-c_d", "x".repeat(63)];
      for (const name of names) await register(name);
      expect(await store.getByName("' OR 1=1 --")).toBeUndefined();
      expect((await store.list({ limit: 10, after: undefined })).map(({ name }) => name)).toEqual(names);
    });

    it("does not lift what an operator decided", async () => {
      const { id } = await register("a");
      await store.changeIntent(id, { from: ["active"], to: "cordoned", reason: "noisy" }, at(1));
      expect((await register("a")).intent).toBe("cordoned");
    });
  });

  describe("a heartbeat by HTTP", () => {
    it("changes only what it names", async () => {
      const { id } = await register("a");
      expect(await store.heartbeat(id, {}, at(5))).toBe(true);
      expect(await reload(id)).toMatchObject({ gpuType: "nvidia", maxSandboxes: 4, lastHeartbeat: at(5) });
      await store.heartbeat(id, { maxSandboxes: 7 }, at(6));
      await store.heartbeat(id, { gpuType: "intel" }, at(7));
      expect(await reload(id)).toMatchObject({ gpuType: "intel", maxSandboxes: 7, lastHeartbeat: at(7) });
    });

    it("of an unknown wolf says so and makes none", async () => {
      expect(await store.heartbeat(newId("wlf"), { maxSandboxes: 7 }, at(5))).toBe(false);
      expect(await count()).toBe(0);
    });
  });

  describe("heartbeats of live tunnels", () => {
    it("are written in one statement, and those of an older epoch are left out", async () => {
      const wolves = [];
      for (const name of ["a", "b", "c"]) wolves.push(await connected(name));
      const [a, b, c] = wolves as [Wolf, Wolf, Wolf];
      await store.openTunnel(b.id, at(2));
      const beats = [...[a, b, c].map(({ id, epoch }) => ({ id, epoch })), { id: newId("wlf"), epoch: 1 }];
      expect(await store.heartbeats(beats, at(9))).toBe(2);
      expect((await reload(a.id)).lastHeartbeat).toEqual(at(9));
      expect((await reload(b.id)).lastHeartbeat).toEqual(at(2));
      expect((await reload(c.id)).lastHeartbeat).toEqual(at(9));
    });

    it("of nobody cost nothing", async () => {
      expect(await store.heartbeats([], at(9))).toBe(0);
    });

    it("of a thousand wolves fit into the statement", async () => {
      const beats = [];
      for (let n = 0; n < 1000; n += 1) {
        const { id } = await register(`w${n}`);
        beats.push({ id, epoch: 0 });
      }
      expect(await store.heartbeats(beats, at(9))).toBe(1000);
    });
  });

  describe("a tunnel", () => {
    it("gets a new epoch each time, also when twenty open at once", async () => {
      const { id } = await register("a");
      const opened = await Promise.all(Array.from({ length: 20 }, () => store.openTunnel(id, at(1))));
      expect(opened.map((wolf) => wolf?.epoch).sort((x = 0, y = 0) => x - y)).toEqual(
        Array.from({ length: 20 }, (_, i) => i + 1),
      );
    });

    it("of an unknown wolf does not open", async () => {
      expect(await store.openTunnel(newId("wlf"), at(1))).toBeUndefined();
    });

    it("gives an epoch above one that an older database has forgotten", async () => {
      const { id } = await register("restored");
      expect(await store.openTunnel(id, at(1), undefined, { after: 9 })).toMatchObject({ epoch: 10 });
      expect(await store.openTunnel(id, at(2), undefined, { after: 3 })).toMatchObject({ epoch: 11 });
    });

    it.each([-300_000, -1, 0, 45_000, 300_000])(
      "keeps how far its host's clock is off (%d ms)",
      async (ms) => {
        const { id } = await register("a");
        const opened = await mustBe(store.openTunnel(id, at(1), undefined, { clockOffsetMs: ms }));
        expect(opened.tunnelClockOffsetMs).toBe(ms);
        await store.heartbeats([{ id, epoch: opened.epoch, rttMs: 4 }], at(2));
        expect((await reload(id)).tunnelClockOffsetMs).toBe(ms);
        expect((await store.candidates())[0]?.tunnelClockOffsetMs).toBe(ms);
      },
    );

    it("knows nothing of a clock that it was not told, whatever the tunnel before knew", async () => {
      const { id } = await register("a");
      await store.openTunnel(id, at(1), undefined, { clockOffsetMs: 45_000 });
      expect(await store.openTunnel(id, at(2))).toMatchObject({ epoch: 2, tunnelClockOffsetMs: null });
      expect((await reload(id)).tunnelClockOffsetMs).toBeNull();
    });

    it("that was replaced cannot make its wolf suspect, lost, ill or otherwise described", async () => {
      const old = await connected("a");
      const now = (await store.openTunnel(old.id, at(2))) as Wolf;
      expect(await store.loseTunnel(old.id, old.epoch, lenient, at(3))).toBe(false);
      expect(await store.markLost(old.id, old.epoch, at(3))).toBe(false);
      expect(await store.changeHealth(old.id, old.epoch, "failed", [slow], at(3))).toBe(false);
      expect(await store.changeCapabilities(old.id, old.epoch, null, at(3))).toBe(false);
      expect(await store.changeImages(old.id, old.epoch, [], at(3))).toBe(false);
      expect(await store.changeReport(old.id, old.epoch, { ...report, maxSandboxes: 1 }, at(3))).toBe(false);
      const usage = { usage: aUsage(), wolfRestarts: 1, sampleIds: [newId("dsk")] };
      expect(await store.changeUsage(old.id, old.epoch, usage, at(3))).toBe(false);
      expect(await store.reconciled(old.id, old.epoch, 1, at(3))).toBe(false);
      expect(await reload(old.id)).toEqual(now);
    });

    it("is lost once: the second time changes nothing", async () => {
      const { id, epoch } = await connected("a");
      expect(await store.loseTunnel(id, epoch, lenient, at(3))).toBe(true);
      expect(await store.loseTunnel(id, epoch, lenient, at(4))).toBe(false);
      expect(await reload(id)).toMatchObject({
        connectivity: "suspect",
        connectivitySince: at(3),
        tunnelSince: null,
      });
    });

    it("that returns within the grace ends it: the late mark changes nothing", async () => {
      const { id, epoch } = await connected("a");
      await store.loseTunnel(id, epoch, lenient, at(3));
      const back = await store.openTunnel(id, at(4));
      expect(back).toMatchObject({ connectivity: "connected", connectivitySince: at(4), tunnelSince: at(4) });
      expect(await store.markLost(id, epoch, at(23))).toBe(false);
      expect((await reload(id)).connectivity).toBe("connected");
    });

    it("changes health with reasons, and back", async () => {
      const { id, epoch } = await connected("a");
      const reasons: HealthReason[] = [slow, { code: "disk-critical", detail: "x,{y}\"'" }];
      expect(await store.changeHealth(id, epoch, "degraded", reasons, at(5))).toBe(true);
      expect(await reload(id)).toMatchObject({ health: "degraded", healthReasons: reasons });
      await store.changeHealth(id, epoch, "ok", [], at(6));
      expect(await reload(id)).toMatchObject({ health: "ok", healthReasons: [], updatedAt: at(6) });
    });
  });

  describe("the images of a wolf", () => {
    it("are kept as its newest tunnel told them, unknown ones too, and are left out for placement", async () => {
      const { id, epoch } = await connected("a");
      const images: WolfImage[] = [
        {
          name: "xfce:edge",
          state: "present",
          id: "sha256:1",
          digest: null,
          size_bytes: 2 ** 40,
          created_at: null,
        },
        { name: "gone:1", state: "absent", id: null, digest: null, size_bytes: null, created_at: null },
      ];
      expect(await store.changeImages(id, epoch, images, at(5))).toBe(true);
      expect(await reload(id)).toMatchObject({ images, updatedAt: at(5) });
      expect((await store.candidates()).map((wolf) => wolf.images)).toEqual([null]);
      await store.loseTunnel(id, epoch, lenient, at(6));
      expect(await reload(id)).toMatchObject({ images });
      expect(await store.changeImages(id, epoch, null, at(7))).toBe(true);
      expect(await reload(id)).toMatchObject({ images: null });
      expect(await store.changeImages(id, epoch + 1, images, at(8))).toBe(false);
      expect(await store.changeImages(newId("wlf"), epoch, images, at(8))).toBe(false);
    });
  });

  describe("what an agent says again", () => {
    it("is known, and changes nothing, not even when the wolf was changed", async () => {
      const { id, epoch } = await connected("a");
      const say = async (now: Date) => [
        await store.changeHealth(id, epoch, "degraded", [slow], now),
        await store.changeCapabilities(id, epoch, null, now),
        await store.changeImages(id, epoch, [], now),
        await store.changeReport(id, epoch, { ...report, host: undefined }, now),
      ];
      expect(await say(at(5))).toEqual([true, true, true, true]);
      const before = await reload(id);
      expect(await say(at(9))).toEqual([true, true, true, true]);
      expect(await reload(id)).toEqual(before);
    });
  });

  describe("the epochs of wolves", () => {
    it("are those of all that are there, also retired ones, and of nobody else", async () => {
      const [one, other] = [await connected("a"), await register("b")];
      await store.changeIntent(one.id, { from: ["active"], to: "retired", reason: null }, at(2));
      const epochs = await store.epochs([one.id, other.id, one.id, newId("wlf")]);
      expect(Object.fromEntries(epochs)).toEqual({ [one.id]: 1, [other.id]: 0 });
      expect((await store.epochs([])).size).toBe(0);
    });
  });

  describe("stale wolves", () => {
    const stale = async (cutoff: Date, live: { id: string; epoch: number }[] = []) =>
      (await store.findStale(cutoff, live)).map(({ name }) => name);

    it("are those last heard before the cutoff, not at it", async () => {
      await register("old", {}, at(0));
      await register("edge", {}, at(10));
      await register("new", {}, at(11));
      expect(await stale(at(10))).toEqual(["old"]);
      expect(await store.markStale(at(10), [], at(130))).toEqual(["old"]);
      expect(await store.getByName("old")).toMatchObject({
        connectivity: "lost",
        connectivitySince: at(130),
      });
      expect(await store.getByName("edge")).toMatchObject({ connectivity: "connected" });
    });

    it("are marked once", async () => {
      await register("old");
      expect(await store.markStale(at(10), [], at(130))).toEqual(["old"]);
      expect(await store.markStale(at(10), [], at(131))).toEqual([]);
    });

    it("are not those with a live tunnel, even when no heartbeat could be written", async () => {
      const { id, epoch } = await connected("a");
      expect(await stale(at(10), [{ id, epoch }])).toEqual([]);
      expect(await store.markStale(at(10), [{ id, epoch }], at(130))).toEqual([]);
    });

    it("are those whose tunnel exists in the database only, or lives in an older epoch", async () => {
      const { id, epoch } = await connected("a");
      expect(await stale(at(10), [{ id, epoch: epoch - 1 }])).toEqual(["a"]);
      await store.markStale(at(10), [], at(130));
      expect(await reload(id)).toMatchObject({ connectivity: "lost", tunnelSince: null });
    });

    it("are not suspect ones: their grace decides", async () => {
      const { id, epoch } = await connected("a");
      await store.loseTunnel(id, epoch, lenient, at(2));
      expect(await stale(at(10))).toEqual([]);
      expect(await store.markStale(at(10), [], at(130))).toEqual([]);
    });

    it("come back by a heartbeat or a registration, and only then", async () => {
      for (const name of ["a", "b"]) await register(name);
      await store.markStale(at(10), [], at(130));
      const { id } = (await store.getByName("a")) as Wolf;
      await store.heartbeat(id, {}, at(140));
      expect(await reload(id)).toMatchObject({ connectivity: "connected", connectivitySince: at(140) });
      expect(await store.getByName("b")).toMatchObject({ connectivity: "lost" });
      expect(await register("b", {}, at(150))).toMatchObject({
        connectivity: "connected",
        connectivitySince: at(150),
      });
    });
  });

  describe("tunnels of an earlier process", () => {
    it("make their wolves suspect; the answer names every suspect wolf with its epoch", async () => {
      const a = await connected("a");
      const b = await connected("b");
      await store.loseTunnel(b.id, b.epoch, lenient, at(2));
      await register("by-http");
      const c = await connected("c");
      await store.loseTunnel(c.id, c.epoch, lenient, at(2));
      await store.markLost(c.id, c.epoch, at(3));
      const orphans = await store.orphanTunnels(at(60));
      expect(orphans.sort((x, y) => x.id.localeCompare(y.id))).toEqual(
        [a, b].map(({ id, epoch }) => ({ id, epoch })),
      );
      expect(await reload(a.id)).toMatchObject({
        connectivity: "suspect",
        connectivitySince: at(60),
        tunnelSince: null,
      });
      expect((await reload(b.id)).connectivitySince).toEqual(at(2));
      expect(await store.getByName("by-http")).toMatchObject({ connectivity: "connected" });
      expect((await reload(c.id)).connectivity).toBe("lost");
    });
  });

  describe("the store and the table of connectivity", () => {
    const events: Record<ConnectivityEvent, (wolf: Wolf) => Promise<unknown>> = {
      tunnelOpened: ({ id }) => store.openTunnel(id, at(200)),
      tunnelLives: ({ id, epoch }) => store.heartbeats([{ id, epoch }], at(200)),
      tunnelLost: ({ id, epoch }) => store.loseTunnel(id, epoch, lenient, at(200)),
      graceOver: ({ id, epoch }) => store.markLost(id, epoch, at(200)),
      heartbeat: ({ id }) => store.heartbeat(id, {}, at(200)),
      stale: () => store.markStale(at(100), [], at(200)),
    };
    const reach: Record<Connectivity, () => Promise<Wolf>> = {
      connected: () => connected("a"),
      async suspect() {
        const wolf = await reach.connected();
        await store.loseTunnel(wolf.id, wolf.epoch, lenient, at(2));
        return reload(wolf.id);
      },
      async lost() {
        const wolf = await reach.suspect();
        await store.markLost(wolf.id, wolf.epoch, at(3));
        return reload(wolf.id);
      },
    };
    const cells = Connectivity.options.flatMap((state) =>
      (Object.keys(events) as ConnectivityEvent[]).map((event) => [state, event] as const),
    );

    it.each(cells)("agree on %s + %s", async (state, event) => {
      const wolf = await reach[state]();
      expect(wolf.connectivity).toBe(state);
      await events[event](wolf);
      const after = await reload(wolf.id);
      expect(after.connectivity).toBe(connectivityTransitions[state][event] ?? state);
      const changed = after.connectivity !== state;
      expect(after.connectivitySince).toEqual(changed ? at(200) : wolf.connectivitySince);
    });
  });

  describe("a list of wolves", () => {
    it("goes page by page over all of them, in the order of their making", async () => {
      const made: string[] = [];
      for (let i = 0; i < 5; i += 1) made.push((await register(`w${i}`)).id);
      const seen: string[] = [];
      for (let after: string | undefined; seen.length < 5; after = seen.at(-1)) {
        const page = await store.list({ limit: 2, after });
        expect(page.length).toBeGreaterThan(0);
        seen.push(...page.map(({ id }) => id));
      }
      expect(seen).toEqual(made);
      expect(await store.list({ limit: 2, after: seen.at(-1) })).toEqual([]);
    });

    it("filtered by status has exactly the wolves whose derived status it is", async () => {
      for (const connectivity of Connectivity.options) {
        for (const health of ["ok", "degraded", "failed"] as const) {
          const { id, epoch } = await connected(`${connectivity}-${health}`);
          await store.changeHealth(id, epoch, health, [], at(2));
          if (connectivity !== "connected") await store.loseTunnel(id, epoch, lenient, at(2));
          if (connectivity === "lost") await store.markLost(id, epoch, at(2));
        }
      }
      for (const status of ["online", "degraded", "offline"] as const) {
        const wolves = await store.list({ limit: 100, after: undefined, status });
        expect(wolves.length).toBe({ online: 1, degraded: 5, offline: 3 }[status]);
        for (const { connectivity, health } of wolves)
          expect(derivedStatus[connectivity][health]).toBe(status);
      }
    });

    it("takes several filters together", async () => {
      await register("a", { gpuType: "amd" });
      await register("b", { gpuType: "amd" });
      await register("c");
      const names = async (filter: object) =>
        (await store.list({ limit: 9, after: undefined, ...filter })).map(({ name }) => name);
      expect(await names({ gpuType: "amd" })).toEqual(["a", "b"]);
      expect(await names({ gpuType: "amd", name: "b", status: "online" })).toEqual(["b"]);
      expect(await names({ gpuType: "intel" })).toEqual([]);
      expect(await names({ name: "a%" })).toEqual([]);
    });

    it("filters by region and intent before it counts to the limit", async () => {
      await register("a", { region: "us" });
      await register("b", { region: null });
      const c = await register("c", { region: "eu" });
      const d = await register("d", { region: "eu" });
      await store.changeIntent(c.id, { from: ["active"], to: "cordoned", reason: null }, at(1));
      const names = async (filter: object) =>
        (await store.list({ limit: 1, after: undefined, ...filter })).map(({ name }) => name);
      expect(await names({ region: "eu" })).toEqual(["c"]);
      expect(await names({ region: "eu", after: c.id })).toEqual(["d"]);
      expect(await names({ region: "eu", after: d.id })).toEqual([]);
      expect(await names({ intent: "cordoned" })).toEqual(["c"]);
      expect(await names({ region: "eu", intent: "active" })).toEqual(["d"]);
      expect(await names({ region: "us", intent: "cordoned" })).toEqual([]);
      for (const region of ["EU", "e%", "e_", "eu "]) expect(await names({ region })).toEqual([]);
    });

    it("of candidates leaves out the retired ones", async () => {
      const { id } = await register("a");
      await register("b");
      await store.changeIntent(id, { from: ["active"], to: "retired", reason: null }, at(1));
      expect((await store.candidates()).map(({ name }) => name)).toEqual(["b"]);
    });
  });

  describe("removing a wolf", () => {
    it("forgets it, and its name is free", async () => {
      const { id } = await connected("a");
      expect(await store.deregister(id, false, at(9))).toBe("deleted");
      expect(await store.get(id)).toBeUndefined();
      expect(await store.deregister(id, false, at(9))).toBe("unknown");
      expect(await store.deregister(id, true, at(9))).toBe("unknown");
      expect(await register("a")).toMatchObject({ epoch: 0, createdAt: at(0) });
    });

    it("with live sessions is refused and changes nothing", async () => {
      const wolf = await aPlaceableWolf(store, "a");
      const session = await aSessionThatIs("running", stores, wolf);
      const before = await reload(wolf.id);
      expect(await store.deregister(wolf.id, false, at(9))).toBe("has-sessions");
      expect(await reload(wolf.id)).toEqual(before);
      expect(await stores.sessions.get(session.id)).toEqual(session);
    });
  });
});
