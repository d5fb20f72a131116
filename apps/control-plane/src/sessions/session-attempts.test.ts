/** One start of a session after another, and what each leaves behind on its wolf: for both stores that there are. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import {
  aClaim,
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
import type { Wolf } from "../wolves/wolf-store.ts";
import { statusesBefore } from "./session-lifecycle.ts";
import type { EndOptions, NewSession, RequeueOptions, Session } from "./session-store.ts";

describe.each(implementations)("in %s", (_name, open) => {
  let stores: Stores;
  let wolf: Wolf;
  let other: Wolf;
  beforeAll(async () => {
    stores = await open();
  });
  beforeEach(async () => {
    await stores.clear();
    await stores.addOwner(OWNER);
    wolf = await aPlaceableWolf(stores.wolves, "w", { maxSandboxes: 1, vramMb: 10_000 });
    other = await aPlaceableWolf(stores.wolves, "other", { maxSandboxes: 1 });
  });
  afterAll(() => stores.close());

  const fails = { status: "failed" as const, failure: { code: "lobby-failed", reason: "No." } };
  const any = statusesBefore("requeued");
  const get = (id: string) => mustBe(stores.sessions.get(id));
  const thatIs = (status: Session["status"], made?: NewSession) => aSessionThatIs(status, stores, wolf, made);
  const end = (id: string, options?: EndOptions) => stores.sessions.end(id, fails, at(9), options);
  const requeue = (id: string, { id: wolfId }: Wolf, options: Partial<RequeueOptions> = {}) =>
    stores.sessions.requeue(id, wolfId, any, { avoid: true, deadline: at(700), ...options }, at(9));
  async function place(queued: string, on: Wolf): Promise<void> {
    const request = { wolf: on, lock: LOCK, queued, placement: anExplanation() };
    const [answer] = await stores.sessions.claim([request], noQuotas, at(9));
    expect(answer?.outcome).toBe("claimed");
  }
  const start = (id: string, lobbyId = lobbyOf(id)) =>
    stores.sessions.lobbyCreated(id, lobbyId, at(10), LOCK.token);
  /** Slots that sessions have, and that other lobbies take. */
  async function slots({ id }: Wolf = wolf): Promise<[number, number]> {
    const { connectedSandboxes, otherLobbies } = await mustBe(stores.wolves.get(id));
    return [connectedSandboxes, otherLobbies];
  }
  const isFree = async (on: Wolf = wolf) => {
    const [answer] = await stores.sessions.claim([aClaim(on)], noQuotas, at(9));
    return answer?.outcome === "claimed";
  };

  describe("a slot", () => {
    it("stays taken after an end, until the comparison says that no lobby is left", async () => {
      const { id } = await thatIs(
        "running",
        aSession({ spec: { resources: { vram_mb: 9000, encoder_sessions: 1 } } }),
      );
      expect(await end(id)).toBe(true);
      expect(await slots()).toEqual([0, 1]);
      expect((await mustBe(stores.wolves.get(wolf.id))).vramMb.claimed).toBe(0);
      expect(await isFree()).toBe(false);
      await stores.wolves.reconciled(wolf.id, wolf.epoch, 1, at(10));
      expect(await isFree()).toBe(false);
      await stores.wolves.reconciled(wolf.id, wolf.epoch, 0, at(11));
      expect(await isFree()).toBe(true);
    });

    it("stays taken after a return to the queue likewise", async () => {
      const { id } = await thatIs("starting");
      expect(await requeue(id, wolf)).toBe(true);
      expect(await slots()).toEqual([0, 1]);
      expect(await isFree()).toBe(false);
      await stores.wolves.reconciled(wolf.id, wolf.epoch, 0, at(11));
      expect(await isFree()).toBe(true);
    });

    it("is free at once when the lobby was seen to be gone", async () => {
      const [ended, back] = [await thatIs("running"), await aSessionThatIs("placed", stores, other)];
      await end(ended.id, { lobbyGone: true });
      await requeue(back.id, other, { lobbyGone: true });
      expect([await slots(), await slots(other)]).toEqual([
        [0, 0],
        [0, 0],
      ]);
      expect([await isFree(), await isFree(other)]).toEqual([true, true]);
    });

    it("is taken for one lobby only, however often the end is told, and for none by what held no slot", async () => {
      const { id } = await thatIs("running");
      const waits = await thatIs("queued");
      for (let n = 0; n < 3; n += 1) await end(id);
      await end(waits.id);
      expect(await slots()).toEqual([0, 1]);
    });

    it("of a refused end or return is as it was", async () => {
      const { id } = await thatIs("running");
      expect(await end(id, { from: ["starting"] })).toBe(false);
      expect(await end(id, { attempt: { wolfId: other.id, attempts: 1 } })).toBe(false);
      expect(await requeue(id, other)).toBe(false);
      expect(await requeue(id, wolf, { attempts: 2 })).toBe(false);
      expect(await requeue(id, wolf, { whileLost: true })).toBe(false);
      expect([await slots(), await slots(other)]).toEqual([
        [1, 0],
        [0, 0],
      ]);
    });
  });

  describe("an attempt that is over", () => {
    it("changes nothing: neither on another wolf nor on the same one again", async () => {
      const first = await thatIs("placed");
      const attempt = { wolfId: wolf.id, attempts: first.attempts };
      await requeue(first.id, wolf, { lobbyGone: true });
      const waits = await get(first.id);
      expect(await end(first.id, { attempt })).toBe(false);
      expect(await requeue(first.id, wolf, { attempts: 1 })).toBe(false);
      expect(await get(first.id)).toEqual(waits);
      for (const on of [other, wolf]) {
        await place(first.id, on);
        const next = await get(first.id);
        expect(await end(first.id, { attempt })).toBe(false);
        expect(await requeue(first.id, wolf, { attempts: 1 })).toBe(false);
        expect(await get(first.id)).toEqual(next);
        expect(await slots(on)).toEqual([1, 0]);
        if (on === other) await requeue(first.id, other, { lobbyGone: true });
      }
      expect(await end(first.id, { attempt: { wolfId: wolf.id, attempts: 3 } })).toBe(true);
    });

    it("is over for whoever held the lock when somebody else has taken it", async () => {
      const { id } = await thatIs("placed");
      await stores.sessions.takeLock(id, { token: "next", expiresAt: at(90) }, at(30));
      expect(await end(id, { attempt: { wolfId: wolf.id, attempts: 1 } })).toBe(false);
      expect(await requeue(id, wolf, { attempts: 1 })).toBe(false);
      expect(await get(id)).toMatchObject({ status: "placed", lockToken: "next", attempts: 2 });
      expect(await requeue(id, wolf, { attempts: 2 })).toBe(true);
    });

    it("does not run the session by its lobby, which is another one", async () => {
      const { id } = await thatIs("starting");
      await requeue(id, wolf, { lobbyGone: true });
      await place(id, wolf);
      await start(id, "second lobby");
      const { running, lobbiesRunning } = stores.sessions;
      expect(await running(id, lobbyOf(id), at(11))).toBeUndefined();
      expect(await running(id, "", at(11))).toBeUndefined();
      expect(await lobbiesRunning(wolf, [lobbyOf(id)], at(11))).toEqual([]);
      expect((await get(id)).status).toBe("starting");
      expect(await running(id, "second lobby", at(11))).toMatchObject({ id, isNew: true });
      expect(await running(id, "second lobby", at(12))).toBeUndefined();
    });
  });

  describe("wolves where a session failed to start", () => {
    it("are avoided and blamed until it runs elsewhere, which names them once", async () => {
      const { id } = await thatIs("placed");
      await requeue(id, wolf, { blame: true });
      await place(id, other);
      expect(await get(id)).toMatchObject({ avoid: [wolf.id], culprits: [wolf.id], attempts: 2 });
      await start(id);
      const ran = { id, wolfId: other.id, culprits: [wolf.id], isNew: true };
      expect(await stores.sessions.running(id, lobbyOf(id), at(11))).toEqual(ran);
      expect(await get(id)).toMatchObject({ avoid: [], culprits: [], leftWolves: [wolf.id] });
      await loseWolf(stores.wolves, other);
      await stores.sessions.markLost(id, at(12));
      const found = { id, wolfId: other.id, culprits: [], isNew: false };
      expect(await stores.sessions.running(id, lobbyOf(id), at(13))).toEqual(found);
    });

    it("are named by the tunnel's word likewise", async () => {
      const { id } = await thatIs("starting");
      await requeue(id, wolf, { blame: true });
      await place(id, other);
      await start(id, "second lobby");
      const ran = { id, wolfId: other.id, culprits: [wolf.id], isNew: true };
      const { lobbiesRunning } = stores.sessions;
      const both = await Promise.all([1, 2].map(() => lobbiesRunning(other, ["second lobby"], at(11))));
      expect(both.flat()).toEqual([ran]);
      expect(await get(id)).toMatchObject({ avoid: [], culprits: [] });
    });

    it("are all remembered when it goes back twice, and a blameless one is only avoided", async () => {
      const third = await aPlaceableWolf(stores.wolves, "third");
      const { id } = await thatIs("placed");
      await requeue(id, wolf, { blame: true });
      await place(id, other);
      await requeue(id, other, { blame: false });
      expect(await get(id)).toMatchObject({
        status: "queued",
        attempts: 2,
        avoid: [wolf.id, other.id],
        culprits: [wolf.id],
        leftWolves: [wolf.id, other.id],
      });
      expect([await slots(), await slots(other)]).toEqual([
        [0, 1],
        [0, 1],
      ]);
      await place(id, third);
      expect((await get(id)).attempts).toBe(3);
    });

    it("are not avoided when that is not asked for, nor forgotten by a failure", async () => {
      const { id } = await thatIs("placed");
      await requeue(id, wolf, { avoid: false });
      expect(await get(id)).toMatchObject({ avoid: [], culprits: [], leftWolves: [wolf.id] });
      await place(id, other);
      await requeue(id, other, { blame: true });
      await end(id);
      expect(await get(id)).toMatchObject({ status: "failed", avoid: [other.id], culprits: [other.id] });
    });
  });

  describe("of two returns to the queue", () => {
    it("at once, one is the one, and gives the slot back once", async () => {
      const { id } = await thatIs("running");
      const both = await Promise.all([requeue(id, wolf), requeue(id, wolf)]);
      expect(both.filter((done) => done)).toHaveLength(1);
      expect(await slots()).toEqual([0, 1]);
    });

    it("the second, which knows only the first attempt, leaves the next one alone", async () => {
      const { id } = await thatIs("placed");
      expect(await requeue(id, wolf, { attempts: 1, lobbyGone: true })).toBe(true);
      await place(id, wolf);
      expect(await requeue(id, wolf, { attempts: 1, lobbyGone: true })).toBe(false);
      expect(await slots()).toEqual([1, 0]);
    });
  });

  describe("attempts", () => {
    it.each(["running", "lost"] as const)("are counted anew once it was %s", async (status) => {
      const { id, attempts } = await thatIs(status);
      expect(attempts).toBe(1);
      await requeue(id, wolf);
      expect((await get(id)).attempts).toBe(0);
      await place(id, other);
      expect((await get(id)).attempts).toBe(1);
    });

    it.each(["placed", "starting"] as const)("go on where it was only %s", async (status) => {
      const { id } = await thatIs(status);
      await requeue(id, wolf);
      expect((await get(id)).attempts).toBe(1);
    });
  });
});
