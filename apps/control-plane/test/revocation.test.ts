/** Two replicas on one database: what is revoked at one of them takes effect at the other, on what is open too. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import type { Tunnel } from "revdial";
import request from "supertest";
import { systemClock } from "../src/clock.ts";
import { createNotifications, LISTENER_NAME } from "../src/database/notifications.ts";
import { parseRevocation, REVOKED_CHANNEL, revoke } from "../src/identity/revocation-store.prisma.ts";
import { createLogger } from "../src/logger.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { eventually, startHost, type TestHost } from "./host.ts";
import { dial, dialled } from "./tunnel-requests.ts";

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

/** Of the server, not of a test's database, which may be closed to newcomers. */
async function inServer(
  database: TestDatabase,
  statement: string,
  values: string[] = [],
): Promise<pg.QueryResult> {
  const url = new URL(database.url);
  url.pathname = "/postgres";
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    return await client.query(statement, values);
  } finally {
    await client.end();
  }
}

const nameOf = ({ url }: TestDatabase) => new URL(url).pathname.slice(1);
const listeners = async (database: TestDatabase): Promise<number> => {
  const where = "WHERE datname = $1 AND application_name = $2";
  const values = [nameOf(database), LISTENER_NAME];
  return (await inServer(database, `SELECT pid FROM pg_stat_activity ${where}`, values)).rows.length;
};
const endListeners = (database: TestDatabase) =>
  inServer(
    database,
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = $2",
    [nameOf(database), LISTENER_NAME],
  );

describe("of two replicas", () => {
  let here: TestControlPlane;
  let there: TestControlPlane;
  let host: TestHost;

  beforeAll(async () => {
    here = await startControlPlane();
    there = await startControlPlane({}, here.database);
    host = await startHost(here, { name: "gpu-1", maxSandboxes: 10 });
    await eventually(
      () => listeners(here.database),
      (count) => count === 2,
    );
  });
  afterEach(async () => {
    for (const tunnel of dialled.splice(0)) tunnel.destroy();
  });
  afterAll(async () => {
    await host.stop();
    await there.plane.stop();
    await here.stop();
  });

  const me = async (key: string) => (await request(there.url).get("/api/v1/me").set(bearer(key))).status;

  /** A user with a call and a sandbox's tunnel at the other replica. */
  async function userThere(
    name: string,
  ): Promise<{ id: string; key: string; keyId: string; tunnel: Tunnel }> {
    const { id, key } = await here.user(name);
    const session = await request(here.url).post("/api/v1/sessions").set(bearer(key)).send({}).expect(201);
    const tunnel = await dial(there.url, `sandbox-${session.body.id}`, key);
    expect(await me(key)).toBe(200);
    const [row] = await here.database.prisma.apiKey.findMany({ where: { user_id: id } });
    return { id, key, keyId: row?.id ?? "", tunnel };
  }

  const revokeKey = (id: string) =>
    request(here.url).delete(`/api/v1/api-keys/${id}`).set(bearer(here.adminKey)).expect(204);

  it("one ends what was opened with an API key that the other revokes", async () => {
    const { key, keyId, tunnel } = await userThere("anna");
    await revokeKey(keyId);
    expect((await tunnel.closed).code).toBe("REVOKED");
    expect(await me(key)).toBe(401);
  });

  it("one ends what was opened by a user that the other disables", async () => {
    const { id, key, tunnel } = await userThere("bert");
    const { prisma } = here.database;
    await prisma.$transaction(async (tx) => {
      await tx.user.update({ where: { id }, data: { disabled_at: new Date() } });
      await revoke(tx, "user", id);
    });
    expect((await tunnel.closed).code).toBe("REVOKED");
    expect(await me(key)).toBe(401);
  });

  it("one ends the tunnel of a wolf that is removed at the other", async () => {
    const second = await startHost(there, { name: "gpu-2" });
    await request(here.url)
      .delete(`/api/v1/wolf-instances/${second.wolfId}`)
      .set(bearer(here.adminKey))
      .expect(200);
    expect((await second.tunnel.closed).code).toBe("REVOKED");
    await second.stop();
  });

  it("each listens again after its connection broke", async () => {
    const isNewTo = ({ lines }: TestControlPlane) => {
      const before = lines.length;
      return () => lines.slice(before).some((line) => line.includes("not listening to the database"));
    };
    const broke = [isNewTo(here), isNewTo(there)];
    await endListeners(here.database);
    await eventually(
      () => broke.every((has) => has()),
      (both) => both,
    );
    await eventually(
      () => listeners(here.database),
      (count) => count === 2,
    );
  });

  it("one ends what the other revokes when no notification arrives", async () => {
    const { key, keyId, tunnel } = await userThere("carla");
    const name = nameOf(here.database);
    await inServer(here.database, `ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    try {
      await endListeners(here.database);
      await eventually(
        () => listeners(here.database),
        (count) => count === 0,
      );
      await revokeKey(keyId);
      expect((await tunnel.closed).code).toBe("REVOKED");
      expect(await me(key)).toBe(401);
      expect(await listeners(here.database)).toBe(0);
    } finally {
      await inServer(here.database, `ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
    }
  });
});

describe("a notification of a revocation", () => {
  it("comes with the end of its transaction, and not at all when that fails", async () => {
    const database = await testDatabase();
    const told: string[] = [];
    const listening = Promise.withResolvers<void>();
    const heard = Promise.withResolvers<void>();
    const notifications = createNotifications({
      url: database.url,
      channel: REVOKED_CHANNEL,
      clock: systemClock,
      log: createLogger("silent"),
      random: () => 0.5,
      onNotification(payload) {
        told.push(parseRevocation(payload)?.objectId ?? "");
        if (told.at(-1) === "usr_last") heard.resolve();
      },
      onListening: listening.resolve,
    });
    notifications.start();
    try {
      await listening.promise;
      const { prisma } = database;
      await expect(
        prisma.$transaction(async (tx) => {
          await revoke(tx, "user", "usr_kept");
          throw new Error("rolled back");
        }),
      ).rejects.toThrow("rolled back");
      await prisma.$transaction(async (tx) => {
        await revoke(tx, "api-key", "key_1");
        expect(told).toEqual([]);
      });
      await revoke(prisma, "user", "usr_last");
      await heard.promise;
      expect(told).toEqual(["key_1", "usr_last"]);
    } finally {
      await notifications.stop();
      await database.drop();
    }
  });
});
