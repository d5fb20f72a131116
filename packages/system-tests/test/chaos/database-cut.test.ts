/**
 * Replicas whose packets to PostgreSQL vanish, or only its answers, while another replica has its database as ever. Each is none any more
 * after its lease, its agents come to serve through the other one, and it comes back by itself.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Session, WolfInstance } from "@wolfpack/api-contract";
import { type Balancer, startBalancer } from "../../src/balancer.ts";
import { lobbiesOn } from "../../src/lobbies-on.ts";
import { Stack } from "../../src/stack.ts";
import { type Answer, call } from "../outage-calls.ts";
import { CutReplicas } from "./cut-replicas.ts";
import { type Direction, whyNoLink } from "./namespace.ts";

const LEASE_SECONDS = 4;
const cuts: readonly [name: string, directions: readonly Direction[]][] = [
  ["both-ways", ["inward", "outward"]],
  ["answers-only", ["inward"]],
];
const names = cuts.map(([name]) => name);
/** Of the wolf whose agent is at the replica that keeps its database. */
const STEADY = "steady";
/** No user of the other replica waits for longer, whatever the machine has to do. */
const UNNOTICED_MS = 5000;
/** Of a refusal: the control plane gives an answer of its database 16 s. */
const REFUSED_WITHIN_MS = 20_000;

interface Asked extends Answer {
  tookMs: number;
}

async function timed(ask: () => Promise<Answer>): Promise<Asked> {
  const begun = performance.now();
  const answer = await ask();
  return { ...answer, tookMs: performance.now() - begun };
}

