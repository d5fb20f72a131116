/** What a replica that vanishes amid a transaction leaves behind in PostgreSQL, which hears nothing of its end. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { createPrisma, IDLE_TRANSACTION_MS } from "../src/database/prisma.prisma.ts";
import { type TestDatabase, testDatabase } from "./database.ts";

let database: TestDatabase;
const closing: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  database = await testDatabase();
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await database.drop();
});

/** The database's URL through a way on which at some moment nothing arrives any more, and nobody is told. */
async function swallowing(target: string): Promise<{ url: string; swallow(): void }> {
  const { hostname, port } = new URL(target);
  const sockets: Socket[] = [];
  let isSwallowing = false;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.push(from);
      from.on("data", (piece) => void (isSwallowing || to.write(piece)));
      from.on("error", () => undefined);
      from.on("close", () => void (isSwallowing || to.destroy()));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const url = new URL(target);
  [url.hostname, url.port] = ["127.0.0.1", String((server.address() as AddressInfo).port)];
  return {
    url: url.href,
    swallow() {
      isSwallowing = true;
    },
  };
}

it("are no locks that others wait for in vain", async () => {
  const way = await swallowing(database.url);
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
