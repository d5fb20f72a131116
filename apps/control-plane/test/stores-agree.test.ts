/** The stores in PostgreSQL and in memory are one: the same calls are answered the same, and leave the same rows. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { type GpuType, type Health, Intent, SessionStatus } from "@wolfpack/api-contract";
import fc from "fast-check";
import { statusesBefore } from "../src/sessions/session-lifecycle.ts";
import type { QuarantineRules, TunnelOrigin, Wolf } from "../src/wolves/wolf-store.ts";
import { aUsage } from "./a-wolf.ts";
import {
  anExplanation,
  aReport,
  aSession,
  aSessionThatIs,
  at,
  LOCK,
  lobbyOf,
  memoryStores,
  postgresStores,
  type Stores,
} from "./stores.ts";

let both: [Stores, Stores];
beforeAll(async () => {
  both = [await postgresStores(), await memoryStores()];
});
afterAll(() => Promise.all(both.map((stores) => stores.close())));
beforeEach(() => Promise.all(both.map((stores) => stores.clear())));

/** Sequences of calls. Whoever changes a store runs a thousand once. */
const RUNS = 25;

const pick = <Value>(...values: readonly Value[]) => fc.constantFrom(...values);
const wolfNames = ["wlf_A", "wlf_B", "wlf_C"];
const newIds = ["ses_new", "ses_other", "ses_third"];
/** There are as many sessions as statuses at first; the others are to come. */
const sessionIds = [...SessionStatus.options.map((status) => `ses_${status}`), ...newIds];
const ownerIds = ["usr_1", "usr_2", "usr_3"];
const wolfId = pick(...wolfNames, ...wolfNames, "wlf_unknown");
const sessionId = pick(...sessionIds, ...sessionIds, "ses_unknown");
const epoch = pick(0, 1, 1, 1, 1, 1, 2);
const token = pick(LOCK.token, "t1");
const lobbyId = pick("l1", ...sessionIds.map(lobbyOf));
const statuses: fc.Arbitrary<readonly SessionStatus[]> = fc.oneof(
  fc.constant([...SessionStatus.options]),
  fc.uniqueArray(pick(...SessionStatus.options)),
);
const seconds = pick(0, 5, 30, 300);
const quotas = fc.record({ sessionsMax: pick(2, 5, 100), createsPerMinute: pick(3, 100) });
const rules: QuarantineRules = {
  flapsMax: 2,
  flapWindowMs: 60_000,
  createFailuresMax: 2,
  firstMs: 10_000,
  maxMs: 30_000,
};
const newSession = fc
  .record({
    id: pick(...newIds, ...newIds, "ses_running"),
    ownerId: pick(...ownerIds),
    createKey: pick(null, "k1", "k2"),
    pin: pick(null, "1234"),
    priority: pick(3, 4, 5),
    vram_mb: pick(0, 0, 3000),
    encoder_sessions: pick(0, 1, 2),
    idle: pick(null, 10, 60),
    ttl: pick(null, 20, 90),
  })
  .map(({ priority, vram_mb, encoder_sessions, idle, ttl, ...made }) => {
    const lives = { ttl_seconds: ttl, idle_timeout_seconds: idle };
    return aSession({ ...made, spec: { priority, ...lives, resources: { vram_mb, encoder_sessions } } });
  });
const lock = (now: number, { token, life }: { token: string; life: number }) => ({
  token,
  expiresAt: at(now + life),
});
const claimRequest = fc.record({
  wolf: fc.record({ id: wolfId, epoch }),
  lock: fc.record({ token, life: pick(5, 30) }),
  what: fc.oneof(newSession, sessionId),
});

/** Of a start that may be another one. */
const attempts = pick(0, 1, 1, 1, 2);
const perhaps = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
const endOptions = fc.record(
  { from: statuses, attempt: fc.record({ wolfId, attempts }), lobbyGone: fc.boolean() },
  { requiredKeys: [] },
);
const requeueOptions = fc.record(
  { avoid: fc.boolean(), blame: fc.boolean(), whileLost: fc.boolean(), attempts, lobbyGone: fc.boolean() },
  { requiredKeys: ["avoid"] },
);
const noticeMs = pick(0, 0, 5000, 30_000);

