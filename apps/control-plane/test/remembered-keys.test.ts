/** API keys that a replica remembers, on real PostgreSQL. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { createAuthentications } from "../src/identity/authentications.ts";
import {
  createIdentityService,
  type IdentityService,
  type KnownKey,
} from "../src/identity/identity-service.ts";
import { prismaIdentityStore } from "../src/identity/identity-store.prisma.ts";
import { prismaRevocationStore, revoke } from "../src/identity/revocation-store.prisma.ts";
import { createRevocations, type Revocations } from "../src/identity/revocations.ts";
import { createLogger } from "../src/logger.ts";
import { API_KEY_SECRET, RUNNER_TOKEN } from "./control-plane.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";

let database: TestDatabase;
let clock: ManualClock;
let revocations: Revocations;
let service: IdentityService;
let key: string;
let lookUps: number;
let uses: Promise<void>[];

beforeEach(async () => {
  database = await testDatabase();
  clock = manualClock();
  lookUps = 0;
  uses = [];
  const log = createLogger("silent");
  const real = prismaIdentityStore(database.prisma);
  revocations = createRevocations({ store: prismaRevocationStore(database.prisma), clock, log });
  service = createIdentityService({
    store: {
      ...real,
      findApiKey(...args) {
        lookUps += 1;
        return real.findApiKey(...args);
      },
      markUsed(...args) {
        const use = real.markUsed(...args);
        uses.push(use);
        return use;
      },
    },
    clock,
    log,
    apiKeySecret: API_KEY_SECRET,
    runnerToken: RUNNER_TOKEN,
    authentications: createAuthentications<KnownKey>({ revocations, clock }),
    revocations,
  });
  await service.bootstrap((made) => {
    key = made;
  });
  await revocations.start();
});
afterEach(async () => {
  await Promise.all(uses);
  await revocations.stop();
  await database.drop();
});

const ask = async () => {
  const principal = await service.authenticate({ authorization: `Bearer ${key}` });
  return principal?.kind === "user" ? principal : undefined;
};
async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  await revocations.catchUp();
}

describe("a remembered key", () => {
  it("is not looked up again, and its use is still written once a minute", async () => {
    const usedAt = async () => {
      await Promise.all(uses);
      const { last_used_at } = await database.prisma.apiKey.findFirstOrThrow();
      return last_used_at?.getTime();
    };
    const first = clock.now().getTime();
    for (let second = 0; second < 59; second += 1) {
      expect(await ask()).toMatchObject({ role: "admin" });
      // Written long before the next look-up; here, seconds are short.
      await Promise.all(uses);
      await pass(1000);
    }
    expect(lookUps).toBe(2);
    expect([await usedAt(), uses.length]).toEqual([first, 1]);
    await pass(1000);
    await ask();
    expect([await usedAt(), uses.length]).toEqual([first + 60_000, 2]);
  });

  it("opens nothing from the moment at which its revocation is acknowledged", async () => {
    const principal = await ask();
    if (principal === undefined) throw new Error("the admin's key does not work");
    await service.resetAdminKey(() => undefined);
    await service.revokeApiKey(principal, principal.credentialId);
    expect(await ask()).toBeUndefined();
  });

  it("has the rights that its user was given meanwhile", async () => {
    const { prisma } = database;
    expect(await ask()).toMatchObject({ role: "admin" });
    await prisma.$transaction(async (tx) => {
      const { id } = await tx.user.findFirstOrThrow();
      await tx.user.update({ where: { id }, data: { role: "viewer" } });
      await revoke(tx, "user", id);
    });
    await pass(1000);
    expect(await ask()).toMatchObject({ role: "viewer" });
  });
});
