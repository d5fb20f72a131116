/** The statements that must not be raced, on real PostgreSQL. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import { newId } from "../ids.ts";
import { prismaWolfStore } from "../wolves/wolf-store.prisma.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import { prismaSessionStore } from "./session-store.prisma.ts";
import type { NewSession, SessionStore } from "./session-store.ts";

const now = new Date("2026-11-23T12:00:00.000Z");
const ownerId = newId("usr");
let database: TestDatabase;
let store: SessionStore;
let wolf: Wolf;

beforeEach(async () => {
  database = await testDatabase();
  store = prismaSessionStore(database.prisma);
  await database.prisma.user.create({ data: { id: ownerId, name: "ann", role: "user", created_at: now } });
  const wolves = prismaWolfStore(database.prisma);
  const report = {
    gpuType: "nvidia" as const,
    maxSandboxes: 3,
    labels: {},
    region: null,
    costPerHour: null,
    agentVersion: null,
  };
  const { id } = await wolves.register({ id: newId("wlf"), name: "w", address: "", ...report }, now);
  wolf = (await wolves.openTunnel(id, now)) as Wolf;
});

afterEach(() => database.drop());

const fresh = (): NewSession => ({
  id: newId("ses"),
  ownerId,
  name: "desk",
  spec: { image: "xfce", gpu_type: null, resolution: { width: 640, height: 480, refresh_rate: 60 } },
  placement: { policy: "least-loaded", candidates: 1, removed: [], ranked: [], text: "" },
});
const quotas = { sessionsMax: 100, createsPerMinute: 100 };
/** The session; undefined when the wolf had changed. */
const claim = async (target: { id: string; epoch: number } = wolf) => {
  const claimed = await store.claim(fresh(), target, quotas, now);
  if (claimed.outcome === "claimed") return claimed.session;
  expect(claimed).toEqual({ outcome: "lost" });
  return undefined;
};
const slots = async () =>
  (await database.prisma.wolfInstance.findUniqueOrThrow({ where: { id: wolf.id } })).connected_sandboxes;

describe("a claim", () => {
  it("takes a slot and makes the row, both or neither, and never more than there are", async () => {
    const claims = await Promise.all(Array.from({ length: 50 }, () => claim()));
    expect(claims.filter((session) => session !== undefined)).toHaveLength(3);
    expect(await slots()).toBe(3);
    expect(await database.prisma.session.count()).toBe(3);
  });

  it("leaves no slot taken when the row cannot be made", async () => {
    await expect(store.claim({ ...fresh(), ownerId: newId("usr") }, wolf, quotas, now)).rejects.toThrow();
    expect(await slots()).toBe(0);
  });

  it.each([
    ["another epoch", {}, -1],
    ["a suspect wolf", { connectivity: "suspect" }, 0],
    ["a lost wolf", { connectivity: "lost" }, 0],
    ["a cordoned wolf", { intent: "cordoned" }, 0],
    ["a failed wolf", { health: "failed" }, 0],
    ["a wolf without lobbies", { wolf_capabilities: { missing: ["GET /api/v1/lobbies"] } }, 0],
    ["a wolf that has shrunk", { max_sandboxes: 1, connected_sandboxes: 1 }, 0],
  ])("of %s changes nothing", async (_name, data, epochShift) => {
    await database.prisma.wolfInstance.update({ where: { id: wolf.id }, data });
    const before = await slots();
    expect(await claim({ id: wolf.id, epoch: wolf.epoch + epochShift })).toBeUndefined();
    expect(await slots()).toBe(before);
    expect(await database.prisma.session.count()).toBe(0);
  });
});

