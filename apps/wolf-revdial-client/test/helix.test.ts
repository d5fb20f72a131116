/** The bundled agent as a process between a Helix control plane, spoken by hand, and real Wolf emulators. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { text as readText } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { ManualClock, makeCertificate } from "revdial/testing";
import { binary, type Control, HelixServer } from "../../../packages/revdial/test/helix-server.ts";
import { runAgent } from "../src/agent.ts";
import { createCondition } from "../src/condition.ts";
import { readConfig } from "../src/config.ts";
import { createLogger } from "../src/logger.ts";
import { createMetrics } from "../src/metrics.ts";
import { type AgentProcess, bundle, startAgent } from "./agent-process.ts";
import { TOKEN } from "./control-plane.ts";

let folder: string;
let plane: HelixServer;
let agents: AgentProcess[];
let stops: (() => Promise<unknown>)[];

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "hx-"));
  plane = await new HelixServer().listen();
  agents = [];
  stops = [];
});

afterEach(async () => {
  for (const { process: child } of agents) child.kill("SIGKILL");
  await Promise.all(agents.map(({ exit }) => exit));
  await plane.stop();
  for (const stop of stops) await stop();
  rmSync(folder, { recursive: true, force: true });
});

function agent(flags: readonly string[] = [], env: Record<string, string> = {}): AgentProcess {
  const started = startAgent({
    apiUrl: plane.url,
    wolfSocket: `${folder}/wolf.sock`,
    flags: ["--protocol", "helix", ...flags],
    env,
  });
  agents.push(started);
  return started;
}

async function wolf(): Promise<WolfEmulator> {
  const started = await startWolfEmulator({
    listen: { unixSocket: path.join(folder, "wolf.sock") },
    containerStartDelayMs: 5,
  });
  stops.push(() => started.close());
  return started;
}

/** A Wolf that answers when it is told. */
async function slowWolf(): Promise<{ asked: () => Promise<unknown>; answer: () => void }> {
  const waiting: ServerResponse[] = [];
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const server: Server = createServer((_request, response) => {
    waiting.push(response);
    resolve();
  });
  server.listen(path.join(folder, "wolf.sock"));
  await once(server, "listening");
  stops.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  const body = '{"success":true,"lobbies":[]}';
  return {
    asked: () => asked,
    answer: () => {
      for (const response of waiting.splice(0)) response.setHeader("content-length", body.length).end(body);
    },
  };
}

/** One call as the original makes it, over a data connection of its own. */
async function call(control: Control, method: string, target: string, body?: string) {
  const data = await plane.dial(control);
  const json = body === undefined ? [] : ["Content-Type: application/json"];
  const answer = await data.ask(method, target, body, json);
  data.cut();
  return answer;
}
const list = (control: Control) => call(control, "GET", "/api/v1/lobbies");

const warnings = ({ output }: AgentProcess) =>
  output()
    .split("\n")
    .filter((line) => line.startsWith('{"level":40'))
    .map((line) => JSON.parse(line) as { msg: string } & Record<string, unknown>);

const helixLobby = {
  profile_id: "helix-sessions",
  name: "Agent 5FAV",
  multi_user: true,
  stop_when_everyone_leaves: false,
  pin: [1, 2, 3, 4],
  video_settings: {
    width: 1920,
    height: 1080,
    refresh_rate: 60,
    wayland_render_node: "",
    runner_render_node: "",
    video_producer_buffer_caps: "",
  },
  audio_settings: { channel_count: 2 },
  runner_state_folder: "/wolf-state/agent-ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  runner: {
    type: "docker",
    name: "sway-external-01ARZ3NDEKTSV4RRFFQ69G5FAV",
    image: "helix-sway:a1b2c3",
    mounts: [],
    env: ["HELIX_SESSION_ID=ses_01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    devices: [],
    ports: [],
    base_create_json: '{"HostConfig":{"IpcMode":"host"}}',
  },
};

