/** What a control plane says of a database that it cannot use, and that it leaves it as it was: real servers, and real ends by SIGKILL. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { migrate, migrationNames, migrationsFolder } from "../src/database/migrate.prisma.ts";
import { type TestDatabase, testDatabase } from "./database.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const RUN_MIGRATE = fileURLToPath(new URL("./run-migrate.ts", import.meta.url));

let database: TestDatabase;
const folders: string[] = [];
const children: ChildProcess[] = [];
const roles: string[] = [];
const servers: Server[] = [];
const sockets = new Set<Socket>();

beforeEach(async () => {
  database = await testDatabase({ migrated: false });
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "close");
  }
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  for (const role of roles.splice(0)) await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
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

  it("is not contracted while a replica lives that does not know what is taken away, and nothing is half done", async () => {
    await migrate(database.url);
    const first = migrationNames()[0] ?? "";
    const folder = withSteps({
      [NEWER]: "-- expand\nCREATE TABLE newer ();",
      "20990101000001_contract": `-- contract since ${NEWER}\nDROP TABLE replica CASCADE;`,
    });
    const lives = (id: string, steps: string | null, until = "now() + interval '1 minute'") =>
      query(`INSERT INTO replica (id, version, secret_print, started_at, steps, lease_until)
        VALUES ('${id}', '0.0.9', 'x', now(), ${steps}, ${until})`);
    await lives("rep_gone", null, "now()");
    await lives("rep_knows", `ARRAY['${first}', '${NEWER}']`);
    for (const steps of ["NULL", `ARRAY['${first}']`]) {
      await lives("rep_old", steps);
      await expect(migrate(database.url, folder)).rejects.toMatchObject({
        code: "REPLICA_OLDER",
        message: expect.stringMatching(/replica rep_old of version 0\.0\.9, .* 20990101000001_contract /),
      });
      expect(await tables()).not.toContain("newer");
      await query("DELETE FROM replica WHERE id = 'rep_old'");
    }
    expect(await migrate(database.url, folder)).toEqual([NEWER, "20990101000001_contract"]);
    expect(await tables()).not.toContain("replica");
  });

  it("is not taken a step that no other version may run beside, while one lives, nor from a version without `steps`", async () => {
    const older = mkdtempSync(path.join(os.tmpdir(), "wolfpack-steps-"));
    folders.push(older);
    cpSync(migrationsFolder, older, { recursive: true });
    for (const name of migrationNames())
      if (name >= "20261127123500") rmSync(path.join(older, name), { recursive: true });
    await migrate(database.url, older);
    await query(`INSERT INTO replica (id, version, secret_print, started_at, lease_until)
      VALUES ('rep_old', '0.0.9', 'x', now(), now() + interval '1 minute')`);
    await expect(migrate(database.url, withSteps({ [NEWER]: "SELECT 1;" }))).rejects.toMatchObject({
      code: "REPLICA_OLDER",
    });
    // What only adds is taken all the same.
    expect(await migrate(database.url)).toEqual(migrationNames().filter((name) => name >= "20261127123500"));
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

/** The built program with this database and nothing else, until it ends or is ready; what it says on stderr. */
async function started(url: string, env: Record<string, string> = {}) {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-start-"));
  folders.push(dataDir);
  const child = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env.PATH ?? "",
      DATABASE_URL: url,
      DATA_DIR: dataDir,
      HOST: "127.0.0.1",
      PORT: "0",
      API_KEY_SECRET: "s".repeat(32),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let stderr = "";
  child.stderr.on("data", (text) => (stderr += text));
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, stderr }));
  const ready = new Promise<"ready">((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      if ((JSON.parse(line) as { msg: string }).msg === "ready") resolve("ready");
    });
  });
  return Promise.race([ready, ended]);
}

describe("a start that fails behind the first look at the database says so in one line", () => {
  /** A user of its own with these rights, and its URL. */
  async function userWith(...rights: string[]): Promise<string> {
    const name = `limited_${process.pid}_${roles.length}`;
    await query(`CREATE ROLE ${name} LOGIN PASSWORD 'sesame'`);
    roles.push(name);
    for (const right of rights) await query(`GRANT ${right} TO ${name}`);
    return changed((url) => {
      url.username = name;
      url.password = "sesame";
    });
  }

  const rowsOf = async (table: string) =>
    (await query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`))[0]?.n;

  it.each<[string, string[], RegExp]>([
    [
      "may read alone",
      ["SELECT ON ALL TABLES IN SCHEMA public"],
      /may not use its tables \(agent_key, [^)]+\)/,
    ],
    [
      "may use all tables but two",
      [
        "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public",
        "USAGE ON ALL SEQUENCES IN SCHEMA public",
      ],
      /may not use its tables \(api_key, replica\)/,
    ],
    [
      "may do nothing",
      [],
      /lets this user in, who may not read it \(permission denied for table _prisma_migrations\)/,
    ],
  ])("when the user %s, and writes nothing", async (_who, rights, sentence) => {
    await migrate(database.url);
    const url = await userWith(...rights);
    if (rights.length > 1) await query(`REVOKE UPDATE ON api_key, replica FROM ${roles.at(-1)}`);
    const end = await started(url);
    expect(end).toMatchObject({ code: 1, stderr: expect.stringMatching(sentence) });
    expect(end).toMatchObject({
      stderr: expect.stringMatching(/^wolfpack: The database at [^\n]+[^.]\.\n$/),
    });
    expect(end).not.toMatchObject({ stderr: expect.stringContaining("sesame") });
    expect([await rowsOf("user_account"), await rowsOf("replica")]).toEqual([0, 0]);
  });

  it.each(["user_account", "replica"])("when the database refuses a row of %s", async (table) => {
    await migrate(database.url);
    await query(`ALTER TABLE ${table} ADD CONSTRAINT nobody CHECK (false) NOT VALID`);
    const end = await started(database.url);
    expect(end).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^wolfpack: The database at [^\n]+ fails: [^\n]*nobody[^\n]*\.\n$/),
    });
  });

  it("when a replica with another API_KEY_SECRET lives, which serves on", async () => {
    const own = { WOLFPACK_REPLICA_URL: "http://127.0.0.1:1" };
    expect(await started(database.url, own)).toBe("ready");
    const end = await started(database.url, { API_KEY_SECRET: "t".repeat(32) });
    expect(end).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^wolfpack: Replica rep_\w+ of this database has another API_KEY_SECRET: [^\n]+ after 10 s\.\n$/,
      ),
    });
    expect(await rowsOf("replica")).toBe(1);
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
