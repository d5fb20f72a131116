/** Work that one replica does at a time, on real PostgreSQL; a replica that stands still is one whose connection says nothing. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type Clock, systemClock } from "../src/clock.ts";
import { createExclusive, lockOf } from "../src/database/exclusive.prisma.ts";
import type { Exclusive } from "../src/database/exclusive.ts";
import { createPrisma, type Prisma } from "../src/database/prisma.prisma.ts";
import { createLogger } from "../src/logger.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { eventually } from "./host.ts";

let database: TestDatabase;
let other: Prisma;
let lines: string[];

beforeEach(async () => {
  database = await testDatabase();
  other = createPrisma(database.url);
  lines = [];
});

afterEach(async () => {
  await other.$disconnect();
  await database.drop();
});

/** One that stands still has timers that never fire. */
const frozen: Clock = { ...systemClock, setTimer: () => ({ cancel: () => undefined }) };

const replica = (prisma: Prisma, clock: Clock = systemClock, silenceMs = 6000): Exclusive =>
  createExclusive({
    prisma,
    clock,
    log: createLogger("debug", { write: (line) => void lines.push(line) }),
    silenceMs,
  });

const held = async () => {
  const [row] = await database.prisma.$queryRaw<{ count: number }[]>`
    SELECT count(*)::int AS count FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND datname = current_database()`;
  return row?.count;
};

describe("work under the lock of its name", () => {
  it("is done by one replica, and left by the other, which does not wait", async () => {
    const [first, second] = [replica(database.prisma), replica(other)];
    const gate = Promise.withResolvers<string>();
    const began = Promise.withResolvers<void>();
    const running = first("prune", () => {
      began.resolve();
      return gate.promise;
    });
    await began.promise;
    let ran = false;
    const left = await second("prune", async () => {
      ran = true;
    });
    expect([left, ran]).toEqual(["elsewhere", false]);
    expect(await second("drains", async () => "done")).toBe("done");
    gate.resolve("pruned");
    expect(await running).toBe("pruned");
    expect(await second("prune", async () => "the next turn")).toBe("the next turn");
    expect(await held()).toBe(0);
  });

  it("gives the lock back when it fails, with its own error", async () => {
    const exclusive = replica(database.prisma);
    await expect(exclusive("prune", () => Promise.reject(new Error("of the work")))).rejects.toThrow(
      "of the work",
    );
    expect(await replica(other)("prune", async () => "free")).toBe("free");
  });

  it("sees what it writes itself, and keeps it when it fails later", async () => {
    const exclusive = replica(database.prisma);
    const write = () =>
      database.prisma.$executeRaw`INSERT INTO revocation (id, kind, object_id) VALUES ('rvk_1', 'wolf', 'w')`;
    const failing = exclusive("prune", async () => {
      await write();
      throw new Error("later");
    });
    await expect(failing).rejects.toThrow("later");
    expect(await database.prisma.$queryRaw`SELECT id FROM revocation`).toEqual([{ id: "rvk_1" }]);
  });

  it("keeps its lock for as long as its replica says a word from time to time", async () => {
    const gate = Promise.withResolvers<void>();
    const began = Promise.withResolvers<void>();
    const running = replica(
      database.prisma,
      systemClock,
      200,
    )("prune", () => {
      began.resolve();
      return gate.promise;
    });
    await began.promise;
    const [clock] = await other.$queryRaw<{ slept: boolean }[]>`SELECT pg_sleep(0.6) IS NOT NULL AS slept`;
    expect(clock?.slept).toBe(true);
    expect(await replica(other)("prune", async () => "taken over")).toBe("elsewhere");
    gate.resolve();
    await running;
    expect(lines).toEqual([]);
  });

  it("loses its lock when its replica stands still, and does no harm when it goes on", async () => {
    const gate = Promise.withResolvers<string>();
    const began = Promise.withResolvers<void>();
    const running = replica(
      database.prisma,
      frozen,
      100,
    )("prune", () => {
      began.resolve();
      return gate.promise;
    });
    await began.promise;
    const second = replica(other);
    const taken = await eventually(
      () => second("prune", async () => "taken over"),
      (outcome) => outcome !== "elsewhere",
    );
    expect(taken).toBe("taken over");
    gate.resolve("late");
    expect(await running).toBe("late");
    expect(lines.join("")).toContain("the lock of this work ended before the work did");
    expect(await replica(database.prisma)("prune", async () => "works again")).toBe("works again");
  });

  it("is not begun without a database", async () => {
    const nowhere = createPrisma("postgresql://nobody@127.0.0.1:9/none");
    let ran = false;
    const attempt = replica(nowhere)("prune", async () => {
      ran = true;
    });
    await expect(attempt).rejects.toThrow();
    expect(ran).toBe(false);
    await nowhere.$disconnect();
  });

  it("has a number of its own for each name, the same in every release", () => {
    expect(lockOf("prune")).toBe(lockOf("prune"));
    expect(
      new Set(["prune", "drains", "sessions", "evictions", "queue", "reap", "revocations"].map(lockOf)).size,
    ).toBe(7);
  });
});
