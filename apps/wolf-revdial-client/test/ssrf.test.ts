/**
 * A control plane that wants the agent to connect elsewhere: names, paths and fields that point to other hosts, ports, sockets and
 * metadata services. Every connect of the agent's process is written down by a hook inside of it.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { defaultLimits, type Tunnel } from "revdial";
import { Core, encodeFrame } from "revdial/testing";
import type { WebSocket } from "ws";
import { type AgentProcess, startAgent } from "./agent-process.ts";
import { type FakeControlPlane, fakeControlPlane } from "./control-plane.ts";
import { sessionId } from "./lobby.ts";

const hook = fileURLToPath(new URL("./connect-hook.cjs", import.meta.url));

let folder: string;
let connectsFile: string;
let plane: FakeControlPlane;
let wolf: WolfEmulator;
let agent: AgentProcess;

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "sf-"));
  connectsFile = path.join(folder, "connects");
  plane = await fakeControlPlane();
  wolf = await startWolfEmulator({
    listen: { unixSocket: path.join(folder, "wolf.sock") },
    stateFolder: folder,
  });
  agent = startAgent({
    apiUrl: plane.url,
    wolfSocket: path.join(folder, "wolf.sock"),
    flags: ["--service", `screen=unix://${folder}/wolfpack/{session}/screen.sock`],
    env: { NODE_OPTIONS: `--require=${hook}`, CONNECTS_FILE: connectsFile },
  });
});

afterEach(async () => {
  agent.process.kill("SIGKILL");
  await agent.exit;
  await plane.stop();
  await wolf.close();
  rmSync(folder, { recursive: true, force: true });
});

const connects = (): string[] =>
  readFileSync(connectsFile, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as string);

/** What the agent was started for; a screen is opened by a handle of its own. */
function strangers(): string[] {
  const own = new Set([path.join(folder, "wolf.sock"), new URL(plane.url).host]);
  const screen = new RegExp(`^(/proc/self/fd/\\d+|${folder}/wolfpack/${sessionId})(/screen\\.sock)?$`);
  return connects().filter((target) => !own.has(target) && !screen.test(target));
}

/** Places that somebody would like to be asked. */
const places = [
  "127.0.0.1",
  "localhost",
  "0.0.0.0",
  "169.254.169.254",
  "metadata.google.internal",
  "10.0.0.1",
  "evil.example",
  "wolf.evil.example",
  "wolf.",
  ".wolf",
  "..",
  "...",
  "screen.sock",
  "run",
  "docker.sock",
  "2130706433",
  "0x7f000001",
  "unix",
  "http",
  "wolf-1",
  "wolf_",
  "screens",
  "control",
  "proxy",
  "tcp",
  "127.1",
  "screen.127.0.0.1",
  "x.wolf",
  "constructor",
  "__proto__".replaceAll("_", "-"),
];
const paths = [
  "/",
  "//169.254.169.254/latest/meta-data/",
  "/http://169.254.169.254/",
  "/@169.254.169.254/",
  "/..",
  "/../../../run/docker.sock",
  "/%2e%2e/%2e%2e/run/docker.sock",
  "/unix:/run/docker.sock",
  "/api/v1/../../",
  "/api/v1/lobbies@127.0.0.1:1",
  `/${sessionId}/../screenshot`,
  `/${sessionId}/screenshot/../../x`,
  `/..%2f..%2frun%2fdocker.sock/screenshot`,
  `/${sessionId}%00/screenshot`,
  `/${sessionId}:22/screenshot`,
  `/127.0.0.1:22/screenshot`,
  "/ses_../screenshot",
  "/?url=http://169.254.169.254/",
];
const fields: readonly (readonly [string, string])[][] = [
  [],
  [
    ["x-forwarded-host", "169.254.169.254"],
    ["x-wolf-target", "unix:///run/docker.sock"],
    ["forwarded", "host=127.0.0.1:22"],
    ["x-original-url", "http://127.0.0.1:22/"],
  ],
];

async function ask(tunnel: Tunnel, service: string, target: string, headers: (readonly [string, string])[]) {
  try {
    const reply = await tunnel.request({ service, method: "GET", path: target, headers });
    for await (const _ of reply.body);
    return reply.status;
  } catch {
    return 0;
  }
}

