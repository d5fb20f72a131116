/**
 * The data directory of our own PostgreSQL: whether it can be used, who uses it, and how a new one comes to be, which
 * happens aside and by one rename, so that there is never half a one.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
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
import path from "node:path";
import { DatabaseStartError } from "./database-start-error.ts";
import type { Ids, PostgresUser } from "./postgres-user.ts";

export const POSTGRES_MAJOR = "18";
/** Name of the superuser and of the database. */
export const POSTGRES_NAME = "wolfpack";
/** Inside the cluster: the one rename that brings a cluster brings its password. */
const PASSWORD_FILE = "wolfpack-password";

/** PostgreSQL must not pick up PG* settings of whoever started us. */
export const postgresEnv: NodeJS.ProcessEnv = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LC_ALL: "C",
  TZ: "UTC",
};

/**
 * Makes `dataDir` and clears away what interrupted starts left; true when it holds a cluster. Throws DATA_DIR_UNUSABLE or
 * DATA_DIR_OTHER_VERSION.
 */
export function prepareDataDir(dataDir: string): boolean {
  const cluster = clusterOf(dataDir);
  try {
    mkdirSync(dataDir, { recursive: true });
    const probe = path.join(dataDir, `.probe-${process.pid}`);
    writeFileSync(probe, "");
    rmSync(probe);
    for (const name of readdirSync(dataDir)) {
      const pid = Number(/^postgres\.new-(\d+)$/.exec(name)?.[1] ?? Number.NaN);
      if (pid === process.pid || isDead(pid))
        rmSync(path.join(dataDir, name), { recursive: true, force: true });
    }
  } catch (cause) {
    const message = `The data directory ${dataDir} cannot be written: move it away, or set DATA_DIR to another folder.`;
    throw new DatabaseStartError("DATA_DIR_UNUSABLE", message, { cause });
  }
  if (!existsSync(cluster)) return false;
  return checkCluster(dataDir, cluster);
}

function checkCluster(dataDir: string, cluster: string): boolean {
  const broken = (why: string, cause?: unknown) =>
    new DatabaseStartError(
      "DATA_DIR_UNUSABLE",
      `${cluster} is not a usable PostgreSQL data directory (${why}): restore it, or move ${dataDir} away to start anew.`,
      { cause },
    );
  if (!statSync(cluster).isDirectory()) throw broken("it is a file");
  let names: string[];
  try {
    names = readdirSync(cluster);
  } catch (cause) {
    throw broken("it belongs to another user", cause);
  }
  if (names.length === 0) return false;
  if (!names.includes("PG_VERSION")) throw broken("PG_VERSION is missing");
  const version = readFileSync(path.join(cluster, "PG_VERSION"), "utf8").trim();
  if (!/^\d+$/.test(version)) throw broken("PG_VERSION is unreadable");
  if (version !== POSTGRES_MAJOR) {
    throw new DatabaseStartError(
      "DATA_DIR_OTHER_VERSION",
      `${cluster} belongs to PostgreSQL ${version}, this is ${POSTGRES_MAJOR}: upgrade it with pg_upgrade, or move ${dataDir} away.`,
    );
  }
  if (!existsSync(path.join(cluster, "global", "pg_control"))) throw broken("global/pg_control is missing");
  return true;
}

export const clusterOf = (dataDir: string): string => path.join(dataDir, "postgres");

export function ownerOfCluster(dataDir: string): Ids {
  const { uid, gid } = statSync(clusterOf(dataDir));
  return { uid, gid };
}

/** initdb. When another process makes the same cluster at the same moment, the first rename wins. Throws INITDB_FAILED. */
export function initialiseCluster(dataDir: string, bin: string, user: PostgresUser, durable: boolean): void {
  const staging = `${clusterOf(dataDir)}.new-${process.pid}`;
  const cluster = path.join(staging, "cluster");
  const passwordFile = path.join(staging, "password");
  mkdirSync(staging, { mode: 0o700 });
  try {
    writeFileSync(passwordFile, `${randomBytes(24).toString("hex")}\n`, { mode: 0o600, flush: true });
    if (user.owner) {
      chownSync(staging, user.owner.uid, user.owner.gid);
      chownSync(passwordFile, user.owner.uid, user.owner.gid);
    }
    const identity = ["-U", POSTGRES_NAME, "--pwfile", passwordFile, "--auth", "scram-sha-256"];
    const locale = ["--encoding", "UTF8", "--locale", "C"];
    const args = [
      "-D",
      cluster,
      ...identity,
      ...locale,
      "--no-instructions",
      ...(durable ? [] : ["--no-sync"]),
    ];
    const [command = "", ...rest] = [...user.prefix, path.join(bin, "initdb"), ...args];
    const result = spawnSync(command, rest, {
      cwd: staging,
      encoding: "utf8",
      env: postgresEnv,
      ...user.spawnIds,
    });
    if (result.status !== 0) {
      const why =
        result.stderr?.trim().split("\n").at(-1) || result.error?.message || `status ${result.status}`;
      throw new DatabaseStartError("INITDB_FAILED", `PostgreSQL's data directory could not be made: ${why}.`);
    }
    renameSync(passwordFile, path.join(cluster, PASSWORD_FILE));
    renameSync(cluster, clusterOf(dataDir));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** Throws DATA_DIR_UNUSABLE. */
export function readPassword(dataDir: string): string {
  const file = path.join(clusterOf(dataDir), PASSWORD_FILE);
  try {
    const password = readFileSync(file, "utf8").trim();
    if (/^[0-9a-f]{48}$/.test(password)) return password;
  } catch {
    // Missing and mangled are the same to the reader.
  }
  throw new DatabaseStartError(
    "DATA_DIR_UNUSABLE",
    `${file} is missing or damaged: restore it, or move ${dataDir} away to start anew.`,
  );
}

/** What PostgreSQL says of itself in `postmaster.pid`. */
export interface PostgresLock {
  /** 0 while the file is being written. */
  pid: number;
  port: number;
  status: "starting" | "ready" | "stopping";
}

const lockFile = (dataDir: string): string => path.join(clusterOf(dataDir), "postmaster.pid");

export function readLock(dataDir: string): PostgresLock | undefined {
  let lines: string[];
  try {
    lines = readFileSync(lockFile(dataDir), "utf8").split("\n");
  } catch {
    return undefined;
  }
  // Line 1 the pid, 4 the port, 8 the status (PostgreSQL, src/include/utils/pidfile.h).
  const status = lines[7]?.trim();
  return {
    pid: Number(lines[0]) || 0,
    port: Number(lines[3]) || 0,
    status: status === "ready" || status === "stopping" ? status : "starting",
  };
}

/** Only for a lock whose PostgreSQL is gone: its pid may belong to somebody else by now, whom PostgreSQL would take for itself. */
export function removeLock(dataDir: string): void {
  rmSync(lockFile(dataDir), { force: true });
}

function isDead(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** Whether the process lives and is a PostgreSQL. */
export function isPostgres(pid: number): boolean {
  if (pid <= 0 || isDead(pid)) return false;
  // What it is, and not what it was asked for.
  const isIt = (command = "", between: string) => command.split(between)[0]?.includes("postgres") === true;
  if (process.platform !== "linux")
    return isIt(spawnSync("ps", ["-p", String(pid), "-o", "command="], { encoding: "utf8" }).stdout, " ");
  try {
    return isIt(readFileSync(`/proc/${pid}/cmdline`, "utf8"), "\0");
  } catch {
    return false;
  }
}
