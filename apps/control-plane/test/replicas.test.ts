/** Replicas that share one PostgreSQL: real control planes, real tunnels, real Wolf emulators. */

import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Problem, Replica, Session, WolfInstance } from "@wolfpack/api-contract";
import { createReplicaCredentials, REPLICA_FIELD } from "../src/replicas/replica-credential.ts";
import { API_KEY_SECRET, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { eventually, startHost, type TestHost } from "./host.ts";

let database: TestDatabase;
let planes: TestControlPlane[];
let hosts: TestHost[];
let adminKey: string;

beforeEach(async () => {
  database = await testDatabase();
  planes = [];
  hosts = [];
  adminKey = "";
});

afterEach(async () => {
  await Promise.all(hosts.map((host) => host.stop()));
  await Promise.all(planes.map((plane) => plane.stop()));
  await database.drop();
});

/** A port that was free a moment ago: a replica has to say where it is before it listens. */
async function freePort(): Promise<number> {
  const server: Server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

async function replica(overrides: Parameters<typeof startControlPlane>[0] = {}): Promise<TestControlPlane> {
  const port = await freePort();
  const kept = { ...database, drop: async () => {} };
  const plane = await startControlPlane(
    {
      port,
      replicaUrl: `http://127.0.0.1:${port}`,
      replicaLeaseMs: 1000,
      reconcileIntervalMs: 60_000,
      lobbySettleMs: 300,
      lobbyGraceMs: 200,
      tunnelLostAfterMs: 200,
      ...overrides,
    },
    kept,
  );
  adminKey ||= plane.adminKey;
  plane.adminKey = adminKey;
  planes.push(plane);
  return plane;
}

async function host(at: TestControlPlane, name = `wolf-${hosts.length + 1}`): Promise<TestHost> {
  const started = await startHost(at, { name });
  hosts.push(started);
  return started;
}

async function call<T>(at: TestControlPlane, method: string, path: string, body?: unknown) {
  const response = await fetch(`${at.url}/api/v1/${path}`, {
    method,
    headers: {
      authorization: `Bearer ${adminKey}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = (response.headers.get("content-type") ?? "").includes("json");
  const answer = json ? await response.json() : await response.arrayBuffer();
  return { status: response.status, headers: response.headers, body: answer as T };
}

const replicasOf = async (at: TestControlPlane) => (await call<Replica[]>(at, "GET", "replicas")).body;

async function two(): Promise<[TestControlPlane, TestControlPlane]> {
  const [a, b] = [await replica(), await replica()];
  for (const plane of [a, b])
    await eventually(
      async () =>
        (await fetch(`${plane.url}/api/v1/health`, { headers: { authorization: `Bearer ${adminKey}` } }))
          .ok && (await replicasOf(plane)).length,
      (count) => count === 2,
    );
  return [a, b];
}

describe("a wolf whose tunnel another replica holds", () => {
  it("gets a session, shows its screen, and gives it up, all asked of the wrong replica", async () => {
    const [a, b] = await two();
    const wolf = await host(b);
    await eventually(
      async () => (await call<WolfInstance>(a, "GET", `wolf-instances/${wolf.wolfId}`)).body,
      ({ reconciled }) => reconciled === true,
    );
    const made = await eventually(
      () => call<Session>(a, "POST", "sessions", { queue: false }),
      ({ status }) => status === 201,
    );
    expect(made.body).toMatchObject({ status: "running", wolf_instance_id: wolf.wolfId });
    const { id } = made.body;
    const screenshot = await call<ArrayBuffer>(a, "GET", `external-agents/${id}/screenshot`);
    expect(screenshot.status).toBe(200);
    expect(Buffer.from(screenshot.body).subarray(1, 4).toString()).toBe("PNG");
    const stopped = await call<Session>(a, "DELETE", `sessions/${id}`);
    expect([200, 202, 204]).toContain(stopped.status);
    await eventually(
      async () => (await call<Session>(b, "GET", `sessions/${id}`)).body.status,
      (status) => status === "stopped",
    );
  });
});

describe("paths for replicas", () => {
  it.each([
    ["nothing", undefined],
    ["a user's key", "key"],
    ["a credential of another secret", "other-secret"],
    ["a credential for another path", "other-path"],
    ["a credential of a replica without a lease", "no-lease"],
  ])("are closed to whoever shows %s", async (_, what) => {
    const a = await replica();
    const path = "/internal/v1/wolves/wlf_01KB00000000000000000000W1/look";
    const [self] = await replicasOf(a);
    const to = self?.id ?? "";
    const stranger = "rep_01KB00000000000000000000R1";
    const sign = (secret: string, of: string) =>
      createReplicaCredentials(secret, stranger).sign(to, "POST", of, Date.now());
    const shown = {
      key: adminKey,
      "other-secret": sign("another secret of thirty-two characters", path),
      "other-path": sign(API_KEY_SECRET, "/internal/v1/other"),
      "no-lease": sign(API_KEY_SECRET, path),
    }[what ?? ""];
    const headers = { authorization: `Bearer ${adminKey}`, ...(shown && { [REPLICA_FIELD]: shown }) };
    const answer = await fetch(`${a.url}${path}`, { method: "POST", headers });
    expect(answer.status).toBe(403);
    expect(((await answer.json()) as Problem).code).toBe("replica-refused");
  });
});

describe("membership", () => {
  it("refuses a replica with another secret while one lives, and says so", async () => {
    await replica();
    const other = replica({ apiKeySecret: "another secret of at least thirty-two characters" });
    await expect(other).rejects.toThrow(/has another API_KEY_SECRET/);
  });

  it("makes a replica whose row was removed begin anew, and its agents come back", async () => {
    const [a, b] = await two();
    const wolf = await host(b);
    const wolfAt = async () =>
      (await call<WolfInstance>(a, "GET", `wolf-instances/${wolf.wolfId}`)).body.tunnel;
    const before = await eventually(wolfAt, (tunnel) => tunnel !== null);
    await database.prisma.$executeRaw`DELETE FROM replica WHERE id = ${before?.replica}`;
    expect(await wolf.tunnel.goingAway).toMatchObject({ reason: "the replica was taken for gone" });
    await wolf.dial();
    await eventually(wolfAt, (tunnel) => tunnel !== null && tunnel.epoch > (before?.epoch ?? 0));
    expect(b.lines.some((line) => line.includes("taken for gone"))).toBe(true);
    expect(await replicasOf(a)).toHaveLength(2);
  });
});
