/** What a store of sessions promises, for both that there are. What only PostgreSQL can break is in session-races.test.ts. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { SessionStatus } from "@wolfpack/api-contract";
import {
  aClaim,
  anExplanation,
  aPlaceableWolf,
  aReport,
  aSession,
  aSessionThatIs,
  at,
  implementations,
  LOCK,
  lenient,
  lobbyOf,
  loseWolf,
  mustBe,
  noQuotas,
  OWNER,
  type Stores,
} from "../../test/stores.ts";
import { newId } from "../ids.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import { liveStatuses, type SessionEvent, sessionTransitions, statusesBefore } from "./session-lifecycle.ts";
import type { Claim, ClaimRequest, NewSession, Quotas, Session } from "./session-store.ts";

describe.each(implementations)("sessions in %s", (_name, open) => {
  let stores: Stores;
  let wolf: Wolf;
  beforeAll(async () => {
    stores = await open();
  });
  beforeEach(async () => {
    await stores.clear();
    await stores.addOwner(OWNER);
    wolf = await aPlaceableWolf(stores.wolves, "w", {
      maxSandboxes: 3,
      vramMb: 10_000,
      encoderSessionsMax: 4,
    });
  });
  afterAll(() => stores.close());

  const failure = { code: "lobby-failed", reason: "No." };
  const fails = { status: "failed" as const, failure };
  const get = (id: string) => mustBe(stores.sessions.get(id));
  const thatIs = (status: Session["status"], made?: NewSession) => aSessionThatIs(status, stores, wolf, made);
  async function claim(
    request: ClaimRequest = aClaim(wolf),
    quotas: Quotas = noQuotas,
    now = at(0),
  ): Promise<Claim> {
    const [claimed, ...more] = await stores.sessions.claim([request], quotas, now);
    if (claimed === undefined || more.length > 0) throw new Error("one request, one answer");
    return claimed;
  }
  /** What is claimed of the wolf: slots, MiB, encoders. */
  async function claimed(id = wolf.id): Promise<number[]> {
    const { connectedSandboxes, vramMb, encoderSessions } = await mustBe(stores.wolves.get(id));
    return [connectedSandboxes, vramMb.claimed, encoderSessions.claimed];
  }
  const all = { limit: 200, after: undefined };
  const resources = (vram_mb: number, encoder_sessions = 1) => ({
    spec: { resources: { vram_mb, encoder_sessions } },
  });

  describe("the table of statuses", () => {
    const events: Record<SessionEvent, (session: Session) => Promise<unknown>> = {
      claimed: ({ id }) =>
        claim({ wolf, lock: LOCK, queued: id, placement: anExplanation() }, noQuotas, at(9)),
      lobbyCreated: ({ id, lockToken }) =>
        stores.sessions.lobbyCreated(id, "a lobby", at(9), lockToken ?? undefined),
      running: ({ id }) => stores.sessions.running(id, lobbyOf(id), at(9)),
      async wolfLost({ id }) {
        await loseWolf(stores.wolves, wolf);
        await stores.sessions.markLost(id, at(9));
      },
      requeued: ({ id, wolfId, status }) =>
        stores.sessions.requeue(id, wolfId ?? "", [status], { avoid: false, deadline: at(99) }, at(9)),
      stopRequested: ({ id }) => stores.sessions.requestStop(id, "requested", at(9)),
      stopped: ({ id }) => stores.sessions.end(id, { status: "stopped" }, at(9)),
      failed: ({ id }) => stores.sessions.end(id, fails, at(9)),
    };
    const cells = SessionStatus.options.flatMap((status) =>
      (Object.keys(events) as SessionEvent[]).map((event) => [status, event] as const),
    );

    it.each(cells)(
      "holds for %s + %s, with the time of the change and every claim",
      async (status, event) => {
        const session = await thatIs(status, aSession(resources(1000)));
        await events[event](session);
        const after = await get(session.id);
        // One that waits ends at once when it is told to stop.
        const isCancelled = status === "queued" && event === "stopRequested";
        const expected = isCancelled ? "stopped" : (sessionTransitions[status][event] ?? status);
        expect(after.status).toBe(expected);
        expect(after.statusSince).toEqual(expected === status ? session.statusSince : at(9));
        expect(after.endedAt !== null).toBe(!liveStatuses.includes(expected));
        const holds = liveStatuses.includes(expected) && expected !== "queued";
        expect(await claimed()).toEqual(holds ? [1, 1000, 1] : [0, 0, 0]);
        // Nobody has said that its lobby is gone.
        const held = liveStatuses.includes(status) && status !== "queued";
        expect((await mustBe(stores.wolves.get(wolf.id))).otherLobbies).toBe(held && !holds ? 1 : 0);
        if (expected !== "placed" && expected !== "stopping") expect(after.lockToken).toBeNull();
      },
    );

    it("has no row for a session that does not exist", async () => {
      const id = newId("ses");
      const { sessions } = stores;
      expect(await sessions.get(id)).toBeUndefined();
      expect(await sessions.requestStop(id, "requested", at(1))).toBeUndefined();
      const no = [
        sessions.lobbyCreated(id, "lobby", at(1)),
        sessions.end(id, fails, at(1)),
        sessions.requeue(id, wolf.id, liveStatuses, { avoid: true, deadline: at(9) }, at(1)),
        sessions.markLost(id, at(1)),
        sessions.takeLock(id, LOCK, at(1)),
        sessions.expire(id, "idle", at(1), 0),
        sessions.extend(id, at(9), at(1)),
      ];
      expect(await Promise.all(no)).toEqual(no.map(() => false));
      expect(await sessions.running(id, "lobby", at(1))).toBeUndefined();
      await sessions.touch([id], at(1));
      expect(await sessions.list(all)).toEqual([]);
    });
  });

  describe("a lobby", () => {
    it("is made by the holder of the lock, whose work is then done", async () => {
      const { id } = await thatIs("placed");
      expect(await stores.sessions.lobbyCreated(id, "other's", at(1), "another token")).toBe(false);
      expect(await get(id)).toMatchObject({ status: "placed", lobbyId: null });
      expect(await stores.sessions.lobbyCreated(id, "mine", at(1), LOCK.token)).toBe(true);
      expect(await get(id)).toMatchObject({
        status: "starting",
        lobbyId: "mine",
        lockToken: null,
        lockExpiresAt: null,
      });
      expect(await stores.sessions.lobbyCreated(id, "second", at(1), LOCK.token)).toBe(false);
      expect((await get(id)).lobbyId).toBe("mine");
    });

    it("that somebody else has found counts once the lock has expired, not before", async () => {
      const { id } = await thatIs("placed");
      expect(await stores.sessions.lobbyCreated(id, "found", at(29.999))).toBe(false);
      expect((await get(id)).lobbyId).toBeNull();
      expect(await stores.sessions.lobbyCreated(id, "found", at(30))).toBe(true);
      expect((await get(id)).lobbyId).toBe("found");
    });

    it("that comes after the stop is kept for the stop, if whoever made it still held the lock", async () => {
      const { id } = await thatIs("stopping");
      expect(await stores.sessions.lobbyCreated(id, "stranger's", at(1), "another token")).toBe(false);
      expect((await get(id)).lobbyId).toBeNull();
      expect(await stores.sessions.lobbyCreated(id, "late", at(1), LOCK.token)).toBe(false);
      expect(await get(id)).toMatchObject({ status: "stopping", lobbyId: "late", statusSince: at(0) });
    });

    it("of an earlier place is nothing to the session that has moved on", async () => {
      const { id } = await thatIs("placed");
      await stores.sessions.requeue(id, wolf.id, ["placed"], { avoid: true, deadline: at(99) }, at(1));
      const other = await aPlaceableWolf(stores.wolves, "other");
      const lock = { token: "second", expiresAt: at(60) };
      await claim({ wolf: other, lock, queued: id, placement: anExplanation() }, noQuotas, at(2));
      expect(await stores.sessions.lobbyCreated(id, "of the first wolf", at(3), LOCK.token)).toBe(false);
      await stores.sessions.requestStop(id, "requested", at(4));
      expect(await stores.sessions.lobbyCreated(id, "of the first wolf", at(5), LOCK.token)).toBe(false);
      expect((await get(id)).lobbyId).toBeNull();
    });

    it("whose container was seen to start runs its session, by word of the wolf's newest tunnel", async () => {
      const [mine, placed] = [await thatIs("starting"), await thatIs("placed")];
      // A Wolf that repeats itself says nothing new.
      const lobbies = [lobbyOf(mine.id), "of nobody", lobbyOf(mine.id)];
      const { lobbiesRunning } = stores.sessions;
      expect(await lobbiesRunning({ id: wolf.id, epoch: wolf.epoch - 1 }, lobbies, at(5))).toEqual([]);
      expect(await lobbiesRunning({ id: newId("wlf"), epoch: wolf.epoch }, lobbies, at(5))).toEqual([]);
      expect(await lobbiesRunning(wolf, [], at(5))).toEqual([]);
      expect(await lobbiesRunning(wolf, lobbies, at(5))).toEqual([
        { id: mine.id, wolfId: wolf.id, culprits: [], isNew: true },
      ]);
      expect(await lobbiesRunning(wolf, lobbies, at(6))).toEqual([]);
      expect(await get(mine.id)).toMatchObject({ status: "running", startedAt: at(5), lastActiveAt: at(5) });
      expect((await get(placed.id)).status).toBe("placed");
    });
  });

  describe("a stop", () => {
    it("keeps the first reason, and the key of the request until the session has ended", async () => {
      const { id } = await thatIs("running", aSession({ createKey: "key" }));
      expect(await stores.sessions.requestStop(id, "drained", at(1))).toMatchObject({
        stopReason: "drained",
      });
      expect(await stores.sessions.requestStop(id, "forced", at(2))).toMatchObject({ stopReason: "drained" });
      expect((await claim(aClaim(wolf, aSession({ createKey: "key" })))).outcome).toBe("exists");
      await stores.sessions.end(id, { status: "stopped", reason: "idle" }, at(3));
      expect(await get(id)).toMatchObject({ status: "stopped", stopReason: "drained", endedAt: at(3) });
      expect((await claim(aClaim(wolf, aSession({ createKey: "key" })))).outcome).toBe("claimed");
    });

    it("of one that waits for its lost wolf says why", async () => {
      const { id } = await thatIs("lost");
      await stores.sessions.end(id, { status: "stopped", reason: "wolf-lost" }, at(3));
      expect(await get(id)).toMatchObject({ status: "stopped", stopReason: "wolf-lost" });
      expect(await claimed()).toEqual([0, 0, 0]);
    });

    it("because its wolf is lost leaves a session alone whose wolf is there, and one that has none", async () => {
      const [runs, waits] = [await thatIs("running"), await thatIs("queued")];
      const whileLost = { whileLost: true };
      for (const session of [runs, waits]) {
        expect(await stores.sessions.requestStop(session.id, "wolf-lost", at(1), whileLost)).toEqual(session);
      }
      await loseWolf(stores.wolves, wolf);
      expect(await stores.sessions.requestStop(runs.id, "wolf-lost", at(2), whileLost)).toMatchObject({
        status: "stopping",
        stopReason: "wolf-lost",
      });
    });
  });

  describe("an end", () => {
    it("gives everything back exactly once, however often it is told", async () => {
      const { id } = await thatIs("running", aSession(resources(3000, 2)));
      await thatIs("running", aSession(resources(500, 1)));
      await stores.sessions.requestStop(id, "requested", at(1));
      const ends = await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          stores.sessions.end(id, n % 2 === 0 ? { status: "stopped" } : fails, at(2)),
        ),
      );
      expect(ends.filter((done) => done)).toHaveLength(1);
      expect(await claimed()).toEqual([1, 500, 1]);
    });

    it("is refused in a status other than those in which it was decided", async () => {
      const { id } = await thatIs("running");
      expect(await stores.sessions.end(id, fails, at(1), { from: ["starting", "placed"] })).toBe(false);
      expect(await stores.sessions.end(id, fails, at(1), { from: [] })).toBe(false);
      // Not even the caller can ask for what the table does not know.
      expect(await stores.sessions.end(id, { status: "stopped" }, at(1), { from: ["running"] })).toBe(false);
      expect(await stores.sessions.end(id, fails, at(1), { from: ["running"] })).toBe(true);
      expect(await get(id)).toMatchObject({ status: "failed", failure });
    });
  });

  describe("going back into the queue", () => {
    const options = { avoid: false, deadline: at(700) };
    const any = statusesBefore("requeued");

    it("gives everything back, leaves the wolf, and keeps what the session is", async () => {
      const { id } = await thatIs(
        "running",
        aSession({ spec: { ...resources(1000).spec, ttl_seconds: 999 }, createKey: "key" }),
      );
      expect(await stores.sessions.requeue(id, wolf.id, any, options, at(9))).toBe(true);
      expect(await get(id)).toMatchObject({
        status: "queued",
        statusSince: at(9),
        wolfId: null,
        lobbyId: null,
        leftWolves: [wolf.id],
        avoid: [],
        lockToken: null,
        queuedAt: at(0),
        queueDeadline: at(700),
        startedAt: at(0),
        attempts: 0,
        expiresAt: at(999),
      });
      expect(await claimed()).toEqual([0, 0, 0]);
      expect((await claim(aClaim(wolf, aSession({ createKey: "key" })))).outcome).toBe("exists");
      expect(await stores.sessions.requeue(id, wolf.id, any, options, at(9))).toBe(false);
    });

    it("names each wolf that it has left, avoids or blames once", async () => {
      const { id } = await thatIs("placed");
      const again = { wolf, lock: LOCK, queued: id, placement: anExplanation() };
      for (let n = 0; n < 2; n += 1) {
        await stores.sessions.requeue(
          id,
          wolf.id,
          any,
          { ...options, avoid: true, blame: true, lobbyGone: true },
          at(9),
        );
        expect(await get(id)).toMatchObject({ leftWolves: [wolf.id], avoid: [wolf.id], culprits: [wolf.id] });
        await claim(again);
      }
      expect((await get(id)).attempts).toBe(3);
    });

    it("keeps the place of one that came from there", async () => {
      const { id } = await thatIs("queued");
      await claim({ wolf, lock: LOCK, queued: id, placement: anExplanation() }, noQuotas, at(5));
      await thatIs("queued");
      await stores.sessions.requeue(id, wolf.id, any, options, at(9));
      expect(await stores.sessions.queuePosition(id)).toBe(1);
    });

    it("is refused on another wolf, in another status, and for a loss that is over", async () => {
      const session = await thatIs("running");
      const { requeue } = stores.sessions;
      expect(await requeue(session.id, newId("wlf"), any, options, at(9))).toBe(false);
      expect(await requeue(session.id, wolf.id, ["placed", "starting"], options, at(9))).toBe(false);
      expect(await requeue(session.id, wolf.id, any, { ...options, whileLost: true }, at(9))).toBe(false);
      expect(await get(session.id)).toEqual(session);
      await loseWolf(stores.wolves, wolf);
      expect(await requeue(session.id, wolf.id, any, { ...options, whileLost: true }, at(9))).toBe(true);
    });
  });

  describe("a session whose wolf is lost", () => {
    it("is marked so only while the wolf is, and runs again when its lobby is there", async () => {
      const { id } = await thatIs("running");
      expect(await stores.sessions.markLost(id, at(1))).toBe(false);
      await stores.wolves.loseTunnel(wolf.id, wolf.epoch, lenient, at(1));
      expect(await stores.sessions.markLost(id, at(1))).toBe(false);
      await stores.wolves.markLost(wolf.id, wolf.epoch, at(2));
      expect(await stores.sessions.markLost(id, at(3))).toBe(true);
      expect(await stores.sessions.markLost(id, at(4))).toBe(false);
      expect(await get(id)).toMatchObject({ status: "lost", statusSince: at(3) });
      expect(await claimed()).toEqual([1, 0, 1]);
      expect(await stores.sessions.running(id, lobbyOf(id), at(9))).toMatchObject({ isNew: false });
      // While it was lost nobody could use it.
      expect(await get(id)).toMatchObject({ startedAt: at(0), lastActiveAt: at(9) });
    });

    it("is listed until somebody has seen to it", async () => {
      const [runs, stops, placed] = [
        await thatIs("running"),
        await thatIs("stopping"),
        await thatIs("placed"),
      ];
      await thatIs("queued");
      const listed = async (limit = 9) => (await stores.sessions.listOnLostWolves(limit)).map(({ id }) => id);
      expect(await listed()).toEqual([]);
      await loseWolf(stores.wolves, wolf);
      expect(await listed()).toEqual([runs.id, stops.id, placed.id]);
      expect(await listed(2)).toEqual([runs.id, stops.id]);
      await stores.sessions.markLost(runs.id, at(1));
      await stores.sessions.end(placed.id, fails, at(1));
      expect(await listed()).toEqual([stops.id]);
    });
  });

  describe("lists", () => {
    it("hold what the filter says, page by page in the order of their making", async () => {
      const other = newId("usr");
      await stores.addOwner(other);
      const [failed, runs, waits] = [
        await thatIs("failed"),
        await thatIs("running", aSession({ ownerId: other })),
        await thatIs("queued"),
      ];
      const ids = async (filter: object) =>
        (await stores.sessions.list({ ...all, ...filter })).map(({ id }) => id);
      expect(await ids({})).toEqual([failed.id, runs.id, waits.id]);
      expect(await ids({ after: failed.id, limit: 1 })).toEqual([runs.id]);
      expect(await ids({ after: waits.id })).toEqual([]);
      expect(await ids({ newestFirst: true })).toEqual([waits.id, runs.id, failed.id]);
      expect(await ids({ newestFirst: true, after: waits.id, limit: 1 })).toEqual([runs.id]);
      expect(await ids({ newestFirst: true, after: failed.id })).toEqual([]);
      expect(await ids({ status: "failed" })).toEqual([failed.id]);
      expect(await ids({ wolfId: wolf.id })).toEqual([failed.id, runs.id]);
      expect(await ids({ ownerId: other, status: "running" })).toEqual([runs.id]);
      expect(await ids({ ownerId: newId("usr") })).toEqual([]);
      expect((await stores.sessions.listLive(wolf.id)).map(({ id }) => id)).toEqual([runs.id]);
      expect(await stores.sessions.countLive()).toEqual({ running: 1, queued: 1 });
    });

    it("find the live owners of lobbies by lobby or by name, with the wolves that they have left", async () => {
      const [byLobby, byName, ended, moved] = [
        await thatIs("starting"),
        await thatIs("placed"),
        await thatIs("failed"),
        await thatIs("running"),
      ];
      const toQueue = { avoid: false, deadline: at(99) };
      await stores.sessions.requeue(moved.id, wolf.id, ["running"], toQueue, at(1));
      const owners = await stores.sessions.listOwners([
        { lobbyId: byLobby.lobbyId ?? "", sessionId: newId("ses") },
        { lobbyId: "elsewhere", sessionId: byName.id },
        { lobbyId: "nobody's", sessionId: ended.id },
        { lobbyId: "the old one", sessionId: moved.id },
      ]);
      expect(owners.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
        { id: byLobby.id, lobbyId: byLobby.lobbyId, wolfId: wolf.id, leftWolves: [] },
        { id: byName.id, lobbyId: null, wolfId: wolf.id, leftWolves: [] },
        { id: moved.id, lobbyId: null, wolfId: null, leftWolves: [wolf.id] },
      ]);
      expect(await stores.sessions.listOwners([{ lobbyId: "' OR 1=1", sessionId: "" }])).toEqual([]);
      expect(await stores.sessions.listOwners([])).toEqual([]);
    });

    it("know the PINs of sessions that have ended, too", async () => {
      const [live, ended, open] = [
        await thatIs("running", aSession({ pin: "0000" })),
        await thatIs("failed", aSession({ pin: "1234" })),
        await thatIs("running"),
      ];
      const pins = await stores.sessions.pinsOf([live.id, ended.id, open.id, newId("ses")]);
      expect([...pins].toSorted()).toEqual([
        [live.id, "0000"],
        [ended.id, "1234"],
      ]);
      expect(await stores.sessions.pinsOf([])).toEqual(new Map());
      const recorded = await stores.sessions.recorded([live.id, ended.id, newId("ses")]);
      expect(recorded).toEqual(new Set([live.id, ended.id]));
      expect(await stores.sessions.recorded([])).toEqual(new Set());
    });

    it("are copies: whoever changes one changes no row, nor does whoever changes what a row was made of", async () => {
      const made = aSession();
      const session = await thatIs("placed", made);
      Object.assign(made.spec.labels, { tier: "x" });
      Object.assign(session.spec.labels, { tier: "y" });
      session.placement.ranked.push({ wolf_instance_id: "z", load: 1, score: 1, parts: {} });
      session.statusSince.setTime(0);
      (session.leftWolves as string[]).push("w");
      expect(await get(session.id)).toMatchObject({
        spec: { labels: {} },
        placement: { ranked: [] },
        statusSince: at(0),
        leftWolves: [],
      });
    });
  });

  describe("removing a wolf", () => {
    it("by force ends its live sessions with all they held, and leaves those of other wolves alone", async () => {
      const [live, ended] = [
        await thatIs("running", aSession({ createKey: "key" })),
        await thatIs("stopped"),
      ];
      const other = await aPlaceableWolf(stores.wolves, "other");
      const away = await aSessionThatIs("placed", stores, other);
      expect(await stores.wolves.deregister(wolf.id, false, at(9))).toBe("has-sessions");
      expect(await stores.wolves.deregister(wolf.id, true, at(9))).toBe("deleted");
      expect(await get(live.id)).toMatchObject({
        status: "failed",
        statusSince: at(9),
        failure: { code: "wolf-removed" },
        wolfId: null,
        endedAt: at(9),
      });
      expect(await get(ended.id)).toMatchObject({ status: "stopped", wolfId: null, failure: null });
      expect(await get(away.id)).toEqual(away);
      const again = aClaim(other, aSession({ createKey: "key" }));
      expect((await claim(again)).outcome).toBe("claimed");
      await stores.wolves.register({ id: wolf.id, name: "back", address: "", ...aReport() }, at(10));
      expect(await stores.sessions.listLive(wolf.id)).toEqual([]);
    });
  });
});
