/** What a control plane says of a database that it cannot use, and that it leaves it as it was: real servers, and real ends by SIGKILL. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { migrate, migrationNames, migrationsFolder } from "../src/database/migrate.prisma.ts";
import { type TestDatabase, testDatabase } from "./database.ts";

const RUN_MIGRATE = fileURLToPath(new URL("./run-migrate.ts", import.meta.url));

let database: TestDatabase;
const folders: string[] = [];
const servers: Server[] = [];
const sockets = new Set<Socket>();

beforeEach(async () => {
  database = await testDatabase({ migrated: false });
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  await database.drop();
});

/** The migrations that there are, and more. */
function withSteps(steps: Record<string, string>, from: string | undefined = migrationsFolder): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-steps-"));
  folders.push(folder);
  if (from !== undefined) cpSync(from, folder, { recursive: true });
  for (const [name, script] of Object.entries(steps)) {
    mkdirSync(path.join(folder, name));
    writeFileSync(path.join(folder, name, "migration.sql"), script);
  }
  return folder;
}

async function query<Row extends pg.QueryResultRow>(sql: string, url = database.url): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

const tables = async () =>
  (await query<{ tablename: string }>("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).map(
    ({ tablename }) => tablename,
  );

/** Answers connections on a port of its own. */
async function listening(onConnection: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined).on("close", () => sockets.delete(socket)));
    onConnection(socket);
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  const url = new URL(database.url);
  url.host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  return url.href;
}

/** The same server, which says that it is of another version: as long a word, so that no length changes. */
function ofVersion(number: string): Promise<string> {
  const { hostname, port } = new URL(database.url);
  return listening((near) => {
    const far = connect(Number(port), hostname);
    sockets.add(far.on("error", () => undefined).on("close", () => near.destroy()));
    near.pipe(far).on("close", () => far.destroy());
    far.on("data", (bytes: Buffer) => {
      near.write(Buffer.from(bytes.toString("latin1").replace(/\b18\d{4}\b/g, number), "latin1"));
    });
  });
}

const changed = (change: (url: URL) => void) => {
  const url = new URL(database.url);
  change(url);
  return url.href;
};

describe("a database that cannot be used", () => {
  it.each<[string, string, (url: URL) => void, RegExp]>([
    [
      "has no such user or another password",
      "ACCESS_REFUSED",
      (url) => (url.password = "sesame"),
      /refuses the user or the password/,
    ],
    [
      "does not exist",
      "DATABASE_MISSING",
      (url) => (url.pathname = "/nowhere"),
      /has no database of the name in DATABASE_URL/,
    ],
    [
      "is at a name that nobody knows",
      "HOST_UNKNOWN",
      (url) => (url.hostname = "database.invalid"),
      /^The database at database\.invalid:\d+ has a name/,
    ],
    [
      "is not there",
      "UNREACHABLE",
      (url) => (url.host = "127.0.0.1:1"),
      /cannot be reached: connect ECONNREFUSED/,
    ],
    [
      "is read-only for this user",
      "READ_ONLY",
      (url) => (url.search = "?options=-c%20default_transaction_read_only%3Don"),
      /is read-only/,
    ],
    [
      "is to be reached with a certificate that is not there",
      "URL_UNUSABLE",
      (url) => (url.search = "?sslmode=verify-full&sslrootcert=/nowhere/ca.pem"),
      /ENOENT/,
    ],
    [
      "speaks no TLS, which is asked for",
      "UNREACHABLE",
      (url) => (url.search = "?sslmode=require"),
      /does not support SSL/,
    ],
  ])(
    "because it %s, is %s in one sentence without its password, and stays empty",
    async (_what, code, change, sentence) => {
      const url = changed(change);
      const error = (await migrate(url).catch((cause: unknown) => cause)) as Error;
      expect(error).toMatchObject({ code, message: expect.stringMatching(sentence) });
      expect(error.message).toMatch(/^The database at [^\n]+[^.]\.$/);
      expect(error.message).not.toMatch(new RegExp(`sesame|${new URL(url).password}`));
      expect(await tables()).toEqual([]);
    },
  );

  it("does not answer: it is given up after the bound", async () => {
    const silent = await listening(() => undefined);
    await expect(migrate(silent, migrationsFolder, { connectTimeoutMs: 100 })).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("no answer within 0.1 s"),
    });
  });

  it("is no PostgreSQL", async () => {
    const web = await listening((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await expect(migrate(web)).rejects.toMatchObject({ code: "UNREACHABLE" });
  });

  it.each(["140022", "090624"])(
    "is of a version that is too old (%s), and nothing is changed",
    async (number) => {
      await expect(migrate(await ofVersion(number))).rejects.toMatchObject({
        code: "TOO_OLD",
        message: expect.stringContaining(
          `is PostgreSQL ${Number(number.slice(0, 2))}, and 15 or newer is needed`,
        ),
      });
      expect(await tables()).toEqual([]);
    },
  );

  it("is of the oldest version that is supported, and is taken", async () => {
    expect(await migrate(await ofVersion("150000"))).toEqual(migrationNames());
  });
});

