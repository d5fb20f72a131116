/** Locks, deadlines and use of sessions, for both stores that there are. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { SessionStatus } from "@wolfpack/api-contract";
import {
  aPlaceableWolf,
  aSession,
  aSessionThatIs,
  at,
  implementations,
  LOCK,
  mustBe,
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
      const lost = await aSessionThatIs("lost", stores, other, aSession({ expiresAt: at(60), ...idle(5) }));
      const old = await thatIs("running", aSession({ expiresAt: at(50), ...idle(10) }));
      const unused = await thatIs("running", aSession(idle(10)));
      await thatIs("running");
      for (const status of ["placed", "starting", "stopping", "queued"] as const)
        await thatIs(status, aSession({ expiresAt: at(1), ...idle(1) }));
      expect(await ids(sessions.listExpired(at(9.999), 9))).toEqual([]);
      expect(await ids(sessions.listExpired(at(10), 9))).toEqual([old.id, unused.id]);
      const late = await sessions.listExpired(at(60), 9);
      expect(late.map(({ session, reason }) => [session.id, reason])).toEqual([
        [lost.id, "expired"],
        [old.id, "expired"],
        [unused.id, "idle"],
      ]);
      expect(await ids(sessions.listExpired(at(60), 2))).toEqual([lost.id, old.id]);
    });

    it("stop only if they are so still: what was extended or used meanwhile goes on", async () => {
      const [extended, used] = [
        await thatIs("running", aSession({ expiresAt: at(50) })),
        await thatIs("running", aSession(idle(50))),
      ];
      expect(await ids(sessions.listExpired(at(50), 9))).toEqual([extended.id, used.id]);
      await sessions.extend(extended.id, at(100), at(49));
      await sessions.touch([used.id], at(49));
      expect(await sessions.expire(extended.id, "expired", at(50))).toBe(false);
      expect(await sessions.expire(used.id, "idle", at(50))).toBe(false);
      expect(await sessions.expire(extended.id, "idle", at(100))).toBe(false);
      expect(await sessions.expire(extended.id, "expired", at(100))).toBe(true);
      expect(await sessions.expire(extended.id, "expired", at(100))).toBe(false);
      expect(await sessions.expire(used.id, "idle", at(99))).toBe(true);
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
        await thatIs("running", aSession({ expiresAt: at(100) })),
        await thatIs("running", aSession(idle(100))),
        await thatIs("running", aSession({ expiresAt: at(100), ...idle(90) })),
      ];
      await thatIs("running", aSession({ expiresAt: at(1000) }));
      await thatIs("stopping", aSession({ expiresAt: at(90) }));
      await thatIs("queued", aSession({ expiresAt: at(90) }));
      expect(await warned(at(29.999))).toEqual([]);
      expect(await warned(at(40))).toEqual([
        [old.id, "expired", at(100)],
        [unused.id, "idle", at(100)],
        [both.id, "idle", at(90)],
      ]);
      expect(await warned(at(41))).toEqual([]);
      expect((await get(old.id)).warnedAt).toEqual(at(40));
    });

    it("is void when its reason is gone, and can be given for another", async () => {
      const { id } = await thatIs("running", aSession({ expiresAt: at(100), ...idle(50) }));
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
