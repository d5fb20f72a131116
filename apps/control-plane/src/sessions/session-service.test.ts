/** Sessions against Wolfs that lie, stall and answer nonsense: tunnels over memory, real PostgreSQL, time by hand. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type AgentWolfEvent, CreateSessionRequest } from "@wolfpack/api-contract";
import { refusedHeader, wolfEventPrefix } from "@wolfpack/wolf-api";
import type { IncomingRequest, OutgoingResponse, Tunnel } from "revdial";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { sessionSettings } from "../../test/a-session.ts";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import { eventually } from "../../test/host.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import type { WolfVoice } from "../tunnels/tunnels.ts";
import { prismaWolfStore } from "../wolves/wolf-store.prisma.ts";
import { lobbiesThrough } from "./lobbies.ts";
import { createScreen } from "./screen.ts";
import { SessionService } from "./session-service.ts";
import { prismaSessionStore } from "./session-store.prisma.ts";
import type { Session, SessionStore } from "./session-store.ts";

type Answer = (request: IncomingRequest, body: string) => OutgoingResponse | Promise<OutgoingResponse>;

const SETTLE_MS = 10_000;
const START_TIMEOUT_MS = 60_000;
const STRAY_GRACE_MS = 30_000;
const LOCK_MS = 4000;
const LOBBY = "136a065d-0000-4000-8000-000000000001";
const principal: UserPrincipal = {
  kind: "user",
  userId: newId("usr"),
  role: "user",
  scopes: null,
  credentialId: newId("key"),
};
const wish = CreateSessionRequest.parse({
  resolution: { width: 640, height: 480, refresh_rate: 60 },
  wait_seconds: 0,
});

let database: TestDatabase;
let store: SessionStore;
let clock: ManualClock;
let service: SessionService;
let tunnels: Map<string, Tunnel>;
let answers: Map<string, Answer>;
let asked: string[];
let pairs: TunnelPair[];
let lines: string[];
let hear: (from: WolfVoice, event: AgentWolfEvent) => void;
let relist: (wolfId: string) => void;
let seq: number;
/** Each event has the next number. */
const tell = (wolfId: string, event: AgentWolfEvent, epoch = 1) => {
  seq += 1;
  hear({ wolfId, epoch, incarnation: 1n }, { ...event, seq });
};

beforeEach(async () => {
  database = await testDatabase();
  store = prismaSessionStore(database.prisma);
  clock = manualClock();
  seq = 0;
  [tunnels, answers, asked, pairs, lines] = [new Map(), new Map(), [], [], []];
  await database.prisma.user.create({
    data: { id: principal.userId, name: "ann", role: "user", created_at: clock.now() },
  });
  expiring = [];
  service = aService();
});

let expiring: string[];
const aService = (): SessionService =>
  new SessionService({
    store,
    wolves: prismaWolfStore(database.prisma),
    tunnels: gateway(),
    lobbies: lobbiesThrough(gateway(), START_TIMEOUT_MS),
    rttMsOf: () => undefined,
    clock,
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
    random: () => 0,
    newId,
    newToken: randomUUID,
    onExpiring: async ({ id }, reason) => void expiring.push(`${id} ${reason}`),
    ...sessionSettings({
      quotas: { sessionsMax: 100, createsPerMinute: 100 },
      settleMs: SETTLE_MS,
      strayGraceMs: STRAY_GRACE_MS,
    }),
  });

afterEach(async () => {
  service.close();
  service.end();
  for (const { left, right } of pairs) {
    left.destroy();
    right.destroy();
  }
  await database.drop();
});

function gateway() {
  return {
    wolf: (id: string) => tunnels.get(id),
    wolfEpoch: (id: string) => (tunnels.has(id) ? 1 : undefined),
    sandbox: () => undefined,
    moonlight: () => undefined,
    dropSandbox: () => undefined,
    onWolfConnected: () => undefined,
    onWolfTunnelLost: () => undefined,
    onWolfEvent: (listener: typeof hear) => {
      hear = listener;
    },
    onWolfRelist: (listener: typeof relist) => {
      relist = listener;
    },
  };
}

