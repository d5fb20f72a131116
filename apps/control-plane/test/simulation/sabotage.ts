/**
 * Control planes that are broken on purpose, each by one mistake that somebody could make. Every one has to be found by the seeds of
 * the tests: an invariant that nothing can violate proves nothing.
 */
import type { MemoryFleet } from "../../src/database/memory-fleet.ts";
import type { Alterations } from "./fleet.ts";
import type { Weather } from "./plan.ts";
import type { Stores } from "./replica.ts";

export interface Sabotage {
  what: string;
  /** The invariants that may be the first to notice. */
  noticedBy: readonly string[];
  /** In which it shows soon; default: whatever the seed brings. */
  weather?: Weather;
  /** One that shows it, where the first few do not: it is tried before them. */
  seed?: number;
  /** Of one run: some count. */
  alter(): Alterations;
}

function inSessions(
  change: (sessions: Stores["sessions"], rows: MemoryFleet) => Partial<Stores["sessions"]>,
): Alterations {
  return {
    stores: ({ sessions, wolves }, rows) => ({
      wolves,
      sessions: { ...sessions, ...change(sessions, rows) },
    }),
  };
}

function inWolves(
  change: (wolves: Stores["wolves"], rows: MemoryFleet) => Partial<Stores["wolves"]>,
): Alterations {
  return {
    stores: ({ sessions, wolves }, rows) => ({ sessions, wolves: { ...wolves, ...change(wolves, rows) } }),
  };
}

function addSlots(rows: MemoryFleet, wolfId: string | null | undefined, slots: number): void {
  const wolf = rows.wolves.get(wolfId ?? "");
  if (wolf !== undefined) rows.changeWolf(wolf, { connectedSandboxes: wolf.connectedSandboxes + slots });
}

/** `run` is one step of the store: nobody sees the wolves meanwhile. */
function withoutLimits<T>(rows: MemoryFleet, run: () => T): T {
  const sizes = [...rows.wolves.values()].map((wolf) => ({ wolf, maxSandboxes: wolf.maxSandboxes }));
  for (const { wolf } of sizes) rows.changeWolf(wolf, { maxSandboxes: 1000 });
  try {
    return run();
  } finally {
    for (const { wolf, maxSandboxes } of sizes) rows.changeWolf(wolf, { maxSandboxes });
  }
}