type Step = (stores: Stores, now: number) => Promise<unknown>;
interface Call {
  name: string;
  step: Step;
}
const call = <Args>(name: string, args: fc.Arbitrary<Args>, run: (args: Args) => Step): fc.Arbitrary<Call> =>
  args.map((given) => {
    const said = `${name} ${JSON.stringify(given)}`;
    return { name: said, step: run(given), [fc.toStringMethod]: () => said };
  });
const sorted = async (rows: Promise<readonly { id: string }[]>) =>
  (await rows).toSorted((a, b) => (a.id < b.id ? -1 : 1));

const sessionCalls = [
  call("claim", fc.record({ requests: fc.array(claimRequest, { maxLength: 4 }), quotas }), (args) => {
    return ({ sessions }, now) =>
      sessions.claim(
        args.requests.map(({ wolf, lock: given, what }) => ({
          wolf,
          lock: lock(now, given),
          ...(typeof what === "string"
            ? { queued: what, placement: anExplanation("later") }
            : { session: what }),
        })),
        args.quotas,
        at(now),
      );
  }),
  call("enqueue", fc.record({ made: newSession, quotas, max: pick(1, 3) }), ({ made, quotas, max }) => {
    return ({ sessions }, now) => sessions.enqueue(made, { max, deadline: at(now + 40) }, quotas, at(now));
  }),
  call("prospect", fc.record({ made: newSession, quotas, max: pick(1, 3) }), ({ made, quotas, max }) => {
    const next = { ownerId: made.ownerId, priority: made.spec.priority };
    return ({ sessions }, now) => sessions.prospect(next, max, quotas, at(now));
  }),
  call(
    "listQueued",
    fc.record({ limit: pick(1, 9), after: perhaps(sessionId), ownerId: perhaps(pick(...ownerIds)) }),
    ({ limit, ...part }) =>
      ({ sessions }) =>
        sessions.listQueued(limit, part),
  ),
  call(
    "queuePosition",
    sessionId,
    (id) =>
      ({ sessions }) =>
        sessions.queuePosition(id),
  ),
  call(
    "explainQueued",
    sessionId,
    (id) =>
      ({ sessions }) =>
        sessions.explainQueued(id, anExplanation("why")),
  ),
  call(
    "lobbyCreated",
    fc.record({ id: sessionId, lobbyId, token: pick(undefined, LOCK.token, "t1") }),
    (args) =>
      ({ sessions }, now) =>
        sessions.lobbyCreated(args.id, args.lobbyId, at(now), args.token),
  ),
  call(
    "running",
    fc.oneof(
      sessionId.map((id) => ({ id, lobbyId: lobbyOf(id) })),
      fc.record({ id: sessionId, lobbyId }),
    ),
    ({ id, lobbyId }) =>
      ({ sessions }, now) =>
        sessions.running(id, lobbyId, at(now)),
  ),
  call(
    "lobbiesRunning",
    fc.record({ id: wolfId, epoch, lobbies: fc.array(lobbyId) }),
    ({ lobbies, ...wolf }) =>
      ({ sessions }, now) =>
        sorted(sessions.lobbiesRunning(wolf, lobbies, at(now))),
  ),
  call(
    "requestStop",
    fc.record({ id: sessionId, whileLost: fc.boolean() }),
    ({ id, whileLost }) =>
      ({ sessions }, now) =>
        sessions.requestStop(id, whileLost ? "wolf-lost" : "requested", at(now), { whileLost }),
  ),
  call(
    "stop",
    fc.record({
      id: sessionId,
      from: pick(undefined, statusesBefore("stopped")),
      reason: pick(undefined, "idle" as const),
      lobbyGone: fc.boolean(),
    }),
    ({ id, from, reason, lobbyGone }) =>
      ({ sessions }, now) =>
        sessions.end(id, { status: "stopped", ...(reason && { reason }) }, at(now), {
          ...(from && { from }),
          lobbyGone,
        }),
  ),
  call(
    "fail",
    fc.record({
      id: sessionId,
      options: perhaps(endOptions),
    }),
    ({ id, options }) =>
      ({ sessions }, now) =>
        sessions.end(id, { status: "failed", failure: { code: "x", reason: "y" } }, at(now), options),
  ),
  call(
    "requeue",
    fc.record({ id: sessionId, wolfId, from: statuses, options: requeueOptions }),
    ({ id, wolfId, from, options }) =>
      ({ sessions }, now) =>
        sessions.requeue(id, wolfId, from, { ...options, deadline: at(now + 40) }, at(now)),
  ),
  call(
    "markLost",
    sessionId,
    (id) =>
      ({ sessions }, now) =>
        sessions.markLost(id, at(now)),
  ),
  call(
    "renewLocks",
    fc.uniqueArray(fc.record({ id: sessionId, token }), { selector: ({ id }) => id }),
    (locks) =>
      async ({ sessions }, now) =>
        (await sessions.renewLocks(locks, at(now + 30))).toSorted(),
  ),
  call(
    "takeLock",
    fc.record({ id: sessionId, token }),
    ({ id, token }) =>
      ({ sessions }, now) =>
        sessions.takeLock(id, { token, expiresAt: at(now + 30) }, at(now)),
  ),
  call(
    "listOnLostWolves",
    pick(1, 9),
    (limit) =>
      ({ sessions }) =>
        sessions.listOnLostWolves(limit),
  ),
  call(
    "listOverdue",
    fc.record({ statuses, ago: seconds, limit: pick(1, 9) }),
    ({ statuses, ago, limit }) =>
      ({ sessions }, now) => {
        const since = Object.fromEntries(statuses.map((status) => [status, at(now - ago)]));
        return sessions.listOverdue(since, at(now), limit);
      },
  ),
  call(
    "listExpired",
    fc.record({ noticeMs, limit: pick(1, 9) }),
    ({ noticeMs, limit }) =>
      ({ sessions }, now) =>
        sessions.listExpired(at(now), noticeMs, limit),
  ),
  call(
    "expire",
    fc.record({ id: sessionId, reason: pick("expired" as const, "idle" as const), noticeMs }),
    ({ id, reason, noticeMs }) =>
      ({ sessions }, now) =>
        sessions.expire(id, reason, at(now), noticeMs),
  ),
  call(
    "warn",
    pick(0, 15_000, 60_000),
    (ms) =>
      ({ sessions }, now) =>
        sessions.warn(at(now), ms),
  ),
  call(
    "touch",
    fc.uniqueArray(sessionId),
    (ids) =>
      ({ sessions }, now) =>
        sessions.touch(ids, at(now)),
  ),
  call(
    "extend",
    fc.record({ id: sessionId, life: seconds }),
    ({ id, life }) =>
      ({ sessions }, now) =>
        sessions.extend(id, at(now + life), at(now)),
  ),
  call(
    "listOwners",
    fc.array(fc.record({ lobbyId, sessionId }), { maxLength: 3 }),
    (lobbies) =>
      ({ sessions }) =>
        sorted(sessions.listOwners(lobbies)),
  ),
];