const reply = (body: unknown, status = 200): OutgoingResponse => ({
  status,
  body: Buffer.from(JSON.stringify(body)),
});

/** A wolf with a live tunnel, whose Wolf answers with what `answers` holds for a path. */
async function wolf(name: string, gpuType: "nvidia" | "none" = "nvidia"): Promise<string> {
  const wolves = prismaWolfStore(database.prisma);
  const report = {
    maxSandboxes: 3,
    labels: {},
    region: null,
    costPerHour: null,
    agentVersion: null,
    encoderSessionsMax: null,
  };
  const { id } = await wolves.register(
    { id: newId("wlf"), name, address: "", gpuType, ...report },
    clock.now(),
  );
  await wolves.openTunnel(id, clock.now());
  await wolves.reconciled(id, 1, 0, clock.now());
  const pair = tunnelPair();
  pairs.push(pair);
  pair.left.serve(async (request) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request.body) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    asked.push(`${name} ${request.method} ${request.path} ${body}`);
    const answer = answers.get(`${name} ${request.path}`) ?? answers.get(request.path);
    if (answer === undefined) throw new Error(`nothing to say to ${request.path}`);
    return answer(request, body);
  });
  await pair.ready;
  tunnels.set(id, pair.right);
  answers.set(`${name} /api/v1/lobbies`, () => reply({ success: true, lobbies: [] }));
  return id;
}

/** A creation that answers at once: its wait of no time ends when the clock says so. */
async function create(request: Partial<CreateSessionRequest> = {}): Promise<Session> {
  let isOver = false;
  const creation = service.create(principal, { ...wish, ...request }).finally(() => {
    isOver = true;
  });
  await eventually(
    () => {
      clock.advance(0);
      return isOver;
    },
    (over) => over,
  );
  return creation;
}

const created = (lobbyId = LOBBY) => reply({ success: true, lobby_id: lobbyId });
const statusBecomes = (id: string, status: string) =>
  eventually(
    () => store.get(id),
    (session) => session?.status === status,
  );
const slotsOf = async (wolfId: string) =>
  (await database.prisma.wolfInstance.findUniqueOrThrow({ where: { id: wolfId } })).connected_sandboxes;
const containerCreated = (data: Record<string, unknown>): AgentWolfEvent => ({
  seq: 1,
  event: `${wolfEventPrefix}DockerContainerCreated`,
  data,
});

describe("a container event", () => {
  it("counts only for lobbies of the wolf that sent it", async () => {
    const liar = await wolf("liar", "none");
    const honest = await wolf("honest");
    answers.set("/api/v1/lobbies/create", () => created());
    const { id, wolfId } = await create({ gpu_type: "nvidia" });
    expect(wolfId).toBe(honest);
    await statusBecomes(id, "starting");
    tell(liar, containerCreated({ session_id: LOBBY }));
    tell(liar, containerCreated({ session_id: { toString: 1, valueOf: 1 } }));
    await new Promise((resolve) => setImmediate(resolve));
    expect((await store.get(id))?.status).toBe("starting");
    tell(honest, containerCreated({ session_id: LOBBY }));
    await statusBecomes(id, "running");
  });
});

