/**
 * Each hazard of a real Wolf twice, with the same request: straight to an emulator that falls over as Wolf does, and through
 * the agent, behind which it stands.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { createWolfGuard, defaultWolfPolicy } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator, type WolfEmulatorOptions } from "@wolfpack/wolf-api/emulator";
import { type Tunnel, tunnelFetch } from "revdial";
import { wolfLine } from "../src/wolf-line.ts";
import { type AgentProcess, startAgent } from "./agent-process.ts";
import { type FakeControlPlane, fakeControlPlane } from "./control-plane.ts";
import { lobby as plainLobby } from "./lobby.ts";

let folder: string;
let plane: FakeControlPlane;
let bare: WolfEmulator;
let guarded: WolfEmulator;
let agents: AgentProcess[];

/** What the agent allows itself on this machine: Wolf has a thread per core, and one stays free. */
const CREATES_MAX = Math.max(1, os.availableParallelism() - 1);

const wolf = (name: string, more: Partial<WolfEmulatorOptions> = {}) =>
  startWolfEmulator({
    listen: { unixSocket: path.join(folder, `${name}.sock`) },
    hazards: true,
    containerStartDelayMs: 5,
    stallMs: 1000,
    // Three broken replies, then a good one.
    random: dice(),
    ...more,
  });
const dice = () => {
  let throws = 0;
  return () => (throws++ % 4) / 4;
};

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "hz-"));
  plane = await fakeControlPlane();
  bare = await wolf("bare");
  guarded = await wolf("guarded");
  agents = [];
});

afterEach(async () => {
  for (const { process: child } of agents) child.kill("SIGKILL");
  await Promise.all(agents.map(({ exit }) => exit));
  await plane.stop();
  await Promise.all([bare.close(), guarded.close()]);
  rmSync(folder, { recursive: true, force: true });
});

async function through(policy: object = {}): Promise<Tunnel> {
  writeFileSync(path.join(folder, "policy.json"), JSON.stringify(policy));
  agents.push(
    startAgent({
      apiUrl: plane.url,
      wolfSocket: path.join(folder, "guarded.sock"),
      flags: ["--policy-file", path.join(folder, "policy.json")],
    }),
  );
  const tunnel = await plane.nextTunnel();
  await plane.notice((type) => type === "heartbeat");
  return tunnel;
}

/** One request on a connection of its own, and all that comes back. */
async function straight(
  method: string,
  target: string,
  body = "",
  length: string | number = Buffer.byteLength(body),
) {
  const socket = connect(path.join(folder, "bare.sock"));
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", () => undefined);
  socket.write(`${method} ${target} HTTP/1.1\r\nContent-Length: ${length}\r\n\r\n${body}`);
  await once(socket, "close");
  return Buffer.concat(chunks).toString("latin1");
}

async function ask(tunnel: Tunnel, method: string, target: string, body?: string) {
  const reply = await tunnelFetch(tunnel, "wolf")(`http://x${target}`, {
    method,
    headers: { "x-request-id": "req-of-this-test" },
    ...(body === undefined ? {} : { body }),
  });
  return { status: reply.status, refused: reply.headers.get("x-wolfpack-refused"), text: await reply.text() };
}

/** Wolf still answers, and nothing was done to it. */
async function stands(tunnel: Tunnel): Promise<void> {
  expect(await ask(tunnel, "GET", "/api/v1/lobbies")).toMatchObject({ status: 200 });
  expect(guarded.harms.filter(({ hazard }) => hazard !== "H6")).toEqual([]);
}

let homes = 0;
const lobby = (runner: object = {}, more: object = {}) =>
  JSON.stringify({
    ...plainLobby,
    name: "a",
    runner_state_folder: `wolfpack/a${++homes}`,
    runner: { ...plainLobby.runner, ...runner },
    ...more,
  });
const sessionRequest = {
  client_ip: "10.0.0.5",
  aes_key: "9d804e47a6aa6624b7d4b502b32cc522",
  aes_iv: "0123456789abcdef0123456789abcdef",
  rtsp_fake_ip: "0.0.0.1",
  video_width: 1920,
  video_height: 1080,
  video_refresh_rate: 60,
  audio_channel_count: 2,
};
const session = JSON.stringify(sessionRequest);
const POST = (name: string) => `POST /api/v1/${name}`;

