/** The bundled agent and its key: enrolment, proofs, and everything that is wrong with a key, a token or a clock. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { wolfClient } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { type Tunnel, tunnelFetch } from "revdial";
import { badProxy } from "revdial/testing";
import { readConfig } from "../src/config.ts";
import { createCredential } from "../src/identity/credential.ts";
import { inventoryOf } from "../src/inventory/static.ts";
import { createLogger } from "../src/logger.ts";
import { AgentKeys, aJoinToken } from "./agent-keys.ts";
import { type AgentProcess, bundle, startAgent } from "./agent-process.ts";
import { type FakeControlPlane, fakeControlPlane, TOKEN } from "./control-plane.ts";

let folder: string;
let keys: AgentKeys;
let plane: FakeControlPlane;
let wolf: WolfEmulator;
let agents: AgentProcess[];
let joinToken: string;

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "ai-"));
  keys = new AgentKeys(TOKEN);
  joinToken = aJoinToken();
  keys.joinTokens.set(joinToken, 1);
  plane = await fakeControlPlane(0, keys);
  wolf = await startWolfEmulator({ listen: { unixSocket: path.join(folder, "wolf.sock") } });
  agents = [];
});

afterEach(async () => {
  for (const { process: child } of agents) child.kill("SIGKILL");
  await Promise.all(agents.map(({ exit }) => exit));
  await plane.stop();
  await wolf.close();
  rmSync(folder, { recursive: true, force: true });
});

const keyFile = () => path.join(folder, "state", "wolf-1", "agent-key.json");
const readKey = () => JSON.parse(readFileSync(keyFile(), "utf8"));
const writeKey = (file: object) => writeFileSync(keyFile(), JSON.stringify(file), { mode: 0o600 });
const lobbies = (tunnel: Tunnel) => wolfClient({ fetch: tunnelFetch(tunnel, "wolf") }).listLobbies();

/** With no token unless one is given. */
function agent(
  env: Record<string, string> = {},
  flags: readonly string[] = [],
  apiUrl = plane.url,
): AgentProcess {
  const started = startAgent({
    apiUrl,
    wolfSocket: `${folder}/wolf.sock`,
    flags,
    env: { RUNNER_TOKEN: "", ...env },
  });
  agents.push(started);
  return started;
}
async function stop({ process: child, exit }: AgentProcess): Promise<void> {
  child.kill("SIGTERM");
  expect(await exit).toBe(0);
}
/** An enrolled host whose agent has stopped. */
async function enrolled(): Promise<void> {
  const first = agent({ JOIN_TOKEN: joinToken });
  await plane.nextTunnel();
  await stop(first);
}

