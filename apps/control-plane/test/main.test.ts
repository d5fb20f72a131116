import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
let dataDir: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-main-"));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "close");
  }
  const lock = path.join(dataDir, "postgres", "postmaster.pid");
  for (let left = 500; existsSync(lock) && left > 0; left -= 1)
    await new Promise((resolve) => setTimeout(resolve, 20));
  rmSync(dataDir, { recursive: true });
});

interface Run {
  child: ChildProcess;
  /** Resolves at the line "ready", rejects when the process ends before. */
  ready: Promise<string>;
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

/** The built program, as a user starts it. */
function run(env: Record<string, string> = {}, args: string[] = []): Run {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env.PATH ?? "", DATA_DIR: dataDir, PORT: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let stdout = "";
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, stdout, stderr }));
  const ready = new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      stdout += `${line}\n`;
      const { msg, url } = JSON.parse(line) as { msg: string; url?: string };
      if (msg === "ready" && url !== undefined) resolve(url);
    });
    void ended.then((end) => reject(new Error(`it ended with ${end.code}: ${end.stderr}`)));
  });
  ready.catch(() => undefined);
  return { child, ready, ended };
}

const key = () => readFileSync(path.join(dataDir, "admin-api-key"), "utf8").trim();
const me = async (url: string, credential: string) =>
  (await fetch(`${url}/api/v1/me`, { headers: { authorization: `Bearer ${credential}` } })).status;

describe("the control plane as a process", () => {
  it("starts from nothing, serves, stops on SIGTERM, and keeps data and secrets for the next start", async () => {
    const first = run();
    const url = await first.ready;
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await me(url, key())).toBe(200);
    expect(statSync(path.join(dataDir, "admin-api-key")).mode & 0o777).toBe(0o600);
    const body = JSON.stringify({ name: "anna", role: "user" });
    const headers = { authorization: `Bearer ${key()}`, "content-type": "application/json" };
    expect((await fetch(`${url}/api/v1/users`, { method: "POST", headers, body })).status).toBe(201);
    first.child.kill("SIGTERM");
    const { code, stdout, stderr } = await first.ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(existsSync(path.join(dataDir, "postgres", "postmaster.pid"))).toBe(false);
    for (const name of ["admin-api-key", "runner-token", "api-key-secret"]) {
      expect(stdout).not.toContain(readFileSync(path.join(dataDir, name), "utf8").trim());
    }

    const kept = key();
    const second = run();
    const users = await fetch(`${await second.ready}/api/v1/users`, {
      headers: { authorization: `Bearer ${kept}` },
    });
    expect(((await users.json()) as { name: string }[]).map(({ name }) => name)).toEqual(["admin", "anna"]);
    expect(key()).toBe(kept);
    second.child.kill("SIGINT");
    expect((await second.ended).code).toBe(0);
  }, 60_000);

  it("says in one sentence that its port or its data directory is taken, and serves on", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const busy = await run({ PORT: String(port) }).ended;
    server.close();
    expect(busy.code).toBe(1);
    expect(busy.stderr).toBe(
      `wolfpack: Port ${port} is in use: stop the program that uses it, or set PORT to another.\n`,
    );

    const holder = run();
    const url = await holder.ready;
    const second = await run().ended;
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/^wolfpack: Another Wolfpack uses the data directory [^\n]+\n$/);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  }, 60_000);

  it("writes another admin key on request, and says so when the file is lost", async () => {
    const first = run();
    await first.ready;
    first.child.kill("SIGTERM");
    await first.ended;
    const old = key();
    rmSync(path.join(dataDir, "admin-api-key"));
    expect(await run({}, ["--reset-admin-key"]).ended).toMatchObject({ code: 0, stderr: "" });
    expect(key()).not.toBe(old);
    const again = run();
    const url = await again.ready;
    expect(await me(url, key())).toBe(200);
    expect(await me(url, old)).toBe(200);
    again.child.kill("SIGTERM");
    await again.ended;
    rmSync(path.join(dataDir, "admin-api-key"));
    const third = run();
    await third.ready;
    third.child.kill("SIGTERM");
    expect((await third.ended).stdout).toContain("--reset-admin-key");
  }, 60_000);

  it.each<[string, Record<string, string>, string[], number, RegExp]>([
    ["an unknown variable", { WOLFPACK_TYPO: "1" }, [], 2, /WOLFPACK_TYPO/],
    ["a bad port", { PORT: "seventy" }, [], 2, /PORT/],
    ["production without secrets", { NODE_ENV: "production" }, [], 2, /API_KEY_SECRET/],
    ["an unknown flag", {}, ["--help-me"], 2, /usage: wolfpack-control-plane/],
    [
      "a database that is not there",
      {
        DATABASE_URL: "postgresql://u:sesame@127.0.0.1:1/x",
        RUNNER_TOKEN: "r".repeat(32),
        API_KEY_SECRET: "a".repeat(32),
      },
      [],
      1,
      /^wolfpack: The database at 127\.0\.0\.1:1 cannot be reached: [^\n]*ECONNREFUSED[^\n]*\n$/,
    ],
    ...[
      "postgresql://u:p@host:99999/x",
      "postgresql://u:sesame%zz@host/x",
      "mysql://u:p@host/x",
      "nonsense",
    ].map((url): [string, Record<string, string>, string[], number, RegExp] => [
      `DATABASE_URL ${url}`,
      { DATABASE_URL: url, API_KEY_SECRET: "a".repeat(32) },
      [],
      2,
      /^wolfpack: DATABASE_URL: must be a postgresql:\/\/ URL[^\n]*\n$/,
    ]),
  ])("refuses %s without a stack trace or a secret", async (_what, env, args, code, sentence) => {
    const end = await run(env, args).ended;
    expect(end.code).toBe(code);
    expect(end.stderr).toMatch(sentence);
    expect(end.stderr).not.toMatch(/\n\s+at |sesame/);
    expect(end.stdout).toBe("");
  });

  it("refuses a broken data directory in one sentence", async () => {
    mkdirSync(path.join(dataDir, "postgres"));
    writeFileSync(path.join(dataDir, "postgres", "thesis.txt"), "");
    const end = await run().ended;
    expect(end.code).toBe(1);
    expect(end.stderr).toMatch(/^wolfpack: [^\n]+PG_VERSION is missing[^\n]+\n$/);
  });
});