describe("a request that ends Wolf", () => {
  const runner = { type: "process", run_cmd: "id" };
  it.each<[string, string, string, string]>([
    ["H1", "sessions/stop", '{"session_id":"abc"}', "body-invalid"],
    ["H1", "sessions/stop", '{"session_id":""}', "body-invalid"],
    ["H1", "sessions/pause", '{"session_id":"1x"}', "body-invalid"],
    ["H1", "sessions/input", '{"session_id":"abc","input_packet_hex":"00"}', "body-invalid"],
    ["H1", "sessions/stop", '{"session_id":"18446744073709551616"}', "body-invalid"],
    ["H1", "clients/settings", '{"client_id":"abc"}', "body-invalid"],
    ["H1", "sessions/add", JSON.stringify({ ...sessionRequest, client_id: "abc" }), "body-invalid"],
    [
      "H1",
      "runners/start",
      JSON.stringify({ stop_stream_when_over: true, session_id: "abc", runner }),
      "body-invalid",
    ],
    ["H1", "sessions/start", '{"session_id":"abc","video_session":{},"audio_session":{}}', "route-closed"],
    ["H2", "sessions/start", '{"session_id":"1","video_session":{},"audio_session":{}}', "route-closed"],
    ["H3", "lobbies/create", lobby({ mounts: ["/srv"] }), "body-invalid"],
    ["H3", "lobbies/create", lobby({ devices: ["/dev/dri"] }), "body-invalid"],
    ["H3", "lobbies/create", lobby({ ports: ["9876"] }), "body-invalid"],
    ["H3", "lobbies/create", lobby({ ports: ["a:b"] }), "body-invalid"],
  ])("%s, to %s with %s, is refused as %s also where the route is open", async (hazard, name, body, code) => {
    expect(await straight("POST", `/api/v1/${name}`, body)).toBe("");
    expect(await bare.closed).toBe("died");
    expect(bare.harms).toMatchObject([{ hazard, fatal: true }]);

    const sessions = ["sessions/add", "sessions/stop", "sessions/pause", "sessions/input"];
    const open = [...sessions, "clients/settings", "runners/start"].map(POST);
    const tunnel = await through({ open, process_runners: true });
    expect(await ask(tunnel, "POST", `/api/v1/${name}`, body)).toMatchObject({ refused: code });
    expect(guarded.requests.filter((request) => request.path.endsWith(name))).toEqual([]);
    await stands(tunnel);
  });

  it("H4: a Content-Length that is no number, or not the body's, goes no further than the guard", async () => {
    expect(await straight("POST", "/api/v1/lobbies/stop", "{}", "abc")).toBe("");
    expect(await bare.closed).toBe("died");
    const body = '{"lobby_id":"12345678"}';
    const { ask: wolfAsk } = wolfLine({ socketPath: path.join(folder, "guarded.sock") });
    const guard = createWolfGuard({ ask: wolfAsk, policy: defaultWolfPolicy, createsMax: 1 });
    const stop = (contentLength: string) =>
      guard({
        method: "POST",
        path: "/api/v1/lobbies/stop",
        contentLength,
        body: (async function* () {
          yield Buffer.from(body);
        })(),
        signal: new AbortController().signal,
      });
    for (const length of ["abc", "-1", "1", "99"])
      expect(await stop(length)).toMatchObject({ ok: false, refusal: { code: "content-length-invalid" } });
    expect(guarded.requests).toEqual([]);
    expect(await stop(String(body.length))).toMatchObject({ ok: true, status: 500 });
    expect(guarded.requests).toMatchObject([{ body }]);
    // A tunnel has no way to carry such a length at all.
    const tunnel = await through();
    for (const [length, code] of [
      ["abc", "HEAD_INVALID"],
      ["99", "BODY_LENGTH"],
    ] as const)
      await expect(
        tunnel.request({
          service: "wolf",
          method: "POST",
          path: "/api/v1/lobbies/stop",
          headers: [["content-length", length]],
          body: Buffer.from(body),
        }),
      ).rejects.toMatchObject({ code });
    await stands(tunnel);
  });

  it("H5: of two event subscribers none gets past the agent, which keeps its own", async () => {
    const subscribe = async () => {
      const socket = connect(path.join(folder, "bare.sock")).on("error", () => undefined);
      socket.write("GET /api/v1/events HTTP/1.1\r\n\r\n");
      await once(socket, "data");
      return socket;
    };
    const [first, second] = [await subscribe(), await subscribe()];
    first.destroy();
    while (bare.harms.length === 0) await straight("POST", "/api/v1/lobbies/create", lobby());
    expect(bare.harms).toMatchObject([{ hazard: "H5" }]);
    expect(await bare.closed).toBe("died");
    second.destroy();

    const tunnel = await through();
    for (let i = 0; i < 2; i += 1)
      expect(await ask(tunnel, "GET", "/api/v1/events")).toMatchObject({ refused: "route-closed" });
    expect(await ask(tunnel, "POST", "/api/v1/lobbies/create", lobby())).toMatchObject({ status: 200 });
    expect(guarded.requests.filter(({ path: seen }) => seen === "/api/v1/events")).toHaveLength(1);
    await stands(tunnel);
  });
});