describe("an agent of a Helix control plane", () => {
  it("serves Wolf, one data connection for each call or many calls over one, with its token on each", async () => {
    const emulator = await wolf();
    agent();
    const control = await plane.control();
    const answers = await Promise.all(Array.from({ length: 32 }, () => list(control)));
    expect(
      answers.map(({ status, body }) => [status, (JSON.parse(body) as { success: boolean }).success]),
    ).toEqual(answers.map(() => [200, true]));
    const data = await plane.dial(control, { plain: true });
    for (let calls = 0; calls < 3; calls += 1)
      expect(await data.ask("GET", "/api/v1/lobbies")).toMatchObject({ status: 200 });
    expect(emulator.counts.requests.get("GET /api/v1/lobbies")).toBe(35);
    for (const { path: where, headers } of plane.requests) {
      expect(where).toMatch(/^\/api\/v1\/revdial\?(runnerid=wolf-wolf-1$|revdial\.dialer=)/);
      expect(headers.authorization).toBe(`Bearer ${TOKEN}`);
    }
  });

  it("registers nothing, listens to none of Wolf's events, and keeps no state", async () => {
    const emulator = await wolf();
    const { said } = agent();
    const control = await plane.control();
    await said(/"transport":"helix".*tunnel up/);
    await list(control);
    expect(plane.requests.filter(({ headers }) => headers.upgrade === undefined)).toEqual([]);
    expect(emulator.requests.map((request) => request.path)).toEqual(["/api/v1/lobbies"]);
    expect(existsSync(path.join(folder, "state"))).toBe(false);
  });

  it("guards Wolf as ever: what Helix creates is refused, and with a policy's word passes", async () => {
    const emulator = await wolf();
    const create = (control: Control, body: object) =>
      call(control, "POST", "/api/v1/lobbies/create", JSON.stringify(body));
    const guarded = agent();
    const first = await plane.control();
    expect(await create(first, helixLobby)).toMatchObject({
      status: 400,
      headers: { "x-wolfpack-refused": "body-invalid" },
    });
    expect(await call(first, "GET", "/api/v1/events")).toMatchObject({
      status: 403,
      headers: { "x-wolfpack-refused": "route-closed" },
    });
    expect(await call(first, "GET", "/api/v1/system/memory")).toMatchObject({ status: 404 });
    guarded.process.kill("SIGKILL");
    await guarded.exit;
    expect(emulator.requests).toEqual([]);

    writeFileSync(
      path.join(folder, "policy.json"),
      JSON.stringify({ helix_homes: "/wolf-state", base_create_json: true }),
    );
    agent(["--policy-file", path.join(folder, "policy.json")]);
    const second = await plane.control();
    const { status, body } = await create(second, helixLobby);
    expect([status, JSON.parse(body)]).toEqual([200, expect.objectContaining({ success: true })]);
    expect(JSON.parse(emulator.requests.at(-1)?.body ?? "")).toEqual(helixLobby);
    const mounting = { ...helixLobby, runner: { ...helixLobby.runner, mounts: ["/var/run/docker.sock:/d"] } };
    expect(await create(second, mounting)).toMatchObject({
      headers: { "x-wolfpack-refused": "mount-refused" },
    });
  });

  it("says that Wolf is not there before it picks up, in its report too, and serves once it is", async () => {
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const health = `127.0.0.1:${(probe.address() as AddressInfo).port}`;
    await new Promise((resolve) => probe.close(resolve));
    const running = agent(["--health-listen", health]);
    const control = await plane.control();
    await expect(list(control)).rejects.toThrow("pickup-failed: Wolf takes no connections (ENOENT)");
    expect(plane.requests).toHaveLength(1);
    await running.said(/a pick-up failed/);
    const report = async () => (await fetch(`http://${health}/readyz`)).json() as Promise<object>;
    expect(await report()).toMatchObject({ ready: true, transport: "helix", wolf: "unreachable" });
    expect(await (await fetch(`http://${health}/metrics`)).text()).toMatch(
      /^wolfpack_agent_pickups_failed_total 1$/m,
    );
    await wolf();
    expect(await list(control)).toMatchObject({ status: 200 });
    expect(await report()).toMatchObject({ wolf: "ok", rtt_ms: expect.any(Number) });
    expect(warnings(running).filter(({ msg }) => msg === "a pick-up failed")).toHaveLength(1);
  });

  it("finishes what is in flight on SIGTERM, takes nothing new, and exits with 0", async () => {
    const { asked, answer } = await slowWolf();
    const { process: child, exit, said } = agent();
    const control = await plane.control();
    const busy = await plane.dial(control);
    const answered = busy.ask("GET", "/api/v1/lobbies");
    await asked();
    child.kill("SIGTERM");
    await said(/draining/);
    await expect(plane.dial(control)).rejects.toThrow("pickup-failed: draining");
    expect(child.exitCode).toBeNull();
    answer();
    expect(await answered).toMatchObject({ status: 200, body: '{"success":true,"lobbies":[]}' });
    expect(await exit).toBe(0);
    expect(await control.closed).toBe(1001);
  });

  it("exits at once on a second signal, whatever is in flight", async () => {
    const { asked } = await slowWolf();
    const { process: child, exit, said } = agent();
    const data = await plane.dial(await plane.control());
    const cut = data.ask("GET", "/api/v1/lobbies").catch(() => "cut");
    await asked();
    child.kill("SIGTERM");
    await said(/draining/);
    child.kill("SIGTERM");
    expect(await exit).toBe(143);
    expect(await cut).toBe("cut");
  });

  it("exits with 0 at once on SIGTERM when nothing is in flight, also beside an idle data connection", async () => {
    await wolf();
    const { process: child, exit } = agent();
    const control = await plane.control();
    const data = await plane.dial(control);
    await data.ask("GET", "/api/v1/lobbies");
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
    expect(await Promise.all([data.closed, control.closed])).toEqual([1000, 1001]);
  });

  it.each([401, 403])(
    "exits with 3 when its token is refused with %i, and says what to look at",
    async (status) => {
      plane.refuse = () => ({ status, body: "Unauthorized\n" });
      const { exit, output } = agent();
      expect(await exit).toBe(3);
      expect(output()).toContain("Check RUNNER_TOKEN or --token-file");
      expect(output()).not.toContain(TOKEN);
      expect(plane.requests).toHaveLength(1);
    },
  );

  it("waits for a minute or two when a token that worked is refused", async () => {
    const { said, process: child } = agent();
    const control = await plane.control();
    await said(/tunnel up/);
    plane.refuse = () => ({ status: 401, body: "Unauthorized\n" });
    control.socket.destroy();
    await said(/"kind":"credential".*"wait_ms":(?:[6-9]\d|1[01]\d)\d{3}\D/s);
    expect(child.exitCode).toBeNull();
  });

  it("connects again after a restart of the control plane, and after words that are no lines, with one warning each", async () => {
    await wolf();
    const running = agent();
    const first = await plane.control();
    await running.said(/tunnel up/);
    first.say(binary("no line\n"), binary("no line\n"));
    const second = await plane.control();
    await running.said(/tunnel up.*tunnel down.*tunnel up/s);
    second.socket.destroy();
    expect(await list(await plane.control())).toMatchObject({ status: 200 });
    expect(warnings(running).filter(({ code }) => code === "TRANSPORT_LOST")).toMatchObject([
      { msg: "tunnel down", reason: "the server sent a line that is no JSON" },
      { msg: "tunnel down", reason: "the control connection was closed with code 1006" },
    ]);
    expect(running.output()).not.toContain(second.dialer);
  });

  it("believes the certificate of --ca-file, and shows no other its token", async () => {
    const made = makeCertificate({
      from: new Date(Date.now() - 3_600_000),
      to: new Date(Date.now() + 3_600_000),
      ip: "127.0.0.1",
    });
    await plane.stop();
    plane = await new HelixServer({ tls: made }).listen();
    const doubtful = agent();
    await doubtful.said(/not connected/);
    expect(plane.requests).toEqual([]);
    doubtful.process.kill("SIGKILL");
    await wolf();
    writeFileSync(path.join(folder, "ca.pem"), made.cert);
    agent(["--ca-file", path.join(folder, "ca.pem")]);
    expect(await list(await plane.control())).toMatchObject({ status: 200 });
  });

  it("works behind a path, with the URL of the tunnel itself", async () => {
    await plane.stop();
    plane = await new HelixServer({ prefix: "/helix" }).listen();
    await wolf();
    agent(["--api-url", `${plane.url}/helix/api/v1/revdial`]);
    expect(await list(await plane.control())).toMatchObject({ status: 200 });
  });

  it.each([
    [
      ["--session-id", "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV"],
      {},
      /--session-id .* does not go together with --protocol/,
    ],
    [["--transport", "http"], {}, /--transport .* http does not go together with --protocol/],
    [[], { RUNNER_TOKEN: "" }, /--token-file .* or RUNNER_TOKEN is missing/],
    [["--join-token-file", "/gone"], {}, /--join-token-file .* does not go together with --protocol/],
  ])("is not started with %j %j: exit code 2 names what is wrong", async (flags, env, words) => {
    const { exit, output } = agent(flags, env);
    expect(await exit).toBe(2);
    expect(output()).toMatch(words);
    expect(output()).not.toContain("wjt_secret");
    expect(plane.requests).toEqual([]);
  });
});

