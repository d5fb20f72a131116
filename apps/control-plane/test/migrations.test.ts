import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

  /** As a version before this migration left it. */
  async function migrateUpTo(migration: string): Promise<void> {
    const folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-migrations-"));
    try {
      cpSync(migrationsFolder, folder, { recursive: true });
      for (const name of readdirSync(folder))
        if (name >= migration) rmSync(path.join(folder, name), { recursive: true });
      await migrate(database.url, folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  it("give the events that there are an order, before all that come", async () => {
    await migrateUpTo("20261126214500");
    const { prisma } = database;
    for (const id of ["evt_2", "evt_1", "evt_3"])
      await prisma.$executeRaw`INSERT INTO fleet_event (id, at, kind) VALUES (${id}, now(), 'fleet.frozen')`;
    await migrate(database.url);
    await prisma.$executeRaw`INSERT INTO fleet_event (id, at, kind) VALUES ('evt_0', now(), 'fleet.thawed')`;
    expect(
      await prisma.fleetEvent.findMany({ orderBy: { seq: "asc" }, select: { id: true, seq: true } }),
    ).toEqual([
      { id: "evt_1", seq: 1n },
      { id: "evt_2", seq: 2n },
      { id: "evt_3", seq: 3n },
      { id: "evt_0", seq: 4n },
    ]);
  });

  it("keep the wolves and sessions of the version before there was a queue, with their slots", async () => {
    await migrateUpTo("20261126172019");
    const { prisma } = database;
    await prisma.$executeRaw`INSERT INTO user_account (id, name, role, created_at) VALUES ('u', 'u', 'user', now())`;
    await prisma.$executeRaw`
      INSERT INTO wolf_instance (id, name, intent, connected_sandboxes, epoch, created_at)
      VALUES ('w', 'w', 'draining', 1, 7, '2026-01-01T00:00:00Z')`;
    await prisma.$executeRaw`
      INSERT INTO session (id, owner_id, name, status, wolf_instance_id, spec, placement, slot_held, created_at, updated_at, ended_at)
      VALUES ('s', 'u', 's', 'running', 'w', '{}', '{}', true, '2026-01-01T00:00:00Z', '2026-02-02T00:00:00Z', NULL),
        ('t', 'u', 't', 'stopped', NULL, '{}', '{}', false, '2026-01-01T00:00:00Z', '2026-02-02T00:00:00Z', now())`;
    await migrate(database.url);
    expect(await prisma.session.findMany({ orderBy: { id: "asc" } })).toMatchObject([
      {
        status: "running",
        status_since: new Date("2026-02-02"),
        slot_held: true,
        vram_mb: 0,
        encoder_sessions: 0,
        attempts: 0,
        turn: 0,
        avoid: [],
        culprits: [],
        left_wolves: [],
        // It goes on as it was: nobody had said when it is to end.
        expires_at: null,
        warned_at: null,
      },
      { status: "stopped", status_since: new Date("2026-02-02"), slot_held: false, create_key: null },
    ]);
    expect(await prisma.wolfInstance.findMany()).toMatchObject([
      // Nothing is placed there before it has been compared.
      {
        intent: "draining",
        intent_since: new Date("2026-01-01"),
        epoch: 7,
        reconciled_epoch: 0,
        drain: null,
      },
    ]);
    expect(await prisma.fleet.findMany()).toEqual([{ id: 1, frozen_since: null, override_until: null }]);
    expect(await prisma.fleetEvent.count()).toBe(0);
    await prisma.$executeRaw`UPDATE session SET status = 'failed', slot_held = false, ended_at = now() WHERE id = 's'`;
    expect(await prisma.fleetEvent.findMany({ orderBy: { seq: "asc" } })).toMatchObject([
      { kind: "session.failed" },
      { kind: "placement.released" },
    ]);
  });

  it("reject when the database does not exist", async () => {
    const url = new URL(database.url);
    url.pathname = "/nowhere";
    await expect(migrate(url.href)).rejects.toMatchObject({ code: "DATABASE_MISSING" });
  });

  it("reject, and change nothing, when a statement of the newest fails", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-migrations-"));
    mkdirSync(path.join(folder, "20260101000000_bad"));
    writeFileSync(
      path.join(folder, "20260101000000_bad", "migration.sql"),
      "CREATE TABLE half (id int);\nSELECT nonsense;\n",
    );
    try {
      await expect(migrate(database.url, folder)).rejects.toThrow(
        /refuses the migration 20260101000000_bad \(column "nonsense" does not exist\) and is as it was before it/,
      );
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
    "UPDATE wolf_instance SET drain = '{}'",
    "UPDATE wolf_instance SET intent = 'draining', drain = '[]'",
    "UPDATE wolf_instance SET vram_mb_claimed = -1",
    "UPDATE wolf_instance SET encoder_sessions_claimed = -1",
    "UPDATE wolf_instance SET other_lobbies = -1",
    "UPDATE wolf_instance SET vram_mb_other = -1",
    "UPDATE wolf_instance SET vram_mb = -1",
    "UPDATE wolf_instance SET encoder_sessions_max = -1",
    "UPDATE wolf_instance SET create_failures = -1",
    "UPDATE wolf_instance SET quarantined_until = now()",
    "UPDATE wolf_instance SET quarantined_until = now(), quarantine_reason = 'ugly'",
    "UPDATE wolf_instance SET reconciled_epoch = 1",
    "UPDATE wolf_instance SET tunnel_protocol = 'carrier pigeon'",
    "UPDATE session SET status = 'waiting'",
    "UPDATE session SET status = 'queued'",
    "UPDATE session SET status = 'queued', queued_at = now()",
    "UPDATE session SET status = 'queued', queued_at = now(), queue_deadline = now(), wolf_instance_id = 'w'",
    "UPDATE session SET status = 'queued', queued_at = now(), queue_deadline = now(), lobby_id = 'l'",
    "UPDATE session SET status = 'queued', queued_at = now(), queue_deadline = now(), wolf_instance_id = 'w', slot_held = true",
    "UPDATE session SET stop_reason = 'bored'",
    "UPDATE session SET vram_mb = 1",
    "UPDATE session SET encoder_sessions = 1",
    "UPDATE session SET slot_held = true, wolf_instance_id = 'w', vram_mb = -1",
    "UPDATE session SET lock_token = 't'",
    "UPDATE session SET lock_expires_at = now()",
    "UPDATE session SET create_key = 'k', status = 'failed', ended_at = now()",
    "UPDATE session SET priority = 10",
    "UPDATE session SET attempts = -1",
    "UPDATE session SET idle_seconds = 0",
    "INSERT INTO fleet (id) VALUES (2)",
    "UPDATE session SET status = 'stopped'",
    "UPDATE session SET ended_at = now()",
    "UPDATE session SET slot_held = true",
    "UPDATE session SET slot_held = true, wolf_instance_id = 'w', status = 'failed', ended_at = now()",
    "UPDATE user_account SET role = 'root'",
  ])("refuses %s", async (statement) => {
    await expect(database.prisma.$executeRawUnsafe(statement)).rejects.toThrow(/check constraint/);
  });

  it("knows one live session by the key of one owner's request", async () => {
    const { prisma } = database;
    const make = (id: string, owner: string) => prisma.$executeRaw`
      INSERT INTO session (id, owner_id, name, status, spec, placement, slot_held, create_key, created_at, updated_at)
      VALUES (${id}, ${owner}, 's', 'placed', '{}', '{}', false, 'k', now(), now())`;
    await prisma.$executeRaw`INSERT INTO user_account (id, name, role, created_at) VALUES ('u2', 'u2', 'user', now())`;
    await make("s1", "u");
    await make("s2", "u2");
    await expect(make("s3", "u")).rejects.toThrow(/23505/);
  });

  it("answers a ping, and rejects it when the server cannot be reached", async () => {
    await pingDatabase(database.prisma);
    const gone = await testDatabase();
    await gone.drop();
    await expect(pingDatabase(gone.prisma)).rejects.toThrow();
    await gone.prisma.$disconnect();
  });
});
