/** The queue of sessions that wait for a place: for both stores that there are. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  anExplanation,
  aPlaceableWolf,
  aSession,
  aSessionThatIs,
  at,
  implementations,
  LOCK,
  mustBe,
  noQuotas,
  OWNER,
  type Stores,
} from "../../test/stores.ts";
import { newId } from "../ids.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import type { Claim, ClaimRequest, NewSession, Session } from "./session-store.ts";

describe.each(implementations)("in %s", (_name, open) => {
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

  const get = (id: string) => mustBe(stores.sessions.get(id));
  const thatIs = (status: Session["status"], made?: NewSession) => aSessionThatIs(status, stores, wolf, made);
  async function claim(request: ClaimRequest, now = at(0)): Promise<Claim> {
    const [claimed, ...more] = await stores.sessions.claim([request], noQuotas, now);
    if (claimed === undefined || more.length > 0) throw new Error("one request, one answer");
    return claimed;
  }
  /** What is claimed of the wolf: slots, MiB, encoders. */
  async function claimed(): Promise<number[]> {
    const { connectedSandboxes, vramMb, encoderSessions } = await mustBe(stores.wolves.get(wolf.id));
    return [connectedSandboxes, vramMb.claimed, encoderSessions.claimed];
  }
  const resources = (vram_mb: number, encoder_sessions = 1) => ({
    spec: { resources: { vram_mb, encoder_sessions } },
  });

  describe("the queue", () => {
    const queue = { max: 3, deadline: at(600) };
    const enqueue = (made = aSession(), now = at(0)) => stores.sessions.enqueue(made, queue, noQuotas, now);

    it("takes a session that holds nothing, once, and no more than it may hold", async () => {
      const made = aSession({ createKey: "key" });
      expect(await enqueue(made)).toMatchObject({
        outcome: "queued",
        session: {
          id: made.id,
          status: "queued",
          wolfId: null,
          queuedAt: at(0),
          queueDeadline: at(600),
          attempts: 0,
        },
      });
      expect(await enqueue(aSession({ createKey: "key" }))).toMatchObject({
        outcome: "exists",
        session: { id: made.id },
      });
      await enqueue();
      await enqueue();
      expect(await enqueue()).toEqual({ outcome: "full", limit: 3, current: 3 });
      expect(await stores.sessions.countQueued()).toBe(3);
      expect(await claimed()).toEqual([0, 0, 0]);
    });

    it("refuses a session of nobody", async () => {
      await expect(enqueue(aSession({ ownerId: newId("usr") }))).rejects.toThrow("owner does not exist");
      expect(await stores.sessions.countQueued()).toBe(0);
    });

    it("goes by priority, then in turns for each owner, then by who came first", async () => {
      const other = newId("usr");
      await stores.addOwner(other);
      const wide = { max: 100, deadline: at(600) };
      const came = async (name: string, ownerId: string, priority: number, second: number) =>
        stores.sessions.enqueue(aSession({ name, ownerId, spec: { priority } }), wide, noQuotas, at(second));
      await came("flood 1", OWNER, 4, 1);
      await came("flood 2", OWNER, 4, 2);
      await came("flood 3", OWNER, 4, 3);
      await came("modest 1", other, 4, 4);
      await came("modest 2", other, 4, 5);
      await came("urgent", other, 9, 6);
      await came("idle", OWNER, 0, 0);
      const order = ["urgent", "flood 1", "modest 1", "flood 2", "modest 2", "flood 3", "idle"];
      const rows = await stores.sessions.listQueued(100);
      expect(rows.map(({ session, position }) => [session.name, position])).toEqual(
        order.map((name, n) => [name, n + 1]),
      );
      expect((await stores.sessions.listQueued(2)).map(({ session }) => session.name)).toEqual(
        order.slice(0, 2),
      );
      const last = rows.at(-1)?.session.id ?? "";
      expect(await stores.sessions.queuePosition(last)).toBe(7);
      expect(await stores.sessions.queuePosition(newId("ses"))).toBeUndefined();
    });

    it("goes on behind a place, also of a session that waits no more, with the places among all", async () => {
      const other = newId("usr");
      await stores.addOwner(other);
      const wide = { max: 100, deadline: at(600) };
      const ids: string[] = [];
      // Each owner's in turns, at one and the same moment: the id decides last.
      for (const ownerId of [OWNER, other, OWNER, other, OWNER]) {
        const made = aSession({ name: `${ids.length}`, ownerId });
        ids.push(made.id);
        await stores.sessions.enqueue(made, wide, noQuotas, at(0));
      }
      const named = async (...asked: Parameters<typeof stores.sessions.listQueued>) =>
        (await stores.sessions.listQueued(...asked)).map(({ session, position }) => [session.id, position]);
      const whole = await named(100);
      const [, second = ""] = whole.map(([id]) => String(id));
      expect(await named(2, { after: second })).toEqual(whole.slice(2, 4));
      expect(await named(9, { after: String(whole.at(-1)?.[0]) })).toEqual([]);
      expect(await named(9, { after: newId("ses") })).toEqual([]);
      const own = whole.filter(([id]) => ids.indexOf(String(id)) % 2 === 1);
      expect(await named(9, { ownerId: other })).toEqual(own);
      expect(await named(9, { ownerId: other, after: String(own[0]?.[0]) })).toEqual(own.slice(1));
      await stores.sessions.requestStop(second, "cancelled", at(1));
      const moved = whole.slice(2).map(([id, position]) => [id, Number(position) - 1]);
      expect(await named(100, { after: second })).toEqual(moved);
    });

    it("makes nobody wait for all who came before, and gives no turn twice to one owner", async () => {
      const [flood, late] = [newId("usr"), newId("usr")];
      await stores.addOwner(flood);
      await stores.addOwner(late);
      const wide = { max: 100, deadline: at(600) };
      const came = async (name: string, ownerId: string, second: number) => {
        const made = aSession({ name, ownerId, spec: { resources: { vram_mb: 0, encoder_sessions: 0 } } });
        await stores.sessions.enqueue(made, wide, noQuotas, at(second));
        return made.id;
      };
      const turns = async () =>
        (await stores.sessions.listQueued(100)).map(({ session }) => [session.name, session.turn]);
      const first = await came("flood 1", flood, 1);
      const second = await came("flood 2", flood, 2);
      await came("flood 3", flood, 3);
      for (const queued of [first, second])
        await claim({ wolf, lock: LOCK, queued, placement: anExplanation() }, at(4));
      // The queue has come to the turn of "flood 3".
      await came("late 1", late, 5);
      await came("late 2", late, 6);
      await came("flood 4", flood, 7);
      expect(await turns()).toEqual([
        ["flood 3", 2],
        ["late 1", 2],
        ["late 2", 3],
        ["flood 4", 3],
      ]);
      // What has waited already is not sent behind its owner's others.
      const back = { avoid: true, deadline: at(600), lobbyGone: true };
      await stores.sessions.requeue(second, wolf.id, ["placed"], back, at(8));
      expect((await turns()).slice(0, 3)).toEqual([
        ["flood 2", 2],
        ["flood 3", 2],
        ["late 1", 2],
      ]);
      expect(await stores.sessions.get(second)).toMatchObject({ queuedAt: at(2), turn: 2 });
    });

    it("begins its turns anew when it is empty, and counts them for each priority", async () => {
      const { id } = await thatIs("queued");
      const second = await thatIs("queued");
      const urgent = await thatIs("queued", aSession({ spec: { priority: 9 } }));
      expect([second.turn, urgent.turn]).toEqual([1, 0]);
      for (const waits of [id, second.id]) await stores.sessions.requestStop(waits, "cancelled", at(1));
      expect((await thatIs("queued")).turn).toBe(0);
      const placed = await thatIs("placed");
      await stores.sessions.requeue(placed.id, wolf.id, ["placed"], { avoid: false, deadline: at(9) }, at(1));
      expect((await get(placed.id)).turn).toBe(0);
    });

    it("says beforehand what it answers to who comes next, and at which place, and takes nothing", async () => {
      const owners = [newId("usr"), newId("usr"), newId("usr")];
      const entry = fc.record({
        ownerId: fc.constantFrom(...owners),
        priority: fc.constantFrom(0, 4, 9),
        isServed: fc.boolean(),
      });
      const quotas = { sessionsMax: 4, createsPerMinute: 6 };
      const [max, seen] = [7, new Set<string>()];
      await fc.assert(
        fc.asyncProperty(fc.array(entry, { minLength: 10, maxLength: 20 }), async (entries) => {
          await stores.clear();
          for (const id of owners) await stores.addOwner(id);
          for (const [second, { ownerId, priority, isServed }] of entries.entries()) {
            const [first] = await stores.sessions.listQueued(1);
            if (isServed && first !== undefined)
              await stores.sessions.requestStop(first.session.id, "cancelled", at(second));
            const ask = () => stores.sessions.prospect({ ownerId, priority }, max, quotas, at(second));
            const prospect = await ask();
            expect(await ask()).toEqual(prospect);
            const made = aSession({ ownerId, spec: { priority } });
            const answer = await stores.sessions.enqueue(
              made,
              { max, deadline: at(600) },
              quotas,
              at(second),
            );
            seen.add(answer.outcome);
            expect(prospect).toEqual(
              answer.outcome === "queued"
                ? { outcome: "queued", position: await stores.sessions.queuePosition(made.id) }
                : answer,
            );
          }
        }),
        { numRuns: 20 },
      );
      expect([...seen].sort()).toEqual(["full", "queued", "too-fast", "too-many"]);
      const nobody = { ownerId: newId("usr"), priority: 4 };
      await expect(stores.sessions.prospect(nobody, max, quotas, at(0))).rejects.toThrow(
        "owner does not exist",
      );
    });

    it("keeps the reason why a session waits, and of no other", async () => {
      const [waits, runs] = [await thatIs("queued"), await thatIs("running")];
      for (const { id } of [waits, runs]) await stores.sessions.explainQueued(id, anExplanation("Full."));
      expect((await get(waits.id)).placement.text).toBe("Full.");
      expect((await get(runs.id)).placement).toEqual(runs.placement);
      await stores.sessions.explainQueued(newId("ses"), anExplanation("Full."));
    });

    it("gives a place to one that waits, with what its spec asks for", async () => {
      const { id } = await thatIs("queued", aSession(resources(2000, 2)));
      const request = { wolf, lock: LOCK, queued: id, placement: anExplanation("Now.") };
      expect(await claim(request, at(5))).toMatchObject({
        outcome: "claimed",
        session: {
          status: "placed",
          statusSince: at(5),
          wolfId: wolf.id,
          attempts: 1,
          lockToken: LOCK.token,
          placement: { text: "Now." },
          queuedAt: at(0),
        },
      });
      expect(await claimed()).toEqual([1, 2000, 2]);
      expect(await claim(request)).toEqual({ outcome: "gone" });
    });

    it("gives none to one that was cancelled, nor to one that never was", async () => {
      const { id } = await thatIs("queued");
      await stores.sessions.requestStop(id, "cancelled", at(1));
      for (const queued of [id, newId("ses")]) {
        const request = { wolf, lock: LOCK, queued, placement: anExplanation() };
        expect(await claim(request)).toEqual({ outcome: "gone" });
      }
      expect(await claimed()).toEqual([0, 0, 0]);
    });

    it("keeps one whose wolf has changed, as it was", async () => {
      const session = await thatIs("queued");
      const request = {
        wolf: { id: wolf.id, epoch: 99 },
        lock: LOCK,
        queued: session.id,
        placement: anExplanation(),
      };
      expect(await claim(request)).toEqual({ outcome: "lost" });
      expect(await get(session.id)).toEqual(session);
    });
  });
});