describe("the agent's enrolment", () => {
  it("makes a key, uses its join token once, and needs none from then on", async () => {
    const file = path.join(folder, "join-token");
    writeFileSync(file, `${joinToken}\n`);
    const first = agent({}, ["--join-token-file", file]);
    expect(await lobbies(await plane.nextTunnel())).toEqual([]);
    expect(plane.registrations).toEqual([]);
    expect(keys.enrolments).toMatchObject([
      { bearer: joinToken, request: { name: "wolf-1", gpu_type: "nvidia", agent_version: "0.1.0" } },
    ]);
    expect(await plane.notice((type) => type === "inventory")).toMatchObject({ gpu_type: "nvidia" });
    expect(statSync(keyFile()).mode & 0o777).toBe(0o600);
    expect(readKey()).toMatchObject({
      version: 1,
      control_plane: plane.url,
      wolf_name: "wolf-1",
      wolf_id: keys.keys[0]?.wolfId,
      key: { id: keys.keys[0]?.id, expires_at: keys.keys[0]?.expiresAt },
      candidate: null,
    });
    await stop(first);
    rmSync(file);
    agent({ JOIN_TOKEN_FILE: file });
    expect(await lobbies(await plane.nextTunnel())).toEqual([]);
    expect([keys.enrolments.length, keys.joinTokens.get(joinToken)]).toEqual([1, 0]);
  });

  it("enrols with the RUNNER_TOKEN, and does not send it to open tunnels", async () => {
    agent({ RUNNER_TOKEN: TOKEN });
    await plane.nextTunnel();
    expect(keys.enrolments).toMatchObject([{ bearer: TOKEN }]);
    expect(keys.admitted).toMatchObject([{ purpose: "connect", keyId: keys.keys[0]?.id }]);
  });

  it("proves its key anew for every way and every dial", async () => {
    const proxy = await badProxy(plane.url, { upgrade: "down-only" });
    agent({ JOIN_TOKEN: joinToken }, [], new URL("/", proxy.url).href);
    let tunnel = await plane.nextTunnel();
    while (tunnel.transport !== "http") tunnel = await plane.nextTunnel();
    proxy.modes.upgrade = "pass";
    let back = await plane.nextTunnel();
    while (back.transport !== "websocket") back = await plane.nextTunnel();
    expect(await lobbies(back)).toEqual([]);
    const nonces = keys.admitted.map(({ nonce }) => nonce);
    expect(nonces.length).toBeGreaterThanOrEqual(3);
    expect(new Set(nonces).size).toBe(nonces.length);
    expect(keys.enrolments).toHaveLength(1);
    await proxy.stop();
  });

  it("waits with the same key while an admin has not approved it, and says so once", async () => {
    keys.pending = true;
    const { said, output } = agent({ JOIN_TOKEN: joinToken });
    await said(/waits for approval/);
    while (keys.enrolments.length < 3) await new Promise((resolve) => setImmediate(resolve));
    keys.approve();
    expect(await lobbies(await plane.nextTunnel())).toEqual([]);
    expect(keys.keys).toHaveLength(1);
    expect(output().match(/waits for approval/g)).toHaveLength(1);
    expect(output()).toContain(`/api/v1/agent-keys/${keys.keys[0]?.id}/approve`);
  });

  it("asks again with the same key after a start that heard no answer", async () => {
    keys.pending = true;
    const first = agent({ JOIN_TOKEN: joinToken });
    await first.said(/waits for approval/);
    await stop(first);
    keys.approve();
    agent({ JOIN_TOKEN: joinToken });
    await plane.nextTunnel();
    expect(keys.keys).toHaveLength(1);
  });

  it("ends with 3 when an admin refuses its key, and makes another one at its next start only", async () => {
    keys.pending = true;
    const { said, exit, output } = agent({ RUNNER_TOKEN: TOKEN });
    await said(/waits for approval/);
    keys.pending = false;
    (keys.keys[0] as { status: string }).status = "revoked";
    expect(await exit).toBe(3);
    expect(output()).toMatch(/This key was revoked\.\nAsk an admin why this host is not to be wolf-1/);
    expect(keys.keys).toHaveLength(1);
    agent({ RUNNER_TOKEN: TOKEN });
    await plane.nextTunnel();
    expect(keys.keys.map(({ status }) => status)).toEqual(["revoked", "active"]);
  });

  it.each([
    ["used up", 0, /used up.*ask an admin for another one for wolf-1/s],
    ["unknown", undefined, /Unknown token.*ask an admin for another one for wolf-1/s],
  ])("exits with 3 when its join token is %s, and says what to do", async (_what, left, words) => {
    if (left === undefined) keys.joinTokens.clear();
    else keys.joinTokens.set(joinToken, left);
    const { exit, output } = agent({ JOIN_TOKEN: joinToken });
    expect(await exit).toBe(3);
    expect(output()).toMatch(words);
    expect(output()).not.toContain(joinToken);
  });

  it("exits with 2 where it has neither a key nor a token", async () => {
    const none = agent();
    expect(await none.exit).toBe(2);
    expect(none.output()).toContain("--join-token-file (JOIN_TOKEN_FILE)");
  });

  it("signals nobody else when it ends in the moment in which it looks for tools that are not there", async () => {
    const flags = ["--api-url", plane.url, "--wolf-id", "wolf-1", "--state-dir", path.join(folder, "state")];
    // A shell in a process group of its own, so that nobody else could be met.
    const script = 'trap "exit 99" TERM; "$0" "$@"; exit $?';
    const argv = ["-c", script, process.execPath, bundle, ...flags, "--gpu-type", "nvidia"];
    const child = spawn("/bin/sh", argv, { detached: true, stdio: "ignore", env: { PATH: folder } });
    expect(await once(child, "close")).toEqual([2, null]);
  });

  it("exits with 2 where it has nowhere to keep a key", async () => {
    const file = path.join(folder, "a-file");
    writeFileSync(file, "");
    const nowhere = agent({ JOIN_TOKEN: joinToken, WOLFPACK_STATE_DIR: file });
    expect(await nowhere.exit).toBe(2);
    expect(nowhere.output()).toContain("--state-dir");
    expect(keys.joinTokens.get(joinToken)).toBe(1);
  });

  it("registers and connects with the RUNNER_TOKEN where no directory could keep a key, and enrols with nothing", async () => {
    const without = (env: NodeJS.ProcessEnv) => {
      const config = readConfig({ flags: { apiUrl: plane.url, wolfId: "wolf-1" }, env });
      const log = createLogger("silent");
      const inventory = inventoryOf(config, "0.1.0");
      return createCredential({ config, inventory, place: undefined, log, wallClock: Date.now });
    };
    const { signal } = new AbortController();
    const runner = without({ RUNNER_TOKEN: TOKEN });
    await runner.prepare(signal);
    expect(plane.registrations).toMatchObject([{ name: "wolf-1" }]);
    expect(await runner.forDial(signal).headers()).toEqual({ authorization: `Bearer ${TOKEN}` });
    const joiner = without({ JOIN_TOKEN: joinToken, RUNNER_TOKEN: "" });
    await expect(joiner.prepare(signal)).rejects.toThrow(/--state-dir .* has to name a directory/);
    await expect(joiner.enrol(signal)).rejects.toThrow(/--state-dir/);
    expect([keys.enrolments, keys.joinTokens.get(joinToken)]).toEqual([[], 1]);
  });

  it("names both times when the clocks differ, and goes on once they agree", async () => {
    keys.now = () => Date.now() + 3_600_000;
    const { said, output } = agent({ JOIN_TOKEN: joinToken });
    await said(/the clocks differ too much: it is \d{4}-.*Z on this host and \d{4}-.*Z at the control plane/);
    keys.now = () => Date.now();
    await plane.nextTunnel();
    keys.now = () => Date.now() - 3_600_000;
    (plane.tunnels.at(-1) as Tunnel).destroy();
    await said(/the clocks differ too much.*the clocks differ too much/s);
    keys.now = () => Date.now();
    await plane.nextTunnel();
    expect(output()).not.toContain("DIAL_REFUSED: the upgrade");
  });

  it("registers as before at a control plane without keys, and enrols once that has been upgraded", async () => {
    const { port } = new URL(plane.url);
    await plane.stop();
    plane = await fakeControlPlane(Number(port));
    const { said, output } = agent({ RUNNER_TOKEN: TOKEN });
    const first = await plane.nextTunnel();
    await said(/tunnel up/);
    first.destroy();
    await plane.nextTunnel();
    expect(plane.registrations).toHaveLength(2);
    await said(/goes on with the RUNNER_TOKEN/);
    expect(output().match(/goes on with the RUNNER_TOKEN/g)).toHaveLength(1);
    expect(existsSync(keyFile())).toBe(false);
    await plane.stop();
    plane = await fakeControlPlane(Number(port), keys);
    await plane.nextTunnel();
    expect(keys.enrolments).toHaveLength(1);
  });
});