it("a control plane that goes silent is left after a minute without a line, and dialled again", async () => {
  const clock = new ManualClock();
  const lines: { msg: string; reason?: string }[] = [];
  const stop = new AbortController();
  const condition = createCondition({
    wolfId: "wolf-1",
    controlPlane: "plane",
    version: "0.1.0",
    now: () => clock.now(),
  });
  const flags = { apiUrl: plane.url, wolfId: "wolf-1", protocol: "helix", gpuType: "none" };
  const run = runAgent(readConfig({ flags, env: { RUNNER_TOKEN: TOKEN } }), {
    log: createLogger("info", { write: (line) => void lines.push(JSON.parse(line)) }),
    random: () => 0,
    clock,
    version: "0.1.0",
    host: { incarnation: 1, seat: undefined },
    condition,
    metrics: createMetrics(),
    path: folder,
    signal: stop.signal,
  });
  const said = async (msg: string, times: number) => {
    while (lines.filter((line) => line.msg === msg).length < times) await clock.advance(0);
  };
  const silent = await plane.control();
  await said("tunnel up", 1);
  // It answers pings: its process lives, its loop does not.
  for (let waited = 0; waited < 55; waited += 5) await clock.advance(5000);
  expect(condition.report()).toMatchObject({ ready: true, alive: true });
  await clock.advance(5000);
  await said("tunnel up", 2);
  expect(lines.find(({ msg }) => msg === "tunnel down")?.reason).toBe("no line of the server for 60 s");
  expect(await silent.closed).toBe(1006);
  expect(plane.controls).toHaveLength(2);
  stop.abort();
  await run;
  expect(clock.pending).toBe(0);
});