export const sabotages: readonly Sabotage[] = [
  {
    what: "gives a slot back twice",
    noticedBy: ["ledger"],
    alter: () =>
      inSessions(({ end }, rows) => ({
        async end(id, ...rest) {
          const wolfId = rows.sessions.get(id)?.wolfId;
          const done = await end(id, ...rest);
          if (done) addSlots(rows, wolfId, -1);
          return done;
        },
      })),
  },
  {
    what: "keeps the slot of a session that goes back into the queue",
    noticedBy: ["ledger"],
    alter: () =>
      inSessions(({ requeue }, rows) => ({
        async requeue(id, wolfId, ...rest) {
          const done = await requeue(id, wolfId, ...rest);
          if (done) addSlots(rows, wolfId, 1);
          return done;
        },
      })),
  },
  {
    what: "claims by what it believes, without looking whether there is room",
    noticedBy: ["overcommit"],
    alter: () => ({
      stores: ({ sessions, wolves }, rows) => ({
        wolves: {
          ...wolves,
          async changedCandidates(mark) {
            const changed = await wolves.changedCandidates(mark);
            const larger = changed.wolves.map((wolf) => ({ ...wolf, maxSandboxes: wolf.maxSandboxes + 2 }));
            return { ...changed, wolves: larger };
          },
        },
        sessions: {
          ...sessions,
          claim: (requests, ...rest) => withoutLimits(rows, () => sessions.claim(requests, ...rest)),
        },
      }),
    }),
  },
  {
    what: "calls a session running whose container starts while it is being stopped",
    seed: 18,
    noticedBy: ["transition"],
    alter: () =>
      inSessions((_, rows) => ({
        async lobbiesRunning({ id: wolfId }, lobbyIds, now) {
          const started = [...rows.liveOnWolf(wolfId)].filter(
            ({ lobbyId, status }) => lobbyId !== null && lobbyIds.includes(lobbyId) && status !== "running",
          );
          for (const row of started)
            rows.changeSession(row, { status: "running", statusSince: now, startedAt: now });
          return started.map(({ id }) => ({ id, wolfId, culprits: [], isNew: true }));
        },
      })),
  },
  {
    what: "takes a lobby from whoever comes, without asking for the lock",
    seed: 11,
    noticedBy: ["lock"],
    weather: "replicas",
    alter: () =>
      inSessions((_, rows) => ({
        async lobbyCreated(id, lobbyId, now) {
          const row = rows.sessions.get(id);
          if (row?.status !== "placed" && row?.status !== "starting") return false;
          rows.changeSession(row, {
            status: "starting",
            statusSince: now,
            lobbyId,
            lockToken: null,
            lockExpiresAt: null,
          });
          return true;
        },
      })),
  },
  {
    what: "makes a session for every repetition of its request",
    noticedBy: ["idempotency"],
    alter: () =>
      inSessions(({ claim, enqueue }) => ({
        claim: (requests, ...rest) =>
          claim(
            requests.map((one) =>
              "session" in one ? { ...one, session: { ...one.session, createKey: null } } : one,
            ),
            ...rest,
          ),
        enqueue: (session, ...rest) => enqueue({ ...session, createKey: null }, ...rest),
      })),
  },
  {
    what: "never looks for sessions past their deadline",
    noticedBy: ["deadline", "stray", "liveness"],
    alter: () => inSessions(() => ({ listOverdue: async () => [] })),
  },
  {
    what: "never looks for sessions of lost wolves",
    noticedBy: ["loss"],
    alter: () => inSessions(() => ({ listOnLostWolves: async () => [] })),
  },
  {
    what: "forgets the queue",
    noticedBy: ["queue", "answer"],
    alter: () => inSessions(() => ({ listQueued: async () => [] })),
  },
  {
    what: "believes that every stray lobby has an owner",
    noticedBy: ["stray"],
    alter: () =>
      inSessions((_, rows) => ({
        listOwners: async (strays) =>
          strays.map(({ sessionId: id, lobbyId }) => ({
            id,
            lobbyId,
            wolfId: rows.sessions.get(id)?.wolfId ?? null,
            leftWolves: [],
          })),
      })),
  },
  {
    what: "forgets which wolves a session has left",
    noticedBy: ["stray"],
    alter: () =>
      inSessions(({ listOwners }) => ({
        async listOwners(strays) {
          return (await listOwners(strays)).map((owner) => ({ ...owner, leftWolves: [] }));
        },
      })),
  },
  {
    what: "forgets the PINs",
    noticedBy: ["pin"],
    alter: () => inSessions(() => ({ pinsOf: async () => new Map() })),
  },
  {
    what: "moves sessions whose policy is to wait",
    noticedBy: ["policy"],
    alter: () =>
      inSessions(({ listOnLostWolves }) => ({
        async listOnLostWolves(limit) {
          const sessions = await listOnLostWolves(limit);
          return sessions.map((one) => ({
            ...one,
            spec: { ...one.spec, disconnect_policy: "replace" as const },
          }));
        },
      })),
  },
  {
    what: "ends sessions without saying why",
    noticedBy: ["reason"],
    alter: () =>
      inSessions(({ end }, rows) => ({
        async end(id, ...rest) {
          const done = await end(id, ...rest);
          const row = rows.sessions.get(id);
          if (done && row !== undefined) rows.changeSession(row, { failure: null, stopReason: null });
          return done;
        },
      })),
  },
  {
    what: "does not answer now and then",
    noticedBy: ["answer"],
    alter: () =>
      inSessions(({ requestStop }) => {
        let asked = 0;
        return {
          requestStop(...args) {
            asked += 1;
            return asked % 10 === 0 ? new Promise(() => undefined) : requestStop(...args);
          },
        };
      }),
  },
  {
    what: "issues an epoch for the second time",
    noticedBy: ["epoch"],
    alter: () =>
      inWolves(({ openTunnel }, rows) => ({
        async openTunnel(id, now) {
          const wolf = await openTunnel(id, now);
          const row = rows.wolves.get(id);
          if (row !== undefined && row.epoch % 4 === 0) rows.changeWolf(row, { epoch: row.epoch - 2 });
          return wolf;
        },
      })),
  },
  {
    what: "marks a wolf lost that has come back",
    noticedBy: ["connectivity", "liveness"],
    alter: () =>
      inWolves((_, rows) => ({
        async markLost(id, _epoch, now) {
          const row = rows.wolves.get(id);
          if (row === undefined) return false;
          rows.changeWolf(row, { connectivity: "lost", connectivitySince: now });
          return true;
        },
        async listSuspect() {
          return [...rows.wolves.values()].map(({ id, epoch }) => ({ id, epoch }));
        },
      })),
  },
  {
    what: "never marks a wolf lost",
    noticedBy: ["connectivity"],
    alter: () => inWolves(() => ({ markLost: async () => false })),
  },
  {
    what: "takes every loss of many wolves for theirs",
    noticedBy: ["frozen"],
    weather: "mass-loss",
    alter: () =>
      inWolves(({ countConnectivity }) => ({
        countConnectivity: async (since) => ({
          ...(await countConnectivity(since)),
          leftSince: 0,
          connected: 1000,
        }),
      })),
  },
  {
    what: "stays frozen for good",
    noticedBy: ["frozen"],
    weather: "mass-loss",
    alter: () =>
      inWolves(({ setFleet }) => ({
        setFleet: async (row) => (row.frozenSince === null ? undefined : setFleet(row)),
      })),
  },
  {
    what: "gives wolves up though evictions are frozen",
    seed: 14,
    noticedBy: ["frozen"],
    weather: "mass-loss",
    alter: () =>
      inWolves(({ loseTunnel, markLost }) => ({
        async loseTunnel(id, epoch, rules, now) {
          const lost = await loseTunnel(id, epoch, rules, now);
          if (lost && epoch % 2 === 0) await markLost(id, epoch, now);
          return lost;
        },
      })),
  },
  {
    what: "does not hear that a wolf has been compared",
    noticedBy: ["compared", "queue"],
    alter: () =>
      inWolves(({ reconciled }) => {
        let told = 0;
        return {
          reconciled(id, ...rest) {
            told += 1;
            // It says that it was written, and it was not.
            return told % 4 === 0 ? Promise.resolve(true) : reconciled(id, ...rest);
          },
        };
      }),
  },
  {
    what: "takes every lobby for one of ours",
    noticedBy: ["foreign-lobby", "stray"],
    alter: () => ({
      lobbies: (api) => ({
        ...api,
        async listLobbies() {
          const lobbies = await api.listLobbies();
          return lobbies.map((lobby) =>
            lobby.runner.env?.length === 0 ? { ...lobby, name: "ses_01KB0000000000000000ZZZZZZ" } : lobby,
          );
        },
      }),
    }),
  },
  {
    what: "never really stops a lobby",
    noticedBy: ["stray", "liveness"],
    alter: () => ({ lobbies: (api) => ({ ...api, stopLobby: async () => undefined }) }),
  },
  {
    what: "believes that nothing runs where nothing was listed",
    noticedBy: ["truth"],
    alter() {
      let asked = 0;
      return {
        lobbies: (api) => ({
          ...api,
          async listLobbies() {
            const lobbies = await api.listLobbies();
            asked += 1;
            return asked % 5 === 0 ? [] : lobbies;
          },
        }),
      };
    },
  },
];
