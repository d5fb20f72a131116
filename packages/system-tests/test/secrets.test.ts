/**
 * No secret is where it does not belong after everything was done once: not in a log, a command line, an environment, a refusal, or a
 * byte of the database's files.
 */
import { spawn } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type CreatedApiKey, type WolfpackApiError, wolfpackClient } from "@wolfpack/api-contract";
import { Stack } from "../src/stack.ts";
import { packagedAgent } from "./packaged-agent.ts";

const host = { name: "gpu-1", gpu: "nvidia", maxSandboxes: 4 } as const;
const CLIPBOARD = "canary-of-the-clipboard-5f2c";
/** No secret: what shows that the search finds what is there. */
const VISIBLE = "canary-that-is-no-secret-77ab";

let stack: Stack;
let dataDir: string;
/** By what they are. */
const secrets = new Map<string, string>();
const refusals: string[] = [];
let processes: { pid: number; cmdline: string; environ: string }[];

/** Of this process and of all below it, but not its own. */
function descendants(): typeof processes {
  const found = new Map<number, { parent: number; cmdline: string; environ: string }>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const read = (file: string) => readFileSync(`/proc/${name}/${file}`, "latin1");
      const [, parent] = /^PPid:\t(\d+)$/m.exec(read("status")) ?? [];
      found.set(Number(name), { parent: Number(parent), cmdline: read("cmdline"), environ: read("environ") });
    } catch {
      // It has ended, or is not ours to look at.
    }
  }
  const isOurs = (pid: number): boolean => {
    const parent = found.get(pid)?.parent;
    return parent === process.pid || (parent !== undefined && isOurs(parent));
  };
  return [...found]
    .filter(([pid]) => isOurs(pid))
    .map(([pid, { cmdline, environ }]) => ({ pid, cmdline, environ }));
}

/** Names of the secrets that a text holds. */
const heldBy = (text: string) =>
  [...secrets].filter(([, secret]) => text.includes(secret)).map(([name]) => name);

/** Files below a folder, with what they hold. */
function* filesBelow(folder: string): Generator<[file: string, text: string]> {
  for (const name of readdirSync(folder)) {
    const file = path.join(folder, name);
    const kind = statSync(file);
    if (kind.isDirectory()) yield* filesBelow(file);
    else if (kind.isFile()) yield [file, readFileSync(file, "latin1")];
  }
}

async function refused(call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => undefined,
    (cause: WolfpackApiError) => cause,
  );
  expect(error).toBeDefined();
  refusals.push(JSON.stringify({ ...error, message: error?.message }));
}

async function raw(init: RequestInit & { at?: string } = {}): Promise<void> {
  const response = await fetch(`${stack.baseUrl}/api/v1/${init.at ?? "users"}`, init);
  expect(response.status).toBeGreaterThanOrEqual(400);
  refusals.push(`${JSON.stringify([...response.headers])}${await response.text()}`);
}

/** The private half of an agent's key, in every form in which it could be written somewhere. */
function keepSecret(agent: string, keyFile: string): void {
  const { key } = JSON.parse(readFileSync(keyFile, "utf8")) as { key: { private_key: string } };
  const { d = "" } = createPrivateKey(key.private_key).export({ format: "jwk" });
  const seed = Buffer.from(d, "base64url");
  secrets.set(`the key of ${agent}`, key.private_key.split("\n")[1] ?? "");
  secrets.set(`the key of ${agent} as in a JWK`, d);
  for (const form of ["hex", "latin1"] as const)
    secrets.set(`the key of ${agent} in ${form}`, seed.toString(form));
}

