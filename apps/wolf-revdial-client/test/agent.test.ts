/** The bundled agent as a process, between a control plane in this process and real Wolf emulators. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { HostFacts, HostUsage } from "@wolfpack/api-contract";
import { wolfClient } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { type Tunnel, tunnelFetch } from "revdial";
import type { WebSocket } from "ws";
import { type AgentProcess, type AgentProcessOptions, bundle, startAgent } from "./agent-process.ts";
import { type FakeControlPlane, fakeControlPlane, TOKEN } from "./control-plane.ts";
import { lobby, sessionId } from "./lobby.ts";

let folder: string;
let plane: FakeControlPlane;
let wolf: WolfEmulator;
let agents: Pick<AgentProcess, "process" | "exit">[];

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "ag-"));
  plane = await fakeControlPlane();
  wolf = await startWolfEmulator({
    listen: { unixSocket: path.join(folder, "wolf.sock") },
    stateFolder: folder,
    containerStartDelayMs: 5,
    stallMs: 300,
  });
  agents = [];
});

afterEach(async () => {
  for (const { process: child } of agents) child.kill("SIGKILL");
  await Promise.all(agents.map(({ exit }) => exit));
  await plane.stop();
  await wolf.close();
  rmSync(folder, { recursive: true, force: true });
});

function agent(
  flags: readonly string[] = [],
  more: Pick<AgentProcessOptions, "env" | "file" | "node"> = {},
): AgentProcess {
  const started = startAgent({ apiUrl: plane.url, wolfSocket: `${folder}/wolf.sock`, flags, ...more });
  agents.push(started);
  return started;
}

const client = (tunnel: Tunnel) => wolfClient({ fetch: tunnelFetch(tunnel, "wolf"), createTimeoutMs: 5000 });
const ask = async (tunnel: Tunnel, method: string, target: string, body?: string, service = "wolf") => {
  const reply = await tunnelFetch(tunnel, service)(`http://x${target}`, {
    method,
    ...(body === undefined ? {} : { body }),
  });
  return { status: reply.status, refused: reply.headers.get("x-wolfpack-refused"), text: await reply.text() };
};

/** Wolf's events reach the control plane from here on: it has subscribed, and holds the tunnel for live, which it is here a moment earlier. */
const hears = (said: AgentProcess["said"]) =>
  Promise.all([said(/subscribed to Wolf's events/), plane.notice((type) => type === "heartbeat")]);

describe("the agent", () => {
  it("registers what the host offers, connects, and serves Wolf's lobbies", async () => {
    const device = path.join(folder, "drm", "card0", "device");
    mkdirSync(device, { recursive: true });
    writeFileSync(path.join(device, "vendor"), "0x10de\n");
    const limits = ["--max-sandboxes", "7", "--encoder-sessions-max", "3"];
    agent([...limits, "--label", "zone=a", "--gpu-folder", path.join(folder, "drm")]);
    const tunnel = await plane.nextTunnel();
    expect(plane.registrations).toMatchObject([
      { name: "wolf-1", gpu_type: "nvidia", max_sandboxes: 7, labels: { zone: "a" }, agent_version: "0.1.0" },
    ]);
    expect(tunnel.peer?.agent).toBe("wolf-revdial-client/0.1.0");
    const { lobby_id } = await client(tunnel).createLobby(lobby);
    expect((await client(tunnel).listLobbies()).map(({ id }) => id)).toEqual([lobby_id]);
    await client(tunnel).stopLobby({ lobby_id });
    expect(await plane.notice((type) => type === "inventory")).toMatchObject({
      gpu_type: "nvidia",
      max_sandboxes: 7,
      encoder_sessions_max: 3,
    });
    expect(await plane.notice((type) => type === "heartbeat")).toMatchObject({ wolf: "ok" });
    // Whatever this host has: what can be read is told, and nothing is an error.
    const { host } = await plane.notice((type, json) => type === "inventory" && json.host !== undefined);
    const facts = HostFacts.parse(host);
    expect(facts).toMatchObject({ cpu_count: os.cpus().length, memory_bytes: os.totalmem() });
    expect(facts.gpus).toContainEqual(expect.objectContaining({ id: "card0", vendor: "nvidia" }));
    const { usage, restarts } = await plane.notice(
      (type, json) => type === "heartbeat" && json.usage !== undefined,
    );
    HostUsage.parse(usage);
    expect(restarts).toEqual({ count: 0, recent: false });
  });

  it("sends Wolf's events up, numbered and without secrets", async () => {
    const { said } = agent();
    const tunnel = await plane.nextTunnel();
    await hears(said);
    const { lobby_id } = await client(tunnel).createLobby({ ...lobby, pin: [1, 2, 3, 4] });
    const created = await plane.notice(
      (type, json) => type === "wolf-event" && String(json.event).endsWith("CreateLobbyEvent"),
    );
    expect(created).toMatchObject({ seq: expect.any(Number), data: { id: lobby_id } });
    expect(JSON.stringify(created)).not.toMatch(/pin/);
    const ran = await plane.notice(
      (type, json) => type === "wolf-event" && String(json.event).endsWith("DockerContainerCreated"),
    );
    expect(ran).toMatchObject({ data: { session_id: lobby_id } });
    expect(Number(ran.seq)).toBeGreaterThan(Number(created.seq));
  });

  it("keeps one event subscription for its life, also across tunnels", async () => {
    agent();
    const first = await plane.nextTunnel();
    first.destroy();
    await plane.nextTunnel();
    expect(wolf.requests.filter((request) => request.path === "/api/v1/events")).toHaveLength(1);
  });

  it("serves the screens of sandboxes, and nothing else below their template", async () => {
    const { said } = agent(["--service", `screen=unix://${folder}/wolfpack/{session}/screen.sock`]);
    const tunnel = await plane.nextTunnel();
    await hears(said);
    await client(tunnel).createLobby(lobby);
    await plane.notice((_type, json) => String(json.event).endsWith("DockerContainerCreated"));
    const shot = await tunnelFetch(tunnel, "screen")(`/${sessionId}/screenshot`);
    expect(shot.headers.get("content-type")).toBe("image/png");
    expect(
      Buffer.from(await shot.arrayBuffer())
        .subarray(1, 4)
        .toString(),
    ).toBe("PNG");
    expect(await ask(tunnel, "POST", `/${sessionId}/clipboard`, '{"text":"hi"}', "screen")).toMatchObject({
      status: 200,
    });
    expect((await ask(tunnel, "GET", `/${sessionId}/clipboard`, undefined, "screen")).text).toBe(
      '{"text":"hi"}',
    );
    expect(await ask(tunnel, "GET", "/ses_..%2f..%2f/screenshot", undefined, "screen")).toMatchObject({
      status: 404,
      refused: "route-unknown",
    });
    expect(await ask(tunnel, "POST", `/${sessionId}/screenshot`, "{}", "screen")).toMatchObject({
      status: 405,
      refused: "method-not-allowed",
    });
    expect(
      await ask(tunnel, "GET", `/${sessionId.replace("FAV", "FAW")}/screenshot`, undefined, "screen"),
    ).toMatchObject({ status: 502, refused: "upstream-unreachable" });
  });

  it.each([
    ["GET", "/api/v1/events", undefined, 403, "route-closed"],
    ["GET", "/api/v1/sessions", undefined, 403, "route-closed"],
    ["POST", "/api/v1/sessions/stop", '{"session_id":"abc"}', 403, "route-closed"],
    ["POST", "/api/v1/runners/start", "{}", 403, "route-closed"],
    ["GET", "/api/v1/utils/get-icon?icon_path=/etc/passwd", undefined, 403, "route-closed"],
    ["GET", "/api/v1/lobbies/", undefined, 404, "route-unknown"],
    ["DELETE", "/api/v1/lobbies", undefined, 405, "method-not-allowed"],
    ["POST", "/api/v1/lobbies/create", "{", 400, "body-invalid"],
    [
      "POST",
      "/api/v1/lobbies/create",
      JSON.stringify({ ...lobby, runner: { type: "process", run_cmd: "id" } }),
      403,
      "runner-refused",
    ],
    [
      "POST",
      "/api/v1/lobbies/create",
      JSON.stringify({ ...lobby, runner: { ...lobby.runner, mounts: ["/data"] } }),
      400,
      "body-invalid",
    ],
    ["POST", "/api/v1/lobbies/stop", " ".repeat(70_000), 413, "body-too-large"],
  ])("refuses %s %s before Wolf sees it", async (method, target, body, status, refused) => {
    agent();
    const tunnel = await plane.nextTunnel();
    await plane.notice((type) => type === "heartbeat");
    const seen = wolf.requests.length;
    expect(await ask(tunnel, method, target, body)).toMatchObject({ status, refused });
    expect(await ask(tunnel, "GET", "/", undefined, "docker")).toMatchObject({
      status: 404,
      refused: "service-unknown",
    });
    expect(wolf.requests.slice(seen).filter(({ path: seenPath }) => seenPath !== "/api/v1/lobbies")).toEqual(
      [],
    );
  });

  it("passes Wolf's own errors on, and turns its silence and broken replies into codes", async () => {
    agent();
    const tunnel = await plane.nextTunnel();
    let homes = 0;
    const create = () => {
      const runner_state_folder = `wolfpack/a${++homes}`;
      return ask(tunnel, "POST", "/api/v1/lobbies/create", JSON.stringify({ ...lobby, runner_state_folder }));
    };
    wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "500", times: 1 });
    expect(await create()).toMatchObject({ status: 500, refused: null });
    wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "no-reply", times: 1 });
    expect(await create()).toMatchObject({ status: 502, refused: "upstream-reply-broken" });
    wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "half-body", times: 1 });
    expect(await create()).toMatchObject({ status: 502, refused: "upstream-reply-broken" });
    wolf.fail({ on: "GET /api/v1/lobbies", mode: "half-body", times: 1 });
    expect(await ask(tunnel, "GET", "/api/v1/lobbies")).toMatchObject({ status: 200 });
    await wolf.close();
    expect(await ask(tunnel, "GET", "/api/v1/lobbies")).toMatchObject({
      status: 502,
      refused: "upstream-unreachable",
    });
  });

  it("reaches a Wolf over TCP too", async () => {
    const overTcp = await startWolfEmulator({ listen: { port: 0 } });
    agent(["--local", overTcp.address]);
    const tunnel = await plane.nextTunnel();
    expect(await client(tunnel).listLobbies()).toEqual([]);
    await overTcp.close();
  });

  it("comes back after the tunnel was lost, and after the control plane was away", async () => {
    agent();
    (await plane.nextTunnel()).destroy();
    await plane.nextTunnel();
    const { port } = new URL(plane.url);
    await plane.stop();
    plane = await fakeControlPlane(Number(port));
    const again = await plane.nextTunnel();
    expect(await client(again).listLobbies()).toEqual([]);
  });

  it("tries again after an upgrade that is answered with 404 or 503", async () => {
    plane.refuseUpgrade = { status: 503, headers: { "retry-after": "1" } };
    const { said } = agent();
    await said(/status 503/);
    plane.refuseOpen = { status: 404 };
    plane.refuseUpgrade = { status: 404 };
    await said(/open request was answered with status 404/);
    plane.refuseUpgrade = undefined;
    await plane.nextTunnel();
    expect(plane.registrations.length).toBeGreaterThan(1);
  });

  it("comes back when the server says, also from a refused registration", async () => {
    plane.refuseRegistration = 503;
    plane.refusalHeaders = { "retry-after": "7" };
    const { said, output } = agent();
    await said(/"wait_ms":/);
    expect(output()).toMatch(/"wait_ms":7\d{3},/);
  });

  it("counts a restart of Wolf when it answers again", async () => {
    agent();
    await plane.nextTunnel();
    await plane.notice((type, json) => type === "heartbeat" && json.wolf === "ok");
    await wolf.close();
    await plane.notice((type, json) => type === "heartbeat" && json.wolf === "unreachable");
    wolf = await startWolfEmulator({
      listen: { unixSocket: path.join(folder, "wolf.sock") },
      stateFolder: folder,
    });
    const restarted = await plane.notice(
      (type, json) => type === "heartbeat" && (json.restarts as { count: number }).count > 0,
    );
    expect(restarted).toMatchObject({ wolf: "ok", restarts: { count: 1, recent: true } });
  });

  it("serves with labels that are too long for a notice, over one tunnel", async () => {
    const labels = Array.from({ length: 32 }, (_, i) => ["--label", `key${i}=${"€".repeat(250)}`]).flat();
    const { said } = agent(labels);
    const tunnel = await plane.nextTunnel();
    expect(await client(tunnel).listLobbies()).toEqual([]);
    expect(await plane.notice((type) => type === "heartbeat")).toMatchObject({ wolf: "ok" });
    expect(plane.registrations).toHaveLength(1);
    await said(/too large/);
  });

  it("survives a control plane that speaks anything but the protocol", async () => {
    const bytes = (...parts: (string | Buffer)[]) => Buffer.concat(parts.map((part) => Buffer.from(part)));
    const replies: ((webSocket: WebSocket) => void)[] = [
      (socket) => socket.terminate(),
      (socket) => socket.close(4000, "go away"),
      (socket) => socket.send("text, not bytes"),
      (socket) => socket.send(Buffer.alloc(0)),
      (socket) => socket.send(Buffer.alloc(64, 0xff)),
      (socket) => socket.send(Buffer.alloc(64)),
      (socket) => socket.send(Buffer.alloc(2 * 1024 * 1024, 1)),
      // Its own words sent back, then torn, then with bytes behind them.
      (socket) => socket.once("message", (hello: Buffer) => socket.send(hello.subarray(0, -1))),
      (socket) =>
        socket.once("message", (hello: Buffer) => socket.send(bytes(hello, Buffer.alloc(40, 0xee)))),
      (socket) => socket.once("message", (hello: Buffer) => socket.send(bytes(hello, hello))),
    ];
    const { process: child, output } = agent(["--transport", "websocket"]);
    let tried = 0;
    await new Promise<void>((resolve) => {
      plane.hostile = (webSocket) => {
        webSocket.on("error", () => undefined);
        const reply = replies[tried++];
        if (reply === undefined) {
          plane.hostile = undefined;
          webSocket.terminate();
          resolve();
        } else {
          reply(webSocket);
          // Whatever the agent makes of it, the connection ends.
          setImmediate(() => webSocket.close());
        }
      };
    });
    expect(await client(await plane.nextTunnel()).listLobbies()).toEqual([]);
    expect(child.exitCode).toBeNull();
    expect(output()).not.toMatch(/\n\s+at /);
  });

  it("answers what no path, method or service may be, and serves on", async () => {
    agent(["--service", `screen=unix://${folder}/wolfpack/{session}/screen.sock`]);
    const tunnel = await plane.nextTunnel();
    const rounds = [];
    for (const service of ["wolf", "screen", "constructor", "x".repeat(63)])
      for (const method of ["GET", "POST", "CONNECT", "get", "*"])
        for (const target of [
          "/",
          "/../../etc/passwd",
          "/%00",
          `/${"a".repeat(20_000)}`,
          "/{session}/screenshot",
        ])
          rounds.push(tunnel.request({ service, method, path: target, body: Buffer.alloc(3, 0xff) }));
    for (const { status, headers } of await Promise.all(rounds)) {
      expect([400, 403, 404, 405]).toContain(status);
      expect(new Map(headers).get("x-wolfpack-refused")).toMatch(/^[a-z-]+$/);
    }
    expect(await client(tunnel).listLobbies()).toEqual([]);
  });

  it("finishes what is in flight on SIGTERM, and exits with 0", async () => {
    wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "stall", times: 1 });
    const { process: child, exit, said } = agent();
    const tunnel = await plane.nextTunnel();
    await said(/tunnel up/);
    const inFlight = ask(tunnel, "POST", "/api/v1/lobbies/create", JSON.stringify(lobby));
    while (!wolf.requests.some((request) => request.path.endsWith("/create")))
      await new Promise((resolve) => setImmediate(resolve));
    child.kill("SIGTERM");
    expect(await inFlight).toMatchObject({ status: 500, text: expect.stringContaining("timed out") });
    expect((await tunnel.closed).code).toBe("DRAINING");
    expect(await exit).toBe(0);
  });

  it("exits at once on a second signal", async () => {
    wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "stall", times: 1 });
    const { process: child, exit, said } = agent();
    const tunnel = await plane.nextTunnel();
    await said(/tunnel up/);
    const inFlight = ask(tunnel, "POST", "/api/v1/lobbies/create", JSON.stringify(lobby)).catch(
      (error: unknown) => error,
    );
    while (!wolf.requests.some((request) => request.path.endsWith("/create")))
      await new Promise((resolve) => setImmediate(resolve));
    child.kill("SIGTERM");
    await said(/draining/);
    child.kill("SIGTERM");
    expect(await exit).toBe(143);
    await inFlight;
  });
});

