import { createServer } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import { createPrisma } from "./prisma.prisma.ts";
import { type PoolCounts, type PoolWatch, WatchedPool } from "./watched-pool.ts";

let database: TestDatabase;
const pools: WatchedPool[] = [];
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.end()));
});
afterAll(() => database.drop());

function watcher() {
  const waits: string[] = [];
  const uses: number[] = [];
  let counts = (): PoolCounts => ({ used: -1, idle: -1, waiting: -1 });
  const watch: PoolWatch = {
    pool(given) {
      counts = given;
    },
    waited: (ms, outcome) => void waits.push(ms >= 0 ? outcome : "negative"),
    used: (ms) => void uses.push(ms),
  };
  return { watch, waits, uses, counts: () => counts() };
}

function aPool(watch: PoolWatch, url = database.url, more: { connectionTimeoutMillis?: number } = {}) {
  const pool = new WatchedPool({ connectionString: url, max: 1, ...more }, watch);
  pools.push(pool);
  return pool;
}

describe("a watched pool", () => {
  it("says that time ran out, in the system's word, where no connection came free", async () => {
    const { watch, waits } = watcher();
    const pool = aPool(watch, database.url, { connectionTimeoutMillis: 1000 });
    const held = await pool.connect();
    await expect(pool.query("SELECT 1")).rejects.toMatchObject({ code: "ETIMEDOUT" });
    held.release();
    expect(waits).toEqual(["given", "failed"]);
  });

  it("tells of each wait and each use, of statements and of connections that are held", async () => {
    const { watch, waits, uses, counts } = watcher();
    const pool = aPool(watch);
    expect((await pool.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    const held = await pool.connect();
    const waiting = pool.query("SELECT 2");
    expect(counts()).toEqual({ used: 1, idle: 0, waiting: 1 });
    expect(waits).toEqual(["given", "given"]);
    held.release();
    await waiting;
    expect(waits).toEqual(["given", "given", "given"]);
    expect(uses).toHaveLength(3);
    expect(counts()).toEqual({ used: 0, idle: 1, waiting: 0 });
  });

  it("gives back what failed, and its error is the caller's", async () => {
    const { watch, uses, counts } = watcher();
    const pool = aPool(watch);
    await expect(pool.query("SELECT nonsense")).rejects.toThrow(/nonsense/);
    expect(uses).toHaveLength(1);
    expect(counts().used).toBe(0);
  });

  it("tells that a connection could not be had in time", async () => {
    const { watch, waits } = watcher();
    const pool = aPool(watch, database.url, { connectionTimeoutMillis: 50 });
    const held = await pool.connect();
    await expect(pool.query("SELECT 1")).rejects.toThrow(/timeout/);
    await expect(pool.connect()).rejects.toThrow(/timeout/);
    held.release();
    expect(waits).toEqual(["given", "failed", "failed"]);
  });

  it("tells of a database that is not there", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    const { watch, waits, counts } = watcher();
    const pool = aPool(watch, `postgresql://u:p@127.0.0.1:${port}/x`);
    await expect(pool.query("SELECT 1")).rejects.toThrow(/ECONNREFUSED/);
    expect([waits, counts().used]).toEqual([["failed"], 0]);
  });

  it("is the one that the client of the control plane uses, and ends with it", async () => {
    const { watch, waits, uses, counts } = watcher();
    const prisma = createPrisma(database.url, watch);
    await prisma.$queryRaw`SELECT 1`;
    await prisma.$transaction(async (tx) => [await tx.$queryRaw`SELECT 1`, await tx.$queryRaw`SELECT 2`]);
    expect(waits.length).toBeGreaterThanOrEqual(2);
    expect(uses).toHaveLength(waits.length);
    await prisma.$disconnect();
    expect(counts()).toEqual({ used: 0, idle: 0, waiting: 0 });
  });
});