describe("a key that the control plane does not know", () => {
  it("ends the agent with 3 and the way to a new one, and stays in its file", async () => {
    await enrolled();
    const before = readFileSync(keyFile(), "utf8");
    keys.keys.length = 0;
    const { exit, output } = agent();
    expect(await exit).toBe(3);
    expect(output()).toMatch(/no such key.*Enrol this host anew: wolf-revdial-client enroll/s);
    expect(readFileSync(keyFile(), "utf8")).toBe(before);
  });

  it("is replaced where there is a token that is good for it", async () => {
    await enrolled();
    keys.keys.length = 0;
    agent({ RUNNER_TOKEN: TOKEN });
    expect(await lobbies(await plane.nextTunnel())).toEqual([]);
    expect(keys.enrolments.map(({ bearer }) => bearer)).toEqual([joinToken, TOKEN]);
  });

  it("is not replaced with a join token that was used before", async () => {
    await enrolled();
    keys.keys.length = 0;
    const { exit, output } = agent({ JOIN_TOKEN: joinToken });
    expect(await exit).toBe(3);
    expect(output()).toMatch(/used up.*Enrol this host anew/s);
  });

  it("is shown first to be enrolled again, so that one that has expired comes back without an admin", async () => {
    await enrolled();
    const before = readKey();
    (keys.keys[0] as { expiresAt: string }).expiresAt = new Date(Date.now() - 1000).toISOString();
    // Another key of this name would wait.
    keys.pending = true;
    agent({ RUNNER_TOKEN: TOKEN });
    expect(await lobbies(await plane.nextTunnel())).toEqual([]);
    expect(keys.keys).toHaveLength(1);
    expect(readKey().key).toMatchObject({ id: before.key.id, private_key: before.key.private_key });
    expect(readKey().key.expires_at).toBe(keys.keys[0]?.expiresAt);
    expect(Date.parse(readKey().key.expires_at)).toBeGreaterThan(Date.now());
  });

  it("gives way to a new one where it was revoked", async () => {
    await enrolled();
    const before = readKey();
    (keys.keys[0] as { status: string }).status = "revoked";
    agent({ RUNNER_TOKEN: TOKEN });
    expect(await lobbies(await plane.nextTunnel())).toEqual([]);
    expect(keys.keys.map(({ status }) => status)).toEqual(["revoked", "active"]);
    expect(readKey().key.private_key).not.toBe(before.key.private_key);
  });

  it("ends the agent with 3 when it waits to be enrolled again and an admin revokes it", async () => {
    await enrolled();
    keys.keys.length = 0;
    keys.pending = true;
    const { said, exit } = agent({ RUNNER_TOKEN: TOKEN });
    await said(/waits for approval/);
    expect(keys.keys).toHaveLength(1);
    (keys.keys[0] as { status: string }).status = "revoked";
    expect(await exit).toBe(3);
    expect(keys.keys).toHaveLength(1);
  });

  it("is looked for in its file again: somebody may have enrolled the host meanwhile", async () => {
    const { said } = agent({ JOIN_TOKEN: joinToken });
    const tunnel = await plane.nextTunnel();
    await said(/tunnel up/);
    const stale = readKey();
    const [key] = keys.keys;
    const id = `agk_${"9".repeat(26)}`;
    keys.keys.splice(0, 1, { ...key, id } as never);
    writeKey({ ...stale, key: { ...stale.key, id } });
    tunnel.destroy();
    expect(await lobbies(await plane.nextTunnel())).toEqual([]);
    expect(keys.admitted.at(-1)?.keyId).toBe(id);
  });

  it("gives way to the one before it, which is kept until the new one has opened a tunnel", async () => {
    await enrolled();
    const file = readKey();
    const unknown = { ...file.key, id: `agk_${"8".repeat(26)}` };
    writeKey({ ...file, key: unknown, previous: file.key });
    agent();
    expect(await lobbies(await plane.nextTunnel())).toEqual([]);
    expect(keys.admitted.at(-1)?.keyId).toBe(file.key.id);
  });
});

