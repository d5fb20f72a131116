/** Process: placement of sessions as the control plane does it, on a database of its own, for Wolfs that take their time. */
import { setTimeout as pause } from "node:timers/promises";
import { CreateSessionRequest } from "@wolfpack/api-contract";
import {
  createLogger,
  createPrisma,
  migrate,
  newId,
  prismaSessionStore,
  prismaWolfStore,
  SessionService,
  type SessionServiceOptions,
  systemClock,
  type UserPrincipal,
} from "@wolfpack/control-plane/parts";
import { serveCalls } from "./process.ts";

const USERS = 500;
const SLOTS = 12;
/** Some wish for a GPU, some for a region, some for anything. */
const wishes = [{}, { gpu_type: "nvidia" }, { region: "eu-west" }, { gpu_type: "amd" }].map((wish) =>
  CreateSessionRequest.parse({ ...wish, wait_seconds: 0, queue: false }),
);

const anywhere = CreateSessionRequest.parse({ wait_seconds: 0, queue: false });

/** No Wolf answers while it is measured: what is measured ends when the claim is written. */
const never = new Promise<never>(() => undefined);
const lobbies = () => ({
  createLobby: () => never,
  listLobbies: () => Promise.resolve([]),
  stopLobby: () => Promise.resolve(),
});
type Tunnels = SessionServiceOptions["tunnels"];
const tunnels: Tunnels = {
  // Only whether there is one is asked.
  wolf: () => ({}) as ReturnType<Tunnels["wolf"]>,
  wolfEpoch: () => 1,
  sandbox: () => undefined,
  moonlight: () => undefined,
  dropSandbox: () => undefined,
  onWolfConnected: () => undefined,
  onWolfTunnelLost: () => undefined,
  onWolfEvent: () => undefined,
  onWolfRelist: () => undefined,
};

/** Another replica on the database that one has made ready. */
async function join({ url }: { url: string }) {
  const prisma = createPrisma(url);
  const rows = await prisma.user.findMany({ select: { id: true } });
  return { prisma, users: rows.map(({ id }) => userOf(id)), service: serviceOn(prisma) };
}

const userOf = (userId: string): UserPrincipal => ({
  kind: "user",
  userId,
  role: "user",
  scopes: null,
  credentialId: newId("key"),
});

async function open({ url, wolves }: { url: string; wolves: number }) {
  await migrate(url);
  const prisma = createPrisma(url);
  const wolfStore = prismaWolfStore(prisma);
  const now = new Date();
  await prisma.$executeRaw`TRUNCATE session, wolf_instance, user_account CASCADE`;
  for (let at = 0; at < wolves; at += 1) {
    const { id } = await wolfStore.register(
      {
        id: newId("wlf"),
        name: `gpu-${at}`,
        address: "",
        gpuType: at % 4 === 0 ? "amd" : "nvidia",
        maxSandboxes: SLOTS,
        labels: { rack: `r${at % 40}` },
        region: at % 3 === 0 ? "eu-west" : "us-east",
        costPerHour: 1,
        agentVersion: null,
        encoderSessionsMax: SLOTS,
      },
      now,
    );
    await wolfStore.openTunnel(id, now);
    await wolfStore.reconciled(id, 1, 0, now);
  }
  const users = Array.from({ length: USERS }, () => userOf(newId("usr")));
  for (const { userId } of users)
    await prisma.user.create({ data: { id: userId, name: userId, role: "user", created_at: now } });
  return { prisma, users, service: serviceOn(prisma) };
}

const HOUR_MS = 3_600_000;