/** Join tokens that were used, used again, damaged, and taken back; and the keys that hosts have made. */
async function enrolHosts(): Promise<void> {
  const admin = stack.client();
  const folder = path.dirname(stack.socketOf(host.name));
  const [file, used] = [path.join(folder, "token"), path.join(folder, "join-token")];
  secrets.set("the join token of gpu-1", readFileSync(used, "utf8").trim());
  keepSecret(host.name, path.join(folder, "state", host.name, "agent-key.json"));
  const { body } = await admin.createJoinToken({ body: { wolf_name: "gpu-2" } });
  const { body: revoked } = await admin.createJoinToken({ body: {} });
  await admin.revokeJoinToken({ params: { id: revoked.id } });
  secrets.set("the join token of gpu-2", body.token).set("the revoked join token", revoked.token);
  const enrol = async (token: string, code: number) => {
    writeFileSync(file, token, { mode: 0o600 });
    const agent = packagedAgent(["enroll", "--join-token-file", file], {
      PATH: folder,
      WOLFPACK_API_URL: stack.baseUrl,
      WOLF_ID: "gpu-2",
      WOLFPACK_STATE_DIR: path.join(folder, "state"),
    });
    expect([await agent.exit, agent.output()]).toEqual([code, expect.any(String)]);
    refusals.push(agent.output());
  };
  for (const token of [revoked.token, `${body.token}x`, secrets.get("the join token of gpu-1") as string])
    await enrol(token, 3);
  await enrol(body.token, 0);
  await enrol(body.token, 3);
  keepSecret("gpu-2", path.join(folder, "state", "gpu-2", "agent-key.json"));
  for (const token of [body.token, revoked.token]) {
    await raw({ headers: { authorization: `Bearer ${token}` } });
    await raw({ at: "revdial?runnerid=wolf-gpu-2", headers: { authorization: `Bearer ${token}` } });
    await raw({ at: `join-tokens/${token}`, method: "DELETE", headers: admins() });
    await raw({ at: `join-tokens?cursor=${token}`, headers: admins() });
  }
}

const admins = () => ({ authorization: `Bearer ${stack.adminKey}` });

/** A browser's session, and calls with its cookie that are refused. */
async function browse(key: string): Promise<void> {
  const headers = { "content-type": "application/json", "x-wolfpack-csrf": "1" };
  const body = JSON.stringify({ key });
  const opened = await fetch(`${stack.baseUrl}/api/v1/web-session`, { method: "POST", headers, body });
  const cookie = /^__Host-wolfpack=([^;]+)/.exec(opened.headers.get("set-cookie") ?? "")?.[1] ?? "";
  secrets.set("the cookie", cookie);
  await raw({ method: "POST", headers: { cookie: `__Host-wolfpack=${cookie}` }, body: "{}" });
  await raw({ headers: { authorization: `Bearer ${cookie}` } });
}

/** Everything that handles a secret, done once, and done wrong once. */
async function doEverything(): Promise<void> {
  const admin = stack.client();
  const { body: user } = await admin.createUser({ body: { name: VISIBLE } });
  const make = async (name: string): Promise<CreatedApiKey> => {
    const { body } = await admin.createApiKey({ body: { name, user_id: user.id } });
    secrets.set(`the key ${name}`, body.key);
    return body;
  };
  const [used, revoked] = [await make("used"), await make("revoked")];
  const owner = stack.client(used.key);
  await admin.revokeApiKey({ params: { id: revoked.id } });
  const { body: session } = await owner.createSession({ body: { name: VISIBLE } });
  const params = { id: session.id };
  await owner.getScreenshot({ params });
  await owner.setClipboard({ params, body: { text: CLIPBOARD } });
  expect((await owner.getClipboard({ params })).body.text).toBe(CLIPBOARD);

  await refused(stack.client(revoked.key).getMe({}));
  await refused(owner.createUser({ body: { name: "x" } }));
  await refused(admin.createUser({ body: { name: VISIBLE } }));
  await refused(wolfpackClient({ baseUrl: stack.baseUrl, apiKey: `${used.key}x` }).getMe({}));
  const key = used.key;
  const json = { "content-type": "application/json" };
  const authorised = { ...json, authorization: `Bearer ${key}` };
  await raw({ headers: { authorization: `Basic ${key}` } });
  await raw({ at: `me?api_key=${key}&access_token=${stack.adminKey}` });
  await raw({ at: `sessions/${key}`, headers: authorised });
  await raw({ at: `api-keys/${key}`, method: "DELETE", headers: authorised });
  await raw({ at: `sessions?cursor=${key}`, headers: authorised });
  await raw({ method: "POST", headers: { ...json, cookie: `__Host-wolfpack=${key}` }, body: "{}" });
  await raw({ method: "POST", headers: authorised, body: `{"name":"${key}` });
  await raw({ method: "POST", headers: authorised, body: `{"${key}":1}` });
  await raw({ at: "revdial?runnerid=wolf-x", headers: { authorization: `Bearer ${key}` } });
  await browse(used.key);
  await enrolHosts();
  await stack.killAgent(host.name);
  await refused(owner.getScreenshot({ params }));
  await stack.startAgent(host.name);
  await stack.until("the screen is back", async () => (await owner.getScreenshot({ params })).status === 200);
  await owner.stopSession({ params });
}

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-secrets-"));
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: [host],
    env: { LOG_LEVEL: "trace" },
    say: () => undefined,
    onCrash: () => undefined,
  });
  for (const name of ["admin-api-key", "runner-token", "api-key-secret"])
    secrets.set(name, readFileSync(path.join(dataDir, name), "utf8").trim());
  for (const [file, text] of filesBelow(path.join(dataDir, "postgres")))
    if (path.basename(file) === "wolfpack-password") secrets.set("the database's password", text.trim());
  secrets.set("the clipboard", CLIPBOARD);
  await doEverything();
  processes = descendants();
  await stack.stop();
}, 90_000);

afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

describe("after everything was done once, no secret", () => {
  it("was forgotten by this test", () => {
    expect(secrets.size).toBeGreaterThanOrEqual(19);
    for (const secret of secrets.values()) expect(secret.length).toBeGreaterThan(20);
  });

  it("is in a log, though every line is logged", () => {
    const logs = [...filesBelow(stack.logFolder)];
    expect(logs.length).toBeGreaterThanOrEqual(3);
    expect(logs.some(([, text]) => text.includes("session"))).toBe(true);
    expect(logs.map(([file, text]) => [file, heldBy(text)]).filter(([, held]) => held?.length !== 0)).toEqual(
      [],
    );
  });

  it("is in a refusal", () => {
    expect(refusals.length).toBeGreaterThan(25);
    expect(refusals.filter((text) => heldBy(text).length > 0)).toEqual([]);
  });

  it("is in the command line or the environment of a process that we start", () => {
    const commands = processes.map(({ cmdline }) => cmdline).join("\n");
    for (const part of ["dist/main.js", "wolf-revdial-client", "postgres", "cli.js"])
      expect(commands).toContain(part);
    const open = processes.map(({ cmdline, environ }) => [
      heldBy(cmdline),
      heldBy(environ),
      cmdline.split("\0").slice(0, 5),
    ]);
    expect(open.filter(([cmdline, environ]) => cmdline?.length !== 0 || environ?.length !== 0)).toEqual([]);
  });

  it("is in a file of the database, its write-ahead log included", () => {
    let visible = 0;
    const held: unknown[] = [];
    for (const [file, text] of filesBelow(path.join(dataDir, "postgres"))) {
      if (text.includes(VISIBLE)) visible += 1;
      const found = heldBy(text);
      if (found.length > 0 && path.basename(file) !== "wolfpack-password") held.push([file, found]);
    }
    // The user's name is in its table, and in the log that is written before it.
    expect(visible).toBeGreaterThanOrEqual(2);
    expect(held).toEqual([]);
  });

  it("would be overlooked in a process that has it from its command line and its environment", async () => {
    const careless = spawn(
      process.execPath,
      ["-e", "process.stdin.on('end', () => 0).resume(); console.log()", VISIBLE],
      {
        env: { SECRET: VISIBLE },
        stdio: ["pipe", "pipe", "ignore"],
      },
    );
    await once(careless.stdout, "data");
    const seen = descendants().find(({ pid }) => pid === careless.pid);
    expect([seen?.cmdline.includes(VISIBLE), seen?.environ.includes(VISIBLE)]).toEqual([true, true]);
    careless.stdin.end();
    await once(careless, "close");
  });
});
