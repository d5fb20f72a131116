/** The life of sessions from wish to end, through queue, failures, lost wolves and drains: real PostgreSQL, told Wolfs. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { eventually } from "../../test/host.ts";
import { refused, type SessionFleet, sessionFleet, type ToldWolf } from "../../test/session-fleet.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import type { Session } from "./session-store.ts";

let fleet: SessionFleet;
let ann: UserPrincipal;
let ben: UserPrincipal;

beforeEach(async () => {
  fleet = await sessionFleet({ queueMax: 5 });
  [ann, ben] = [await fleet.user("ann"), await fleet.user("ben")];
});
afterEach(() => fleet.close());

const running = (user: UserPrincipal, request = {}): Promise<Session> => fleet.running(user, request);
const page = { limit: 10 };
const nothing = { slots: 0, vramMb: 0, encoderSessions: 0 };

describe("the queue", () => {
  it("takes what finds no room, says the places, and gives the next one the room that comes", async () => {
    const { id: wolfId } = await fleet.wolf("w", { maxSandboxes: 1 });
    const first = await running(ann);
    const [second, third] = [await fleet.create(ann), await fleet.create(ann)];
    expect([second.status, third.status]).toEqual(["queued", "queued"]);
    expect(await fleet.service.queue(ann, page)).toMatchObject([
      { session_id: second.id, position: 1, text: expect.stringContaining("full") },
      { session_id: third.id, position: 2 },
    ]);
    await fleet.service.stop(ann, first.id, false);
    await fleet.becomes(second.id, "starting");
    expect((await fleet.store.get(third.id))?.status).toBe("queued");
    expect(await fleet.claims(wolfId)).toMatchObject({ slots: 1 });
  });

  it("lets users take turns, whoever brought how many, and higher priorities before all", async () => {
    await fleet.wolf("w", { maxSandboxes: 1 });
    const boss = await fleet.user("boss", "operator");
    await running(ann);
    const wishes = [ann, ann, ann, ben, boss].map((user) => ({
      user,
      request: { priority: user === boss ? 9 : 4 },
    }));
    const ids: string[] = [];
    for (const { user, request } of wishes) ids.push((await fleet.create(user, request)).id);
    const [ann1, ann2, ann3, ben1, boss1] = ids;
    const order = (await fleet.service.queue(boss, page)).map(({ session_id }) => session_id);
    expect(order).toEqual([boss1, ann1, ben1, ann2, ann3]);
    expect(await fleet.service.queue(ben, page)).toMatchObject([{ session_id: ben1, position: 3 }]);
  });

  it("lets a user who comes late to a long queue wait for one turn of the others, not for all of theirs", async () => {
    await fleet.wolf("w", { maxSandboxes: 1 });
    let runs = await running(ann);
    const anns: string[] = [];
    for (let at = 0; at < 4; at += 1) anns.push((await fleet.create(ann)).id);
    const next = async (id: string) => {
      await fleet.service.stop(ann, runs.id, false);
      runs = await fleet.becomes(id, "starting");
    };
    await next(anns[0] ?? "");
    const late = await fleet.create(ben);
    const order = (await fleet.service.queue(ann, page)).map(({ session_id }) => session_id);
    expect(order).toEqual(anns.slice(1));
    await next(anns[1] ?? "");
    await next(late.id);
  });

  it("keeps priorities above that of everybody for those who run the fleet", async () => {
    await expect(fleet.create(ann, { priority: 5 })).rejects.toMatchObject({ code: "forbidden" });
  });

  it("is bounded, and refuses who does not want to wait, with the reason", async () => {
    await fleet.wolf("w", { maxSandboxes: 1 });
    await running(ann);
    for (let at = 0; at < 5; at += 1) await fleet.create(ann);
    await expect(fleet.create(ann)).rejects.toMatchObject({
      code: "queue-full",
      extras: { queue_length: 5 },
    });
    await expect(fleet.create(ann, { queue: false })).rejects.toMatchObject({
      code: "no-capacity",
      extras: { removed: [{ filter: "capacity", count: 1 }] },
    });
  });

  it("ends a wait at its deadline and not before, with what it waited for", async () => {
    await fleet.wolf("w", { maxSandboxes: 1 });
    await running(ann);
    const { id } = await fleet.create(ann, { queue_deadline_seconds: 60 });
    fleet.clock.advance(59_000);
    await fleet.service.tick();
    expect((await fleet.store.get(id))?.status).toBe("queued");
    fleet.clock.advance(1000);
    await fleet.service.tick();
    const { failure, wolfId } = await fleet.becomes(id, "failed");
    expect(failure).toMatchObject({ code: "queue-timeout", reason: expect.stringContaining("full") });
    expect(wolfId).toBeNull();
  });

  it("is left at once by what is cancelled", async () => {
    await fleet.wolf("w", { maxSandboxes: 1 });
    await running(ann);
    const { id } = await fleet.create(ann);
    expect(await fleet.service.stop(ann, id, false)).toMatchObject({
      status: "stopped",
      stopReason: "cancelled",
    });
    expect(await fleet.service.queue(ann, page)).toEqual([]);
  });

  it("survives a restart, and room that came meanwhile is given", async () => {
    const { id: wolfId } = await fleet.wolf("w", { maxSandboxes: 1 });
    const first = await running(ann);
    const { id } = await fleet.create(ann);
    fleet.restart();
    const failure = { code: "x", reason: "y" };
    await fleet.store.end(first.id, { status: "failed", failure }, fleet.clock.now(), { lobbyGone: true });
    await fleet.service.tick();
    await fleet.becomes(id, "starting");
    expect(await fleet.claims(wolfId)).toMatchObject({ slots: 1 });
  });

  it("does not let what nobody can take now hold up what fits", async () => {
    await fleet.wolf("n", { maxSandboxes: 1 });
    await fleet.wolf("a", { maxSandboxes: 1, gpuType: "amd" });
    await running(ann, { gpu_type: "nvidia" });
    const blocked = await fleet.create(ann, { gpu_type: "nvidia" });
    expect(blocked.status).toBe("queued");
    const { id } = await fleet.create(ben, { gpu_type: "amd" });
    await fleet.becomes(id, "starting");
  });

  it("waits in an empty fleet for its first wolf", async () => {
    const { id, status } = await fleet.create(ann);
    expect(status).toBe("queued");
    await fleet.wolf("w");
    await fleet.becomes(id, "starting");
  });
});

describe("a wish that nobody can fulfil", () => {
  it.each([
    [{ gpu_type: "intel" as const }, "gpu_type"],
    [{ labels: { rack: "r9" } }, "labels"],
    [{ region: "mars", region_required: true }, "region"],
    [{ resources: { vram_mb: 1, encoder_sessions: 1 } }, "resources.vram_mb"],
    [{ resources: { vram_mb: 0, encoder_sessions: 9 } }, "resources.encoder_sessions"],
  ])("is refused at once with the field and what there is: %j", async (request, field) => {
    await fleet.wolf("w", { labels: { rack: "r1" }, region: "eu", encoderSessionsMax: 8 });
    const problem = await fleet.create(ann, request).then(
      () => undefined,
      (error: { code: string; extras: { errors: { path: string }[]; allowed: object } }) => error,
    );
    expect(problem).toMatchObject({ code: "placement-impossible" });
    expect(problem?.extras.errors.map(({ path }) => path).join(" ")).toContain(field);
    expect(await fleet.store.countQueued()).toBe(0);
  });
});

describe("a claim", () => {
  it("takes memory and encoder sessions with the slot, and gives all back", async () => {
    const { id: wolfId } = await fleet.wolf("w", { encoderSessionsMax: 4 });
    await fleet.database.prisma.wolfInstance.update({ where: { id: wolfId }, data: { vram_mb: 8192 } });
    await fleet.service.tick();
    const { id } = await running(ann, { resources: { vram_mb: 6000, encoder_sessions: 3 } });
    expect(await fleet.claims(wolfId)).toEqual({ slots: 1, vramMb: 6000, encoderSessions: 3 });
    const waits = await fleet.create(ann, { resources: { vram_mb: 3000, encoder_sessions: 1 } });
    expect(waits).toMatchObject({ status: "queued", placement: { removed: [{ filter: "vram", count: 1 }] } });
    await fleet.service.stop(ann, id, false);
    await fleet.becomes(waits.id, "starting");
    expect(await fleet.claims(wolfId)).toEqual({ slots: 1, vramMb: 3000, encoderSessions: 1 });
  });

  it("leaves room for lobbies that no session has", async () => {
    const { id: wolfId, told } = await fleet.wolf("w", { maxSandboxes: 1 });
    told.lobbies.push({ id: "11111111-0000", name: "somebody's", runner: { type: "docker" } });
    await fleet.service.reconcileAll([wolfId]);
    const { id, status } = await fleet.create(ann);
    expect(status).toBe("queued");
    told.lobbies.length = 0;
    await fleet.service.reconcileAll([wolfId]);
    await fleet.becomes(id, "starting");
    expect(told.stopped).toEqual([]);
  });
});

describe("a wolf that was removed", () => {
  it("is forgotten: what was last written of its comparison is not known any more", async () => {
    const { id } = await fleet.wolf("w");
    const { wolfInstance } = fleet.database.prisma;
    const written = async () => {
      await wolfInstance.update({ where: { id }, data: { reconciled_epoch: 0 } });
      await fleet.service.reconcileAll([id]);
      return (await wolfInstance.findUnique({ where: { id } }))?.reconciled_epoch !== 0;
    };
    await fleet.service.reconcileAll([id]);
    expect(await written()).toBe(false);
    fleet.service.changedElsewhere(id);
    expect(await written()).toBe(true);
  });
});

describe("a start that fails", () => {
  const refuses = (told: ToldWolf) => {
    told.onCreate = () => Promise.reject(refused("No space left on device"));
  };

  it("is tried on another wolf, which then has it, and the first one counts as the culprit", async () => {
    const bad = await fleet.wolf("bad", { maxSandboxes: 9 });
    refuses(bad.told);
    const good = await fleet.wolf("good", { maxSandboxes: 3 });
    for (let at = 1; at <= 3; at += 1) {
      const session = await running(ann);
      expect(session).toMatchObject({ wolfId: good.id, attempts: 2, avoid: [], culprits: [] });
    }
    const { quarantine } = (await fleet.wolves.get(bad.id)) ?? {};
    expect(quarantine).toMatchObject({ reason: "creates-failed", times: 1 });
    expect(await fleet.claims(bad.id)).toEqual(nothing);
  });

  it("everywhere is the session's own fault: it fails with Wolf's words, and no wolf is quarantined", async () => {
    const wolves: Awaited<ReturnType<typeof fleet.wolf>>[] = [];
    for (const name of ["a", "b", "c", "d"]) wolves.push(await fleet.wolf(name, { maxSandboxes: 20 }));
    for (const { told } of wolves) refuses(told);
    for (let at = 0; at < 4; at += 1)
      await expect(fleet.create(ann, { wait_seconds: 60 })).rejects.toMatchObject({
        code: "session-start-failed",
        extras: { reason_code: "wolf-refused" },
      });
    expect(wolves.map(({ told }) => told.created.length).reduce((sum, n) => sum + n)).toBe(12);
    for (const { id } of wolves) {
      expect(await fleet.wolves.get(id)).toMatchObject({ createFailures: 0, quarantine: null });
      expect(await fleet.claims(id)).toEqual(nothing);
    }
  });

  it("on the only wolf fails at once instead of waiting for another", async () => {
    const { told } = await fleet.wolf("w");
    refuses(told);
    await expect(fleet.create(ann, { wait_seconds: 60 })).rejects.toMatchObject({
      code: "session-start-failed",
    });
    expect(told.created).toHaveLength(1);
  });

  it("because Wolf does not answer counts at once", async () => {
    const slow = await fleet.wolf("slow", { maxSandboxes: 9 });
    await fleet.wolf("good", { maxSandboxes: 1 });
    slow.told.isSilent = true;
    await fleet.create(ann);
    await eventually(
      () => fleet.wolves.get(slow.id),
      (wolf) => wolf?.createFailures === 1,
    );
  });

  it("only by taking very long counts too, though the sandbox comes up in the end", async () => {
    const { id: wolfId, told } = await fleet.wolf("slow", { maxSandboxes: 9 });
    told.onCreate = async (make) => {
      fleet.clock.advance(30_001);
      return make();
    };
    for (let at = 1; at <= 3; at += 1) await running(ann);
    expect((await fleet.wolves.get(wolfId))?.quarantine).toMatchObject({ reason: "creates-slow" });
    expect((await fleet.create(ann)).placement.removed).toEqual([{ filter: "quarantine", count: 1 }]);
  });

  it("by vanishing after Wolf's 200 is tried elsewhere too", async () => {
    const flimsy = await fleet.wolf("flimsy", { maxSandboxes: 9 });
    const good = await fleet.wolf("good", { maxSandboxes: 1 });
    const { id } = await fleet.create(ann);
    await fleet.becomes(id, "starting");
    flimsy.told.lobbies.length = 0;
    fleet.clock.advance(1);
    await fleet.service.reconcileAll([flimsy.id]);
    await eventually(
      () => fleet.store.get(id),
      (session) => session?.wolfId === good.id,
    );
  });
});

describe("the same creating request again", () => {
  it("joins what the first one began, also when that one's process died", async () => {
    const { told } = await fleet.wolf("w");
    const first = await fleet.create(ann, {}, "key");
    expect((await fleet.create(ann, {}, "key")).id).toBe(first.id);
    fleet.restart();
    expect((await fleet.create(ann, {}, "key")).id).toBe(first.id);
    expect((await fleet.create(ben, {}, "key")).id).not.toBe(first.id);
    await eventually(
      () => told.created.length,
      (count) => count === 2,
    );
  });

  it("makes another once the first has ended", async () => {
    await fleet.wolf("w");
    const first = await running(ann, {});
    const keyed = await fleet.create(ann, {}, "key");
    await fleet.service.stop(ann, keyed.id, true);
    expect((await fleet.create(ann, {}, "key")).id).not.toBe(keyed.id);
    expect(first.id).not.toBe(keyed.id);
  });
});

describe("a lost wolf", () => {
  it("keeps the session that waits for it, and has it again when it returns", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    const { id, lobbyId } = await running(ann, { disconnect_policy: "keep" });
    await fleet.lose(wolfId);
    expect(await fleet.becomes(id, "lost")).toMatchObject({ wolfId, lobbyId });
    expect(await fleet.claims(wolfId)).toMatchObject({ slots: 1 });
    await fleet.connect(wolfId);
    expect(await fleet.becomes(id, "running")).toMatchObject({ wolfId, lobbyId });
    expect(told.stopped).toEqual([]);
  });

  it("loses the session that is to be replaced, and its old copy is stopped before it gets anybody new", async () => {
    const first = await fleet.wolf("first", { maxSandboxes: 1 });
    const { id, lobbyId } = await running(ann, { disconnect_policy: "replace" });
    await fleet.lose(first.id);
    const second = await fleet.wolf("second", { maxSandboxes: 1 });
    await eventually(
      () => fleet.store.get(id),
      (session) => session?.wolfId === second.id && session.status === "starting",
    );
    expect(await fleet.claims(first.id)).toEqual(nothing);
    const waits = await fleet.create(ben);
    expect(waits.status).toBe("queued");
    await fleet.connect(first.id);
    await fleet.becomes(waits.id, "starting");
    expect(first.told.stopped).toEqual([{ lobby_id: lobbyId }]);
    expect(first.told.tags()).toEqual([waits.id]);
    expect(second.told.tags()).toEqual([id]);
  });

  it("ends the session that is to be stopped; its lobby goes when the wolf returns", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    const { id } = await running(ann, { disconnect_policy: "stop" });
    await fleet.lose(wolfId);
    expect(await fleet.becomes(id, "stopped")).toMatchObject({ stopReason: "wolf-lost" });
    expect(await fleet.claims(wolfId)).toEqual(nothing);
    await fleet.connect(wolfId);
    expect((await fleet.wolves.get(wolfId))?.otherLobbies).toBe(1);
    fleet.clock.advance(5000);
    await eventually(
      () => told.lobbies.length,
      (count) => count === 0,
    );
  });

  it("hands what had not begun to another wolf, whatever its policy", async () => {
    const first = await fleet.wolf("first");
    first.told.onCreate = () => new Promise(() => undefined);
    const { id } = await fleet.create(ann, { disconnect_policy: "keep" });
    const second = await fleet.wolf("second");
    await fleet.lose(first.id);
    expect(await fleet.becomes(id, "starting")).toMatchObject({ wolfId: second.id });
    expect(await fleet.claims(first.id)).toEqual(nothing);
  });

  it("that returns in the very moment keeps its sessions", async () => {
    const { id: wolfId } = await fleet.wolf("w");
    const { id } = await running(ann, { disconnect_policy: "replace" });
    const { listOnLostWolves } = fleet.store;
    fleet.store.listOnLostWolves = async (limit) => {
      const lost = await listOnLostWolves(limit);
      await fleet.wolves.openTunnel(wolfId, fleet.clock.now());
      return lost;
    };
    await fleet.lose(wolfId);
    expect(await fleet.store.get(id)).toMatchObject({ status: "running", wolfId });
  });

  it("does not hold a stop for ever, nor a session that waits for it", async () => {
    const { id: wolfId } = await fleet.wolf("w");
    const [waits, stops] = [await running(ann), await running(ann)];
    await fleet.lose(wolfId);
    await fleet.becomes(waits.id, "lost");
    expect((await fleet.service.stop(ann, stops.id, false)).status).toBe("stopping");
    await fleet.service.tick();
    expect(await fleet.becomes(stops.id, "stopped")).toMatchObject({ stopReason: "requested" });
    fleet.clock.advance(86_400_001);
    await fleet.service.tick();
    expect(await fleet.becomes(waits.id, "failed")).toMatchObject({ failure: { code: "wolf-lost" } });
    expect(await fleet.claims(wolfId)).toEqual(nothing);
  });
});

describe("a drained wolf", () => {
  it("moves what may be moved and stops the rest, once its deadline has passed", async () => {
    const from = await fleet.wolf("from");
    const moves = await running(ann, { disconnect_policy: "replace" });
    const stops = await running(ann, { disconnect_policy: "keep" });
    const to = await fleet.wolf("to");
    await fleet.service.evict(from.id);
    expect(await fleet.becomes(stops.id, "stopped")).toMatchObject({ stopReason: "drained" });
    await eventually(
      () => fleet.store.get(moves.id),
      (session) => session?.wolfId === to.id && session.status === "starting",
    );
    await eventually(
      () => from.told.lobbies.length,
      (count) => count === 0,
    );
    expect(await fleet.claims(from.id)).toEqual(nothing);
  });
});

describe("the end of a quarantine", () => {
  it("gives the wolf to who waits, before anybody new", async () => {
    const { id: wolfId } = await fleet.wolf("w", { maxSandboxes: 1 });
    const rules = { flapsMax: 9, flapWindowMs: 1, createFailuresMax: 1, firstMs: 60_000, maxMs: 60_000 };
    await fleet.wolves.createFailed(wolfId, "failed", rules, fleet.clock.now());
    const waits = await fleet.create(ann);
    expect(waits.status).toBe("queued");
    fleet.clock.advance(60_000);
    await fleet.service.tick();
    await fleet.becomes(waits.id, "starting");
  });
});

describe("a session that moves", () => {
  it("makes nobody a culprit by a drain, and may come back later", async () => {
    const [from, to] = [await fleet.wolf("from", { maxSandboxes: 9 }), await fleet.wolf("to")];
    await fleet.wolves.changeIntent(
      to.id,
      { from: ["active"], to: "cordoned", reason: null },
      fleet.clock.now(),
    );
    await fleet.service.tick();
    const sessions = [await running(ann, { disconnect_policy: "replace" })];
    await fleet.wolves.changeIntent(
      to.id,
      { from: ["cordoned"], to: "active", reason: null },
      fleet.clock.now(),
    );
    await fleet.wolves.changeIntent(
      from.id,
      { from: ["active"], to: "cordoned", reason: null },
      fleet.clock.now(),
    );
    await fleet.service.tick();
    await fleet.service.evict(from.id);
    await eventually(
      () => fleet.store.get(sessions[0]?.id ?? ""),
      (session) => session?.wolfId === to.id && session.status === "starting",
    );
    fleet.clock.advance(1000);
    await fleet.service.reconcileAll([to.id]);
    expect(await fleet.becomes(sessions[0]?.id ?? "", "running")).toMatchObject({ avoid: [], culprits: [] });
    expect(await fleet.wolves.get(from.id)).toMatchObject({ createFailures: 0, quarantine: null });
  });

  it("is not ended by a creation that fails late on the wolf that it has left", async () => {
    const first = await fleet.wolf("first");
    const call = Promise.withResolvers<{ lobby_id: string }>();
    first.told.onCreate = () => call.promise;
    const { id } = await fleet.create(ann);
    const second = await fleet.wolf("second");
    await fleet.lose(first.id);
    await fleet.becomes(id, "starting");
    call.reject(refused("No space left on device"));
    await eventually(
      () => fleet.lines.some((line) => line.includes("session failed to start")),
      (was) => was,
    );
    await fleet.service.tick();
    expect(await fleet.store.get(id)).toMatchObject({ status: "starting", wolfId: second.id, failure: null });
  });

  it("is not lost because the database failed after Wolf's 200: the lobby is adopted", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    const { lobbyCreated } = fleet.store;
    fleet.store.lobbyCreated = () => Promise.reject(new Error("database away"));
    const { id } = await fleet.create(ann);
    await eventually(
      () => fleet.lines.some((line) => line.includes("start not written")),
      (was) => was,
    );
    fleet.store.lobbyCreated = lobbyCreated;
    fleet.clock.advance(4001);
    await fleet.service.reconcileAll([wolfId]);
    expect(await fleet.becomes(id, "starting")).toMatchObject({ lobbyId: told.lobbies[0]?.id, attempts: 1 });
    expect(told.created).toHaveLength(1);
  });

  it("gives its slot to nobody while its lobby may still be there", async () => {
    const { id: wolfId, told } = await fleet.wolf("w", { maxSandboxes: 1 });
    const { id } = await running(ann);
    told.stopLobby = () => Promise.reject(refused("Invalid PIN"));
    expect((await fleet.service.stop(ann, id, true)).status).toBe("stopped");
    const waits = await fleet.create(ben);
    expect(waits.status).toBe("queued");
    expect(await fleet.claims(wolfId)).toEqual(nothing);
    told.lobbies.length = 0;
    fleet.clock.advance(1000);
    await fleet.service.reconcileAll([wolfId]);
    await fleet.becomes(waits.id, "starting");
  });
});

describe("a session's time", () => {
  it("is announced before it is over, once, and can be extended", async () => {
    const { told } = await fleet.wolf("w");
    const { id } = await running(ann, { ttl_seconds: 600 });
    fleet.clock.advance(299_000);
    await fleet.service.tick();
    expect(fleet.expiring).toEqual([]);
    fleet.clock.advance(1000);
    for (let at = 0; at < 2; at += 1) await fleet.service.tick();
    expect(fleet.expiring).toEqual([`${id} expired`]);
    await fleet.service.extend(ann, id, 600);
    fleet.clock.advance(301_000);
    await fleet.service.tick();
    expect(fleet.expiring).toHaveLength(2);
    expect((await fleet.store.get(id))?.status).toBe("running");
    fleet.clock.advance(300_000);
    await fleet.service.tick();
    expect(await fleet.becomes(id, "stopped")).toMatchObject({ stopReason: "expired" });
    expect(told.lobbies).toEqual([]);
    await expect(fleet.service.extend(ann, id, 600)).rejects.toMatchObject({ code: "session-ended" });
    await expect(fleet.service.extend(ben, id, 600)).rejects.toMatchObject({ code: "session-not-found" });
  });

  it("is over when nobody uses it, and not while somebody streams or looks", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    const session = await running(ann, { idle_timeout_seconds: 60 });
    const streaming = (on: boolean) => {
      for (const lobby of told.lobbies) lobby.connected_sessions = on ? ["1"] : [];
    };
    streaming(true);
    for (let at = 0; at < 3; at += 1) {
      fleet.clock.advance(50_000);
      await fleet.service.reconcileAll([wolfId]);
      await fleet.service.tick();
    }
    streaming(false);
    fleet.clock.advance(50_000);
    await fleet.service.used((await fleet.store.get(session.id)) ?? session);
    const look = async (ms: number) => {
      fleet.clock.advance(ms);
      await fleet.service.reconcileAll([wolfId]);
      await fleet.service.tick();
    };
    await look(0);
    expect(fleet.expiring).toContain(`${session.id} idle`);
    await look(59_000);
    expect((await fleet.store.get(session.id))?.status).toBe("running");
    await look(1000);
    expect(await fleet.becomes(session.id, "stopped")).toMatchObject({ stopReason: "idle" });
  });
});

describe("a session that nobody can see", () => {
  it("is not idle while its Wolf does not answer, nor because nobody looked for a while", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    const { id } = await running(ann, { idle_timeout_seconds: 60 });
    for (const lobby of told.lobbies) lobby.connected_sessions = ["1"];
    const status = async () => (await fleet.store.get(id))?.status;
    told.isSilent = true;
    for (let at = 0; at < 10; at += 1) {
      fleet.clock.advance(30_000);
      await fleet.service.reconcileAll([wolfId]);
      await fleet.service.tick();
    }
    expect(await status()).toBe("running");
    // Whoever streamed has just left: it was in use as far as anybody knows.
    told.isSilent = false;
    for (const lobby of told.lobbies) lobby.connected_sessions = [];
    await fleet.service.reconcileAll([wolfId]);
    await fleet.service.tick();
    expect(await status()).toBe("running");
    fleet.clock.advance(600_000);
    fleet.restart();
    await fleet.service.tick();
    await fleet.service.reconcileAll([wolfId]);
    await fleet.service.tick();
    expect(await status()).toBe("running");
  });
});

describe("a PIN", () => {
  it("goes to Wolf with creation and stop, also for a lobby that its session left behind, and is in no log", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    const { id } = await running(ann, { pin: "0420815" });
    const pin = [0, 4, 2, 0, 8, 1, 5];
    expect(told.created[0]).toMatchObject({ pin });
    await fleet.service.stop(ann, id, true);
    await eventually(
      () => told.stopped,
      (stops) => stops.length === 1,
    );
    expect(told.stopped[0]).toMatchObject({ pin });
    told.lobbies.push({ id: "22222222-0000", name: id, runner: { type: "docker" } });
    await fleet.service.reconcileAll([wolfId]);
    fleet.clock.advance(5000);
    await eventually(
      () => told.stopped.length,
      (count) => count === 2,
    );
    expect(told.stopped[1]).toEqual({ lobby_id: "22222222-0000", pin });
    expect(fleet.lines.filter((line) => line.includes("0420815"))).toEqual([]);
  });
});

describe("force", () => {
  it("ends a session in any status at once, and its slot is free", async () => {
    const { id: wolfId, told } = await fleet.wolf("w", { maxSandboxes: 5 });
    const over = async (id: string) => {
      expect(await fleet.service.stop(ann, id, true)).toMatchObject({ status: "stopped" });
    };
    const runs = await running(ann);
    const starts = await fleet.create(ann);
    await fleet.becomes(starts.id, "starting");
    told.onCreate = () => new Promise(() => undefined);
    const placed = await fleet.create(ann);
    expect(placed.status).toBe("placed");
    for (const { id } of [runs, starts, placed]) await over(id);
    expect(await fleet.claims(wolfId)).toEqual(nothing);
    told.onCreate = undefined;
    const lost = await running(ann);
    await fleet.lose(wolfId);
    await fleet.becomes(lost.id, "lost");
    await over(lost.id);
    const queued = await fleet.create(ann);
    expect(queued.status).toBe("queued");
    await over(queued.id);
    expect(await fleet.claims(wolfId)).toEqual(nothing);
  });
});

describe("what a Wolf runs", () => {
  it("is shown with the sessions of its lobbies, and those of others too", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    const { id, lobbyId } = await running(ann);
    told.lobbies.push(
      {
        id: "33333333-0000",
        name: "somebody's\u0007",
        runner: { type: "docker" },
        connected_sessions: ["1"],
      },
      { id: "44444444-0000", name: id, runner: { type: "docker" } },
    );
    const none = { viewers: 0, pin_required: false };
    expect(await fleet.service.lobbiesOf(wolfId)).toEqual([
      { id: lobbyId, name: id, session_id: id, is_live: true, ...none },
      { id: "33333333-0000", name: "somebody's ", session_id: null, is_live: false, ...none, viewers: 1 },
      { id: "44444444-0000", name: id, session_id: id, is_live: false, ...none },
    ]);
  });

  it("is not known while it cannot be asked or does not answer", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    told.isSilent = true;
    await expect(fleet.service.lobbiesOf(wolfId)).rejects.toMatchObject({ code: "wolf-timeout" });
    await fleet.lose(wolfId);
    await expect(fleet.service.lobbiesOf(wolfId)).rejects.toMatchObject({ code: "wolf-unreachable" });
  });
});

describe("a drain", () => {
  it("is announced to whoever has a session there", async () => {
    const { id: wolfId } = await fleet.wolf("w");
    const { id } = await running(ann);
    await fleet.service.announceDrain(wolfId, fleet.clock.now());
    expect(fleet.expiring).toEqual([`${id} drained`]);
  });
});
