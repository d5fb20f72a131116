/** What a replica that vanishes amid a transaction leaves behind in PostgreSQL, which hears nothing of its end. */
import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { createPrisma, IDLE_TRANSACTION_MS } from "../src/database/prisma.prisma.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { wayTo } from "./swallowing-way.ts";

let database: TestDatabase;
const closing: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  database = await testDatabase();
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await database.drop();
});

it("are no locks that others wait for in vain", async () => {
  const way = await wayTo(database.url, closing);
  const vanishing = createPrisma(way.url);
  closing.unshift(() => vanishing.$disconnect());
  const locked = Promise.withResolvers<void>();
  const transaction = vanishing.$transaction(
    async (tx) => {
      await tx.$executeRaw`LOCK TABLE replica IN SHARE ROW EXCLUSIVE MODE`;
      way.swallow();
      locked.resolve();
      await tx.$queryRaw`SELECT 1`;
    },
    { timeout: 60_000 },
  );
  transaction.catch(() => undefined);
  await locked.promise;
  const begun = performance.now();
  // As a lease is renewed. It would be given up after 15 s.
  await database.prisma.$executeRaw`UPDATE replica SET tunnels = 0`;
  expect(performance.now() - begun).toBeLessThan(IDLE_TRANSACTION_MS + 3000);
}, 40_000);
