/** Both implementations of the stores, empty, for tests that hold them to one contract; and what such tests fill them with. */
import { PlacementExplanation, SessionSpec } from "@wolfpack/api-contract";
import { memoryFleet } from "../src/database/memory-fleet.ts";
import type { Prisma } from "../src/database/prisma.prisma.ts";
import { newId } from "../src/ids.ts";
import { memorySessionStore } from "../src/sessions/session-store.memory.ts";
import { prismaSessionStore } from "../src/sessions/session-store.prisma.ts";
import type { ClaimRequest, NewSession, Session, SessionStore } from "../src/sessions/session-store.ts";
import { memoryWolfStore } from "../src/wolves/wolf-store.memory.ts";
import { prismaWolfStore } from "../src/wolves/wolf-store.prisma.ts";
import type { QuarantineRules, Wolf, WolfReport, WolfStore } from "../src/wolves/wolf-store.ts";
import { testDatabase } from "./database.ts";

export interface Stores {
  sessions: SessionStore;
  wolves: WolfStore;
  /** A user; without quotas the configuration's hold. */
  addOwner(id: string, quotas?: { sessionsMax?: number; createsPerMinute?: number }): Promise<void>;
  /** Everything is gone afterwards, as at first. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

const at0 = new Date("2026-11-23T12:00:00.000Z");
/** So many seconds after the noon at which these tests begin. */
export const at = (seconds: number): Date => new Date(at0.getTime() + seconds * 1000);

export async function postgresStores() {
  const database = await testDatabase();
  const { prisma } = database;
  const stores: Stores = {
    sessions: prismaSessionStore(prisma),
    wolves: prismaWolfStore(prisma),
    async addOwner(id, { sessionsMax = null, createsPerMinute = null } = {}) {
      const quotas = { sessions_max: sessionsMax, creates_per_minute: createsPerMinute };
      await prisma.user.create({ data: { id, name: id, role: "user", created_at: at0, ...quotas } });
    },
    async clear() {
      await prisma.$executeRaw`TRUNCATE session, wolf_instance, user_account, fleet_event, wolf_removed CASCADE`;
      await prisma.$executeRaw`UPDATE fleet SET frozen_since = NULL, override_until = NULL`;
    },
    close: () => database.drop(),
  };
  return { ...stores, database };
}

export async function memoryStores(): Promise<Stores> {
  let fleet = memoryFleet();
  const stores: Stores = {
    sessions: memorySessionStore(fleet),
    wolves: memoryWolfStore(fleet),
    async addOwner(id, { sessionsMax = null, createsPerMinute = null } = {}) {
      fleet.owners.set(id, { sessionsMax, createsPerMinute });
    },
    async clear() {
      fleet = memoryFleet();
      stores.sessions = memorySessionStore(fleet);
      stores.wolves = memoryWolfStore(fleet);
    },
    async close() {},
  };
  return stores;
}

/** For `describe.each`. */
export const implementations: [name: string, open: () => Promise<Stores>][] = [
  ["PostgreSQL", postgresStores],
  ["memory", memoryStores],
];

export const OWNER = "usr_01KB00000000000000000000AN";

export const aSpec = (overrides: Partial<SessionSpec> = {}): SessionSpec => ({
  ...SessionSpec.parse({
    image: "xfce",
    gpu_type: null,
    resolution: { width: 640, height: 480, refresh_rate: 60 },
  }),
  ...overrides,
});

export const anExplanation = (text = "w has the lowest load."): PlacementExplanation =>
  PlacementExplanation.parse({ policy: "least-loaded", candidates: 1, removed: [], ranked: [], text });

/** `spec`: only what matters. */
export function aSession({
  spec,
  ...overrides
}: Omit<Partial<NewSession>, "spec"> & { spec?: Partial<SessionSpec> } = {}): NewSession {
  return {
    id: newId("ses"),
    ownerId: OWNER,
    name: "desk",
    spec: aSpec(spec),
    placement: anExplanation(),
    pin: null,
    createKey: null,
    ...overrides,
  };
}

export const LOCK = { token: "token", expiresAt: at(30) };

export const aClaim = (
  wolf: { id: string; epoch: number },
  session: NewSession = aSession(),
): ClaimRequest => ({ wolf: { id: wolf.id, epoch: wolf.epoch }, lock: LOCK, session });

export const noQuotas = { sessionsMax: 1_000_000, createsPerMinute: 1_000_000 };

export const aReport = (overrides: Partial<WolfReport> = {}): WolfReport => ({
  gpuType: "nvidia",
  maxSandboxes: 4,
  labels: {},
  region: null,
  costPerHour: null,
  agentVersion: null,
  encoderSessionsMax: null,
  ...overrides,
});

/** A wolf that sessions can be placed on: connected by a first tunnel, and compared. */
export async function aPlaceableWolf(
  wolves: WolfStore,
  name = "w",
  {
    id = newId("wlf"),
    vramMb = null,
    ...report
  }: Partial<WolfReport> & Partial<{ id: string; vramMb: number | null }> = {},
): Promise<Wolf> {
  await wolves.register({ id, name, address: "", ...aReport(report) }, at(0));
  const { epoch } = await mustBe(wolves.openTunnel(id, at(0)));
  const gpu = { model: "RTX 4090", renderNode: "/dev/dri/renderD128", vramMb };
  await wolves.changeReport(id, epoch, { ...aReport(report), gpu }, at(0));
  await wolves.reconciled(id, epoch, 0, at(0));
  return mustBe(wolves.get(id));
}

export const lobbyOf = (sessionId: string): string => `lobby of ${sessionId}`;

/** A session in that status, on the wolf where it has one; of one that has ended the lobby is gone. */
export async function aSessionThatIs(
  status: Session["status"],
  { sessions, wolves }: Stores,
  wolf: Wolf,
  made: NewSession = aSession(),
): Promise<Session> {
  const { id } = made;
  if (status === "queued") {
    await sessions.enqueue(made, { max: 100, deadline: at(600) }, noQuotas, at(0));
    return mustBe(sessions.get(id));
  }
  const [claimed] = await sessions.claim([aClaim(wolf, made)], noQuotas, at(0));
  if (claimed?.outcome !== "claimed") throw new Error(`the claim's outcome is ${claimed?.outcome}`);
  const failure = { code: "lobby-failed", reason: "No." };
  const lobbyGone = { lobbyGone: true };
  if (status === "failed") await sessions.end(id, { status: "failed", failure }, at(0), lobbyGone);
  if (status === "stopping" || status === "stopped") await sessions.requestStop(id, "requested", at(0));
  if (status === "stopped") await sessions.end(id, { status: "stopped" }, at(0), lobbyGone);
  if (status === "starting" || status === "running" || status === "lost")
    await sessions.lobbyCreated(id, lobbyOf(id), at(0), LOCK.token);
  if (status === "running" || status === "lost") await sessions.running(id, lobbyOf(id), at(0));
  if (status === "lost") {
    await loseWolf(wolves, wolf);
    await sessions.markLost(id, at(0));
  }
  return mustBe(sessions.get(id));
}

/** None of these rules matters where they are used. */
export const lenient: QuarantineRules = {
  flapsMax: 1000,
  flapWindowMs: 1000,
  createFailuresMax: 1000,
  firstMs: 1000,
  maxMs: 1000,
};

export async function loseWolf(wolves: WolfStore, { id, epoch }: Wolf, now = at(0)): Promise<void> {
  await wolves.loseTunnel(id, epoch, lenient, now);
  await wolves.markLost(id, epoch, now);
}

export async function mustBe<Value>(promised: Promise<Value | undefined>): Promise<Value> {
  const value = await promised;
  if (value === undefined) throw new Error("it does not exist");
  return value;
}

/** Another connection waits for a lock: the one thing here that only PostgreSQL knows. */
export async function untilBlocked(prisma: Prisma): Promise<void> {
  for (let left = 500; left > 0; left -= 1) {
    const [row] = await prisma.$queryRaw<{ n: bigint }[]>`
      SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    if (Number(row?.n) >= 1) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("nobody waits for a lock");
}