describe("a request that blocks Wolf or loses its answer", () => {
  const app = (id: number) =>
    JSON.stringify({
      title: "a",
      id: String(id),
      support_hdr: false,
      h264_gst_pipeline: "x".repeat(8000),
      hevc_gst_pipeline: "x".repeat(8000),
      av1_gst_pipeline: "x".repeat(8000),
      opus_gst_pipeline: "",
      render_node: "software",
      start_virtual_compositor: true,
      start_audio_server: true,
      runner: { type: "docker", name: "d", image: "x", mounts: [], env: [], devices: [], ports: [] },
    });

  it("H6: a reply of more than 64 KiB that comes broken is asked for again", async () => {
    for (let id = 0; id < 4; id += 1) await straight("POST", "/api/v1/apps/add", app(id));
    const bodies: string[] = [];
    for (let tries = 0; tries < 4; tries += 1)
      bodies.push((await straight("GET", "/api/v1/apps")).split("\r\n\r\n")[1] ?? "");
    const [corrupted = "", , cut = "", whole = ""] = bodies;
    expect([corrupted.length, cut.length]).toEqual([whole.length, 64 * 1024]);
    for (const broken of [corrupted, cut]) expect(() => JSON.parse(broken) as unknown).toThrow();
    expect(JSON.parse(whole)).toMatchObject({ success: true });

    const tunnel = await through({ open: ["GET /api/v1/apps", POST("apps/add")], pipelines: true });
    for (let id = 0; id < 4; id += 1)
      expect((await ask(tunnel, "POST", "/api/v1/apps/add", app(id))).status).toBe(200);
    const { apps } = JSON.parse((await ask(tunnel, "GET", "/api/v1/apps")).text) as { apps: unknown[] };
    expect(apps).toHaveLength(6);
    expect(guarded.harms.length).toBeGreaterThan(0);
    await stands(tunnel);
  });

  it("H7: stalled creations leave a thread for everything else, also when their callers have gone", async () => {
    bare.fail({ on: POST("lobbies/create"), mode: "stall" });
    const stalled = [1, 2].map(() => straight("POST", "/api/v1/lobbies/create", lobby()));
    while (bare.requests.length < 2) await new Promise((resolve) => setImmediate(resolve));
    // A stalled lobby is listed for a quarter of its stall: no list was to be had until then, and long after.
    expect(bare.lobbies()).toHaveLength(2);
    expect(await straight("GET", "/api/v1/lobbies")).toMatch(/"lobbies":\[\]/);
    await Promise.all(stalled);

    await guarded.close();
    // Stalls that do not end by themselves: whatever is answered is answered beside them.
    guarded = await wolf("guarded", { threads: CREATES_MAX + 1, stallMs: 600_000 });
    guarded.fail({ on: POST("lobbies/create"), mode: "stall" });
    const tunnel = await through();
    const creates = () => guarded.requests.filter((request) => request.path.endsWith("/create")).length;
    const arrived = async (count: number, give: { up: boolean } = { up: false }) => {
      while (creates() < count && !give.up) await new Promise((resolve) => setImmediate(resolve));
    };
    const creations = (count: number, { signal }: AbortController) =>
      Array.from({ length: count }, () =>
        tunnelFetch(tunnel, "wolf")("http://x/api/v1/lobbies/create", {
          method: "POST",
          body: lobby(),
          signal,
        }),
      ).map((creation) =>
        creation.then(
          ({ status }) => status,
          () => "gave up",
        ),
      );
    const [gone, waiting] = [new AbortController(), new AbortController()];
    const first = creations(CREATES_MAX, gone);
    await arrived(CREATES_MAX);
    gone.abort();
    expect(new Set(await Promise.all(first))).toEqual(new Set(["gave up"]));
    const more = creations(3, waiting);
    const give = { up: false };
    await Promise.race([stands(tunnel).then(() => stands(tunnel)), arrived(CREATES_MAX + 1, give)]);
    give.up = true;
    expect(creates()).toBe(CREATES_MAX);
    waiting.abort();
    await Promise.all(more);
    await stands(tunnel);
  });

  it("H8: a connection that is closed without a word becomes an answer", async () => {
    await straight("POST", "/api/v1/sessions/add", session);
    const [{ client_id: id }] = (
      JSON.parse((await straight("GET", "/api/v1/sessions")).split("\r\n\r\n")[1] ?? "") as {
        sessions: [{ client_id: string }];
      }
    ).sessions;
    const start = JSON.stringify({
      stop_stream_when_over: true,
      session_id: id,
      runner: { type: "docker", name: "d", image: "x", mounts: [], env: [], devices: [], ports: [] },
    });
    expect(await straight("POST", "/api/v1/runners/start", start)).toBe("");
    expect(await straight("POST", "/api/v1/docker/images/pull", "{")).toBe("");

    const open = ["sessions/add", "runners/start", "docker/images/pull"].map(POST);
    const tunnel = await through({ open });
    expect((await ask(tunnel, "POST", "/api/v1/sessions/add", session)).status).toBe(200);
    expect(await ask(tunnel, "POST", "/api/v1/runners/start", start)).toMatchObject({
      status: 202,
      text: '{"success":true,"confirmed":false}',
    });
    expect(await ask(tunnel, "POST", "/api/v1/docker/images/pull", "{")).toMatchObject({
      refused: "body-invalid",
    });
    await stands(tunnel);
  });
});

