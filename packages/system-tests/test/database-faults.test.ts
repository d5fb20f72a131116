/** A database that is killed, away or slow, under a control plane with hosts and load, as real processes. `npm run faults` takes the long times. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import type { CallReply } from "@wolfpack/api-contract";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { lobbiesOn } from "../src/lobbies-on.ts";
import { Stack } from "../src/stack.ts";
import { DatabaseRelay } from "./database-relay.ts";
import { type Answer, call as ask, runningSession } from "./outage-calls.ts";

const LONG = process.env.FAULTS === "long";
/** In the short run every time is shorter, in the same order: away is longer than any of the graces. */
const AWAY_MS = LONG ? 60_000 : 6000;
const LOST_AFTER_SECONDS = LONG ? 20 : 1;
const STALE_AFTER_SECONDS = LONG ? 40 : 2;
const LOAD_MS = LONG ? 15_000 : 1500;
const SESSIONS_MAX = 100;
const names = ["gpu-1", "gpu-2"];

const relay = new DatabaseRelay();
let postgres: EmbeddedPostgres;
let stack: Stack;
let dataDir: string;
let crashes: string[];
let databaseDir: string;

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-faults-"));
  databaseDir = path.join(dataDir, "database");
  crashes = [];
  // On disk as for users: what was acknowledged has to outlive it.
  postgres = await startEmbeddedPostgres({ dataDir: databaseDir });
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: names.map((name) => ({ name, gpu: "nvidia", maxSandboxes: 100 })),
    env: {
      DATABASE_URL: await relay.to(postgres.url),
      API_KEY_SECRET: "x".repeat(32),
      HOST: "127.0.0.1",
      WOLFPACK_TUNNEL_LOST_AFTER_SECONDS: String(LOST_AFTER_SECONDS),
      WOLFPACK_WOLF_STALE_AFTER_SECONDS: String(STALE_AFTER_SECONDS),
      WOLFPACK_HEALTH_INTERVAL_SECONDS: "0.5",
      WOLFPACK_RECONCILE_INTERVAL_SECONDS: "1",
      WOLFPACK_LOBBY_SETTLE_SECONDS: "1",
      WOLFPACK_LOBBY_GRACE_SECONDS: "0.5",
      WOLFPACK_USER_SESSIONS_MAX: "1000",
      WOLFPACK_USER_CREATES_PER_MINUTE: "100000",
      WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: "1000000",
      WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: "1000000",
    },
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
}, 90_000);

