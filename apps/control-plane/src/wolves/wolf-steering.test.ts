/** Intents, quarantines, figures of GPUs, and what placement hears of wolves: for both stores that there are. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { GpuUsage, HostFacts, HostUsage } from "@wolfpack/api-contract";
import { aUsage } from "../../test/a-wolf.ts";
import {
  aClaim,
  aPlaceableWolf,
  aReport,
  aSession,
  aSessionThatIs,
  at,
  implementations,
  lenient,
  loseWolf,
  mustBe,
  noQuotas,
  OWNER,
  type Stores,
} from "../../test/stores.ts";
import { newId } from "../ids.ts";
import type { QuarantineRules, Wolf, WolfStore } from "./wolf-store.ts";

describe.each(implementations)("wolves in %s", (_name, open) => {
  let stores: Stores;
  let store: WolfStore;
  let wolf: Wolf;
  beforeAll(async () => {
    stores = await open();
  });
  beforeEach(async () => {
    await stores.clear();
    await stores.addOwner(OWNER);
    store = stores.wolves;
    wolf = await aPlaceableWolf(store, "w", { vramMb: 10_000, encoderSessionsMax: 8 });
  });
  afterAll(() => stores.close());

  const reload = (id = wolf.id) => mustBe(store.get(id));

  describe("a quarantine", () => {
    const rules: QuarantineRules = {
      flapsMax: 3,
      flapWindowMs: 60_000,
      createFailuresMax: 3,
      firstMs: 10_000,
      maxMs: 35_000,
    };
    const fail = (second: number, what: "failed" | "slow" = "failed") =>
      store.createFailed(wolf.id, what, rules, at(second));
    async function flap(second: number): Promise<void> {
      const { epoch } = await mustBe(store.openTunnel(wolf.id, at(second)));
      expect(await store.loseTunnel(wolf.id, epoch, rules, at(second))).toBe(true);
    }

    it("begins with as many creations in a row that failed or were slow, and names the last of them", async () => {
      expect([await fail(0), await fail(1, "slow")]).toEqual(["counted", "counted"]);
      expect(await reload()).toMatchObject({ createFailures: 2, quarantine: null });
      expect(await fail(2, "slow")).toBe("quarantined");
      expect((await reload()).quarantine).toEqual({ until: at(12), reason: "creates-slow", times: 1 });
    });

    it("does not begin when one in between succeeds", async () => {
      for (const second of [0, 1]) await fail(second);
      await store.createSucceeded(wolf.id, at(2));
      expect([await fail(3), await fail(4)]).toEqual(["counted", "counted"]);
      expect((await reload()).quarantine).toBeNull();
    });

    it("is not prolonged by what was begun before it; the next failure after it doubles it, up to the most", async () => {
      for (const second of [0, 1, 2]) await fail(second);
      expect(await fail(11.999)).toBe("counted");
      expect(await reload()).toMatchObject({ createFailures: 3, quarantine: { until: at(12), times: 1 } });
      expect(await fail(12)).toBe("quarantined");
      expect((await reload()).quarantine).toEqual({ until: at(32), reason: "creates-failed", times: 2 });
      await fail(40);
      expect((await reload()).quarantine).toEqual({ until: at(75), reason: "creates-failed", times: 3 });
      for (let second = 100; second < 10_000; second += 100) await fail(second);
      expect((await reload()).quarantine).toMatchObject({ until: at(9935), times: 102 });
    });

    it("is forgiven by a success after it, not by one that was begun before", async () => {
      for (const second of [0, 1, 2]) await fail(second);
      await store.createSucceeded(wolf.id, at(5));
      expect(await reload()).toMatchObject({ createFailures: 3, quarantine: { times: 1 } });
      await store.createSucceeded(wolf.id, at(12));
      expect(await reload()).toMatchObject({ createFailures: 0, quarantine: { until: at(12), times: 0 } });
      for (const second of [20, 21, 22]) await fail(second);
      expect((await reload()).quarantine).toEqual({ until: at(32), reason: "creates-failed", times: 1 });
    });

    it("begins with as many tunnels lost within the window, and not with fewer", async () => {
      await flap(0);
      await flap(30);
      // The first of them is too long ago: counting begins anew.
      await flap(60.001);
      await flap(90);
      expect((await reload()).quarantine).toBeNull();
      await flap(120.001);
      expect((await reload()).quarantine).toEqual({ until: at(130.001), reason: "tunnel-flaps", times: 1 });
      await flap(121);
      expect((await reload()).quarantine).toMatchObject({ until: at(130.001), times: 1 });
    });

    it("is ended by an operator, with all that led to it", async () => {
      for (const second of [0, 1, 2]) await fail(second);
      await flap(3);
      expect(await store.readmit(wolf.id, at(4))).toBe(true);
      expect(await reload()).toMatchObject({ createFailures: 0, quarantine: null });
      await flap(5);
      await flap(6);
      expect((await reload()).quarantine).toBeNull();
    });

    it("of an unknown wolf does not begin or end", async () => {
      const id = newId("wlf");
      expect(await store.createFailed(id, "failed", { ...rules, createFailuresMax: 1 }, at(0))).toBe(
        "counted",
      );
      await store.createSucceeded(id, at(0));
      expect(await store.readmit(id, at(0))).toBe(false);
    });
  });

  describe("the intent of a wolf", () => {
    it("changes only from what it was seen to be, with its reason and time", async () => {
      const cordon = { from: ["active" as const], to: "cordoned" as const, reason: "noisy fan" };
      expect(await store.changeIntent(wolf.id, cordon, at(5))).toMatchObject({
        outcome: "changed",
        wolf: { intent: "cordoned", intentSince: at(5), intentReason: "noisy fan" },
      });
      const before = await reload();
      expect(await store.changeIntent(wolf.id, cordon, at(6))).toEqual({ outcome: "refused", wolf: before });
      expect(await store.changeIntent(newId("wlf"), cordon, at(6))).toEqual({ outcome: "unknown" });
      expect(await reload()).toEqual(before);
    });

    it("to drain keeps its plan while it drains, again too, and no longer", async () => {
      const { id } = await aSessionThatIs("running", stores, wolf);
      const drain = { startedAt: at(5), deadline: at(65), next: "retired" as const };
      const from = ["active" as const, "draining" as const];
      await store.changeIntent(wolf.id, { from, to: "draining", reason: null, drain }, at(5));
      expect((await store.listDraining()).map((one) => one.drain)).toEqual([
        { ...drain, sessionsAtStart: 1 },
      ]);
      await stores.sessions.end(id, { status: "failed", failure: { code: "x", reason: "y" } }, at(6));
      await store.changeIntent(wolf.id, { from, to: "draining", reason: "hurry" }, at(7));
      expect(await reload()).toMatchObject({
        drain: { ...drain, sessionsAtStart: 1 },
        intentSince: at(5),
        intentReason: "hurry",
      });
      const again = { ...drain, deadline: at(30), next: "maintenance" as const };
      await store.changeIntent(wolf.id, { from, to: "draining", reason: null, drain: again }, at(8));
      expect((await reload()).drain).toEqual({ ...again, sessionsAtStart: 0 });
      await store.changeIntent(wolf.id, { from: ["draining"], to: "active", reason: null }, at(9));
      expect(await reload()).toMatchObject({ intent: "active", drain: null, intentSince: at(9) });
      expect(await store.listDraining()).toEqual([]);
    });

    it("that wants no sessions is refused while there are any", async () => {
      const { id } = await aSessionThatIs("placed", stores, wolf);
      const retire = {
        from: ["active" as const],
        to: "retired" as const,
        reason: null,
        unlessSessions: true,
      };
      expect(await store.changeIntent(wolf.id, retire, at(5))).toMatchObject({
        outcome: "has-sessions",
        wolf: { intent: "active", connectedSandboxes: 1 },
      });
      await stores.sessions.end(id, { status: "failed", failure: { code: "x", reason: "y" } }, at(6));
      expect((await store.changeIntent(wolf.id, retire, at(7))).outcome).toBe("changed");
      // An intent that it has not is no matter of sessions.
      expect((await store.changeIntent(wolf.id, retire, at(8))).outcome).toBe("refused");
    });
  });

  describe("lobbies of nobody", () => {
    it("are counted by word of the newest tunnel, and what says nothing new changes nothing", async () => {
      expect(await store.reconciled(wolf.id, wolf.epoch, 2, at(5))).toBe(true);
      expect(await reload()).toMatchObject({
        otherLobbies: 2,
        reconciledEpoch: wolf.epoch,
        updatedAt: at(5),
      });
      expect(await store.reconciled(wolf.id, wolf.epoch, 2, at(6))).toBe(true);
      expect((await reload()).updatedAt).toEqual(at(5));
      expect(await store.reconciled(wolf.id, wolf.epoch + 1, 0, at(7))).toBe(false);
      expect(await store.reconciled(newId("wlf"), 1, 0, at(7))).toBe(false);
      const { epoch } = await mustBe(store.openTunnel(wolf.id, at(8)));
      expect(await reload()).toMatchObject({ reconciledEpoch: epoch - 1, otherLobbies: 2 });
    });
  });

  describe("what a host says of its GPU", () => {
    const figures = (id: string, mib: number | null, encoders: number | null): GpuUsage => ({
      id,
      utilisation_percent: 10,
      vram_used_bytes: mib === null ? null : mib * 2 ** 20,
      encoder_sessions: encoders,
      encoder_percent: null,
    });
    const gpu = (id: string, render_node: string | null): HostFacts["gpus"][number] => ({
      id,
      vendor: "nvidia",
      model: null,
      driver: null,
      vram_bytes: null,
      render_node,
    });
    const hostOf = (gpus: HostFacts["gpus"]): HostFacts => ({
      cpu_model: null,
      cpu_count: 1,
      memory_bytes: 1,
      gpus,
    });
    const render = { model: "RTX 4090", renderNode: "/dev/dri/renderD129", vramMb: 10_000 };
    const two = hostOf([gpu("a", "/dev/dri/renderD128"), gpu("b", "/dev/dri/renderD129")]);
    const report = (changes: object) => store.changeReport(wolf.id, 1, { ...aReport(), ...changes }, at(1));
    const use = (usage: Partial<HostUsage>, second = 2) =>
      store.changeUsage(
        wolf.id,
        1,
        { usage: aUsage(usage), wolfRestarts: 0, sampleIds: [newId("dsk")] },
        at(second),
      );
    const others = async () => {
      const { vramMb, encoderSessions } = await reload();
      return [vramMb.other, encoderSessions.other];
    };

    it("is kept, where it is said, and its capacity counts from then on", async () => {
      await report({ host: two, gpu: render, encoderSessionsMax: 3 });
      expect(await reload()).toMatchObject({
        host: two,
        gpuModel: "RTX 4090",
        renderNode: "/dev/dri/renderD129",
        vramMb: { max: 10_000 },
        encoderSessions: { max: 3 },
      });
      await report({ encoderSessionsMax: null });
      expect(await reload()).toMatchObject({
        gpuModel: "RTX 4090",
        host: two,
        encoderSessions: { max: null },
      });
      await report({ gpu: { model: null, renderNode: null, vramMb: 1e15 } });
      expect(await reload()).toMatchObject({ gpuModel: null, vramMb: { max: 2 ** 31 - 1 } });
    });

    it("counts where it renders, beyond what is claimed there", async () => {
      await report({ host: two, gpu: render });
      const resources = { vram_mb: 3000, encoder_sessions: 1 };
      await stores.sessions.claim([aClaim(wolf, aSession({ spec: { resources } }))], noQuotas, at(1));
      await use({ gpus: [figures("a", 9000, 7), figures("b", 4500, 3)] });
      expect(await others()).toEqual([1500, 2]);
      // A claim that nobody uses yet makes room for nobody.
      await use({ gpus: [figures("b", 2000, 0)] });
      expect(await others()).toEqual([1500, 0]);
      await use({ gpus: [figures("b", 700, 0)] });
      expect(await others()).toEqual([700, 0]);
      await use({ gpus: [figures("b", 0, 0)] });
      expect(await others()).toEqual([0, 0]);
    });

    it("is that of the only one, where nothing says which one renders", async () => {
      await use({ gpus: [figures("x", 700, 1)] });
      expect(await others()).toEqual([700, 1]);
      await use({ gpus: [figures("x", 700, 1), figures("y", 900, 2)] });
      expect(await others()).toEqual([0, 0]);
    });

    it("stays as it was when the GPU could not be read, and is nothing when it says nothing", async () => {
      await report({ host: two, gpu: render });
      const some = [figures("b", 700, 1)];
      await use({ gpus: some });
      for (const gpu_state of ["unknown", null] as const) {
        await use({ gpu_state, gpus: [figures("b", 0, 0)] });
        expect(await others()).toEqual([700, 1]);
      }
      await use({ gpus: [figures("b", null, null)] });
      expect(await others()).toEqual([0, 0]);
      await use({ gpus: some });
      await use({ gpu_state: "missing", gpus: [figures("a", 5, 5)] });
      expect(await others()).toEqual([0, 0]);
    });

    it("by an older tunnel, or of an unknown wolf, changes nothing", async () => {
      const before = await reload();
      const usage = {
        usage: aUsage({ gpus: [figures("x", 700, 1)] }),
        wolfRestarts: 9,
        sampleIds: [newId("dsk")],
      };
      expect(await store.changeUsage(wolf.id, 0, usage, at(2))).toBe(false);
      expect(await store.changeUsage(newId("wlf"), 1, usage, at(2))).toBe(false);
      expect(await store.changeReport(wolf.id, 0, { ...aReport(), gpu: render }, at(2))).toBe(false);
      expect(await reload()).toEqual(before);
    });
  });

  describe("how many wolves are there", () => {
    it("is told by connectivity, of those that are expected to be there, with all that are suspect or were lost since", async () => {
      const wolves = [];
      for (const name of ["a", "b", "c", "d", "e"]) wolves.push(await aPlaceableWolf(store, name));
      const [a, b, c, d, e] = wolves as [Wolf, Wolf, Wolf, Wolf, Wolf];
      await store.loseTunnel(a.id, a.epoch, lenient, at(10));
      await loseWolf(store, b, at(20));
      await loseWolf(store, c, at(30));
      await loseWolf(store, d, at(30));
      await store.changeIntent(d.id, { from: ["active"], to: "retired", reason: null }, at(31));
      await loseWolf(store, e, at(30));
      await store.changeIntent(e.id, { from: ["active"], to: "maintenance", reason: null }, at(31));
      expect(await store.countConnectivity(at(20))).toEqual({
        connected: 1,
        suspect: 1,
        lost: 2,
        leftSince: 3,
      });
      expect(await store.countConnectivity(at(30.001))).toMatchObject({ leftSince: 1 });
      await stores.clear();
      expect(await stores.wolves.countConnectivity(at(0))).toEqual({
        connected: 0,
        suspect: 0,
        lost: 0,
        leftSince: 0,
      });
    });

    it("suspects are listed whose suspicion began before a moment, not in it", async () => {
      const other = await aPlaceableWolf(store, "other");
      await store.loseTunnel(wolf.id, wolf.epoch, lenient, at(10));
      await loseWolf(store, other, at(10));
      expect(await store.listSuspect(at(10))).toEqual([]);
      expect(await store.listSuspect(at(10.001))).toEqual([{ id: wolf.id, epoch: wolf.epoch }]);
    });
  });

  describe("the state of the fleet", () => {
    it("is kept as it was given, and is nothing at first", async () => {
      const nothing = { frozenSince: null, overrideUntil: null };
      expect(await store.fleet()).toEqual(nothing);
      await store.setFleet({ frozenSince: at(1), overrideUntil: null });
      await store.setFleet({ frozenSince: null, overrideUntil: at(9) });
      expect(await store.fleet()).toEqual({ frozenSince: null, overrideUntil: at(9) });
      await store.setFleet(nothing);
      expect(await store.fleet()).toEqual(nothing);
    });
  });

  describe("what placement hears", () => {
    const since = async (mark: string) => {
      const { wolves, gone, mark: next } = await store.changedCandidates(mark);
      return { ids: wolves.map(({ id }) => id), gone, next };
    };

    it("is every wolf at first, retired ones too, without what no policy reads", async () => {
      const other = await aPlaceableWolf(store, "other");
      await store.changeIntent(other.id, { from: ["active"], to: "retired", reason: null }, at(1));
      const usage = { usage: aUsage(), wolfRestarts: 0, sampleIds: [newId("dsk")] };
      await store.changeUsage(wolf.id, wolf.epoch, usage, at(1));
      await store.changeImages(wolf.id, wolf.epoch, [], at(1));
      const { wolves, gone } = await store.changedCandidates(undefined);
      expect(wolves).toEqual([
        { ...(await reload(wolf.id)), host: null, usage: null },
        { ...(await reload(other.id)), host: null, usage: null },
      ]);
      expect(wolves[0]?.images).toEqual([]);
      expect(gone).toEqual([]);
    });

    const changes: [string, () => Promise<unknown>][] = [
      ["a claim", () => stores.sessions.claim([aClaim(wolf)], noQuotas, at(1))],
      ["a lost tunnel", () => store.loseTunnel(wolf.id, wolf.epoch, lenient, at(1))],
      ["a new tunnel", () => store.openTunnel(wolf.id, at(1))],
      ["another health", () => store.changeHealth(wolf.id, wolf.epoch, "degraded", [], at(1))],
      [
        "an intent",
        () => store.changeIntent(wolf.id, { from: ["active"], to: "cordoned", reason: null }, at(1)),
      ],
      ["other lobbies", () => store.reconciled(wolf.id, wolf.epoch, 1, at(1))],
      [
        "a quarantine",
        () => store.createFailed(wolf.id, "slow", { ...lenient, createFailuresMax: 1 }, at(1)),
      ],
      ["images", () => store.changeImages(wolf.id, wolf.epoch, [], at(1))],
      ["labels", () => store.changeReport(wolf.id, wolf.epoch, aReport({ labels: { a: "b" } }), at(1))],
      [
        "capabilities",
        () => store.changeCapabilities(wolf.id, 1, { schema_hash: "", features: [], missing: [] }, at(1)),
      ],
    ];
    it.each(changes)("is %s, once", async (_what, change) => {
      const { mark } = await store.changedCandidates(undefined);
      expect((await since(mark)).ids).toEqual([]);
      await change();
      const { ids, next } = await since(mark);
      expect(ids).toEqual([wolf.id]);
      expect((await since(next)).ids).toEqual([]);
      // Whoever has not heard it hears it later.
      expect((await since(mark)).ids).toEqual([wolf.id]);
    });

    const nothings: [string, () => Promise<unknown>][] = [
      ["a heartbeat", () => store.heartbeats([{ id: wolf.id, epoch: wolf.epoch }], at(1))],
      ["a heartbeat by HTTP", () => store.heartbeat(wolf.id, { maxSandboxes: wolf.maxSandboxes }, at(1))],
      [
        "figures that change no claim",
        () =>
          store.changeUsage(
            wolf.id,
            wolf.epoch,
            { usage: aUsage(), wolfRestarts: 1, sampleIds: [newId("dsk")] },
            at(1),
          ),
      ],
      [
        "the same report",
        () => store.changeReport(wolf.id, wolf.epoch, aReport({ encoderSessionsMax: 8 }), at(1)),
      ],
      ["a failure that is only counted", () => store.createFailed(wolf.id, "failed", lenient, at(1))],
    ];
    it.each(nothings)("is not %s", async (_what, change) => {
      const { mark } = await store.changedCandidates(undefined);
      await change();
      expect((await since(mark)).ids).toEqual([]);
    });

    it("is also who is gone, until it is known, and not who has come back", async () => {
      const other = await aPlaceableWolf(store, "other");
      const { mark } = await store.changedCandidates(undefined);
      await store.deregister(wolf.id, false, at(1));
      await store.deregister(other.id, false, at(1));
      expect((await since(mark)).gone.toSorted()).toEqual([wolf.id, other.id].toSorted());
      await store.register({ id: other.id, name: "back", address: "", ...aReport() }, at(2));
      const { ids, gone, next } = await since(mark);
      expect([ids, gone]).toEqual([[other.id], [wolf.id]]);
      expect(await since(next)).toMatchObject({ ids: [], gone: [] });
    });
  });
});