describe("an event of a wolf", () => {
  const ending = (name: string) => ({
    ...containerCreated({ lobby_id: LOBBY }),
    event: `${wolfEventPrefix}${name}`,
  });
  async function starting(): Promise<{ wolfId: string; id: string }> {
    const wolfId = await wolf("w");
    answers.set("/api/v1/lobbies/create", () => created());
    const { id } = await create();
    await statusBecomes(id, "starting");
    clock.advance(1);
    return { wolfId, id };
  }
  const looks = () => asked.filter((line) => line.includes("GET /api/v1/lobbies ")).length;
  const listed = (id: string) =>
    answers.set("w /api/v1/lobbies", () =>
      reply({ success: true, lobbies: [{ id: LOBBY, name: id, runner: { type: "docker" } }] }),
    );

  it("of a tunnel that was replaced starts nothing", async () => {
    const { wolfId, id } = await starting();
    await prismaWolfStore(database.prisma).openTunnel(wolfId, clock.now());
    expect(await store.lobbiesRunning({ id: wolfId, epoch: 1 }, [LOBBY], clock.now())).toEqual([]);
    expect(await store.lobbiesRunning({ id: wolfId, epoch: 2 }, [LOBBY], clock.now())).toMatchObject([
      { id },
    ]);
    expect(await store.lobbiesRunning({ id: wolfId, epoch: 2 }, [LOBBY], clock.now())).toEqual([]);
  });

  it("of a new tunnel counts while one of the old tunnel is still being written", async () => {
    const written = Promise.withResolvers<void>();
    const { lobbiesRunning } = store;
    store.lobbiesRunning = async (...start) => {
      await written.promise;
      return lobbiesRunning(...start);
    };
    const { wolfId, id } = await starting();
    tell(wolfId, containerCreated({ session_id: "another lobby" }), 1);
    await prismaWolfStore(database.prisma).openTunnel(wolfId, clock.now());
    tell(wolfId, containerCreated({ session_id: LOBBY }), 2);
    written.resolve();
    await statusBecomes(id, "running");
    expect(looks()).toBe(0);
  });

  it.each([
    ["DockerContainerStopped", "container-ended"],
    ["StopLobbyEvent", "lobby-stopped"],
  ])("%s gives the failure its reason %s, once the lobby is gone", async (name, code) => {
    const { wolfId, id } = await starting();
    tell(wolfId, ending(name));
    expect((await statusBecomes(id, "failed"))?.failure?.code).toBe(code);
    expect(await slotsOf(wolfId)).toBe(0);
  });

  it("ends nothing while Wolf still lists the lobby", async () => {
    const { wolfId, id } = await starting();
    listed(id);
    tell(wolfId, ending("StopLobbyEvent"));
    await eventually(looks, (count) => count > 0);
    await service.reconcileAll([wolfId]);
    expect((await store.get(id))?.status).toBe("starting");
  });

  it("that is missing, or an agent that lost some, makes Wolf be asked", async () => {
    const { wolfId, id } = await starting();
    const said = { ...containerCreated({}), event: "x" };
    tell(wolfId, said);
    expect(looks()).toBe(0);
    answers.set("w /api/v1/lobbies", () => reply({ success: false, error: "busy" }, 500));
    seq += 1;
    tell(wolfId, said);
    await eventually(looks, (count) => count === 1);
    clock.advance(1000);
    answers.set("w /api/v1/lobbies", () => reply({ success: true, lobbies: [] }));
    relist(wolfId);
    expect((await statusBecomes(id, "failed"))?.failure?.code).toBe("lobby-vanished");
  });

  it("in a flood costs one look per second", async () => {
    const { wolfId, id } = await starting();
    listed(id);
    for (let i = 0; i < 1000; i += 1) tell(wolfId, ending("StopLobbyEvent"));
    await service.reconcileAll([wolfId]);
    expect(looks()).toBeLessThanOrEqual(2);
    const before = looks();
    clock.advance(1000);
    await eventually(looks, (count) => count === before + 1);
  });
});