describe("an end", () => {
  it("gives the slot back exactly once, however many try at once and however they end it", async () => {
    const session = await claim();
    await claim();
    const id = session?.id ?? "";
    await store.requestStop(id, now);
    const failure = { code: "x", reason: "y" };
    const ends = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        store.end(id, i % 2 === 0 ? { status: "stopped" } : { status: "failed", failure }, now),
      ),
    );
    expect(ends.filter((done) => done)).toHaveLength(1);
    expect(await slots()).toBe(1);
    expect((await store.get(id))?.endedAt).toEqual(now);
  });

  it("is not stopped without a stop request, and unknown ids change nothing", async () => {
    const session = await claim();
    expect(await store.end(session?.id ?? "", { status: "stopped" }, now)).toBe(false);
    expect(
      await store.end(newId("ses"), { status: "failed", failure: { code: "x", reason: "y" } }, now),
    ).toBe(false);
    expect(await slots()).toBe(1);
  });

  it("leaves a session alone that is no longer in the status it was seen in", async () => {
    const id = (await claim())?.id ?? "";
    await store.lobbyCreated(id, "lobby", now);
    await store.running(id, now);
    const late = { status: "failed" as const, failure: { code: "start-timeout", reason: "late" } };
    expect(await store.end(id, late, now, ["starting"])).toBe(false);
    expect(await store.end(id, { status: "stopped" }, now, ["running"])).toBe(false);
    expect((await store.get(id))?.status).toBe("running");
    expect(await slots()).toBe(1);
    expect(await store.end(id, late, now, ["running"])).toBe(true);
    expect(await slots()).toBe(0);
  });

  it("works when the wolf is gone meanwhile", async () => {
    const session = await claim();
    await database.prisma.$executeRaw`UPDATE session SET wolf_instance_id = NULL, slot_held = false`;
    expect(
      await store.end(session?.id ?? "", { status: "failed", failure: { code: "x", reason: "y" } }, now),
    ).toBe(true);
  });
});

describe("a change", () => {
  it("happens only in the order of the table", async () => {
    const id = (await claim())?.id ?? "";
    expect(await store.running(id, now)).toBe(false);
    expect(await store.lobbyCreated(id, "lobby", now)).toBe(true);
    expect(await store.lobbyCreated(id, "other", now)).toBe(false);
    expect(await store.running(id, now)).toBe(true);
    expect(await store.get(id)).toMatchObject({ status: "running", lobbyId: "lobby", startedAt: now });
  });

  it("keeps the id of a lobby that came after the stop, so that the stop can find it", async () => {
    const id = (await claim())?.id ?? "";
    expect((await store.requestStop(id, now))?.status).toBe("stopping");
    expect(await store.lobbyCreated(id, "late", now)).toBe(false);
    expect(await store.get(id)).toMatchObject({ status: "stopping", lobbyId: "late" });
  });

  it("of a session that does not exist is nothing", async () => {
    const id = newId("ses");
    expect(await store.get(id)).toBeUndefined();
    expect(await store.requestStop(id, now)).toBeUndefined();
    expect(await store.running(id, now)).toBe(false);
    expect(await store.lobbyCreated(id, "x", now)).toBe(false);
  });
});

describe("lists", () => {
  it("hold what the filter says, oldest first, and live sessions of one wolf", async () => {
    const [first, second] = [await claim(), await claim()];
    await store.end(first?.id ?? "", { status: "failed", failure: { code: "x", reason: "y" } }, now);
    expect((await store.listLive(wolf.id)).map(({ id }) => id)).toEqual([second?.id]);
    expect((await store.list({ limit: 10, after: undefined })).map(({ id }) => id)).toEqual([
      first?.id,
      second?.id,
    ]);
    expect((await store.list({ limit: 10, after: first?.id })).map(({ id }) => id)).toEqual([second?.id]);
    expect(await store.list({ limit: 10, after: undefined, ownerId: newId("usr") })).toEqual([]);
    expect(
      (await store.list({ limit: 10, after: undefined, status: "failed" })).map(({ failure }) => failure),
    ).toEqual([{ code: "x", reason: "y" }]);
  });

  it("find the live owners of lobbies by lobby or by name, of any wolf, and nobody for what has ended", async () => {
    const [byLobby, byName, ended] = [await claim(), await claim(), await claim()];
    await store.lobbyCreated(byLobby?.id ?? "", "lobby", now);
    await store.end(ended?.id ?? "", { status: "failed", failure: { code: "x", reason: "y" } }, now);
    const owners = await store.listOwners([
      { lobbyId: "lobby", sessionId: newId("ses") },
      { lobbyId: "elsewhere", sessionId: byName?.id ?? "" },
      { lobbyId: "nobody's", sessionId: ended?.id ?? "" },
    ]);
    expect(owners.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      { id: byLobby?.id, lobbyId: "lobby", wolfId: wolf.id },
      { id: byName?.id, lobbyId: null, wolfId: wolf.id },
    ]);
    expect(await store.listOwners([{ lobbyId: "' OR 1=1", sessionId: "" }])).toEqual([]);
  });
});
