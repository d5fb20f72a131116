/** Replicas that share one PostgreSQL, for tests: real control planes, real tunnels, real Wolf emulators. */
import type { Replica } from "@wolfpack/api-contract";
import { freePort } from "../src/database/free-ports.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { eventually, startHost, type TestHost, type TestHostOptions } from "./host.ts";

export interface Replicas {
  readonly database: TestDatabase;
  readonly adminKey: string;
  start(overrides?: Parameters<typeof startControlPlane>[0]): Promise<TestControlPlane>;
  /** Two that know each other. */
  two(overrides?: Parameters<typeof startControlPlane>[0]): Promise<[TestControlPlane, TestControlPlane]>;
  host(at: TestControlPlane, options?: Partial<TestHostOptions>): Promise<TestHost>;
  call<T>(at: TestControlPlane, method: string, path: string, body?: unknown): Promise<Called<T>>;
  list(at: TestControlPlane): Promise<Replica[]>;
  /** Everything that was started. */
  stop(): Promise<void>;
}

export interface Called<T> {
  status: number;
  headers: Headers;
  body: T;
}

export async function testReplicas(): Promise<Replicas> {
  const database = await testDatabase();
  const planes: TestControlPlane[] = [];
  const hosts: TestHost[] = [];
  let adminKey = "";

  const replicas: Replicas = {
    database,
    get adminKey() {
      return adminKey;
    },

    async start(overrides = {}) {
      const port = await freePort();
      const kept = { ...database, drop: async () => {} };
      const plane = await startControlPlane(
        {
          port,
          replicaUrl: `http://127.0.0.1:${port}`,
          replicaLeaseMs: 4000,
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
    },

    async two(overrides) {
      const [a, b] = [await replicas.start(overrides), await replicas.start(overrides)];
      const isSettled = async (plane: TestControlPlane) => {
        const health = await replicas.call(plane, "GET", "health");
        return health.status === 200 && (await replicas.list(plane)).length;
      };
      for (const plane of [a, b])
        await eventually(
          () => isSettled(plane),
          (count) => count === 2,
        );
      return [a, b];
    },

    async host(at, options = {}) {
      const started = await startHost(at, { name: `wolf-${hosts.length + 1}`, ...options });
      hosts.push(started);
      return started;
    },

    async call<T>(at: TestControlPlane, method: string, path: string, body?: unknown) {
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
    },

    list: async (at) => (await replicas.call<Replica[]>(at, "GET", "replicas")).body,

    async stop() {
      await Promise.all(hosts.map((host) => host.stop()));
      await Promise.all(planes.map((plane) => plane.stop()));
      await database.drop();
    },
  };
  return replicas;
}
