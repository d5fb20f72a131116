import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../src/database/embedded-postgres.ts";
import { eventually } from "./host.ts";

let dataDir: string;
const started: EmbeddedPostgres[] = [];
const children: ChildProcess[] = [];

beforeEach(() => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-postgres-"));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await Promise.all(started.splice(0).map((postgres) => postgres.stop()));
  await untilUnlocked();
  rmSync(dataDir, { recursive: true, force: true });
});

async function start(): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false });
  started.push(postgres);
  return postgres;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: "array" })).rows.flat();
  } finally {
    await client.end();
  }
}

/** Another process with a PostgreSQL on the data directory; in a process group of its own. */
async function hold(): Promise<{ child: ChildProcess; url: string }> {
  const script = fileURLToPath(new URL("./hold-postgres.ts", import.meta.url));
  const child = spawn(process.execPath, [script, dataDir], {
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  children.push(child);
  const lines = createInterface({ input: child.stdout });
  const [url] = (await once(lines, "line")) as [string];
  lines.close();
  return { child, url };
}

const lock = () => path.join(dataDir, "postgres", "postmaster.pid");

/** PostgreSQL ends by itself when its owner was killed: nobody else can tell us when. */
async function untilUnlocked(): Promise<void> {
  for (let left = 500; existsSync(lock()) && left > 0; left -= 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe("embedded PostgreSQL", () => {
  it("serves PostgreSQL 18 in UTF-8 and keeps what was written over a stop", async () => {
    const first = await start();
    expect(await query(first.url, "SHOW server_version")).toEqual([expect.stringMatching(/^18\./)]);
    expect(await query(first.url, "SHOW server_encoding")).toEqual(["UTF8"]);
    await query(first.url, "CREATE TABLE kept AS SELECT 42 AS answer");
    await first.stop();
    await first.exited;
    const second = await start();
    expect(await query(second.url, "SELECT answer FROM kept")).toEqual([42]);
  });

  it("lets nobody in without the password, and listens on this machine only", async () => {
    const { url } = await start();
    const without = new URL(url);
    without.password = "";
    const wrong = new URL(url);
    wrong.password = "0".repeat(48);
    await expect(query(without.href, "SELECT 1")).rejects.toThrow(/password/);
    await expect(query(wrong.href, "SELECT 1")).rejects.toThrow(/password authentication failed/);
    expect(await query(url, "SHOW listen_addresses")).toEqual(["127.0.0.1"]);
    expect(await query(url, "SHOW unix_socket_directories")).toEqual([""]);
  });

  it("works where everybody may enter and where only the owner may", async () => {
    chmodSync(dataDir, 0o755);
    const open = await start();
    await open.stop();
    chmodSync(dataDir, 0o700);
    const closed = await start();
    expect(await query(closed.url, "SELECT 1")).toEqual([1]);
  });

  it("ends when its owner is killed, and the next start finds everything", async () => {
    const { child, url } = await hold();
    await query(url, "CREATE TABLE kept AS SELECT 7 AS answer");
    child.kill("SIGKILL");
    await once(child, "exit");
    const next = await start();
    expect(await query(next.url, "SELECT answer FROM kept")).toEqual([7]);
    await expect(query(url, "SELECT 1")).rejects.toThrow();
  });

  it("tells in a line when one of its processes was killed, and of no mistake of a client", async () => {
    const { promise: told, resolve: onTrouble } = Promise.withResolvers<string>();
    const postgres = await startEmbeddedPostgres({ dataDir, durable: false, onTrouble });
    started.push(postgres);
    await expect(query(postgres.url, "SELECT 'out of memory'::int")).rejects.toThrow("invalid input syntax");
    const client = new pg.Client({ connectionString: postgres.url });
    client.on("error", () => undefined);
    await client.connect();
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    const pid = rows[0]?.pid ?? 0;
    process.kill(pid, "SIGKILL");
    expect(await told).toMatch(new RegExp(`client backend \\(PID ${pid}\\) was terminated by signal 9`));
    // It starts its processes anew and goes on.
    const answers = () => query(postgres.url, "SELECT 1").catch(() => []);
    await eventually(answers, (found) => found.length === 1);
  });

  it("does not hear the terminal's Ctrl-C, which goes to its owner's process group", async () => {
    const { child, url } = await hold();
    process.kill(-(child.pid as number), "SIGINT");
    expect(await query(url, "SELECT 1")).toEqual([1]);
  });

  it("refuses a data directory that another process uses, in one sentence", async () => {
    const { url } = await hold();
    await expect(start()).rejects.toEqual(refusal("DATA_DIR_IN_USE", /^Another Wolfpack uses [^\n]*$/));
    expect(await query(url, "SELECT 1")).toEqual([1]);
  });

  it("gives a new data directory to exactly one of two starts at the same moment", async () => {
    const script = fileURLToPath(new URL("./hold-postgres.ts", import.meta.url));
    const rivals = [1, 2].map(() => {
      const child = spawn(process.execPath, [script, dataDir], { stdio: ["ignore", "pipe", "pipe"] });
      children.push(child);
      let said = "";
      child.stderr.on("data", (text) => {
        said += text;
      });
      const won = once(child.stdout, "data").then(() => "won");
      const lost = once(child, "close").then(() => (said.includes("DATA_DIR_IN_USE") ? "lost" : said));
      return Promise.race([won, lost]);
    });
    const outcomes = await Promise.all(rivals);
    expect(outcomes.sort()).toEqual(["lost", "won"]);
  });

  it("clears the lock of a PostgreSQL that is gone, although its pid belongs to somebody else now", async () => {
    await (await start()).stop();
    writeFileSync(lock(), `${process.pid}\n${dataDir}\n0\n5432\n\n\n\nready\n`);
    const next = await start();
    expect(await query(next.url, "SELECT 1")).toEqual([1]);
  });

  it("clears a lock that a crash left empty", async () => {
    await (await start()).stop();
    writeFileSync(lock(), "");
    const next = await start();
    expect(await query(next.url, "SELECT 1")).toEqual([1]);
  });

  it("starts anew after an initdb that was interrupted half way", async () => {
    const gone = spawn("true");
    await once(gone, "exit");
    const half = path.join(dataDir, `postgres.new-${gone.pid}`);
    mkdirSync(path.join(half, "cluster", "base"), { recursive: true });
    mkdirSync(path.join(dataDir, `postgres.new-${process.pid}`));
    const { url } = await start();
    expect(await query(url, "SELECT 1")).toEqual([1]);
    expect(readdirSync(dataDir)).toEqual(["postgres"]);
  });

  it("refuses a data directory that is a file", async () => {
    const file = path.join(dataDir, "file");
    writeFileSync(file, "");
    await expect(startEmbeddedPostgres({ dataDir: file })).rejects.toEqual(
      refusal("DATA_DIR_UNUSABLE", /cannot be written/),
    );
  });

  it.each<[string, (cluster: string) => void, string, RegExp]>([
    ["is a file", (cluster) => writeFileSync(cluster, ""), "DATA_DIR_UNUSABLE", /it is a file/],
    [
      "holds other files",
      (cluster) => {
        mkdirSync(cluster);
        writeFileSync(path.join(cluster, "thesis.txt"), "");
      },
      "DATA_DIR_UNUSABLE",
      /PG_VERSION is missing/,
    ],
    [
      "has an unreadable version",
      (cluster) => {
        mkdirSync(cluster);
        writeFileSync(path.join(cluster, "PG_VERSION"), "eighteen\n");
      },
      "DATA_DIR_UNUSABLE",
      /PG_VERSION is unreadable/,
    ],
    [
      "belongs to PostgreSQL 16",
      (cluster) => {
        mkdirSync(cluster);
        writeFileSync(path.join(cluster, "PG_VERSION"), "16\n");
      },
      "DATA_DIR_OTHER_VERSION",
      /belongs to PostgreSQL 16, this is 18/,
    ],
    [
      "has lost its control file",
      (cluster) => {
        mkdirSync(cluster);
        writeFileSync(path.join(cluster, "PG_VERSION"), "18\n");
      },
      "DATA_DIR_UNUSABLE",
      /pg_control is missing/,
    ],
  ])("refuses a cluster that %s, and leaves it as it is", async (_what, breakIt, code, message) => {
    const cluster = path.join(dataDir, "postgres");
    breakIt(cluster);
    const before = readdirSync(dataDir, { recursive: true });
    await expect(start()).rejects.toEqual(refusal(code, message));
    expect(readdirSync(dataDir, { recursive: true })).toEqual(before);
  });

  it("refuses a cluster whose password is damaged or whose control file is garbage", async () => {
    await (await start()).stop();
    const password = path.join(dataDir, "postgres", "wolfpack-password");
    const kept = readFileSync(password);
    writeFileSync(password, "secret");
    await expect(start()).rejects.toEqual(
      refusal("DATA_DIR_UNUSABLE", /wolfpack-password is missing or damaged/),
    );
    writeFileSync(password, kept);
    const control = path.join(dataDir, "postgres", "global", "pg_control");
    writeFileSync(control, "garbage");
    await expect(start()).rejects.toEqual(refusal("START_FAILED", /^PostgreSQL did not start: [^\n]+$/));
  });
});