describe("the doctor", () => {
  const examine = async (token = TOKEN) => {
    const flags = ["doctor", "--json", "--protocol", "helix", "--api-url", plane.url, "--wolf-id", "wolf-1"];
    const local = ["--local", `unix://${folder}/wolf.sock`, "--state-dir", folder];
    const child = spawn(process.execPath, [bundle, ...flags, ...local], {
      env: { PATH: process.env.PATH ?? "", RUNNER_TOKEN: token },
    });
    const report = JSON.parse(await readText(child.stdout)) as {
      checks: { code: string; status: string; detail: string }[];
    };
    return Object.fromEntries(
      report.checks.map(({ code, status, detail }) => [code, `${status}: ${detail}`]),
    );
  };

  it("looks at a Helix control plane for what it has, and skips the rest", async () => {
    await wolf();
    const found = await examine();
    expect(found).toMatchObject({
      D02: expect.stringMatching(/^ok/),
      D10: "ok: the token is accepted",
      D11: "ok: 101",
      D12: "ok: the server's first line has come",
      D15: expect.stringMatching(/^ok/),
    });
    for (const code of ["D07", "D09", "D13", "D14", "D19", "D20"])
      expect(found[code]).toBe("skipped: --protocol is helix");
    expect(plane.controls.map(({ asked }) => asked.path)).toEqual(["/api/v1/revdial?runnerid=doctor-wolf-1"]);
  });

  it("tells a refused token from a server that takes it and says nothing", async () => {
    plane.refuse = () => ({ status: 401, body: "Unauthorized\n" });
    expect(await examine()).toMatchObject({
      D10: "failed: the token is refused with status 401: Unauthorized",
      D11: "skipped: it needs D10 (Credential)",
    });
    await plane.stop();
    plane = await new HelixServer({ greets: false }).listen();
    void plane.control().then((control) => control.socket.end());
    expect(await examine()).toMatchObject({
      D11: "ok: 101",
      D12: expect.stringMatching(/^failed: TRANSPORT_LOST: the control connection was closed with code 1006/),
    });
  });
});
