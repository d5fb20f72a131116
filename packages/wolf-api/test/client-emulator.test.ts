/** Client, guard and event parser against the emulated Wolf on a Unix socket, as an agent beside a Wolf puts them together. */
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { startWolfEmulator, type WolfEmulator } from "../src/emulator/index.ts";
import {
  type CreateLobbyRequest,
  checkWolfRequest,
  type FetchLike,
  parseEventStream,
  parseWolfJson,
  redactWolfEvent,
  refusedHeader,
  type WolfApiError,
  type WolfClient,
  wolfClient,
  wolfEventPrefix,
} from "../src/index.ts";

const lobby: CreateLobbyRequest = {
  profile_id: "user",
  name: "ses_1",
  multi_user: true,
  stop_when_everyone_leaves: false,
  video_settings: {
    width: 1920,
    height: 1080,
    refresh_rate: 60,
    wayland_render_node: "software",
    runner_render_node: "software",
    video_producer_buffer_caps: "video/x-raw",
  },
  audio_settings: { channel_count: 2 },
  runner_state_folder: "wolfpack/ses_1",
  runner: { type: "docker", name: "desk", image: "img", mounts: [], env: ["A=b"], devices: [], ports: [] },
};

let folder: string;
let emulator: WolfEmulator;
let wolf: WolfClient;

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "wolf-client-"));
  emulator = await startWolfEmulator({
    listen: { unixSocket: path.join(folder, "wolf.sock") },
    containerStartDelayMs: 1,
    stallMs: 30_000,
  });
  wolf = wolfClient({ fetch: guarded, timeoutMs: 5000, createTimeoutMs: 5000 });
});
afterEach(async () => {
  await emulator.close();
  rmSync(folder, { recursive: true });
});

