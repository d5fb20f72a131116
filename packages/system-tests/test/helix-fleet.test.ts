/**
 * A fleet of hosts that still run Helix's agents, before the control plane as a real process: sessions from their start to their stop,
 * screens, returns, restarts, and nothing that is left behind.
 */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { WolfInstance } from "@wolfpack/api-contract";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { GoClient, type GoClientOptions } from "../src/helix/go-client.ts";
import { type GoGeneration, goGenerations } from "../src/helix/go-habits.ts";
import { realClock } from "../src/helix/real-clock.ts";
import { Stack } from "../src/stack.ts";
import { abandonedAt } from "./abandoned.ts";

let stack: Stack;
let dataDir: string;
let token: string;
const crashes: string[] = [];
const clients: GoClient[] = [];
const wolves: WolfEmulator[] = [];

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-helix-"));
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: [],
    env: {
      LEGACY_RUNNER_TOKEN: "allow",
      WOLFPACK_LOBBY_SETTLE_SECONDS: "1",
      // Everything comes from one address.
      WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: "1000000",
      WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: "1000000",
    },
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
  token = readFileSync(path.join(dataDir, "runner-token"), "utf8").trim();
}, 90_000);

afterEach(async () => {
  for (const client of clients.splice(0)) client.stop();
  for (const wolf of wolves.splice(0)) await wolf.close();
});

