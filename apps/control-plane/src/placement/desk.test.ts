/** The desk alone: who is asked first, what happens when the view, the store or the claim say otherwise. Stores in memory. */
import { AsyncLocalStorage } from "node:async_hooks";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { anExplanation, aSpec, sessionSettings } from "../../test/a-session.ts";
import { eventually } from "../../test/host.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { type MemoryFleet, memoryFleet } from "../database/memory-fleet.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import { memorySessionStore } from "../sessions/session-store.memory.ts";
import type { Lock, Session, SessionStore } from "../sessions/session-store.ts";
import { memoryWolfStore } from "../wolves/wolf-store.memory.ts";
import type { WolfStore } from "../wolves/wolf-store.ts";
import { PlacementDesk } from "./desk.ts";
import { FleetView } from "./fleet-view.ts";

const OWNER = "usr_00000000000000000000000000";
const settings = sessionSettings();

let rows: MemoryFleet;
let store: SessionStore;
let wolves: WolfStore;
let clock: ManualClock;
let view: FleetView;
let desk: PlacementDesk;
/** What a call carries through what it leads to, as its trace does. */
const requests = new AsyncLocalStorage<string>();
let claimed: { session: Session; lock: Lock; by: string | undefined }[];

beforeEach(() => {
  rows = memoryFleet();
  rows.owners.set(OWNER, { sessionsMax: null, createsPerMinute: null });
  [store, wolves, clock, claimed] = [memorySessionStore(rows), memoryWolfStore(rows), manualClock(), []];
  view = new FleetView({
    store: wolves,
    hasTunnel: () => true,
    rttMsOf: () => undefined,
    onChanged: () => desk.fleetChanged(),
  });
  desk = new PlacementDesk({
    store,
    view,
    clock,
    log: createLogger("silent"),
    random: () => 0,
    newToken: () => newId("rep"),
    quotas: settings.quotas,
    settings: settings.placement,
    queueMax: 3,
    lockMs: 4000,
    onClaimed: (session, lock) => void claimed.push({ session, lock, by: requests.getStore() }),
  });
});
afterEach(() => desk.close());

async function wolf(name: string, maxSandboxes: number): Promise<string> {
  const report = { gpuType: "nvidia" as const, maxSandboxes, labels: {}, region: null, costPerHour: null };
  const { id } = await wolves.register(
    { id: newId("wlf"), name, address: "", ...report, agentVersion: null, encoderSessionsMax: null },
    clock.now(),
  );
  await wolves.openTunnel(id, clock.now());
  await wolves.reconciled(id, 1, 0, clock.now());
  return id;
}

const ends = (id: string) =>
  store.end(id, { status: "failed", failure: { code: "x", reason: "y" } }, clock.now(), { lobbyGone: true });

function ask({ queue = true, createKey = null as string | null } = {}) {
  const id = newId("ses");
  const session = { id, ownerId: OWNER, name: id, spec: aSpec(), expiresAt: null, pin: null, createKey };
  const queueDeadline = queue ? new Date(clock.now().getTime() + 60_000) : null;
  return desk.place({ session, queueDeadline });
}