describe("the agent's command line", () => {
  it.each([401, 403])(
    "exits with 3 and says what to do when its token is refused with %i",
    async (status) => {
      plane.refuseRegistration = status;
      const { exit, output } = agent();
      expect(await exit).toBe(3);
      expect(output()).toMatch(/RUNNER_TOKEN/);
      expect(output()).not.toContain(TOKEN);
    },
  );

  it("exits with 3 when only the tunnel is refused, and repeats nothing that steers a terminal", async () => {
    plane.refuseUpgrade = { status: 403, body: `no: Bearer ${TOKEN} \u001b]0;owned\u0007` };
    plane.refuseOpen = plane.refuseUpgrade;
    const { exit, output } = agent();
    expect(await exit).toBe(3);
    expect(output()).toContain("no: Bearer [token]");
    expect(output()).not.toMatch(/(?!\n)\p{Cc}/u);
    expect(output()).not.toContain(TOKEN);
  });

  it("keeps trying with a token that had worked", async () => {
    const { said } = agent();
    const tunnel = await plane.nextTunnel();
    await said(/tunnel up/);
    plane.refuseRegistration = 401;
    tunnel.destroy();
    // One to two minutes.
    await said(/"kind":"credential".*"wait_ms":(?:[6-9]\d|1[01]\d)\d{3}\D/s);
    await said(/"advice":"Check RUNNER_TOKEN or --token-file/);
    expect(agents[0]?.process.exitCode).toBeNull();
  });

  it.each([
    [["--wolf-id", "a b"], "--wolf-id"],
    [["--api-url", "nonsense"], "--api-url"],
    [["--local", "nowhere"], "--local"],
    [["--unknown"], "--unknown"],
    [["surplus"], "argument"],
    [["--gpu-type", "voodoo"], "--gpu-type"],
    [["-insecure=maybe"], "--insecure"],
  ])("exits with 2 for %j and names it", async (flags, named) => {
    const { exit, output } = agent(flags);
    expect(await exit).toBe(2);
    expect(output()).toContain(named);
    expect(output()).not.toMatch(/\n\s+at /);
  });

  it("exits with 2 without a token", async () => {
    const { exit, output } = agent([], { env: { RUNNER_TOKEN: "" } });
    expect(await exit).toBe(2);
    expect(output()).toContain("--token-file (RUNNER_TOKEN_FILE)");
  });

  it("takes the original's spellings, and the token from a file", async () => {
    const file = path.join(folder, "token");
    writeFileSync(file, `${TOKEN}\n`);
    const child = spawn(
      process.execPath,
      [
        bundle,
        "-api-url",
        plane.url,
        "-wolf-id=wolf-2",
        "-local",
        `unix://${folder}/wolf.sock`,
        "-insecure=false",
        "-reconnect=1",
      ],
      {
        env: {
          PATH: process.env.PATH ?? "",
          RUNNER_TOKEN_FILE: file,
          STATE_DIRECTORY: `${folder}/state`,
          WOLFPACK_INSECURE: "1",
        },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    let text = "";
    child.stderr.setEncoding("utf8").on("data", (more: string) => (text += more));
    agents.push({
      process: child,
      exit: once(child, "close").then(([code]) => code as number | null),
    });
    await plane.nextTunnel();
    expect(plane.registrations).toMatchObject([{ name: "wolf-2" }]);
    // The flag wins.
    expect(text).not.toContain("certificates are not checked");
  });

  it("shows help and version on stdout with 0", async () => {
    for (const [flag, expected] of [
      ["--help", "connect"],
      ["--help", "--wolf-id <name>"],
      ["--help", "WOLF_ID"],
      ["--version", "0.1.0"],
    ] as const) {
      const child = spawn(process.execPath, [bundle, flag], { stdio: ["ignore", "pipe", "ignore"] });
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      expect((await once(child, "close"))[0]).toBe(0);
      expect(text).toContain(expected);
    }
  });

  it("runs as one file copied to an empty folder, also with the system's Node", async () => {
    const copy = path.join(folder, "agent.mjs");
    copyFileSync(bundle, copy);
    const system = ["/usr/bin/node", "/usr/local/bin/node"].find((file) => existsSync(file));
    for (const node of [process.execPath, ...(system === undefined ? [] : [system])]) {
      agent([], { file: copy, node });
      const tunnel = await plane.nextTunnel();
      expect(await client(tunnel).listLobbies()).toEqual([]);
    }
  });

  it("never shows its token, whatever happens", async () => {
    plane.refuseUpgrade = { status: 500 };
    const { output, process: child, exit, said } = agent(["--log-level", "trace", "--token", TOKEN]);
    await said(/status 500/);
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
    expect(output()).not.toContain(TOKEN);
    expect(output()).toContain("can be seen");
  });
});