describe("a start", () => {
  it("ends at its deadline when its wolf has a tunnel but cannot be asked, and not before", async () => {
    const wolfId = await wolf("hung");
    answers.set("/api/v1/lobbies/create", () => created());
    answers.set("hung /api/v1/lobbies", () => reply({ success: false, error: "busy" }, 500));
    const { id } = await create();
    await statusBecomes(id, "starting");
    clock.advance(START_TIMEOUT_MS);
    await service.tick();
    expect((await store.get(id))?.status).toBe("starting");
    clock.advance(START_TIMEOUT_MS);
    await service.tick();
    expect(await store.get(id)).toMatchObject({ status: "failed", failure: { code: "start-timeout" } });
    expect(await slotsOf(wolfId)).toBe(0);
  });

  it("fails with Wolf's words even when they hold what PostgreSQL cannot keep", async () => {
    const wolfId = await wolf("rude");
    answers.set("/api/v1/lobbies/create", () =>
      reply({ success: false, error: "no\u0000GPU\u0007\nat all" }, 500),
    );
    await expect(service.create(principal, { ...wish, wait_seconds: 60 })).rejects.toMatchObject({
      code: "session-start-failed",
    });
    const [session] = await store.list({ limit: 1, after: undefined });
    expect(session?.failure).toEqual({ code: "wolf-refused", reason: "Wolf refused: no GPU at all." });
    expect(await slotsOf(wolfId)).toBe(0);
  });

  it("asks for software rendering on a wolf without GPU, whatever the user asked for", async () => {
    await wolf("cpu", "none");
    answers.set("/api/v1/lobbies/create", () => created());
    const { id } = await create();
    await statusBecomes(id, "starting");
    const sent = asked.find((line) => line.includes("/create")) ?? "";
    expect(sent).toContain('"runner_render_node":"software"');
  });
});

describe("the periodic comparison", () => {
  it("passes over wolves that were compared a moment ago, as right after they came back", async () => {
    const looksAt = (name: string) =>
      asked.filter((line) => line.includes(`${name} GET /api/v1/lobbies`)).length;
    const ids = [await wolf("known"), await wolf("new")];
    await service.reconcileAll(ids.slice(0, 1));
    const before = [looksAt("known"), looksAt("new")];
    const again = () => service.reconcileAll(ids, { forMs: 15_000, givesWayMs: 0, isLate: () => false });
    clock.advance(14_999);
    await again();
    expect([looksAt("known"), looksAt("new")]).toEqual([before[0], Number(before[1]) + 1]);
    clock.advance(1);
    await again();
    expect([looksAt("known"), looksAt("new")]).toEqual([Number(before[0]) + 1, Number(before[1]) + 1]);
  });
});

