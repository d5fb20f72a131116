/** The bundled agent where WebSockets are blocked: it falls back, serves, and moves back. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { wolfClient } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { type Tunnel, tunnelFetch } from "revdial";
import { type BadProxy, type BadProxyModes, badProxy } from "revdial/testing";
import { type AgentProcess, startAgent } from "./agent-process.ts";
import { type FakeControlPlane, fakeControlPlane, TOKEN } from "./control-plane.ts";

let folder: string;
let plane: FakeControlPlane;
let wolf: WolfEmulator;
let agents: AgentProcess[];
let proxies: BadProxy[];
let screens: Server[];

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "af-"));
  plane = await fakeControlPlane();
  const listen = { unixSocket: path.join(folder, "wolf.sock") };
  wolf = await startWolfEmulator({ listen, stateFolder: folder });
  agents = [];
  proxies = [];
  screens = [];
});

afterEach(async () => {
  for (const { process: child } of agents) child.kill("SIGKILL");
  await Promise.all(agents.map(({ exit }) => exit));
  for (const proxy of proxies) await proxy.stop();
  for (const screen of screens) {
    screen.closeAllConnections();
    screen.close();
  }
  await plane.stop();
  await wolf.close();
  rmSync(folder, { recursive: true, force: true });
});

function agent(flags: readonly string[] = [], apiUrl = plane.url): AgentProcess {
  const started = startAgent({ apiUrl, wolfSocket: `${folder}/wolf.sock`, flags });
  agents.push(started);
  return started;
}

async function agentBehind(
  modes: BadProxyModes,
  flags: string[] = [],
): Promise<AgentProcess & { proxy: BadProxy }> {
  const proxy = await badProxy(plane.url, modes);
  proxies.push(proxy);
  return { ...agent(flags, new URL("/", proxy.url).href), proxy };
}

const lobbies = (tunnel: Tunnel) => wolfClient({ fetch: tunnelFetch(tunnel, "wolf") }).listLobbies();
const linesOf = ({ output }: AgentProcess) =>
  output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { level: number; msg: string } & Record<string, unknown>);

/** A screen service that answers when told. */
async function slowScreen(): Promise<{
  asked(times: number): Promise<void>;
  answer(): void;
  flags: string[];
}> {
  const waiting: ServerResponse[] = [];
  const watchers = new Set<() => void>();
  const server = createServer((_request, response) => {
    waiting.push(response);
    for (const look of [...watchers]) look();
  });
  const socketPath = path.join(folder, "screen.sock");
  server.listen(socketPath);
  await once(server, "listening");
  screens.push(server);
  return {
    flags: ["--service", `screen=unix://${socketPath}`],
    asked: (times) =>
      new Promise((resolve) => {
        const look = () => waiting.length >= times && resolve();
        watchers.add(look);
        look();
      }),
    answer() {
      for (const response of waiting.splice(0)) response.end('{"text":"late"}');
    },
  };
}
const readScreen = async (tunnel: Tunnel) =>
  (await tunnelFetch(tunnel, "screen")("/ses_01ARZ3NDEKTSV4RRFFQ69G5FAV/clipboard")).status;