afterAll(async () => {
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

async function connect(key: string, options: Partial<GoClientOptions>): Promise<GoClient> {
  const client = await GoClient.connect({
    url: stack.baseUrl,
    key,
    token,
    target: { path: "" },
    generation: "seed",
    clock: realClock,
    // Not five seconds, where a test waits for it.
    reconnectMs: 300,
    ...options,
  });
  clients.push(client);
  return client;
}

interface LegacyHost {
  client: GoClient;
  wolf: WolfEmulator;
  name: string;
}

const folders = () => mkdtempSync(path.join("/tmp", "wl-"));

async function host(
  name: string,
  generation: GoGeneration,
  options: Partial<GoClientOptions> = {},
): Promise<LegacyHost> {
  const folder = folders();
  const socket = path.join(folder, "wolf.sock");
  const wolf = await startWolfEmulator({
    listen: { unixSocket: socket },
    stateFolder: folder,
    containerStartDelayMs: 5,
  });
  wolves.push(wolf);
  const client = await connect(`wolf-${name}`, { generation, target: { path: socket }, ...options });
  await stack.until(`${name} takes sessions`, async () => (await show(name))?.reconciled === true);
  return { client, wolf, name };
}

async function show(name: string): Promise<WolfInstance | undefined> {
  return (await stack.client().listWolves({ query: { name } })).body[0];
}

/** No sessions go to it any more. */
async function retire(name: string): Promise<void> {
  const wolf = await show(name);
  if (wolf) await stack.client().cordonWolf({ params: { id: wolf.id }, body: {} });
}

describe.each(goGenerations)("a host whose agent is of generation %s", (generation) => {
  let name = "";
  let tests = 0;
  beforeEach(() => {
    tests += 1;
    name = `gpu-${generation}-${tests}`;
  });
  afterEach(() => retire(name));

  it("registers itself, runs a session from its start to its stop, and is said to use the shared token", async () => {
    const { client, wolf } = await host(name, generation);
    const shown = await show(name);
    expect(shown).toMatchObject({
      name,
      status: "online",
      max_sandboxes: 20,
      tunnel: { protocol: "helix" },
      legacy_credential: true,
    });
    const api = stack.client();
    const { body: session } = await api.createSession({ body: {} });
    expect(session).toMatchObject({ status: "running", wolf_instance_id: shown?.id });
    expect(wolf.lobbies()).toMatchObject([{ name: session.id, state: "running" }]);
    await api.stopSession({ params: { id: session.id } });
    expect(wolf.lobbies()).toEqual([]);
    expect([client.bytesLost, client.straddled, client.ends, client.crashed]).toEqual([0, 0, [], false]);
  }, 60_000);

  it("comes back when its connection is cut, and what was asked meanwhile waits for it", async () => {
    const { client, wolf } = await host(name, generation);
    const api = stack.client();
    const before = (await show(name))?.tunnel?.epoch ?? 0;
    const { body: session } = await api.createSession({ body: {} });
    client.cut();
    await stack.until("the tunnel is gone", async () => (await show(name))?.tunnel == null);
    // Before the agent is back.
    expect((await api.stopSession({ params: { id: session.id } })).status).toBe(204);
    expect(wolf.lobbies()).toEqual([]);
    expect((await show(name))?.tunnel?.epoch).toBeGreaterThan(before);
  }, 60_000);

  it("gives way to a newer agent of the same name, and is told why", async () => {
    const { client, wolf } = await host(name, generation, { reconnectMs: 1_000_000 });
    const { address } = wolf;
    const newer = await connect(`wolf-${name}`, {
      generation,
      target: { path: address.slice("unix://".length) },
    });
    await client.until(({ isConnected }) => !isConnected);
    expect(client.closeCodes).toEqual([4001]);
    await stack.until("sessions run through the newer one", async (api) => {
      const { body } = await api.createSession({ body: {} });
      await api.stopSession({ params: { id: body.id } });
      return newer.pickups > 0;
    });
  }, 60_000);
});

describe("a restart of the control plane", () => {
  it("is survived by agents of all generations, and by their sessions", async () => {
    const hosts = await Promise.all(goGenerations.map((generation) => host(`r-${generation}`, generation)));
    const api = stack.client();
    const sessions = await Promise.all(hosts.map(async () => (await api.createSession({ body: {} })).body));
    await stack.killControlPlane();
    await Promise.all(hosts.map(({ client }) => client.until(({ isConnected }) => !isConnected)));
    await stack.startControlPlane();
    await Promise.all(hosts.map(({ client }) => client.until(({ isConnected }) => isConnected)));
    for (const { name } of hosts)
      await stack.until(`${name} takes sessions`, async () => (await show(name))?.reconciled === true);
    for (const { id } of sessions) {
      const { body } = await stack.client().getSession({ params: { id } });
      expect(body).toMatchObject({ status: "running", reachable: true });
      await stack.client().stopSession({ params: { id } });
    }
    expect(hosts.flatMap(({ wolf }) => wolf.lobbies())).toEqual([]);
    for (const { name } of hosts) await retire(name);
  }, 120_000);
});

describe("an agent of Helix in a sandbox", () => {
  /** What Helix's image has there. */
  async function screenServer(): Promise<{ server: Server; port: number; clipboard: () => string }> {
    let clipboard = "";
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const route = `${request.method} ${request.url}`;
      if (route === "GET /screenshot") response.setHeader("content-type", "image/png").end(png);
      else if (route === "POST /clipboard") {
        clipboard = Buffer.concat(chunks).toString();
        response.end();
      } else if (route === "GET /clipboard" && clipboard === "")
        response.setHeader("content-type", "text/plain").end();
      else if (route === "GET /clipboard")
        response.setHeader("content-type", "application/json").end(clipboard);
      else response.writeHead(404).end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { server, port: (server.address() as AddressInfo).port, clipboard: () => clipboard };
  }
  const png = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");

  it("opens its tunnel with its owner's key, and with no other's", async () => {
    await host("s-1", "seed");
    const admin = stack.client();
    const make = async (name: string) => {
      const { body: user } = await admin.createUser({ body: { name } });
      return (await admin.createApiKey({ body: { name: "sandbox", user_id: user.id } })).body.key;
    };
    const [owner, stranger] = [await make("helix-owner"), await make("helix-stranger")];
    const { body: session } = await stack.client(owner).createSession({ body: {} });
    const { server, port, clipboard } = await screenServer();
    try {
      const params = { id: session.id };
      const target = { host: "127.0.0.1", port };
      const key = `sandbox-${session.id}`;
      await expect(connect(key, { token: stranger, target })).rejects.toMatchObject({ status: 404 });
      const client = await connect(key, { token: owner, target, generation: "head" });
      await stack.until("the sandbox has a tunnel", async () => {
        const { body } = await stack.client(owner).getScreenshot({ params });
        return Buffer.from(body).equals(png);
      });
      expect((await stack.client(owner).getClipboard({ params })).body).toEqual({ text: "" });
      await stack.client(owner).setClipboard({ params, body: { text: "wolves – 狼" } });
      expect(JSON.parse(clipboard())).toEqual({ type: "text", data: "wolves – 狼" });
      expect((await stack.client(owner).getClipboard({ params })).body).toEqual({ text: "wolves – 狼" });
      expect(client.refusals).toEqual([]);
      await stack.client(owner).stopSession({ params });
    } finally {
      server.closeAllConnections();
      server.close();
      await retire("s-1");
    }
  }, 60_000);
});

describe("2,000 requests, 32 at once, through the whole control plane", () => {
  it("are answered, and leave no connection behind", async () => {
    const { client, wolf } = await host("load", "seed");
    const api = stack.client();
    const { id = "" } = (await show("load")) ?? {};
    const { body: session } = await api.createSession({ body: {} });
    let left = 2000;
    const failures: unknown[] = [];
    const worker = async () => {
      while (left > 0) {
        left -= 1;
        const answer = await api.listWolfLobbies({ params: { id } }).catch((error: unknown) => error);
        if (JSON.stringify(answer).includes(session.id)) continue;
        failures.push(answer);
      }
    };
    await Promise.all(Array.from({ length: 32 }, worker));
    expect(failures).toEqual([]);
    expect([client.bytesLost, client.straddled, client.ends, client.crashed]).toEqual([0, 0, [], false]);
    await api.stopSession({ params: { id: session.id } });
    client.stop();
    await stack.until("the tunnel is gone", async () => (await show("load"))?.tunnel == null);
    const port = Number(new URL(stack.baseUrl).port);
    await stack.until("what the agent left is closed", async () => abandonedAt(port) === 0);
    expect(wolf.lobbies()).toEqual([]);
    await retire("load");
  }, 120_000);
});