describe("a key file", () => {
  it.each<[string, (file: Record<string, unknown>) => void, RegExp]>([
    ["that others can read", () => chmodSync(keyFile(), 0o640), /can be read by others \(mode 640\)/],
    ["that is cut", () => writeFileSync(keyFile(), readFileSync(keyFile()).subarray(0, -40)), /is damaged/],
    ["of another form", (file) => writeKey({ ...file, version: 2 }), /is damaged/],
    [
      "whose key is none",
      (file) => writeKey({ ...file, key: { ...(file.key as object), private_key: "-----BEGIN" } }),
      /is damaged/,
    ],
    [
      "of another control plane",
      (file) => writeKey({ ...file, control_plane: "https://other.example" }),
      /is of the control plane https:\/\/other\.example, not of http:/,
    ],
    [
      "of another wolf",
      (file) => writeKey({ ...file, wolf_name: "wolf-2" }),
      /is of the wolf wolf-2, not of --wolf-id wolf-1/,
    ],
  ])(
    "%s ends the agent with 2, says how to go on, and shows nothing of the key",
    async (_what, spoil, words) => {
      await enrolled();
      const secret = readKey().key.private_key.split("\n")[1];
      spoil(readKey());
      const { exit, output } = agent({ RUNNER_TOKEN: TOKEN });
      expect(await exit).toBe(2);
      expect(output()).toMatch(words);
      expect(output()).toContain("Enrol this host anew: wolf-revdial-client enroll --join-token-file");
      expect(output()).not.toContain(secret);
      expect(output()).not.toMatch(/\n\s+at /);
    },
  );
});

describe("the agent's secrets", () => {
  it("are in no line, no argument and no file but the key's", async () => {
    const started = agent({ JOIN_TOKEN: joinToken, RUNNER_TOKEN: TOKEN }, ["--log-level", "trace"]);
    const tunnel = await plane.nextTunnel();
    await lobbies(tunnel);
    plane.refuseUpgrade = { status: 500, body: `you sent ${joinToken} and ${TOKEN}` };
    plane.refuseOpen = plane.refuseUpgrade;
    tunnel.destroy();
    await started.said(/answered with status 500/);
    const argv = readFileSync(`/proc/${started.process.pid}/cmdline`, "utf8");
    await stop(started);
    const pem = readKey().key.private_key as string;
    const [, middle = ""] = pem.split("\n");
    expect(middle.length).toBeGreaterThan(40);
    for (const secret of [joinToken, TOKEN, middle])
      expect([started.output().includes(secret), argv.includes(secret)]).toEqual([false, false]);
  });
});