describe("the desk", () => {
  it("begins each session where its own request came from, and one that has waited nowhere", async () => {
    await wolf("a", 2);
    const placed = await Promise.all(["one", "two", "three"].map((name) => requests.run(name, () => ask())));
    expect(placed.map(({ outcome }) => outcome)).toEqual(["claimed", "claimed", "queued"]);
    expect(claimed.map(({ by }) => by)).toEqual(["one", "two"]);
    await ends(claimed[0]?.session.id ?? "");
    requests.run("whoever made room", () => desk.wake());
    await eventually(
      () => claimed.length,
      (length) => length === 3,
    );
    expect(claimed[2]?.by).toBeUndefined();
  });

  it("gives each claim a lock of its own that ends in time", async () => {
    await wolf("w", 2);
    await Promise.all([ask(), ask()]);
    const [first, second] = claimed.map(({ lock }) => lock);
    expect(first?.token).not.toBe(second?.token);
    expect(first?.expiresAt).toEqual(new Date(clock.now().getTime() + 4000));
    expect(claimed[0]?.session).toMatchObject({ status: "placed", lockToken: first?.token, attempts: 1 });
  });

  it("places as many at once as there is room for, evenly, and queues the rest", async () => {
    const ids = await Promise.all([wolf("a", 3), wolf("b", 3)]);
    const placed = await Promise.all(Array.from({ length: 9 }, () => ask()));
    const count = (what: string) => placed.filter(({ outcome }) => outcome === what).length;
    expect([count("claimed"), count("queued")]).toEqual([6, 3]);
    for (const id of ids) expect(placed.filter(({ session }) => session.wolfId === id)).toHaveLength(3);
    await expect(ask()).rejects.toMatchObject({ code: "queue-full", extras: { queue_length: 3 } });
  });

  it("refuses nobody for want of a wolf that the view has not heard of yet", async () => {
    await wolf("full", 1);
    await ask();
    await wolf("new", 1);
    expect((await ask({ queue: false })).outcome).toBe("claimed");
  });

  it("asks those that wait before anybody new, when room comes", async () => {
    const id = await wolf("w", 1);
    const first = await ask();
    const waits = await ask();
    await ends(first.session.id);
    desk.wake();
    const late = await ask();
    expect([waits.outcome, late.outcome]).toEqual(["queued", "queued"]);
    expect(await store.get(waits.session.id)).toMatchObject({ status: "placed", wolfId: id });
  });

  it("looks at those that wait ten times a second while room comes without an end", async () => {
    const { listQueued } = store;
    let looks = 0;
    store.listQueued = (max) => {
      looks += 1;
      return listQueued(max);
    };
    const roomComes = async (times: number) => {
      for (let at = 0; at < times; at += 1) {
        desk.wake();
        await new Promise((resolve) => setImmediate(resolve));
      }
      return looks;
    };
    expect(await roomComes(100)).toBe(60);
    clock.advance(99);
    expect(await roomComes(5)).toBe(60);
    clock.advance(1);
    expect(await roomComes(5)).toBe(61);
    clock.advance(100);
    expect(await roomComes(0)).toBe(61);
    expect(await roomComes(1)).toBe(62);
  });

  it("looks again when room comes while it reads what has changed", async () => {
    const id = await wolf("w", 1);
    const first = await ask();
    const waits = await ask();
    const { changedCandidates } = wolves;
    wolves.changedCandidates = async (mark) => {
      wolves.changedCandidates = changedCandidates;
      const read = await changedCandidates(mark);
      await ends(first.session.id);
      desk.wake();
      return read;
    };
    desk.wake();
    const settled = await eventually(
      () => store.get(waits.session.id),
      (session) => session?.status === "placed",
    );
    expect(settled?.wolfId).toBe(id);
  });

  it("decides anew who was too late for a wolf, without refusing anybody or claiming too much", async () => {
    const [taken, free] = [await wolf("a", 1), await wolf("b", 1)];
    await view.refresh();
    // Another replica takes what this one believes to be free.
    const { claim } = store;
    let stolen = false;
    store.claim = async (requests, quotas, now) => {
      if (!stolen) {
        stolen = true;
        const id = newId("ses");
        const made = { id, ownerId: OWNER, name: id, spec: aSpec(), placement: anExplanation() };
        const session = { ...made, expiresAt: null, pin: null, createKey: null };
        const lock = { token: id, expiresAt: now };
        await claim([{ wolf: { id: taken, epoch: 1 }, lock, session }], quotas, now);
      }
      return claim(requests, quotas, now);
    };
    expect((await ask()).session.wolfId).toBe(free);
    expect(await ask({ queue: false }).catch((error: { code: string }) => error)).toMatchObject({
      code: "no-capacity",
    });
  });

  it("gives the same creating request the same session", async () => {
    await wolf("w", 5);
    const first = await ask({ createKey: "k" });
    expect(await ask({ createKey: "k" })).toMatchObject({
      outcome: "exists",
      session: { id: first.session.id },
    });
    expect(claimed).toHaveLength(1);
  });

  it("queues a wish in an empty fleet, and refuses one that no wolf could fulfil", async () => {
    expect((await ask()).outcome).toBe("queued");
    await wolf("w", 5);
    const id = newId("ses");
    const session = {
      id,
      ownerId: OWNER,
      name: id,
      spec: aSpec({ gpu_type: "amd" }),
      expiresAt: null,
      pin: null,
      createKey: null,
    };
    await expect(desk.place({ session, queueDeadline: clock.now() })).rejects.toMatchObject({
      code: "placement-impossible",
      extras: { errors: [{ path: "gpu_type" }], allowed: { gpu_type: ["nvidia"] } },
    });
  });

  it("ends with an error, not with a loop, when the claim never agrees with the view", async () => {
    await wolf("w", 5);
    let tries = 0;
    store.claim = async (requests) => {
      tries += 1;
      return requests.map(() => ({ outcome: "lost" as const }));
    };
    await expect(ask({ queue: false })).rejects.toMatchObject({ code: "no-capacity" });
    expect(tries).toBeLessThanOrEqual(20);
  });

  it("passes on the database's error to who asks, and looks at those that wait again soon", async () => {
    const id = await wolf("w", 1);
    const first = await ask();
    const waits = await ask();
    await eventually(
      () => desk.preview(OWNER, aSpec()),
      () => true,
    );
    const { claim, listQueued } = store;
    store.claim = () => Promise.reject(new Error("database away"));
    store.listQueued = () => Promise.reject(new Error("database away"));
    await ends(first.session.id);
    desk.wake();
    await expect(ask()).rejects.toThrow("database away");
    Object.assign(store, { claim, listQueued });
    await eventually(
      () => {
        clock.advance(1000);
        return store.get(waits.session.id);
      },
      (session) => session?.wolfId === id,
    );
  });

  it("takes back a reservation whose claim failed", async () => {
    const id = await wolf("w", 1);
    const { claim } = store;
    store.claim = () => Promise.reject(new Error("database away"));
    await expect(ask()).rejects.toThrow("database away");
    store.claim = claim;
    expect((await ask({ queue: false })).session.wolfId).toBe(id);
  });

  it("refuses whoever still asks when it closes, and everybody after that", async () => {
    const never = Promise.withResolvers<never>();
    wolves.changedCandidates = () => never.promise;
    const asked = [ask(), ask()];
    for (const one of asked) one.catch(() => undefined);
    desk.close();
    await expect(asked[1]).rejects.toMatchObject({ code: "draining" });
    await expect(ask()).rejects.toMatchObject({ code: "draining" });
    never.reject(new Error("closed"));
  });
});