function dial(method: string, target: string, body = "", signal?: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      {
        socketPath: path.join(folder, "wolf.sock"),
        method,
        path: target,
        agent: false,
        headers: { "content-length": Buffer.byteLength(body) },
        ...(signal ? { signal } : {}),
      },
      resolve,
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** The guard in front of the socket; what it refuses never reaches the Wolf. */
const guarded: FetchLike = async (url, init) => {
  const { pathname, search } = new URL(url);
  const checked = checkWolfRequest({
    method: init?.method ?? "GET",
    path: pathname + search,
    bodyText: init?.body ?? "",
  });
  if (!checked.ok)
    return Response.json(checked.refusal, {
      status: checked.refusal.status,
      headers: { [refusedHeader]: checked.refusal.code },
    });
  const incoming = await dial(checked.route.method, checked.route.path, checked.bodyText, init?.signal);
  return new Response(
    new ReadableStream({
      start(controller) {
        incoming.on("data", (chunk: Buffer) => controller.enqueue(new Uint8Array(chunk)));
        incoming.on("end", () => controller.close());
        incoming.on("error", (error) => controller.error(error));
      },
    }),
    { status: incoming.statusCode ?? 0 },
  );
};

async function failureOf(promise: Promise<unknown>): Promise<Partial<WolfApiError>> {
  return promise.then(
    () => ({}),
    ({ code, mayHaveRun, wolfMessage }: WolfApiError) => ({
      code,
      mayHaveRun,
      ...(wolfMessage ? { wolfMessage } : {}),
    }),
  );
}

describe("the client with a Wolf that fails", () => {
  const create = "POST /api/v1/lobbies/create";

  it("reports a 500 with Wolf's words", async () => {
    emulator.fail({ on: create, mode: "500" });
    expect(await failureOf(wolf.createLobby(lobby))).toMatchObject({
      code: "WOLF_REFUSED",
      wolfMessage: "Injected failure",
    });
  });

  it("reports a lost answer as something that may have run, and it has", async () => {
    emulator.fail({ on: create, mode: "no-reply" });
    expect(await failureOf(wolf.createLobby(lobby))).toEqual({ code: "WOLF_UNREACHABLE", mayHaveRun: true });
    expect(await wolf.listLobbies()).toMatchObject([{ name: "ses_1" }]);
  });

  it("reports half an answer as something that may have run, and asks only once", async () => {
    emulator.fail({ on: create, mode: "half-body" });
    expect(await failureOf(wolf.createLobby(lobby))).toEqual({ code: "WOLF_REPLY_BROKEN", mayHaveRun: true });
    expect(emulator.requests).toHaveLength(1);
  });

  it("asks a second time for half a list", async () => {
    emulator.fail({ on: "GET /api/v1/lobbies", mode: "half-body", times: 1 });
    expect(await wolf.listLobbies()).toEqual([]);
    expect(emulator.requests).toHaveLength(2);
  });

  it("gives up on a Wolf that stalls", async () => {
    emulator.fail({ on: create, mode: "stall" });
    const impatient = wolfClient({ fetch: guarded, createTimeoutMs: 50 });
    expect(await failureOf(impatient.createLobby(lobby))).toEqual({ code: "WOLF_TIMEOUT", mayHaveRun: true });
  });

  it("tells a Wolf that dies during a request from one that is dead already", async () => {
    emulator.fail({ on: create, mode: "die" });
    expect(await failureOf(wolf.createLobby(lobby))).toEqual({ code: "WOLF_UNREACHABLE", mayHaveRun: true });
    expect(await emulator.closed).toBe("died");
    expect(await failureOf(wolf.createLobby(lobby))).toEqual({ code: "WOLF_UNREACHABLE", mayHaveRun: false });
  });
});

describe("the guard before a Wolf", () => {
  it.each([
    ["POST", "/api/v1/sessions/stop", '{"session_id":"abc"}'],
    ["POST", "/api/v1/clients/settings", '{"client_id":"x"}'],
    ["GET", "/api/v1/utils/get-icon?icon_path=/etc/shadow", ""],
    ["POST", "/api/v1/runners/start", "{}"],
    ["HEAD", "/api/v1/events", ""],
    [
      "POST",
      "/api/v1/lobbies/create",
      JSON.stringify({ ...lobby, runner: { type: "process", run_cmd: "id" } }),
    ],
    [
      "POST",
      "/api/v1/lobbies/create",
      JSON.stringify({ ...lobby, runner: { ...lobby.runner, mounts: ["/srv"] } }),
    ],
    [
      "POST",
      "/api/v1/lobbies/create",
      JSON.stringify({ ...lobby, runner: { ...lobby.runner, ports: ["a:b"] } }),
    ],
  ])("lets nothing of %s %s through", async (method, target, body) => {
    const reply = await guarded(`http://wolf${target}`, { method, body });
    expect(reply.headers.get(refusedHeader)).not.toBeNull();
    expect(emulator.requests).toEqual([]);
    expect(await wolf.listLobbies()).toEqual([]);
  });
});

describe("the client with a Wolf that works", () => {
  it("creates, lists and stops a lobby, and learns that it is gone", async () => {
    const { lobby_id } = await wolf.createLobby(lobby);
    expect(await wolf.listLobbies()).toMatchObject([
      { id: lobby_id, name: "ses_1", runner: { type: "docker", env: ["A=b"] }, connected_sessions: [] },
    ]);
    await wolf.stopLobby({ lobby_id });
    expect(await wolf.listLobbies()).toEqual([]);
    expect(await failureOf(wolf.stopLobby({ lobby_id }))).toMatchObject({ wolfMessage: "Invalid lobby ID" });
  });

  it("finds the lobby routes in Wolf's description of itself", async () => {
    expect(Object.keys((await wolf.openApiSchema()).paths as object)).toContain("/api/v1/lobbies/create");
  });

  it("needs a lobby's PIN to stop it, which no event gives away once it is redacted", async () => {
    const stream = await dial("GET", "/api/v1/events");
    const items = parseEventStream(stream as AsyncIterable<Uint8Array>);
    const { lobby_id } = await wolf.createLobby({ ...lobby, pin: [4, 3, 2, 1] });
    const { value } = await items.next();
    if (value === undefined || !("event" in value)) throw new Error("expected an event");
    expect(value.event).toBe(`${wolfEventPrefix}CreateLobbyEvent`);
    const data = parseWolfJson(value.data) as Record<string, unknown>;
    expect(data).toMatchObject({ id: lobby_id, pin: [4, 3, 2, 1] });
    expect(redactWolfEvent({ event: value.event, data }).data).not.toHaveProperty("pin");
    stream.destroy();
    expect(await failureOf(wolf.stopLobby({ lobby_id, pin: [1] }))).toMatchObject({
      wolfMessage: "Invalid PIN",
    });
    await wolf.stopLobby({ lobby_id, pin: [4, 3, 2, 1] });
    expect(emulator.lobbies()).toEqual([]);
  });
});