afterAll(async () => {
  await stack?.stop();
  await relay.close();
  await postgres?.stop();
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

const call = (method: string, route: string, body?: object) => ask(stack, method, route, body);

/** What an outage may be answered with, and nothing else. */
function expectUnavailable({ status, headers, body }: Answer): void {
  expect({ status, code: body.code, retryAfter: headers.get("retry-after") }).toEqual({
    status: 503,
    code: "database-unavailable",
    retryAfter: expect.stringMatching(/^\d+$/),
  });
}

/** PostgreSQL's immediate mode: its processes end as in a crash, and it recovers at its next start. */
async function restartPostgres(): Promise<void> {
  const lock = readFileSync(path.join(databaseDir, "postgres", "postmaster.pid"), "utf8");
  await relay.close();
  process.kill(Number(lock.split("\n", 1)[0]), "SIGQUIT");
  await postgres.exited;
  postgres = await startEmbeddedPostgres({ dataDir: databaseDir });
  await relay.to(postgres.url);
}

const recovered = () =>
  stack.until("the control plane serves again", async () => {
    const ready = await fetch(`${stack.baseUrl}/readyz`);
    return ready.ok && (await call("GET", "/wolf-instances")).status === 200;
  });

type Wolf = CallReply<"listWolves">["body"][number];
const wolves = async (): Promise<Wolf[]> => (await stack.client().listWolves({})).body;
const epochs = async () => (await wolves()).map(({ name, tunnel }) => `${name} ${tunnel?.epoch}`).toSorted();

/** Whether anything was ever given up, as the events tell. */
async function givenUp(): Promise<string[]> {
  const { body } = await stack.client().listEvents({ query: { limit: 200, newest_first: "true" } });
  return body
    .filter(
      ({ kind, detail }) =>
        kind === "session.lost" ||
        kind === "session.failed" ||
        (kind === "wolf.connectivity" && (detail as { to?: string }).to === "lost"),
    )
    .map(({ kind }) => kind);
}

// Whatever a test that failed left behind is not the next one's.
afterEach(async () => {
  relay.delay(0);
  relay.hold(false);
  await relay.open();
});

describe("PostgreSQL that is killed three times under load", () => {
  it("loses nothing that was acknowledged, and all that is refused meanwhile may be sent again", async () => {
    const kept: string[] = [];
    const refused: Answer[] = [];
    let on = true;
    let n = 0;
    const [{ id: wolfId } = { id: "" }] = await wolves();
    const routes: (() => [string, object])[] = [
      () => ["/users", { name: `user-${n}`, role: "user" }],
      () => ["/api-keys", { name: `key-${n}` }],
      () => ["/join-tokens", { wolf_name: `new-${n}` }],
      // Not more than there is room for, and some left for the tests behind.
      () =>
        kept.filter((what) => what.startsWith("/sessions")).length < SESSIONS_MAX
          ? ["/sessions", { name: `session-${n}`, wait_seconds: 0 }]
          : ["/join-tokens", { wolf_name: `more-${n}` }],
    ];
    async function write(route: () => [string, object]): Promise<void> {
      while (on) {
        n += 1;
        const [to, body] = route();
        const answer = await call("POST", to, body);
        if (answer.status === 201) kept.push(`${to}/${answer.body.id}`);
        else refused.push(answer);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    const load = routes.map(write);
    for (let restarts = 0; restarts < 3; restarts += 1) {
      await new Promise((resolve) => setTimeout(resolve, LOAD_MS));
      await restartPostgres();
      await recovered();
    }
    on = false;
    await Promise.all(load);
    for (const answer of refused) expectUnavailable(answer);
    expect(refused.length).toBeGreaterThan(0);
    expect(kept.length).toBeGreaterThan(50);
    const there = new Set<string>();
    for (const list of ["/users", "/api-keys", "/join-tokens", "/sessions"])
      for (let cursor = "", more = true; more; ) {
        const url = `${stack.baseUrl}/api/v1${list}?limit=200${cursor && `&cursor=${cursor}`}`;
        const headers = { authorization: `Bearer ${stack.adminKey}` };
        const rows = (await (await fetch(url, { headers })).json()) as { id: string }[];
        for (const { id } of rows) there.add(`${list}/${id}`);
        cursor = rows.at(-1)?.id ?? "";
        more = rows.length === 200;
      }
    expect(kept.filter((what) => !there.has(what))).toEqual([]);
    process.stderr.write(`killed 3 times: ${kept.length} acknowledged, 0 lost, ${refused.length} refused\n`);
    expect(wolfId).not.toBe("");
    expect(await givenUp()).toEqual([]);
  }, 240_000);
});

describe("PostgreSQL that is away for longer than any grace", () => {
  it("leaves tunnels and sessions as they are: screens are served, all else says when to come back", async () => {
    const id = await runningSession(stack);
    const screen = () => call("GET", `/sessions/${id}/screenshot`);
    expect((await screen()).status).toBe(200);
    const before = await epochs();
    await relay.close();
    const until = Date.now() + AWAY_MS;
    do {
      const [look, read, write] = await Promise.all([
        screen(),
        call("GET", "/wolf-instances"),
        call("POST", "/users", { name: "late", role: "user" }),
      ]);
      const type = look.headers.get("content-type");
      expect({ status: look.status, type, code: look.body.code }).toEqual({ status: 200, type: "image/png" });
      expectUnavailable(read);
      expectUnavailable(write);
      await new Promise((resolve) => setTimeout(resolve, 200));
    } while (Date.now() < until);
    expect((await fetch(`${stack.baseUrl}/healthz`)).status).toBe(200);
    expect((await fetch(`${stack.baseUrl}/readyz`)).status).toBe(503);
    const stranger = await fetch(`${stack.baseUrl}/api/v1/sessions/${id}/screenshot`, {
      headers: { authorization: `Bearer wpk_${"A".repeat(43)}` },
    });
    expect(stranger.status).not.toBe(200);
    await relay.open();
    await recovered();
    expect(await epochs()).toEqual(before);
    expect((await stack.client().getSession({ params: { id } })).body.status).toBe("running");
    expect(await givenUp()).toEqual([]);
  }, 180_000);
});

describe("PostgreSQL that is slow", () => {
  it("makes nobody lost when each answer is late, or none comes for a while", async () => {
    const id = await runningSession(stack);
    const before = await epochs();
    relay.delay(LONG ? 1000 : 300);
    expect((await call("GET", "/wolf-instances")).status).toBe(200);
    relay.delay(0);
    relay.hold(true);
    await new Promise((resolve) => setTimeout(resolve, LONG ? 30_000 : 4000));
    relay.hold(false);
    await recovered();
    expect(await epochs()).toEqual(before);
    expect((await stack.client().getSession({ params: { id } })).body.status).toBe("running");
    expect(await givenUp()).toEqual([]);
    const lobbies = (await Promise.all(names.map((name) => lobbiesOn(stack.socketOf(name))))).flat();
    expect(lobbies.map(({ name }) => name)).toContain(id);
  }, 120_000);
});

/** With its owner, as docs/operations/backup.md says. */
function copy(from: string, to: string): void {
  const { status, stderr } = spawnSync("cp", ["-a", from, to], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

describe("a database that is restored to an older state while agents and sandboxes live", () => {
  it("stops no sandbox that it has never heard of, and comes to the truth about the others", async () => {
    const cluster = path.join(databaseDir, "postgres");
    const backup = path.join(dataDir, "backup");
    const [kept, stopped] = [await runningSession(stack), await runningSession(stack)];
    await relay.close();
    await postgres.stop();
    copy(cluster, backup);
    postgres = await startEmbeddedPostgres({ dataDir: databaseDir });
    await relay.to(postgres.url);
    await recovered();
    const later = await runningSession(stack);
    await stack.client().stopSession({ params: { id: stopped } });
    await stack.killControlPlane();
    await relay.close();
    await postgres.stop();
    rmSync(cluster, { recursive: true });
    copy(backup, cluster);
    postgres = await startEmbeddedPostgres({ dataDir: databaseDir });
    await relay.to(postgres.url);
    await stack.startControlPlane();
    await stack.until("what was stopped is known to be gone, and what runs to run", async (api) => {
      const statusOf = async (id: string) => (await api.getSession({ params: { id } })).body.status;
      return (await statusOf(stopped)) === "failed" && (await statusOf(kept)) === "running";
    });
    const lobbies = async () =>
      (await Promise.all(names.map((name) => lobbiesOn(stack.socketOf(name)))))
        .flat()
        .map(({ name }) => name);
    const log = () => readFileSync(path.join(stack.logFolder, "control-plane.log"), "utf8");
    await stack.until("the unknown lobby is named", async () => log().includes("an older state restored"));
    // Several rounds, each longer than the grace after which a stray is stopped.
    const rounds = Date.now() + 4000;
    await stack.until("rounds have passed", async () => Date.now() > rounds);
    const listed = await lobbies();
    expect(listed).toEqual(expect.arrayContaining([kept, later]));
    expect(listed).not.toContain(stopped);
    await expect(stack.client().getSession({ params: { id: later } })).rejects.toMatchObject({
      code: "session-not-found",
    });
  }, 120_000);
});