describe("a request that betrays the host", () => {
  it("H9: get-icon reads no file of the host, also where it is open", async () => {
    const secret = path.join(folder, "secret");
    writeFileSync(secret, "of root");
    expect(await straight("GET", `/api/v1/utils/get-icon?icon_path=${secret}`)).toMatch(/of root$/);
    await straight("GET", "/api/v1/utils/get-icon?icon_path=cfg/key.pem");
    expect(bare.harms.map(({ what }) => what)).toEqual([`read ${secret}`, "read Wolf's own cfg/key.pem"]);
    const tunnel = await through({ open: ["GET /api/v1/utils/get-icon"] });
    const icons = [
      secret,
      encodeURIComponent(secret),
      `a/../..${secret}`,
      "http://a.example/",
      "cfg/key.pem",
    ];
    for (const icon of icons)
      expect(await ask(tunnel, "GET", `/api/v1/utils/get-icon?icon_path=${icon}`)).toMatchObject({
        status: 400,
      });
    expect(await ask(tunnel, "GET", "/api/v1/utils/get-icon?icon_path=icons/t.png")).toMatchObject({
      status: 200,
    });
    await stands(tunnel);
  });

  it.each([
    [
      "a command as root",
      JSON.stringify({ ...JSON.parse(lobby()), runner: { type: "process", run_cmd: "id" } }),
    ],
    ["root on the host", lobby({ base_create_json: '{"HostConfig":{"Privileged":true}}' })],
  ])("H10: %s is refused unless the policy allows it", async (what, body) => {
    await straight("POST", "/api/v1/lobbies/create", body);
    expect(bare.harms).toMatchObject([{ hazard: "H10", what: expect.stringContaining(what) }]);
    const tunnel = await through();
    expect(await ask(tunnel, "POST", "/api/v1/lobbies/create", body)).toMatchObject({
      refused: "runner-refused",
    });
    await stands(tunnel);
    expect(agents[0]?.output()).toMatch(
      /"request_id":"req-of-this-test".*"code":"runner-refused".*"refused"/,
    );
  });

  it.each([
    ["Wolf's own files", "cfg"],
    ["Wolf's own files", "wolfpack/../cfg"],
    ["a mount of the caller's choice", "cfg:/data"],
    ["a folder in another sandbox", "wolfpack/a/link"],
  ])("H10: %s are not mounted by a state folder like %s", async (what, folder) => {
    const body = lobby({}, { runner_state_folder: folder });
    const other = lobby({}, { runner_state_folder: "wolfpack/a" });
    await straight("POST", "/api/v1/lobbies/create", other);
    await straight("POST", "/api/v1/lobbies/create", body);
    expect(bare.harms).toMatchObject([{ hazard: "H10", what: expect.stringContaining(what) }]);
    const open = [POST("clients/settings")];
    const tunnel = await through({ open });
    expect((await ask(tunnel, "POST", "/api/v1/lobbies/create", other)).status).toBe(200);
    const settings = JSON.stringify({ client_id: "10594003729173467913", app_state_folder: folder });
    for (const [name, sent] of [
      ["lobbies/create", body],
      ["clients/settings", settings],
    ] as const)
      expect(await ask(tunnel, "POST", `/api/v1/${name}`, sent)).toMatchObject({
        refused: /^[a-z/]+$/.test(folder) ? "state-folder-refused" : "body-invalid",
      });
    await stands(tunnel);
  });

  it("H10: no sandbox gets the home that another one has had, whose udev it may have made a link", async () => {
    const body = lobby();
    for (let i = 0; i < 2; i += 1) await straight("POST", "/api/v1/lobbies/create", body);
    expect(bare.harms).toMatchObject([{ hazard: "H10", what: expect.stringContaining("may be a link") }]);
    const tunnel = await through();
    const create = () => ask(tunnel, "POST", "/api/v1/lobbies/create", body);
    const { lobby_id } = JSON.parse((await create()).text) as { lobby_id: string };
    expect(await create()).toMatchObject({ refused: "state-folder-refused" });
    await ask(tunnel, "POST", "/api/v1/lobbies/stop", JSON.stringify({ lobby_id }));
    expect(await create()).toMatchObject({ refused: "state-folder-refused" });
    await stands(tunnel);
  });

  it("H10: Wolf's own socket gets into no sandbox in place of a folder that may be mounted", async () => {
    const body = lobby({ mounts: ["/srv/a:/x/wolf.sock"], env: ["WOLF_SOCKET_PATH=/x/wolf.sock"] });
    await straight("POST", "/api/v1/lobbies/create", body);
    expect(bare.harms).toMatchObject([{ hazard: "H10", what: "Wolf's own socket in a sandbox" }]);
    const tunnel = await through({ mount_folders: ["/srv"] });
    expect(await ask(tunnel, "POST", "/api/v1/lobbies/create", body)).toMatchObject({
      refused: "mount-refused",
    });
    await stands(tunnel);
  });

  it("H11: keys and PINs stay on the host, unless the policy lets them go", async () => {
    await straight("POST", "/api/v1/sessions/add", session);
    expect(await straight("GET", "/api/v1/sessions")).toMatch(/aes_key.*9d804e47/);
    const open = ["GET /api/v1/sessions", POST("sessions/add")];
    const tunnel = await through({ open });
    await ask(tunnel, "POST", "/api/v1/sessions/add", session);
    const { text } = await ask(tunnel, "GET", "/api/v1/sessions");
    expect(text).toMatch(/"client_ip":"10.0.0.5"/);
    expect(text).not.toMatch(/aes_|9d804e47|0123456789abcdef/);
    const told = await plane.notice((_type, json) => String(json.event).endsWith("StreamSession"));
    expect(JSON.stringify(told)).not.toMatch(/aes_|9d804e47/);
    const trusting = await through({ open, secrets: true });
    expect((await ask(trusting, "GET", "/api/v1/sessions")).text).toMatch(/9d804e47/);
  });
});