const figures = pick(
  aUsage({ gpu_state: "unknown" }),
  aUsage({ gpu_state: null, gpus: [] }),
  ...[0, 5000].flatMap((mib) => [
    aUsage({ gpus: [aGpuUsage("gpu-0", mib), aGpuUsage("gpu-1", 2 * mib)] }),
    aUsage({ gpus: [aGpuUsage("gpu-0", mib)] }),
  ]),
);
function aGpuUsage(id: string, mib: number) {
  const vram_used_bytes = mib * 2 ** 20;
  return {
    id,
    utilisation_percent: 1,
    vram_used_bytes,
    encoder_sessions: mib === 0 ? null : 3,
    encoder_percent: null,
  };
}
const host = {
  cpu_model: null,
  cpu_count: 1,
  memory_bytes: 1,
  gpus: [0, 1].map((n) => ({
    id: `gpu-${n}`,
    vendor: "nvidia" as const,
    model: null,
    driver: null,
    vram_bytes: null,
    render_node: `/dev/dri/renderD12${n}`,
  })),
};
const intents = fc.uniqueArray(pick(...Intent.options), { minLength: 1 });
const aPlan = { startedAt: at(0), deadline: at(60), next: "maintenance" as const };

const wolfCalls = [
  call(
    "register",
    fc.record({ id: pick(...wolfNames), maxSandboxes: pick(1, 3), encoderSessionsMax: pick(null, 2) }),
    ({ id, ...report }) =>
      ({ wolves }, now) =>
        wolves.register({ id, name: id.toLowerCase(), address: "", ...aReport(report) }, at(now)),
  ),
  call(
    "registerOnConnect",
    pick(...wolfNames),
    (id) =>
      ({ wolves }, now) =>
        wolves.registerOnConnect(id.toLowerCase(), "::1", at(now), id),
  ),
  call(
    "heartbeat",
    wolfId,
    (id) =>
      ({ wolves }, now) =>
        wolves.heartbeat(id, { maxSandboxes: 2 }, at(now)),
  ),
  call(
    "heartbeat of a daemon",
    fc.record({
      id: wolfId,
      gpuType: pick<GpuType | undefined>(undefined, "amd", "none"),
      usage: pick(undefined, aUsage()),
    }),
    ({ id, gpuType, usage }) =>
      ({ wolves }, now) => {
        const disks = usage && { usage, sampleIds: [`dsk_${id}_${now}`] };
        return wolves.heartbeat(id, { daemon: { gpuType, disks } }, at(now));
      },
  ),
  call(
    "heartbeats",
    fc.uniqueArray(fc.record({ id: wolfId, epoch }), { selector: ({ id }) => id }),
    (beats) =>
      ({ wolves }, now) =>
        wolves.heartbeats(beats, at(now)),
  ),
  call(
    "deregister",
    fc.record({ id: wolfId, force: fc.boolean() }),
    ({ id, force }) =>
      ({ wolves }, now) =>
        wolves.deregister(id, force, at(now)),
  ),
  call(
    "openTunnel",
    fc.record({
      id: wolfId,
      by: pick<TunnelOrigin | undefined>(
        undefined,
        { protocol: "revdial", legacyCredential: true },
        { protocol: "helix", legacyCredential: true },
        { protocol: "helix", legacyCredential: false },
      ),
      clockOffsetMs: pick(undefined, 0, -300_000, 45_000),
    }),
    ({ id, by, clockOffsetMs }) =>
      ({ wolves }, now) =>
        wolves.openTunnel(id, at(now), by, { clockOffsetMs }),
  ),
  call(
    "loseTunnel",
    fc.record({ id: wolfId, epoch }),
    ({ id, epoch }) =>
      ({ wolves }, now) =>
        wolves.loseTunnel(id, epoch, rules, at(now)),
  ),
  call(
    "wolf lost",
    fc.record({ id: wolfId, epoch }),
    ({ id, epoch }) =>
      ({ wolves }, now) =>
        wolves.markLost(id, epoch, at(now)),
  ),
  call(
    "listSuspect",
    seconds,
    (ago) =>
      ({ wolves }, now) =>
        wolves.listSuspect(at(now - ago)),
  ),
  call(
    "changeHealth",
    fc.record({ id: wolfId, epoch, health: pick<Health>("ok", "degraded", "failed") }),
    ({ id, epoch, health }) =>
      ({ wolves }, now) =>
        wolves.changeHealth(id, epoch, health, [{ code: "wolf-slow", detail: "9 s" }], at(now)),
  ),
  call(
    "changeReport",
    fc.record({
      id: wolfId,
      epoch,
      gpu: pick(
        undefined,
        { model: null, renderNode: null, vramMb: null },
        { model: "a", renderNode: "/dev/dri/renderD121", vramMb: 8000 },
      ),
      host: pick(undefined, host),
      encoderSessionsMax: pick(null, 3),
    }),
    ({ id, epoch, encoderSessionsMax, ...rest }) =>
      ({ wolves }, now) =>
        wolves.changeReport(id, epoch, { ...aReport({ encoderSessionsMax }), ...rest }, at(now)),
  ),
  call(
    "changeUsage",
    fc.record({ id: wolfId, epoch, usage: figures }),
    ({ id, epoch, usage }) =>
      ({ wolves }, now) =>
        wolves.changeUsage(id, epoch, { usage, wolfRestarts: 1, sampleIds: [`dsk_${id}_${now}`] }, at(now)),
  ),
  call(
    "findStale",
    seconds,
    (ago) =>
      ({ wolves }, now) =>
        wolves.findStale(at(now - ago), []),
  ),
  call(
    "markStale",
    fc.record({ ago: seconds, live: fc.array(fc.record({ id: wolfId, epoch })) }),
    ({ ago, live }) =>
      async ({ wolves }, now) =>
        (await wolves.markStale(at(now - ago), live, at(now))).toSorted(),
  ),
  call(
    "orphanTunnels",
    fc.constant(0),
    () =>
      ({ wolves }, now) =>
        sorted(wolves.orphanTunnels(at(now))),
  ),
  call(
    "reconciled",
    fc.record({ id: wolfId, epoch, others: pick(0, 1) }),
    (args) =>
      ({ wolves }, now) =>
        wolves.reconciled(args.id, args.epoch, args.others, at(now)),
  ),
  call(
    "createSucceeded",
    wolfId,
    (id) =>
      ({ wolves }, now) =>
        wolves.createSucceeded(id, at(now)),
  ),
  call(
    "createFailed",
    fc.record({ id: wolfId, what: pick("failed" as const, "slow" as const) }),
    ({ id, what }) =>
      ({ wolves }, now) =>
        wolves.createFailed(id, what, rules, at(now)),
  ),
  call(
    "readmit",
    wolfId,
    (id) =>
      ({ wolves }, now) =>
        wolves.readmit(id, at(now)),
  ),
  call(
    "changeIntent",
    fc.record({
      id: wolfId,
      from: intents,
      to: pick(...Intent.options),
      unlessSessions: fc.boolean(),
      drain: fc.boolean(),
    }),
    ({ id, drain, ...change }) =>
      ({ wolves }, now) =>
        wolves.changeIntent(id, { ...change, reason: "why", ...(drain && { drain: aPlan }) }, at(now)),
  ),
  call(
    "countConnectivity",
    seconds,
    (ago) =>
      ({ wolves }, now) =>
        wolves.countConnectivity(at(now - ago)),
  ),
];