/** One after the other, until `stop`, which rejects if one of them was not answered. */
function keepAsking(ask: () => Promise<Answer>) {
  const answers: Asked[] = [];
  let on = true;
  const asking = (async () => {
    while (on) {
      answers.push(await timed(ask));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  asking.catch(() => undefined);
  return {
    answers,
    async stop() {
      on = false;
      await asking;
    },
  };
}

const why = whyNoLink();
if (why !== undefined)
  process.stderr.write(`skipped: replicas without their database, for no link can be cut here: ${why}\n`);
const withLinks = why === undefined ? describe : describe.skip;

withLinks("a replica whose packets to the database vanish", () => {
  const balancers: Balancer[] = [];
  const sessions = new Map<string, Session>();
  const before = new Map<string, WolfInstance>();
  const during = new Map<string, WolfInstance>();
  /** Under a key that is sent to the cut replica first, and to the other one then. */
  const keyed = new Map<string, { refused: Asked; made: Answer }>();
  const writers = new Map<string, ReturnType<typeof keepAsking>>();
  const others: ReturnType<typeof keepAsking>[] = [];
  /** From the cut until the agent serves through the other replica. */
  const movedMs = new Map<string, number>();
  const replicaIds = new Map<string, string>();
  let duringReplicas: string[];
  let set: CutReplicas;
  let stack: Stack;
  let dataDir: string;
  let crashes: string[];

  const at = (name: string) => ({
    baseUrl: name === STEADY ? set.first.baseUrl : set.of(name).baseUrl,
    adminKey: set.adminKey,
  });
  const wolf = async (name: string): Promise<WolfInstance> => {
    const [found] = (await set.client().listWolves({ query: { name } })).body;
    if (found === undefined) throw new Error(`there is no wolf ${name}`);
    return found;
  };
  const replicas = async () => (await set.client().call("listReplicas")).body.map(({ id }) => id).toSorted();
  const sessionOf = async (name: string) => {
    const { id } = sessions.get(name) ?? { id: "" };
    return (await set.client().getSession({ params: { id } })).body;
  };
  const on = (name: string) => [{ attribute: "wolf:name", op: "in" as const, values: [name] }];
  const logOf = (name: string) => readFileSync(path.join(stack.logFolder, `replica-${name}.log`), "utf8");

  beforeAll(async () => {
    dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-database-cut-"));
    crashes = [];
    set = await CutReplicas.start({
      dataDir,
      names,
      env: {
        WOLFPACK_REPLICA_LEASE_SECONDS: String(LEASE_SECONDS),
        WOLFPACK_LOBBY_SETTLE_SECONDS: "1",
      },
    });
    stack = await Stack.start({
      dataDir,
      port: 0,
      at: at(STEADY),
      hosts: [{ name: STEADY, gpu: "nvidia", maxSandboxes: 8 }],
      say: () => undefined,
      onCrash: (name) => void crashes.push(name),
    });
    for (const name of names) {
      const backends = [set.of(name), set.first];
      const balancer = await startBalancer({ backends, policy: "in-order", checkEveryMs: 200 });
      balancers.push(balancer);
      await stack.startHost({ name, gpu: "nvidia", maxSandboxes: 8, apiUrl: balancer.url });
    }
    for (const name of [STEADY, ...names]) {
      await stack.until(`${name} is taken in`, async () => (await wolf(name)).reconciled === true);
      before.set(name, await wolf(name));
      const { body: list } = await set.client(at(name)).call("listReplicas");
      replicaIds.set(name, list.find(({ is_self }) => is_self)?.id ?? "");
      // The strictest: it would be stopped if its wolf were taken for lost.
      const body = { constraints: on(name), disconnect_policy: "stop" as const, wait_seconds: 20 };
      sessions.set(name, (await set.client().createSession({ body })).body);
    }
    const screenshot = () => call(at(STEADY), "GET", `/sessions/${sessions.get(STEADY)?.id}/screenshot`);
    others.push(keepAsking(screenshot));
    const write = (name: string) => () => call(at(name), "POST", "/join-tokens", { wolf_name: "later" });
    others.push(keepAsking(write(STEADY)));
    for (const name of names) writers.set(name, keepAsking(write(name)));
    const isAcknowledged = ({ status }: Answer) => status === 201;
    await stack.until("writes are acknowledged", async () =>
      [...writers.values()].every(({ answers }) => answers.some(isAcknowledged)),
    );

    for (const [name, directions] of cuts) set.of(name).database.drop(directions);
    const cutAt = performance.now();
    const keying = names.map(async (name) => {
      const body = { name: `of ${name}`, constraints: on(STEADY), wait_seconds: 0 };
      const key = { "idempotency-key": `session-${name}` };
      const refused = await timed(() => call(at(name), "POST", "/sessions", body, key));
      keyed.set(name, { refused, made: await call(at(STEADY), "POST", "/sessions", body, key) });
    });
    for (const name of names)
      await stack.until(`${name} serves through the other replica`, async () => {
        const seen = await wolf(name);
        during.set(name, seen);
        movedMs.set(name, performance.now() - cutAt);
        return seen.tunnel?.replica === replicaIds.get(STEADY) && seen.reconciled === true;
      });
    await Promise.all(keying);
    duringReplicas = await replicas();
    for (const name of names)
      await stack.until(
        "writes are refused",
        async () => writers.get(name)?.answers.some(({ status }) => status === 503) === true,
      );

    for (const name of names) set.of(name).database.heal();
    const wanted = [...replicaIds.values()].toSorted();
    await stack.until("all are back", async () => (await replicas()).join() === wanted.join());
    for (const name of names)
      await stack.until(`${name} acknowledges again`, async () =>
        isAcknowledged(writers.get(name)?.answers.at(-1) as Answer),
      );
    await Promise.all([...others, ...writers.values()].map((one) => one.stop()));
    const took = [...movedMs].map(([name, ms]) => `${name} ${(ms / 1000).toFixed(1)} s`).join(", ");
    const slowest = Math.max(...others.flatMap(({ answers }) => answers.map(({ tookMs }) => tookMs)));
    const refusals = [...keyed.values()].map(({ refused }) => refused);
    for (const { answers } of writers.values())
      refusals.push(...answers.filter(({ status }) => status !== 201));
    const lateMs = Math.max(...refusals.map(({ tookMs }) => tookMs));
    process.stderr.write(
      `cut off from the database: agents elsewhere after ${took}; slowest refusal ${(lateMs / 1000).toFixed(1)} s, slowest answer of the other replica ${slowest.toFixed(0)} ms\n`,
    );
  }, 150_000);

  afterAll(async () => {
    await Promise.allSettled([...others, ...writers.values()].map((one) => one.stop()));
    await stack?.stop();
    for (const balancer of balancers) await balancer.close();
    await set?.stop();
    rmSync(dataDir, { recursive: true, force: true });
    expect(crashes).toEqual([]);
  }, 60_000);

  it("is none any more after its lease, while the other one stays", () => {
    expect(duringReplicas).toEqual([replicaIds.get(STEADY)]);
  });

  it.each(names)("refuses what it cannot write, in time and with the word when to come back (%s)", (name) => {
    const refused = (writers.get(name)?.answers ?? []).filter(({ status }) => status !== 201);
    expect(refused.length).toBeGreaterThan(0);
    for (const { status, headers, body, tookMs } of [...refused, keyed.get(name)?.refused as Asked]) {
      expect({ status, code: body.code, retryAfter: headers.get("retry-after") }).toEqual({
        status: 503,
        code: "database-unavailable",
        retryAfter: expect.stringMatching(/^\d+$/),
      });
      expect(tookMs).toBeLessThan(REFUSED_WITHIN_MS);
    }
  });

  it.each(names)("loses nothing that it acknowledged (%s)", async (name) => {
    const kept = (writers.get(name)?.answers ?? []).filter(({ status }) => status === 201);
    const there = new Set<string>();
    for (let cursor: string | undefined; ; ) {
      const { body } = await set.client().call("listJoinTokens", { query: { limit: 200, cursor } });
      for (const { id } of body) there.add(id);
      cursor = body.at(-1)?.id;
      if (body.length < 200) break;
    }
    expect(kept.map(({ body }) => body.id).filter((id) => !there.has(id))).toEqual([]);
  });

  it.each(names)("sends its agent to the other replica, and its session runs on (%s)", async (name) => {
    const { tunnel } = during.get(name) as WolfInstance;
    expect(tunnel?.replica).toBe(replicaIds.get(STEADY));
    expect(before.get(name)?.tunnel?.replica).toBe(replicaIds.get(name));
    expect(tunnel?.epoch).toBeGreaterThan(before.get(name)?.tunnel?.epoch ?? 0);
    const { id, lobby_id, started_at } = sessions.get(name) as Session;
    expect(await sessionOf(name)).toMatchObject({ status: "running", attempts: 1, lobby_id, started_at });
    for (const replica of [STEADY, name])
      expect((await call(at(replica), "GET", `/sessions/${id}/screenshot`)).status).toBe(200);
    expect((await lobbiesOn(stack.socketOf(name))).map((lobby) => lobby.name)).toEqual([id]);
  });

  it.each(names)("doubles no session that is asked for again at the other replica (%s)", async (name) => {
    const { made } = keyed.get(name) as { made: Answer };
    expect(made.status).toBe(201);
    const { body } = await set.client().listSessions({ query: { limit: 200 } });
    expect(body.filter((session) => session.name === `of ${name}`).map(({ id }) => id)).toEqual([
      made.body.id,
    ]);
  });

  it("is not noticed by users of the other one", () => {
    for (const { answers } of others) {
      expect(answers.filter(({ status }) => status !== 200 && status !== 201)).toEqual([]);
      expect(answers.filter(({ tookMs }) => tookMs > UNNOTICED_MS)).toEqual([]);
    }
  });

  it("makes no wolf lost and no session end", async () => {
    const { body } = await set.client().listEvents({ query: { limit: 200, newest_first: "true" } });
    const ended = body.filter(
      ({ kind, detail }) =>
        /^session\.(lost|failed|stopped|moved)$/.test(kind) ||
        (kind === "wolf.connectivity" && detail.to === "lost"),
    );
    expect(ended).toEqual([]);
  });

  it.each(names)("comes back by itself, and says that it was taken for gone (%s)", (name) => {
    expect(logOf(name)).toContain("was taken for gone");
    expect(writers.get(name)?.answers.at(-1)?.status).toBe(201);
  });
});
