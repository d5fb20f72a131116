import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { migrate, migrationsFolder } from "../src/database/migrate.prisma.ts";
import { nextMigration } from "../src/database/next-migration.prisma.ts";
import { pingDatabase } from "../src/database/prisma.prisma.ts";
import { type TestDatabase, testDatabase } from "./database.ts";

const schema = readFileSync(fileURLToPath(new URL("../../../prisma/schema.prisma", import.meta.url)), "utf8");

describe("migrations", () => {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await testDatabase({ migrated: false });
  });
  afterEach(() => database.drop());

  it("are applied exactly once when five replicas boot at the same moment", async () => {
    const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(database.url)));
    expect(applied.flat().length).toBeGreaterThan(0);
    expect(new Set(applied.flat()).size).toBe(applied.flat().length);
    expect(await database.prisma.wolfInstance.count()).toBe(0);
    expect(await migrate(database.url)).toEqual([]);
  });

  it("make what schema.prisma says", async () => {
    expect(await nextMigration(database.url, migrationsFolder, schema)).toBeUndefined();
  });

  it("notice a column that no migration makes", async () => {
    const changed = schema.replace("model User {", "model User {\n  nickname String?");
    expect(await nextMigration(database.url, migrationsFolder, changed)).toContain(
      'ADD COLUMN     "nickname"',
    );
  });

  it("reject when the database does not exist", async () => {
    const url = new URL(database.url);
    url.pathname = "/nowhere";
    await expect(migrate(url.href)).rejects.toThrow(/"nowhere" does not exist/);
  });

  it("reject, and change nothing, when a statement of the newest fails", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-migrations-"));
    mkdirSync(path.join(folder, "20260101000000_bad"));
    writeFileSync(
      path.join(folder, "20260101000000_bad", "migration.sql"),
      "CREATE TABLE half (id int);\nSELECT nonsense;\n",
    );
    try {
      await expect(migrate(database.url, folder)).rejects.toThrow(/column not found: nonsense/);
      const tables = await database.prisma.$queryRaw`SELECT 1 FROM pg_tables WHERE tablename = 'half'`;
      expect(tables).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the schema", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
    const { prisma } = database;
    await prisma.$executeRaw`INSERT INTO user_account (id, name, role, created_at) VALUES ('u', 'u', 'user', now())`;
    await prisma.$executeRaw`INSERT INTO wolf_instance (id, name) VALUES ('w', 'w')`;
    await prisma.$executeRaw`
      INSERT INTO session (id, owner_id, name, status, spec, placement, slot_held, created_at, updated_at)
      VALUES ('s', 'u', 's', 'placed', '{}', '{}', false, now(), now())`;
  });
  afterAll(() => database.drop());

  it.each([
    "UPDATE wolf_instance SET connectivity = 'online'",
    "UPDATE wolf_instance SET health = ''",
    "UPDATE wolf_instance SET intent = 'paused'",
    "UPDATE wolf_instance SET gpu_type = 'NVIDIA'",
    "UPDATE wolf_instance SET max_sandboxes = 0",
    "UPDATE wolf_instance SET max_sandboxes = 1001",
    "UPDATE wolf_instance SET connected_sandboxes = -1",
    "UPDATE session SET status = 'queued'",
    "UPDATE session SET status = 'stopped'",
    "UPDATE session SET ended_at = now()",
    "UPDATE session SET slot_held = true",
    "UPDATE session SET slot_held = true, wolf_instance_id = 'w', status = 'failed', ended_at = now()",
    "UPDATE user_account SET role = 'root'",
  ])("refuses %s", async (statement) => {
    await expect(database.prisma.$executeRawUnsafe(statement)).rejects.toThrow(/check constraint/);
  });

  it("answers a ping, and rejects it when the server cannot be reached", async () => {
    await pingDatabase(database.prisma);
    const gone = await testDatabase();
    await gone.drop();
    await expect(pingDatabase(gone.prisma)).rejects.toThrow();
    await gone.prisma.$disconnect();
  });
});