/** Every row that can be seen. */
async function rowsOf({ sessions, wolves }: Stores) {
  const all = { limit: 100, after: undefined };
  return {
    sessions: await sessions.list(all),
    wolves: await wolves.list(all),
    live: await sessions.countLive(),
    queue: await sessions.listQueued(100),
    candidates: (await wolves.changedCandidates(undefined)).wolves,
  };
}

/** A fleet that can be used, so that random calls meet more than refusals. */
async function populate(stores: Stores): Promise<void> {
  await stores.clear();
  for (const [n, id] of ownerIds.entries()) await stores.addOwner(id, n === 2 ? { sessionsMax: 1 } : {});
  for (const id of wolfNames) {
    const named = { id, name: id.toLowerCase(), address: "" };
    await stores.wolves.register({ ...named, ...aReport({ encoderSessionsMax: 4 }) }, at(0));
    await stores.wolves.openTunnel(id, at(0));
    const gpu = { model: null, renderNode: "/dev/dri/renderD121", vramMb: 8000 };
    await stores.wolves.changeReport(id, 1, { ...aReport({ encoderSessionsMax: 4 }), gpu, host }, at(0));
    await stores.wolves.reconciled(id, 1, 0, at(0));
  }
  const [a, b, c] = (await stores.wolves.list({ limit: 3, after: undefined })) as [Wolf, Wolf, Wolf];
  for (const status of SessionStatus.options) {
    const wolf = status === "lost" ? c : status === "running" ? b : a;
    const made = aSession({
      id: `ses_${status}`,
      ownerId: "usr_1",
      createKey: status === "running" ? "k1" : null,
      spec: { ttl_seconds: 60, idle_timeout_seconds: 20, resources: { vram_mb: 1000, encoder_sessions: 1 } },
      placement: anExplanation(),
    });
    await aSessionThatIs(status, stores, wolf, made);
  }
}

async function answer({ step }: Call, stores: Stores, now: number): Promise<unknown> {
  try {
    return await step(stores, now);
  } catch {
    // What it says is the database's; that it is refused is the contract's.
    return "rejected";
  }
}

describe("the stores in PostgreSQL and in memory", () => {
  it("answer every call the same, and leave the same rows, whatever came before", async () => {
    const calls = fc.oneof(
      { arbitrary: fc.oneof(...sessionCalls), weight: 3 },
      { arbitrary: fc.oneof(...wolfCalls), weight: 1 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ call: calls, wait: pick(0, 0, 1, 7, 30) }), { minLength: 30, maxLength: 60 }),
        async (steps) => {
          const [postgres, memory] = both;
          await Promise.all(both.map(populate));
          let now = 1;
          for (const { call, wait } of steps) {
            now += wait;
            const said = await Promise.all([answer(call, postgres, now), answer(call, memory, now)]);
            expect({ call: call.name, said: said[1] }).toEqual({ call: call.name, said: said[0] });
          }
          expect(await rowsOf(memory)).toEqual(await rowsOf(postgres));
        },
      ),
      { numRuns: RUNS },
    );
  }, 60_000);
});