function serviceOn(prisma: ReturnType<typeof createPrisma>): SessionService {
  const limits = { placedMs: HOUR_MS, startingMs: HOUR_MS, stoppingMs: HOUR_MS, lostMs: HOUR_MS };
  return new SessionService({
    store: prismaSessionStore(prisma),
    wolves: prismaWolfStore(prisma),
    tunnels,
    lobbies,
    rttMsOf: () => 20,
    clock: systemClock,
    log: createLogger("silent"),
    random: Math.random,
    newId,
    newToken: () => crypto.randomUUID(),
    quotas: { sessionsMax: 100_000, createsPerMinute: 100_000 },
    defaults: { image: "xfce", policy: "least-loaded", queueMs: 60_000, ttlMs: null, idleMs: null },
    placement: { randomBest: 3, weights: { load: 1, packing: 0, cost: 0, region: 1, image: 0, rtt: 0 } },
    quarantine: { flapsMax: 5, flapWindowMs: HOUR_MS, createFailuresMax: 3, firstMs: 1000, maxMs: 1000 },
    queueMax: 1000,
    renderNode: "software",
    limits,
    settleMs: HOUR_MS,
    strayGraceMs: HOUR_MS,
    unseenMs: HOUR_MS,
    lockMs: 60_000,
    createSlowMs: HOUR_MS,
    attemptsMax: 1,
    warningMs: 1000,
    onExpiring: () => Promise.resolve(),
  });
}

let plane: Awaited<ReturnType<typeof open>> | undefined;
let turn = 0;

async function createOne(): Promise<number> {
  const { service, users } = plane ?? (await never);
  turn += 1;
  const wish = wishes[turn % wishes.length];
  const user = users[turn % users.length];
  if (wish === undefined || user === undefined) throw new Error("nothing to create");
  const begun = performance.now();
  await service.create(user, wish);
  return performance.now() - begun;
}

serveCalls({
  open: async (argument: { url: string; wolves: number }) => {
    plane?.service.close();
    await plane?.prisma.$disconnect();
    plane = await open(argument);
  },
  join: async (argument: { url: string }) => {
    plane = await join(argument);
  },
  /** Asks for so many sessions that fit anywhere, more than there may be room for. */
  race: async ({ sessions, parallel }: { sessions: number; parallel: number }) => {
    const { service, users } = plane ?? (await never);
    const outcome = { placed: 0, refused: 0 };
    let left = sessions;
    const user = async () => {
      for (; left > 0; ) {
        left -= 1;
        try {
          await service.create(users[left % users.length] as UserPrincipal, anywhere);
          outcome.placed += 1;
        } catch (error) {
          if ((error as { code?: string }).code !== "no-capacity") throw error;
          outcome.refused += 1;
        }
      }
    };
    await Promise.all(Array.from({ length: parallel }, user));
    return outcome;
  },
  /** So many sessions, so many of them at once; seconds. */
  flood: async ({ sessions, parallel }: { sessions: number; parallel: number }): Promise<number> => {
    const begun = performance.now();
    let left = sessions;
    const user = async () => {
      for (; left > 0; ) {
        left -= 1;
        await createOne();
      }
    };
    await Promise.all(Array.from({ length: parallel }, user));
    return (performance.now() - begun) / 1000;
  },
  /** At a steady pace, whoever still waits; milliseconds of each. */
  paced: async ({ perSecond, seconds }: { perSecond: number; seconds: number }): Promise<number[]> => {
    const begun = performance.now();
    const answers: Promise<number>[] = [];
    for (let at = 0; at < perSecond * seconds; at += 1) {
      const dueMs = (at / perSecond) * 1000 - (performance.now() - begun);
      if (dueMs > 0) await pause(dueMs);
      answers.push(createOne());
    }
    return Promise.all(answers);
  },
  /** Claims beyond a wolf's room, and claims that are not the sum of its sessions. */
  overcommits: async (): Promise<number> => {
    const [row] = await (plane ?? (await never)).prisma.$queryRaw<{ wrong: bigint }[]>`
      SELECT count(*) AS wrong FROM wolf_instance wolf
      LEFT JOIN (SELECT wolf_instance_id, count(*) AS held, sum(encoder_sessions) AS encoders FROM session WHERE slot_held
        GROUP BY wolf_instance_id) own ON own.wolf_instance_id = wolf.id
      WHERE connected_sandboxes > max_sandboxes OR encoder_sessions_claimed > encoder_sessions_max
        OR connected_sandboxes <> COALESCE(held, 0) OR encoder_sessions_claimed <> COALESCE(encoders, 0)`;
    return Number(row?.wrong ?? -1);
  },
});