describe("a schema", () => {
  const NEWER = "20990101000000_newer";

  it("that is newer is refused by a program that does not know its step, which is named", async () => {
    await migrate(database.url, withSteps({ [NEWER]: "CREATE TABLE newer ();" }));
    await expect(migrate(database.url)).rejects.toMatchObject({
      code: "SCHEMA_NEWER",
      message: expect.stringContaining(`it has the migration ${NEWER}: start that version`),
    });
  });

  it("that was only expanded is taken by programs of before, also by more than one step", async () => {
    const later = "20990101000001_later";
    await migrate(
      database.url,
      withSteps({ [NEWER]: "-- expand\nCREATE TABLE newer ();", [later]: "-- expand\n" }),
    );
    expect(await migrate(database.url)).toEqual([]);
  });

  it("that was contracted is taken by programs since the step that is named, and by none before", async () => {
    const older = withSteps({}, withSteps({ [NEWER]: "-- expand\nCREATE TABLE newer ();" }));
    const contract = { "20990101000001_contract": `-- contract since ${NEWER}\nSELECT 1;` };
    await migrate(database.url, withSteps(contract, older));
    expect(await migrate(database.url, older)).toEqual([]);
    await expect(migrate(database.url)).rejects.toMatchObject({
      code: "SCHEMA_NEWER",
      message: expect.stringContaining("20990101000001_contract"),
    });
  });

  it("with a step that was begun and never ended is refused, and named", async () => {
    await migrate(database.url);
    await query(
      `INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('x', 'x', '${NEWER}')`,
    );
    await expect(migrate(database.url)).rejects.toMatchObject({
      code: "SCHEMA_BROKEN",
      message: expect.stringContaining(`has the migration ${NEWER} begun and not ended`),
    });
    await query("UPDATE _prisma_migrations SET rolled_back_at = now() WHERE id = 'x'");
    expect(await migrate(database.url)).toEqual([]);
  });

  it("that another process migrates for too long is given up", async () => {
    const holder = new pg.Client({ connectionString: database.url });
    await holder.connect();
    await holder.query("SELECT pg_advisory_lock(7301990411)");
    await expect(migrate(database.url, migrationsFolder, { lockWaitMs: 50 })).rejects.toMatchObject({
      code: "MIGRATION_BUSY",
    });
    expect(await tables()).toEqual([]);
    await holder.end();
    expect(await migrate(database.url)).toEqual(migrationNames());
  });
});

describe("SIGKILL in the middle of a migration", () => {
  const SLOW = "20990101000000_slow";
  /** Two tables, with a pause that a lock makes before each and behind both. */
  const script = ["CREATE TABLE half ();", "CREATE TABLE whole ();", ""]
    .map((statement, at) => `SELECT pg_advisory_xact_lock(${at + 1});\n${statement}`)
    .join("\n");

  it.each([1, 2, 3])(
    "at its pause %i leaves nothing of the step, and the next start takes it whole",
    async (at) => {
      const folder = withSteps({ [SLOW]: script });
      const holder = new pg.Client({ connectionString: database.url });
      await holder.connect();
      await holder.query(`SELECT pg_advisory_lock(${at})`);
      const child = spawn(process.execPath, [RUN_MIGRATE, database.url, folder], { stdio: "ignore" });
      const ended = once(child, "close");
      await waitsForLock(child, holder);
      child.kill("SIGKILL");
      await ended;
      await holder.end();
      const before = readdirSync(folder).filter((name) => name < SLOW && /^\d/.test(name));
      // The server notices that nobody is there any more when the statement ends; the lock of the migration ends with it.
      expect(await migrate(database.url, folder)).toEqual([SLOW]);
      const rows = await query<{ name: string; whole: boolean }>(
        "SELECT migration_name AS name, finished_at IS NOT NULL AS whole FROM _prisma_migrations ORDER BY 1",
      );
      expect(rows).toEqual([...before, SLOW].map((name) => ({ name, whole: true })));
      expect(await tables()).toEqual(expect.arrayContaining(["half", "whole"]));
    },
  );

  async function waitsForLock(child: ChildProcess, holder: pg.Client): Promise<void> {
    const until = Date.now() + 15_000;
    while (Date.now() < until && child.exitCode === null) {
      const { rows } = await holder.query(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()",
      );
      if (rows.length > 0) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`the migration never came to its pause; it ended with ${child.exitCode}`);
  }
});
