/** Locks, deadlines and use of sessions, for both stores that there are. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { SessionStatus } from "@wolfpack/api-contract";
import {
  anExplanation,
  aPlaceableWolf,
  aSession,
  aSessionThatIs,
  at,
  implementations,
  LOCK,
  lobbyOf,
  loseWolf,
  mustBe,
  noQuotas,
  OWNER,
  type Stores,
} from "../../test/stores.ts";
import { newId } from "../ids.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import type { NewSession, Session, SessionStore } from "./session-store.ts";

describe.each(implementations)("in %s", (_name, open) => {
  let stores: Stores;
  let sessions: SessionStore;
  let wolf: Wolf;
  beforeAll(async () => {
    stores = await open();
  });
  beforeEach(async () => {
    await stores.clear();
    await stores.addOwner(OWNER);
    wolf = await aPlaceableWolf(stores.wolves, "w", { maxSandboxes: 20 });
    sessions = stores.sessions;
  });
  afterAll(() => stores.close());

  const get = (id: string) => mustBe(sessions.get(id));
  const thatIs = (status: Session["status"], made?: NewSession) => aSessionThatIs(status, stores, wolf, made);
  const idle = (seconds: number) => ({ spec: { idle_timeout_seconds: seconds } });
  const lives = (ttl_seconds: number, idle_timeout_seconds: number | null = null) =>
    aSession({ spec: { ttl_seconds, idle_timeout_seconds } });
  const expired = (now: Date, noticeMs = 0, limit = 9) => ids(sessions.listExpired(now, noticeMs, limit));
  const expires = (id: string, reason: "expired" | "idle", now: Date, noticeMs = 0) =>
    sessions.expire(id, reason, now, noticeMs);
  const ids = async (rows: Promise<{ session: Session }[]>) => (await rows).map(({ session }) => session.id);

  describe("the lock of a session", () => {
    it("is held on to by its token, while the session lives", async () => {
      const [mine, started, ended] = [
        await thatIs("placed"),
        await thatIs("starting"),
        await thatIs("failed"),
      ];
      const locks = [mine, started, ended].map(({ id }) => ({ id, token: LOCK.token }));
      expect(await sessions.renewLocks(locks, at(60))).toEqual([mine.id]);
      expect((await get(mine.id)).lockExpiresAt).toEqual(at(60));
      expect(await sessions.renewLocks([{ id: mine.id, token: "stolen" }], at(90))).toEqual([]);
      expect((await get(mine.id)).lockExpiresAt).toEqual(at(60));
      expect(await sessions.renewLocks([], at(90))).toEqual([]);
    });

    it("is taken over once it has expired, by one, and that is one more attempt", async () => {
      const { id } = await thatIs("placed");
      const lock = (token: string) => ({ token, expiresAt: at(90) });
      expect(await sessions.takeLock(id, lock("early"), at(29.999))).toBe(false);
      const taken = await Promise.all(
        ["a", "b", "c"].map((token) => sessions.takeLock(id, lock(token), at(30))),
      );
      expect(taken.filter((won) => won)).toHaveLength(1);
      expect(await get(id)).toMatchObject({ attempts: 2, lockExpiresAt: at(90), statusSince: at(0) });
      // Whoever held it before has lost it for good.
      expect(await sessions.renewLocks([{ id, token: LOCK.token }], at(99))).toEqual([]);
      expect(await sessions.lobbyCreated(id, "late", at(31), LOCK.token)).toBe(false);
    });

    it.each(["queued", "starting", "running", "stopping", "failed"] as const)(
      "is nobody's to take when the session is %s",
      async (status) => {
        const session = await thatIs(status);
        expect(await sessions.takeLock(session.id, LOCK, at(999))).toBe(false);
        expect(await get(session.id)).toEqual(session);
      },
    );
  });

  describe("overdue", () => {
    it("are sessions in a status since before its date, not at it, and those that have waited long enough", async () => {
      const [waits, placed, starts, stops] = [
        await thatIs("queued"),
        await thatIs("placed"),
        await thatIs("starting"),
        await thatIs("stopping"),
      ];
      await thatIs("running");
      await thatIs("failed");
      const overdue = async (since: Partial<Record<SessionStatus, Date>>, now = at(1), limit = 9) =>
        (await sessions.listOverdue(since, now, limit)).map(({ id }) => id);
      expect(await overdue({})).toEqual([]);
      expect(await overdue({ placed: at(0), starting: at(0.001), stopping: at(1) })).toEqual([
        starts.id,
        stops.id,
      ]);
      expect(await overdue({}, at(599.999))).toEqual([]);
      expect(await overdue({ placed: at(1) }, at(600))).toEqual([waits.id, placed.id]);
      expect(await overdue({ placed: at(1) }, at(600), 1)).toEqual([waits.id]);
      // What has ended is never late.
      expect(await overdue({ failed: at(9), stopped: at(9) })).toEqual([]);
    });
  });

  describe("expired", () => {
    it("are running and lost sessions past their time, and running ones that nobody uses", async () => {
      const other = await aPlaceableWolf(stores.wolves, "other");
      const lost = await aSessionThatIs("lost", stores, other, lives(60, 5));
      const old = await thatIs("running", lives(50, 10));
      const unused = await thatIs("running", aSession(idle(10)));
      await thatIs("running");
      for (const status of ["placed", "starting", "queued"] as const)
        await sessions.extend((await thatIs(status, aSession(idle(1)))).id, at(1), at(0));
      const stops = await thatIs("running", lives(1, 1));
      await sessions.warn(at(0), 60_000);
      await sessions.requestStop(stops.id, "requested", at(0));
      expect(await expired(at(9.999))).toEqual([]);
      expect(await expired(at(10))).toEqual([old.id, unused.id]);
      const late = await sessions.listExpired(at(60), 0, 9);
      expect(late.map(({ session, reason }) => [session.id, reason])).toEqual([
        [lost.id, "expired"],
        [old.id, "expired"],
        [unused.id, "idle"],
      ]);
      expect(await expired(at(60), 0, 2)).toEqual([lost.id, old.id]);
    });

    it("are never those that were not warned, or so late that the notice has not run out", async () => {
      const [old, unused] = [await thatIs("running", lives(10)), await thatIs("running", aSession(idle(10)))];
      const nobodyEnds = async (now: Date, noticeMs: number) => {
        expect(await expired(now, noticeMs)).toEqual([]);
        expect(await expires(old.id, "expired", now, noticeMs)).toBe(false);
        expect(await expires(unused.id, "idle", now, noticeMs)).toBe(false);
      };
      await nobodyEnds(at(999), 0);
      // Nobody looked for an hour: they are late, and told so first.
      expect(await ids(sessions.warn(at(3600), 60_000))).toEqual([old.id, unused.id]);
      await nobodyEnds(at(3629.999), 30_000);
      expect(await expired(at(3630), 30_000)).toEqual([old.id, unused.id]);
      expect(await expires(old.id, "expired", at(3630), 30_000)).toBe(true);
      expect(await expires(unused.id, "idle", at(3630), 30_000)).toBe(true);
    });

    it("are warned anew when the warning was of an earlier end", async () => {
      const { id } = await thatIs("running", lives(10));
      await sessions.warn(at(5), 10_000);
      await sessions.extend(id, at(20), at(6));
      expect(await expires(id, "expired", at(20))).toBe(false);
      expect(await ids(sessions.warn(at(20), 10_000))).toEqual([id]);
      expect(await expires(id, "expired", at(24.999), 5000)).toBe(false);
      expect(await expires(id, "expired", at(25), 5000)).toBe(true);
    });

    it("stop only if they are so still: what was extended or used meanwhile goes on", async () => {
      const [extended, used] = [
        await thatIs("running", lives(50)),
        await thatIs("running", aSession(idle(50))),
      ];
      await sessions.warn(at(40), 10_000);
      expect(await expired(at(50))).toEqual([extended.id, used.id]);
      await sessions.extend(extended.id, at(100), at(49));
      await sessions.touch([used.id], at(49));
      await sessions.warn(at(50), 60_000);
      expect(await expires(extended.id, "expired", at(50))).toBe(false);
      expect(await expires(used.id, "idle", at(50))).toBe(false);
      expect(await expires(extended.id, "idle", at(100))).toBe(false);
      expect(await expires(extended.id, "expired", at(100))).toBe(true);
      expect(await expires(extended.id, "expired", at(100))).toBe(false);
      expect(await expires(used.id, "idle", at(99))).toBe(true);
      expect(await get(extended.id)).toMatchObject({
        status: "stopping",
        stopReason: "expired",
        statusSince: at(100),
      });
      expect(await get(used.id)).toMatchObject({ status: "stopping", stopReason: "idle" });
    });
  });

  describe("a warning", () => {
    const warned = async (now: Date) =>
      (await sessions.warn(now, 60_000)).map(({ session, reason, at: end }) => [session.id, reason, end]);

    it("is given once, for what ends first", async () => {
      const [old, unused, both] = [
        await thatIs("running", lives(100)),
        await thatIs("running", aSession(idle(100))),
        await thatIs("running", lives(100, 90)),
      ];
      await thatIs("running", lives(1000));
      await sessions.requestStop((await thatIs("running", lives(90))).id, "requested", at(0));
      await sessions.extend((await thatIs("queued", lives(90))).id, at(90), at(0));
      expect(await warned(at(29.999))).toEqual([]);
      expect(await warned(at(40))).toEqual([
        [old.id, "expired", at(100)],
        [unused.id, "idle", at(100)],
        [both.id, "idle", at(90)],
      ]);
      expect(await warned(at(41))).toEqual([]);
      expect((await get(old.id)).warnedAt).toEqual(at(40));
    });

    it("of no use is void when the session was lost meanwhile, and one of the clock is not given twice", async () => {
      const [unused, old] = [
        await thatIs("running", aSession(idle(50))),
        await thatIs("running", lives(50, 60)),
      ];
      expect((await warned(at(10))).map(([id]) => id)).toEqual([unused.id, old.id]);
      await loseWolf(stores.wolves, wolf, at(20));
      for (const { id } of [unused, old]) {
        await sessions.markLost(id, at(20));
        // Lost for longer than its idle time: while it was, nobody could use it.
        await sessions.running(id, lobbyOf(id), at(90));
      }
      expect(await expired(at(140))).toEqual([old.id]);
      expect(await warned(at(140))).toEqual([[unused.id, "idle", at(140)]]);
    });

    it("of an earlier sandbox does not end the next one without a word", async () => {
      const { id } = await thatIs("running", aSession(idle(50)));
      expect(await warned(at(10))).toEqual([[id, "idle", at(50)]]);
      const options = { avoid: false, deadline: at(600), lobbyGone: true };
      await sessions.requeue(id, wolf.id, ["running"], options, at(20));
      const again = { wolf, lock: LOCK, queued: id, placement: anExplanation() };
      await sessions.claim([again], noQuotas, at(30));
      await sessions.lobbyCreated(id, "next", at(31), LOCK.token);
      await sessions.running(id, "next", at(32));
      expect(await expired(at(82))).toEqual([]);
      expect(await warned(at(82))).toEqual([[id, "idle", at(82)]]);
    });

    it("is void when its reason is gone, and can be given for another", async () => {
      const { id } = await thatIs("running", lives(100, 50));
      expect(await warned(at(10))).toEqual([[id, "idle", at(50)]]);
      await sessions.touch([id], at(40));
      expect((await get(id)).warnedAt).toBeNull();
      // Used until 90, so that the clock ends it first, and no use helps against that.
      await sessions.touch([id], at(60));
      expect(await warned(at(61))).toEqual([[id, "expired", at(100)]]);
      await sessions.touch([id], at(62));
      expect(await warned(at(63))).toEqual([]);
      await sessions.extend(id, at(500), at(64));
      expect((await get(id)).warnedAt).toBeNull();
      expect(await warned(at(65))).toEqual([[id, "idle", at(112)]]);
      await sessions.extend(id, at(600), at(66));
      expect(await warned(at(67))).toEqual([]);
    });
  });

  describe("the life of a session", () => {
    it("begins when it first runs, and lasts what its spec says, however often it runs again", async () => {
      const made = lives(100);
      const { id } = await thatIs("starting", made);
      expect((await get(id)).expiresAt).toBeNull();
      await sessions.running(id, lobbyOf(id), at(40));
      expect(await get(id)).toMatchObject({ startedAt: at(40), expiresAt: at(140) });
      await loseWolf(stores.wolves, wolf, at(50));
      await sessions.markLost(id, at(50));
      await sessions.running(id, lobbyOf(id), at(60));
      expect(await get(id)).toMatchObject({ startedAt: at(40), expiresAt: at(140) });
    });

    it("begins likewise by word of the wolf's tunnel", async () => {
      const { id } = await thatIs("starting", lives(100));
      await sessions.lobbiesRunning(wolf, [lobbyOf(id)], at(40));
      expect((await get(id)).expiresAt).toEqual(at(140));
    });

    it("has no end where its spec says none, and the one that its user has set before", async () => {
      const [endless, extended] = [await thatIs("starting"), await thatIs("starting", lives(100))];
      await sessions.extend(extended.id, at(500), at(1));
      for (const { id } of [endless, extended]) await sessions.running(id, lobbyOf(id), at(40));
      expect((await get(endless.id)).expiresAt).toBeNull();
      expect((await get(extended.id)).expiresAt).toEqual(at(500));
    });
  });

  describe("use and more time", () => {
    it("are noted of live sessions only, and use never goes back", async () => {
      const [runs, waits, ended] = [await thatIs("running"), await thatIs("queued"), await thatIs("failed")];
      await sessions.touch([runs.id, waits.id, ended.id, newId("ses")], at(20));
      await sessions.touch([runs.id], at(10));
      await sessions.touch([], at(30));
      expect((await get(runs.id)).lastActiveAt).toEqual(at(20));
      expect((await get(waits.id)).lastActiveAt).toEqual(at(20));
      expect(await get(ended.id)).toEqual(ended);
    });

    it("is given to whatever has not ended and is not stopping, and may be less", async () => {
      for (const status of ["queued", "placed", "starting", "running"] as const) {
        const { id } = await thatIs(status);
        expect(await sessions.extend(id, at(50), at(1))).toBe(true);
        expect(await sessions.extend(id, at(20), at(2))).toBe(true);
        expect(await get(id)).toMatchObject({ expiresAt: at(20), updatedAt: at(2) });
      }
      for (const status of ["stopping", "failed", "stopped"] as const) {
        const session = await thatIs(status);
        expect(await sessions.extend(session.id, at(50), at(1))).toBe(false);
        expect(await get(session.id)).toEqual(session);
      }
    });
  });
});
