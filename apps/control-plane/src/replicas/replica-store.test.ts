/** The same for the store in memory, which tests of membership stand on, and for PostgreSQL's, whose time is moved in its rows. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import { manualClock } from "../../test/manual-clock.ts";
import { memoryReplicaStore } from "./replica-store.memory.ts";
import { prismaReplicaStore, prismaTunnelPlaces } from "./replica-store.prisma.ts";
import { endOf, type Joining, type ReplicaStore } from "./replica-store.ts";

const LEASE_MS = 10_000;
const [A, B, C] = ["A", "B", "C"].map((letter) => `rep_01KB00000000000000000000${letter}0`) as [
  string,
  string,
  string,
];

const joining = (id: string, changes: Partial<Joining> = {}): Joining => ({
  id,
  url: `http://${id.slice(-2).toLowerCase()}:8080`,
  version: "1.0.0",
  startedAt: new Date("2026-11-27T12:00:00Z"),
  secretPrint: "print",
  steps: [],
  leaseMs: LEASE_MS,
  ...changes,
});

let database: TestDatabase | undefined;

interface Kept {
  store: ReplicaStore;
  pass(ms: number): Promise<void>;
}

async function inMemory(): Promise<Kept> {
  const clock = manualClock();
  return { store: memoryReplicaStore(clock), pass: async (ms) => clock.advance(ms) };
}

async function inPostgres(): Promise<Kept> {
  database = await testDatabase();
  const { prisma } = database;
  return {
    store: prismaReplicaStore(prisma),
    async pass(ms) {
      await prisma.$executeRaw`UPDATE replica SET lease_until = lease_until - ${ms}::float8 * interval '1 ms'`;
    },
  };
}

afterEach(async () => {
  await database?.drop();
  database = undefined;
});

describe.each([
  ["in memory", inMemory],
  ["in PostgreSQL", inPostgres],
])("replicas %s", (_, make) => {
  let store: ReplicaStore;
  let pass: Kept["pass"];

  beforeEach(async () => {
    ({ store, pass } = await make());
  });

  const ids = async () => (await store.live()).map(({ id }) => id);

  it("live from when they join to the end of their lease, and longer with each renewal", async () => {
    await store.join(joining(A));
    await pass(LEASE_MS - 1000);
    expect(await store.renew(A, { draining: true, tunnels: 7 }, LEASE_MS)).toBe(true);
    await pass(LEASE_MS - 1000);
    expect(await store.live()).toEqual([
      {
        id: A,
        url: "http://a0:8080",
        version: "1.0.0",
        startedAt: new Date("2026-11-27T12:00:00Z"),
        draining: true,
        tunnels: 7,
      },
    ]);
    await pass(2000);
    expect(await ids()).toEqual([]);
    expect([await store.has(A), await store.has(B)]).toEqual([true, false]);
  });

  it("may renew a lease that has ended, as long as nobody has removed their row", async () => {
    await store.join(joining(A));
    await pass(10 * LEASE_MS);
    expect(await store.renew(A, { draining: false, tunnels: 0 }, LEASE_MS)).toBe(true);
    expect(await ids()).toEqual([A]);
    await pass(10 * LEASE_MS);
    expect(await store.reap()).toEqual([A]);
    expect(await store.renew(A, { draining: false, tunnels: 0 }, LEASE_MS)).toBe(false);
    expect(await ids()).toEqual([]);
  });

  it("are removed only after their lease, and once", async () => {
    await store.join(joining(A));
    await pass(5000);
    await store.join(joining(B));
    expect(await store.reap()).toEqual([]);
    await pass(6000);
    expect(await store.reap()).toEqual([A]);
    expect(await store.reap()).toEqual([]);
    expect(await ids()).toEqual([B]);
    expect([await store.has(A), await store.has(B)]).toEqual([false, true]);
  });

  it("take the place of a process that was at the same URL before them, once it is known to be gone", async () => {
    await store.join(joining(A));
    const again = joining(B, { url: "http://a0:8080" });
    expect(await store.join(again)).toEqual({ outcome: "url-taken", id: A });
    expect(await store.join({ ...again, replaces: C })).toEqual({ outcome: "url-taken", id: A });
    expect(await ids()).toEqual([A]);
    expect(await store.join({ ...again, replaces: A })).toEqual({ outcome: "joined" });
    expect(await ids()).toEqual([B]);
    expect(await store.renew(A, { draining: false, tunnels: 0 }, LEASE_MS)).toBe(false);
  });

  it("take it without asking when its lease has ended", async () => {
    await store.join(joining(A));
    await pass(LEASE_MS + 1000);
    expect(await store.join(joining(B, { url: "http://a0:8080" }))).toEqual({ outcome: "joined" });
    expect(await store.renew(A, { draining: false, tunnels: 0 }, LEASE_MS)).toBe(false);
  });

  it("without a URL are beside each other", async () => {
    await store.join(joining(A, { url: null }));
    await store.join(joining(B, { url: null }));
    expect(await ids()).toEqual([A, B]);
  });

  it("with another secret are refused while one lives, and not after", async () => {
    await store.join(joining(A));
    await store.join(joining(B));
    const other = joining(C, { secretPrint: "another" });
    expect(await store.join(other)).toEqual({ outcome: "other-secret", id: A });
    expect(await ids()).toEqual([A, B]);
    await store.leave(A);
    expect(await store.join(other)).toEqual({ outcome: "other-secret", id: B });
    await pass(LEASE_MS + 1000);
    expect(await store.join(other)).toEqual({ outcome: "joined" });
  });

  it("may leave twice, and be gone before", async () => {
    await store.join(joining(A));
    await store.leave(A);
    await store.leave(A);
    expect(await ids()).toEqual([]);
  });
});

describe("places of tunnels", () => {
  it("go with their replica, are its own to remove, and lead to one that lives and can be reached", async () => {
    const { store, pass } = await inPostgres();
    const { prisma } = database as TestDatabase;
    const [ofA, ofB] = [prismaTunnelPlaces(prisma, A), prismaTunnelPlaces(prisma, B)];
    await store.join(joining(A));
    await store.join(joining(B));
    await ofA.put("http x");
    expect(await ofB.find("http x")).toEqual({ id: A, url: "http://a0:8080" });
    expect(await ofA.find("http x")).toBeUndefined();
    await ofB.remove("http x");
    expect(await ofB.find("http x")).toEqual({ id: A, url: "http://a0:8080" });
    await ofB.put("http x");
    await ofA.remove("http x");
    expect(await ofA.find("http x")).toEqual({ id: B, url: "http://b0:8080" });
    await pass(LEASE_MS);
    expect(await ofA.find("http x")).toBeUndefined();
    await store.reap();
    // Without a row nobody has a place.
    await ofA.put("http x");
    expect(await prisma.$queryRaw`SELECT key FROM tunnel_place`).toEqual([]);
  });
});

describe("where a replica is reached", () => {
  it.each([
    ["http://10.1.2.3:8080", { isSecure: false, host: "10.1.2.3", port: 8080, authority: "10.1.2.3:8080" }],
    [
      "http://replica-1.example.com",
      { isSecure: false, host: "replica-1.example.com", port: 80, authority: "replica-1.example.com" },
    ],
    [
      "https://replica-1.example.com",
      { isSecure: true, host: "replica-1.example.com", port: 443, authority: "replica-1.example.com" },
    ],
    ["http://[fd00::1]:8080", { isSecure: false, host: "fd00::1", port: 8080, authority: "[fd00::1]:8080" }],
  ])("is for %s an address without brackets, and the port of its scheme", (url, end) => {
    expect(endOf({ url })).toEqual(end);
  });
});
