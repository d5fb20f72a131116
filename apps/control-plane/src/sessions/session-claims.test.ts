/** How sessions get places, and by which quotas: for both stores that there are. Races are in session-races.test.ts. */
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
  lenient,
  loseWolf,
  mustBe,
  noQuotas,
  OWNER,
  type Stores,
} from "../../test/stores.ts";
import { newId } from "../ids.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
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

  describe("a claim", () => {
    it("makes a row with all that was said, and takes slot, video memory and encoder sessions with it", async () => {
      const made = aSession({
        spec: {
          resources: { vram_mb: 4000, encoder_sessions: 2 },
          priority: 3,
          ttl_seconds: 900,
          idle_timeout_seconds: 60,
        },
        pin: "1234",
        createKey: "key",
      });
      const { createKey: _, ...kept } = made;
      const session = {
        ...kept,
        status: "placed",
        statusSince: at(1),
        wolfId: wolf.id,
        lobbyId: null,
        failure: null,
        stopReason: null,
        turn: 0,
        queuedAt: null,
        queueDeadline: null,
        priority: 3,
        attempts: 1,
        avoid: [],
        culprits: [],
        leftWolves: [],
        lockToken: LOCK.token,
        lockExpiresAt: LOCK.expiresAt,
        // Its life begins when it runs.
        expiresAt: null,
        idleSeconds: 60,
        lastActiveAt: null,
        warnedAt: null,
        createdAt: at(1),
        updatedAt: at(1),
        startedAt: null,
        endedAt: null,
      };
      expect(await claim(aClaim(wolf, made), noQuotas, at(1))).toEqual({ outcome: "claimed", session });
      expect(await get(made.id)).toEqual(session);
      expect(await claimed()).toEqual([1, 4000, 2]);
    });

    it("is answered in the order of the requests, and never for more slots than there are", async () => {
      const requests = Array.from({ length: 50 }, () => aClaim(wolf, aSession(resources(0, 0))));
      const answers = await stores.sessions.claim(requests, noQuotas, at(0));
      expect(answers.map(({ outcome }) => outcome)).toEqual(
        Array.from({ length: 50 }, (_, n) => (n < 3 ? "claimed" : "lost")),
      );
      expect((await stores.sessions.list(all)).map(({ id }) => id)).toEqual(
        requests.slice(0, 3).map((request) => ("session" in request ? request.session.id : "")),
      );
      expect(await claimed()).toEqual([3, 0, 0]);
    });

    it("of nothing is nothing", async () => {
      expect(await stores.sessions.claim([], noQuotas, at(0))).toEqual([]);
    });

    const refusals: [string, (wolf: Wolf) => Promise<unknown>][] = [
      ["another epoch", ({ id }) => stores.wolves.openTunnel(id, at(0))],
      ["a suspect wolf", ({ id, epoch }) => stores.wolves.loseTunnel(id, epoch, lenient, at(0))],
      ["a lost wolf", (lost) => loseWolf(stores.wolves, lost)],
      [
        "a cordoned wolf",
        ({ id }) => stores.wolves.changeIntent(id, { from: ["active"], to: "cordoned", reason: null }, at(0)),
      ],
      ["a failed wolf", ({ id, epoch }) => stores.wolves.changeHealth(id, epoch, "failed", [], at(0))],
      [
        "a wolf without lobbies",
        ({ id, epoch }) =>
          stores.wolves.changeCapabilities(
            id,
            epoch,
            { schema_hash: "x", features: [], missing: ["GET /api/v1/lobbies"] },
            at(0),
          ),
      ],
      [
        "a wolf in quarantine",
        ({ id }) =>
          stores.wolves.createFailed(id, "slow", { ...lenient, createFailuresMax: 1, firstMs: 1 }, at(0)),
      ],
      [
        "a wolf whose slots other lobbies take",
        ({ id, epoch }) => stores.wolves.reconciled(id, epoch, 3, at(0)),
      ],
      ["a wolf that is gone", ({ id }) => stores.wolves.deregister(id, false, at(0))],
    ];
    it.each(refusals)("of %s is lost and takes nothing", async (_what, change) => {
      await change(wolf);
      expect(await claim()).toEqual({ outcome: "lost" });
      expect(await stores.sessions.list(all)).toEqual([]);
      const after = await stores.wolves.get(wolf.id);
      expect(after?.connectedSandboxes ?? 0).toBe(0);
    });

    it("waits for the comparison with what the Wolf runs, after each new tunnel", async () => {
      const { epoch } = await mustBe(stores.wolves.openTunnel(wolf.id, at(1)));
      expect(await claim(aClaim({ id: wolf.id, epoch }))).toEqual({ outcome: "lost" });
      expect(await stores.wolves.reconciled(wolf.id, wolf.epoch, 0, at(1))).toBe(false);
      expect(await claim(aClaim({ id: wolf.id, epoch }))).toEqual({ outcome: "lost" });
      await stores.wolves.reconciled(wolf.id, epoch, 0, at(1));
      expect((await claim(aClaim({ id: wolf.id, epoch }))).outcome).toBe("claimed");
    });

    it("takes a wolf again in the moment in which its quarantine is over", async () => {
      const rules = { ...lenient, createFailuresMax: 1, firstMs: 10_000, maxMs: 10_000 };
      await stores.wolves.createFailed(wolf.id, "failed", rules, at(0));
      expect((await claim(aClaim(wolf), noQuotas, at(9.999))).outcome).toBe("lost");
      expect((await claim(aClaim(wolf), noQuotas, at(10))).outcome).toBe("claimed");
    });

    it("takes the last MiB and the last encoder session, and not one more", async () => {
      expect((await claim(aClaim(wolf, aSession(resources(6000, 3))))).outcome).toBe("claimed");
      expect(await claim(aClaim(wolf, aSession(resources(4001, 0))))).toEqual({ outcome: "lost" });
      expect(await claim(aClaim(wolf, aSession(resources(0, 2))))).toEqual({ outcome: "lost" });
      expect((await claim(aClaim(wolf, aSession(resources(4000, 1))))).outcome).toBe("claimed");
      expect(await claimed()).toEqual([2, 10_000, 4]);
    });

    it("counts what is used besides claims, however absurd the figures are", async () => {
      const gpu = { id: "gpu", utilisation_percent: null, encoder_percent: null };
      const usage = {
        cpu_load: null,
        memory_available_bytes: 0,
        gpu_state: "ok" as const,
        gpu_detail: null,
        gpus: [{ ...gpu, vram_used_bytes: Number.MAX_SAFE_INTEGER, encoder_sessions: 3 }],
        disks: [],
        disk_detail: null,
      };
      await stores.wolves.changeUsage(wolf.id, wolf.epoch, { usage, wolfRestarts: 0, sampleIds: [] }, at(0));
      expect(await claim(aClaim(wolf, aSession(resources(1_048_576))))).toEqual({ outcome: "lost" });
      expect(await claim(aClaim(wolf, aSession(resources(0, 2))))).toEqual({ outcome: "lost" });
      expect((await claim(aClaim(wolf, aSession(resources(0, 1))))).outcome).toBe("claimed");
    });

    it("wants memory only where it is known, and encodes without end where no end is known", async () => {
      const bare = await aPlaceableWolf(stores.wolves, "bare", { vramMb: null });
      expect(await claim(aClaim(bare, aSession(resources(1))))).toEqual({ outcome: "lost" });
      expect((await claim(aClaim(bare, aSession(resources(0, 64))))).outcome).toBe("claimed");
      expect(await claimed(bare.id)).toEqual([1, 0, 64]);
    });

    it("of an owner that does not exist is refused with all that came with it", async () => {
      const stranger = aSession({ ownerId: newId("usr") });
      await expect(
        stores.sessions.claim([aClaim(wolf), aClaim(wolf, stranger)], noQuotas, at(0)),
      ).rejects.toThrow("owner does not exist");
      expect(await claimed()).toEqual([0, 0, 0]);
      expect(await stores.sessions.list(all)).toEqual([]);
    });

    it("that is made again finds the session: by its id for ever, by the request's key while it lives", async () => {
      const first = aSession({ createKey: "key" });
      await claim(aClaim(wolf, first));
      const again = aSession({ createKey: "key" });
      expect(await claim(aClaim(wolf, again))).toMatchObject({
        outcome: "exists",
        session: { id: first.id },
      });
      expect(await claim(aClaim(wolf, first))).toMatchObject({
        outcome: "exists",
        session: { id: first.id },
      });
      expect(await claimed()).toEqual([1, 0, 1]);
      await stores.sessions.end(first.id, fails, at(1));
      expect(await claim(aClaim(wolf, first))).toMatchObject({
        outcome: "exists",
        session: { status: "failed" },
      });
      expect((await claim(aClaim(wolf, again))).outcome).toBe("claimed");
    });

    it("is one of one request also when both are in one batch; another owner's key is another", async () => {
      const other = newId("usr");
      await stores.addOwner(other);
      const [a, b, c] = [
        aSession({ createKey: "key" }),
        aSession({ createKey: "key" }),
        aSession({ createKey: "key", ownerId: other }),
      ];
      const answers = await stores.sessions.claim(
        [a, b, c].map((made) => aClaim(wolf, made)),
        noQuotas,
        at(0),
      );
      expect(answers).toMatchObject([
        { outcome: "claimed", session: { id: a.id } },
        { outcome: "exists", session: { id: a.id } },
        { outcome: "claimed", session: { id: c.id } },
      ]);
    });
  });

  describe("quotas", () => {
    it("count live sessions with those that wait, and those before it in the batch", async () => {
      await thatIs("queued");
      const quotas = { ...noQuotas, sessionsMax: 3 };
      const answers = await stores.sessions.claim([aClaim(wolf), aClaim(wolf), aClaim(wolf)], quotas, at(0));
      expect(answers[2]).toEqual({ outcome: "too-many", limit: 3, current: 3 });
      expect(answers.map(({ outcome }) => outcome)).toEqual(["claimed", "claimed", "too-many"]);
      const queue = { max: 9, deadline: at(9) };
      expect(await stores.sessions.enqueue(aSession(), queue, quotas, at(0))).toEqual(answers[2]);
    });

    it("count what was made within a minute, also what has ended, and say when there is room again", async () => {
      const quotas = { ...noQuotas, createsPerMinute: 2 };
      const first = await thatIs("placed");
      await stores.sessions.end(first.id, fails, at(0));
      expect((await claim(aClaim(wolf), quotas, at(20))).outcome).toBe("claimed");
      const tooFast = { outcome: "too-fast", limit: 2, current: 2 };
      expect(await claim(aClaim(wolf), quotas, at(59.999))).toEqual({ ...tooFast, freeAt: at(60) });
      expect((await claim(aClaim(wolf), quotas, at(60))).outcome).toBe("claimed");
      const queue = { max: 9, deadline: at(99) };
      expect(await stores.sessions.enqueue(aSession(), queue, quotas, at(60))).toEqual({
        ...tooFast,
        freeAt: at(80),
      });
    });

    it("are the owner's own where its row says so, even nothing at all", async () => {
      const [rich, poor] = [newId("usr"), newId("usr")];
      await stores.addOwner(rich, { sessionsMax: 2 });
      await stores.addOwner(poor, { createsPerMinute: 0 });
      const quotas = { sessionsMax: 1, createsPerMinute: 9 };
      const answers = await stores.sessions.claim(
        [rich, OWNER, OWNER, rich, poor].map((ownerId) => aClaim(wolf, aSession({ ownerId }))),
        quotas,
        at(0),
      );
      expect(answers.map(({ outcome }) => outcome)).toEqual([
        "claimed",
        "claimed",
        "too-many",
        "claimed",
        "too-fast",
      ]);
      expect(answers[4]).toEqual({ outcome: "too-fast", limit: 0, current: 0, freeAt: at(60) });
    });

    it("are not asked for a session that waits already", async () => {
      const { id } = await thatIs("queued");
      const request = { wolf, lock: LOCK, queued: id, placement: anExplanation() };
      expect((await claim(request, { sessionsMax: 0, createsPerMinute: 0 })).outcome).toBe("claimed");
    });
  });
});