describe("the agent", () => {
  it("connects to what it was started for and to nothing else, whatever 1,000 requests name", async () => {
    const tunnel = await plane.nextTunnel();
    let asked = 0;
    const statuses = new Set<number>();
    for (const service of ["wolf", "screen", ...places]) {
      for (const target of paths) {
        for (const headers of fields) {
          asked += 1;
          statuses.add(await ask(tunnel, service, target, headers));
        }
      }
    }
    expect(asked).toBeGreaterThan(1000);
    expect([...statuses].filter((status) => status > 0 && status < 400)).toEqual([]);
    for (const place of places) await expect(tunnel.connect(place, { path: "/" })).rejects.toThrow();
    expect(strangers()).toEqual([]);
    // And it still does what it is there for; the hook has seen that.
    expect(await ask(tunnel, "wolf", "/api/v1/lobbies", [])).toBe(200);
    expect(connects()).toContain(path.join(folder, "wolf.sock"));
  }, 60_000);

  it.each(["http://127.0.0.1:22/", "unix:///run/docker.sock", "127.0.0.1:22", "wolf\0evil.example"])(
    "ends a tunnel whose open names the service %j, and connects to nothing",
    async (service) => {
      await plane.nextTunnel();
      const ended = Promise.withResolvers<void>();
      plane.hostile = (webSocket) => {
        sayOpen(webSocket, service);
        webSocket.once("close", () => ended.resolve());
      };
      // Another agent, for the first has its tunnel.
      const again = startAgent({
        apiUrl: plane.url,
        wolfSocket: path.join(folder, "wolf.sock"),
        env: {
          NODE_OPTIONS: `--require=${hook}`,
          CONNECTS_FILE: connectsFile,
          WOLFPACK_STATE_DIR: path.join(folder, "again"),
        },
      });
      await ended.promise;
      again.process.kill("SIGKILL");
      await again.exit;
      expect(strangers()).toEqual([]);
    },
  );
});

/** Greets as a control plane does, then opens a channel that no encoder of ours would write. */
function sayOpen(webSocket: WebSocket, service: string): void {
  const limits = defaultLimits;
  const options = {
    limits,
    dialled: false,
    agent: "evil/1",
    incarnation: 0n,
    features: [],
    pingIntervalMs: 5000,
    deadAfterMs: 15_000,
  };
  const core = new Core(options, 0);
  const placeholder = "p".repeat(service.length);
  const head = {
    kind: 0,
    service: placeholder,
    method: "GET",
    path: "/",
    deadlineMs: 0,
    traceparent: "",
    protocol: "",
    headers: [],
  };
  const open = Buffer.from(encodeFrame({ type: "open", channel: 2, end: true, ...head }, limits));
  open.write(service, open.indexOf(placeholder), "latin1");
  webSocket.on("message", (message) => {
    const ready = core.input(new Uint8Array(Buffer.concat([message as Buffer].flat())), 0);
    for (let next = core.nextMessage(0); next.parts !== undefined; next = core.nextMessage(0))
      webSocket.send(Buffer.concat(next.parts));
    if (ready.some(({ effect }) => effect === "ready")) webSocket.send(open);
  });
}

describe("the hook", () => {
  it.each([
    [
      "a forwarder that takes the service for a host",
      "require('net').connect(1, process.argv[1])",
      "127.0.0.1",
      "127.0.0.1:1",
    ],
    ["one that takes it for a URL", "fetch(process.argv[1])", "http://127.0.0.1:40001/", "127.0.0.1:40001"],
    [
      "one that takes it for a socket's path",
      "require('http').get({ socketPath: process.argv[1] })",
      "/tmp/no-such.sock",
      "/tmp/no-such.sock",
    ],
  ])("sees where %s goes", (_what, code, service, target) => {
    const source = `${code}${code.startsWith("fetch") ? ".catch(() => 0)" : ".on('error', () => 0)"}`;
    spawnSync(process.execPath, ["--require", hook, "-e", source, service], {
      env: { CONNECTS_FILE: connectsFile },
    });
    expect(connects()).toContain(target);
    expect(strangers()).toContain(target);
  });
});