describe("a control plane that starts again", () => {
  const tagged = (id: string) => ({ id: LOBBY, name: id, runner: { type: "docker", env: [] } });
  const neverAnswered = () => new Promise<OutgoingResponse>(() => undefined);
  const successor = () => {
    service.close();
    service.end();
    return aService();
  };

  it("adopts the lobby of a start that its predecessor did not finish, and lets it settle", async () => {
    const wolfId = await wolf("mid-start");
    answers.set("/api/v1/lobbies/create", neverAnswered);
    const { id } = await create();
    const next = successor();
    answers.set("mid-start /api/v1/lobbies", () => reply({ success: true, lobbies: [tagged(id)] }));
    await next.reconcileAll([wolfId]);
    // Its predecessor may be alive and only cut off: its lock is waited for.
    expect(await store.get(id)).toMatchObject({ status: "placed", lobbyId: null });
    clock.advance(LOCK_MS + 1);
    expect(await statusBecomes(id, "starting")).toMatchObject({ lobbyId: LOBBY });
    clock.advance(SETTLE_MS);
    await next.reconcileAll([wolfId]);
    expect((await store.get(id))?.status).toBe("running");
    expect(asked.some((line) => line.includes("/stop"))).toBe(false);
    expect(await slotsOf(wolfId)).toBe(1);
    next.close();
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "lets no lobby wait that settles %d readings of the clock after it began to look",
    async (readings) => {
      const wolfId = await wolf("mid-look");
      answers.set("/api/v1/lobbies/create", () => created());
      const { id } = await create();
      await statusBecomes(id, "starting");
      service = successor();
      answers.set("mid-look /api/v1/lobbies", () => reply({ success: true, lobbies: [tagged(id)] }));
      clock.advance(SETTLE_MS - readings);
      const { now } = clock;
      let passed = 0;
      clock.now = () => {
        passed += 1;
        return new Date(now().getTime() + passed - 1);
      };
      await service.reconcileAll([wolfId]);
      clock.now = now;
      clock.advance(SETTLE_MS);
      await statusBecomes(id, "running");
    },
  );

  it("begins a start anew whose lobby never came, and fails it when that was so too often", async () => {
    const wolfId = await wolf("no-lobby");
    answers.set("/api/v1/lobbies/create", neverAnswered);
    const { id } = await create();
    const begun = () => asked.filter((line) => line.includes("/create")).length;
    for (const attempt of [2, 3]) {
      service = successor();
      clock.advance(LOCK_MS + 1);
      await service.reconcileAll([wolfId]);
      await eventually(begun, (count) => count === attempt);
    }
    service = successor();
    clock.advance(LOCK_MS + 1);
    await service.reconcileAll([wolfId]);
    expect(await statusBecomes(id, "failed")).toMatchObject({ failure: { code: "start-interrupted" } });
    expect(await slotsOf(wolfId)).toBe(0);
  });

  it("fails starts at their deadline whose wolf cannot be asked", async () => {
    const wolfId = await wolf("away");
    answers.set("/api/v1/lobbies/create", neverAnswered);
    const [{ id: first }, { id: second }] = [await create(), await create()];
    service = successor();
    tunnels.clear();
    clock.advance(2 * START_TIMEOUT_MS);
    await service.tick();
    for (const id of [first, second])
      expect(await store.get(id)).toMatchObject({ status: "failed", failure: { code: "start-timeout" } });
    expect(await slotsOf(wolfId)).toBe(0);
  });
});

describe("reconciliation", () => {
  it("is repeated after it failed: a second later, then later and later", async () => {
    const wolfId = await wolf("hiccup");
    let isWell = false;
    answers.set("hiccup /api/v1/lobbies", () =>
      isWell ? reply({ success: true, lobbies: [] }) : reply({ success: false }, 500),
    );
    const looks = () => asked.filter((line) => line.includes("hiccup GET /api/v1/lobbies")).length;
    await service.reconcileAll([wolfId]);
    expect(looks()).toBe(1);
    for (const [ms, count] of [
      [1000, 2],
      [2000, 3],
      [4000, 4],
    ] as const) {
      clock.advance(ms - 1);
      expect(looks()).toBe(count - 1);
      clock.advance(1);
      await eventually(looks, (seen) => seen === count);
      await eventually(
        () => lines.filter((line) => line.includes("reconciliation failed")).length,
        (failed) => failed === count,
      );
    }
    isWell = true;
    clock.advance(8000);
    await eventually(looks, (seen) => seen === 5);
    await service.reconcileAll([]);
    const { pending } = clock;
    clock.advance(60_000);
    expect([looks(), clock.pending]).toEqual([5, pending]);
  });

  it("is not repeated for a wolf that has left meanwhile", async () => {
    const wolfId = await wolf("gone");
    answers.set("gone /api/v1/lobbies", () => reply({ success: false }, 500));
    await service.reconcileAll([wolfId]);
    tunnels.delete(wolfId);
    clock.advance(60_000);
    await service.reconcileAll([wolfId]);
    expect(asked.filter((line) => line.includes("gone GET"))).toHaveLength(1);
  });

  /** Of a session that is over. */
  async function endedId(): Promise<string> {
    const id = newId("ses");
    await database.prisma.$executeRaw`
      INSERT INTO session (id, owner_id, name, status, spec, placement, slot_held, created_at, updated_at, ended_at)
      VALUES (${id}, ${principal.userId}, 'over', 'stopped', '{}', '{}', false, now(), now(), now())`;
    return id;
  }

  it("keeps a lobby of ours whose session this database has never heard of, and says so once", async () => {
    const wolfId = await wolf("restored");
    const lobby = { id: LOBBY, name: newId("ses"), runner: { type: "docker", env: [] } };
    answers.set("restored /api/v1/lobbies", () => reply({ success: true, lobbies: [lobby] }));
    for (let look = 0; look < 3; look += 1) {
      await service.reconcileAll([wolfId]);
      clock.advance(STRAY_GRACE_MS);
    }
    expect(asked.filter((line) => line.includes("/stop"))).toEqual([]);
    expect(lines.filter((line) => line.includes("an older state restored"))).toHaveLength(1);
    // It takes room all the same.
    expect(await database.prisma.wolfInstance.findUnique({ where: { id: wolfId } })).toMatchObject({
      other_lobbies: 1,
    });
  });

  it("does again what Wolf refused", async () => {
    const wolfId = await wolf("refusing");
    const stray = { id: LOBBY, name: await endedId(), runner: { type: "docker", env: [] } };
    answers.set("refusing /api/v1/lobbies", () => reply({ success: true, lobbies: [stray] }));
    answers.set("/api/v1/lobbies/stop", () => reply({ success: false, error: "busy" }, 500));
    const stops = () => asked.filter((line) => line.includes("/stop")).length;
    await service.reconcileAll([wolfId]);
    clock.advance(STRAY_GRACE_MS);
    await eventually(stops, (count) => count === 1);
    await eventually(
      () => lines.some((line) => line.includes("reconciliation step failed")),
      (failed) => failed,
    );
    await service.reconcileAll([]);
    await eventually(
      () => {
        clock.advance(1000);
        return stops();
      },
      (count) => count >= 2,
    );
  });

  it("gives up its round at the first step that Wolf does not answer", async () => {
    const wolfId = await wolf("stuck");
    const names = [await endedId(), await endedId(), await endedId()];
    const lobbies = names.map((name, at) => ({
      id: LOBBY.replace(/1$/, String(at + 1)),
      name,
      runner: { type: "docker", env: [] },
    }));
    answers.set("stuck /api/v1/lobbies", () => reply({ success: true, lobbies }));
    answers.set("/api/v1/lobbies/stop", () => ({
      ...reply({}, 504),
      headers: [[refusedHeader, "upstream-timeout"]],
    }));
    await service.reconcileAll([wolfId]);
    expect(asked.filter((line) => line.includes("/stop"))).toEqual([]);
    clock.advance(STRAY_GRACE_MS);
    await eventually(
      () => asked.filter((line) => line.includes("/stop")).length,
      (stops) => stops === 1,
    );
    await service.reconcileAll([]);
    answers.set("/api/v1/lobbies/stop", () => reply({ success: false, error: "Invalid PIN" }, 500));
    await service.reconcileAll([wolfId]);
    expect(asked.filter((line) => line.includes("/stop"))).toHaveLength(4);
  });

  it("never stops the lobby of a session that runs, when its Wolf is connected by a second name", async () => {
    const old = await wolf("old-name");
    answers.set("/api/v1/lobbies/create", () => created());
    const { id } = await create();
    await statusBecomes(id, "starting");
    const listed = { success: true, lobbies: [{ id: LOBBY, name: id, runner: { type: "docker", env: [] } }] };
    const renamed = await wolf("new-name");
    for (const name of ["old-name", "new-name"]) answers.set(`${name} /api/v1/lobbies`, () => reply(listed));
    for (let look = 0; look < 4; look += 1) {
      clock.advance(STRAY_GRACE_MS);
      await service.reconcileAll([old, renamed]);
    }
    expect(asked.filter((line) => line.includes("/stop"))).toEqual([]);
    expect(await store.get(id)).toMatchObject({ status: "running", wolfId: old, lobbyId: LOBBY });
    const said = lines.filter((line) => line.includes("two names"));
    expect(said.map((line) => JSON.parse(line))).toMatchObject([
      { level: 40, wolf_id: renamed, lobby_id: LOBBY, session_id: id, owner_wolf_id: old },
    ]);
    // Only when that session is over is it nobody's, and then after the grace.
    await store.end(id, { status: "failed", failure: { code: "x", reason: "y" } }, clock.now());
    answers.set("/api/v1/lobbies/stop", () => {
      answers.set("new-name /api/v1/lobbies", () => reply({ success: true, lobbies: [] }));
      return reply({ success: true });
    });
    await service.reconcileAll([renamed]);
    expect(asked.filter((line) => line.includes("/stop"))).toEqual([]);
    clock.advance(STRAY_GRACE_MS);
    await service.reconcileAll([renamed]);
    expect(asked.filter((line) => line.includes("new-name POST /api/v1/lobbies/stop"))).toHaveLength(1);
  });

  it("notices a lobby that vanishes in the very moment its session begins to run", async () => {
    const wolfId = await wolf("quick");
    answers.set("/api/v1/lobbies/create", () => created());
    const { id } = await create();
    await statusBecomes(id, "starting");
    tell(wolfId, containerCreated({ session_id: LOBBY }));
    await statusBecomes(id, "running");
    const timers = clock.pending;
    tell(wolfId, { seq: 2, event: `${wolfEventPrefix}StopLobbyEvent`, data: { lobby_id: LOBBY } });
    await eventually(
      () => clock.pending,
      // One for the next look that events may ask for, one to look again.
      (now) => now > timers + 1,
    );
    expect((await store.get(id))?.status).toBe("running");
    clock.advance(1000);
    expect((await statusBecomes(id, "failed"))?.failure?.code).toBe("lobby-stopped");
    expect(await slotsOf(wolfId)).toBe(0);
  });
});

describe("a screen", () => {
  async function runningSession() {
    const wolfId = await wolf("screens");
    answers.set("/api/v1/lobbies/create", () => created());
    const { id } = await create();
    await statusBecomes(id, "starting");
    tell(wolfId, containerCreated({ session_id: LOBBY }));
    const session = await statusBecomes(id, "running");
    if (session === undefined) throw new Error("gone");
    return { session, path: `/${id}/screenshot`, screen: createScreen(gateway()) };
  }
  const jpeg = (bytes: number) => Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.alloc(bytes - 3)]);
  const IMAGE_BYTES_MAX = 20 * 1024 * 1024;

  it("may be a JPEG, as large as the limit and no larger", async () => {
    const { session, path, screen } = await runningSession();
    answers.set(path, () => ({
      status: 200,
      headers: [["content-type", "text/html"]],
      body: jpeg(IMAGE_BYTES_MAX),
    }));
    const image = await screen.screenshot(session);
    expect(image).toMatchObject({ type: "image/jpeg", bytes: { byteLength: IMAGE_BYTES_MAX } });
    answers.set(path, () => ({ status: 200, body: jpeg(IMAGE_BYTES_MAX + 1) }));
    await expect(screen.screenshot(session)).rejects.toMatchObject({
      code: "screen-failed",
      message: "The screen service's answer is larger than 20 MiB.",
    });
  });

  it("that is larger than its agent takes is told in the same words; an agent of before has none for it", async () => {
    const { session, path, screen } = await runningSession();
    const refused = (refusal: string) =>
      answers.set(path, () => ({ ...reply({}, 502), headers: [[refusedHeader, refusal]] }));
    refused("reply-too-large");
    await expect(screen.screenshot(session)).rejects.toMatchObject({
      code: "screen-failed",
      message: "The screen service's answer is larger than 20 MiB.",
    });
    refused("upstream-reply-broken");
    await expect(screen.screenshot(session)).rejects.toMatchObject({
      code: "screen-failed",
      message: "The sandbox's screen service answered with status 502.",
    });
  });

  it("that the wolf's agent breaks off is a screen that failed, not a wolf that is away", async () => {
    const { session, path, screen } = await runningSession();
    answers.delete(path);
    await expect(screen.screenshot(session)).rejects.toMatchObject({ code: "screen-failed" });
  });

  it.each([
    ["upstream-timeout", "wolf-timeout"],
    ["upstream-unreachable", "screen-failed"],
    ["queue-full", "screen-busy"],
  ])("that the agent refuses with %s is %s", async (refusal, code) => {
    const { session, path, screen } = await runningSession();
    answers.set(path, () => ({ ...reply({}, 502), headers: [[refusedHeader, refusal]] }));
    await expect(screen.screenshot(session)).rejects.toMatchObject({ code });
  });
});