describe("the agent behind a network that blocks WebSockets", () => {
  it.each<[string, BadProxyModes["upgrade"], object]>([
    ["refuses the upgrade", { status: 502 }, { code: "DIAL_REFUSED", status: 502 }],
    ["filters it", { status: 403 }, { code: "DIAL_REFUSED", status: 403 }],
    ["cuts the connection", "cut", { code: "DIAL_FAILED" }],
    ["lets nothing up after the upgrade", "down-only", { code: "DIAL_TIMEOUT" }],
  ])("says once why, and serves over plain HTTP, when a proxy %s", async (_name, upgrade, why) => {
    const started = await agentBehind({ upgrade: upgrade ?? "pass" });
    let tunnel = await plane.nextTunnel();
    if (tunnel.transport === "websocket") tunnel = await plane.nextTunnel();
    expect(tunnel.transport).toBe("http");
    expect(await lobbies(tunnel)).toEqual([]);
    expect(await plane.notice((type) => type === "inventory")).toMatchObject({ gpu_type: "nvidia" });
    expect(await plane.notice((type) => type === "heartbeat")).toMatchObject({ wolf: "ok" });
    await started.said(/"transport":"http".*"tunnel up"/);
    const warnings = linesOf(started).filter(({ level }) => level === 40);
    expect(warnings).toEqual([
      expect.objectContaining({ ...why, msg: expect.stringContaining("falling back to plain HTTP") }),
    ]);
    expect(plane.registrations).toHaveLength(1);
  });

  it("moves back when a WebSocket gets through, and does not take the end of the old tunnel for another agent", async () => {
    const screen = await slowScreen();
    const started = await agentBehind({ upgrade: { status: 502 } }, screen.flags);
    const old = await plane.nextTunnel();
    const inFlight = readScreen(old);
    await screen.asked(1);
    started.proxy.modes.upgrade = "pass";
    const young = await plane.nextTunnel();
    expect(young.transport).toBe("websocket");
    expect(old.draining).toBe(false);
    await started.said(/moved back to a WebSocket/);
    // As a control plane does that has issued the epoch.
    void old.close({ code: "REPLACED" });
    expect(await lobbies(young)).toEqual([]);
    screen.answer();
    expect(await inFlight).toBe(200);
    await old.closed;
    expect(await lobbies(young)).toEqual([]);
    const inventories = () => plane.notices.filter(({ type }) => type === "inventory");
    await plane.notice(() => inventories().length === 2);
    expect(plane.registrations).toHaveLength(1);
    expect(started.output()).not.toMatch(/another agent|tunnel down/);
    expect(linesOf(started).filter(({ msg }) => msg === "moved back to a WebSocket")).toMatchObject([
      { level: 30 },
    ]);
  });

  it("moves back also when the old tunnel is ended before the new one is known to be up", async () => {
    const started = await agentBehind({ upgrade: { status: 502 } });
    const old = await plane.nextTunnel();
    await started.said(/tunnel up/);
    plane.beforeUpgrade = () => old.close({ code: "REPLACED" });
    started.proxy.modes.upgrade = "pass";
    const young = await plane.nextTunnel();
    expect((await old.closed).code).toBe("CLOSED");
    await started.said(/moved back to a WebSocket/);
    expect(await lobbies(young)).toEqual([]);
    expect(started.output()).not.toMatch(/another agent|tunnel down/);
    expect(plane.registrations).toHaveLength(1);
  });

  it("goes on serving after its own move while a newer agent of the host waits without a tunnel", async () => {
    const started = await agentBehind({ upgrade: { status: 502 } });
    const old = await plane.nextTunnel();
    await started.said(/tunnel up/);
    const newer = agent([], "http://127.0.0.1:1");
    await newer.said(/waits for Wolf's events/);
    started.proxy.modes.upgrade = "pass";
    const young = await plane.nextTunnel();
    await started.said(/moved back to a WebSocket/);
    void old.close({ code: "REPLACED" });
    await old.closed;
    expect(await lobbies(young)).toEqual([]);
    expect(young.draining).toBe(false);
    // The seat, too, is still its own, until a tunnel that is live is replaced.
    expect(started.output()).not.toMatch(/took over/);
    void young.close({ code: "REPLACED" });
    await started.said(/a newer agent of this host took over/);
    expect(await started.exit).toBe(0);
  });

  it("stays with the old tunnel when the control plane ends the new one without taking it over", async () => {
    const started = await agentBehind({ upgrade: { status: 502 } });
    const old = await plane.nextTunnel();
    started.proxy.modes.upgrade = "pass";
    const refused = await plane.nextTunnel();
    await started.said(/moved back to a WebSocket/);
    // As a control plane does whose database issues no epoch.
    refused.destroy();
    await started.said(/goes on over the tunnel of before/);
    expect(await lobbies(old)).toEqual([]);
    await plane.notice(() => plane.notices.filter(({ type }) => type === "inventory").length >= 3);
    expect((await plane.nextTunnel()).transport).toBe("websocket");
    expect(plane.registrations).toHaveLength(1);
  });

  it("says so when another agent really took its place", async () => {
    const started = await agentBehind({ upgrade: { status: 502 } });
    const tunnel = await plane.nextTunnel();
    await started.said(/tunnel up/);
    void tunnel.close({ code: "REPLACED" });
    await started.said(/another agent connected as this wolf/);
  });

  it("finishes what is in flight on both tunnels when it is stopped after a move", async () => {
    const screen = await slowScreen();
    const started = await agentBehind({ upgrade: { status: 502 } }, screen.flags);
    const old = await plane.nextTunnel();
    started.proxy.modes.upgrade = "pass";
    const young = await plane.nextTunnel();
    await started.said(/moved back to a WebSocket/);
    const both = Promise.all([readScreen(old), readScreen(young)]);
    await screen.asked(2);
    started.process.kill("SIGTERM");
    await started.said(/draining/);
    screen.answer();
    expect(await both).toEqual([200, 200]);
    expect(await started.exit).toBe(0);
    expect((await old.closed).code).toBe("DRAINING");
  });

  it("comes back over HTTP when the tunnel is cut, and when the server says", async () => {
    const started = await agentBehind({ upgrade: { status: 502 } });
    const first = await plane.nextTunnel();
    await started.said(/tunnel up/);
    started.proxy.cut();
    await first.closed;
    const second = await plane.nextTunnel();
    expect(await lobbies(second)).toEqual([]);
    void second.close({ retryAfterMs: 7000 });
    await started.said(/"wait_ms":7\d{3},/);
  });

  it("never shows its token or a tunnel's key", async () => {
    plane.refuseUpgrade = { status: 502, body: `you sent Bearer ${TOKEN}` };
    const started = agent(["--log-level", "trace"]);
    const tunnel = await plane.nextTunnel();
    await lobbies(tunnel);
    plane.refuseOpen = { status: 500, body: `and again ${TOKEN}` };
    tunnel.destroy();
    await started.said(/open request was answered with status 500/);
    started.process.kill("SIGTERM");
    expect(await started.exit).toBe(0);
    expect(plane.keys.size).toBe(1);
    for (const secret of [TOKEN, ...plane.keys]) expect(started.output()).not.toContain(secret);
  });

  it.each([401, 403])("exits with 3 when its token is refused over HTTP with %i", async (status) => {
    plane.refuseUpgrade = { status: 426 };
    plane.refuseOpen = { status };
    const { exit, output } = agent();
    expect(await exit).toBe(3);
    expect(output()).toMatch(/RUNNER_TOKEN/);
    expect(output()).not.toContain(TOKEN);
  });
});

describe("--transport", () => {
  it("websocket never falls back", async () => {
    plane.refuseUpgrade = { status: 502 };
    const started = agent(["--transport", "websocket"]);
    await started.said(/status 502.*status 502/s);
    plane.refuseUpgrade = undefined;
    expect((await plane.nextTunnel()).transport).toBe("websocket");
    expect(started.output()).not.toContain("falling back");
  });

  it("http never tries a WebSocket, and stays", async () => {
    const started = agent(["--transport", "http"]);
    const tunnel = await plane.nextTunnel();
    expect(await lobbies(tunnel)).toEqual([]);
    tunnel.destroy();
    expect((await plane.nextTunnel()).transport).toBe("http");
    expect(plane.upgrades).toBe(0);
    expect(started.output()).not.toContain("falling back");
  });

  it("http exits with 3 when its token is refused", async () => {
    plane.refuseOpen = { status: 401 };
    expect(await agent(["--transport", "http"]).exit).toBe(3);
  });

  it("of another kind exits with 2 and names it", async () => {
    const { exit, output } = agent(["--transport", "pigeon"]);
    expect(await exit).toBe(2);
    expect(output()).toContain("--transport (WOLFPACK_TRANSPORT) has to be auto, websocket or http");
  });
});
