/** The emulator's lobbies: how they live, what is told of them, and every failure it can play. */
import { once } from "node:events";
import { afterEach, describe, expect, it } from "@jest/globals";
import { type FailureRule, startWolfEmulator } from "../src/emulator/index.ts";
import { endRigs, everything, lobbyRequest, type Rig, rig } from "./emulator-client.ts";

const CREATE = "POST /api/v1/lobbies/create";
const STOP = "POST /api/v1/lobbies/stop";
const processRunner = { runner: { type: "process", run_cmd: "true" } };

const session = (wolf: Rig) =>
  wolf
    .post("/api/v1/sessions/add", {
      client_ip: "10.0.0.5",
      aes_key: "00",
      aes_iv: "1",
      rtsp_fake_ip: "0.0.0.1",
      video_width: 1920,
      video_height: 1080,
      video_refresh_rate: 60,
      audio_channel_count: 2,
    })
    .then(({ text }) => (JSON.parse(text) as { session_id: string }).session_id);

const listed = async (wolf: Rig) =>
  (
    JSON.parse((await wolf.get("/api/v1/lobbies")).text) as {
      lobbies: { id: string; connected_sessions: string[] }[];
    }
  ).lobbies;

afterEach(endRigs);

describe("a lobby", () => {
  it("is listed at once, runs after the start delay, and ends twice in the events", async () => {
    const wolf = await rig();
    const events = await wolf.subscribe();
    const id = await wolf.lobby();
    expect((await listed(wolf)).map((lobby) => lobby.id)).toEqual([id]);
    await events.heard(2);
    expect(wolf.emulator.lobbies()).toEqual([{ id, name: lobbyRequest().name, state: "running" }]);
    expect((await wolf.post("/api/v1/lobbies/stop", { lobby_id: id })).text).toBe('{"success":true}');
    expect(await listed(wolf)).toEqual([]);
    await events.heard(5);
    expect(events.names()).toEqual([
      "CreateLobbyEvent",
      "DockerContainerCreated",
      "StopLobbyEvent",
      "DockerContainerStopped",
      "StopLobbyEvent",
    ]);
    expect(events.events[1]?.data).toEqual(events.events[3]?.data);
    const { container_id, hostname, session_id } = events.events[1]?.data ?? {};
    expect(session_id).toBe(id);
    expect(container_id).toMatch(/^[0-9a-f]{64}$/);
    expect(hostname).toBe(String(container_id).slice(0, 12));
  });

  it("stays starting until its container runs", async () => {
    const wolf = await rig({ containerStartDelayMs: 60_000 });
    const events = await wolf.subscribe();
    const id = await wolf.lobby();
    expect(wolf.emulator.lobbies()).toMatchObject([{ state: "starting" }]);
    await wolf.emulator.containerExits(id);
    expect(wolf.emulator.lobbies()).toHaveLength(1);
    await wolf.post("/api/v1/lobbies/stop", { lobby_id: id });
    await events.heard(3);
    expect(events.names()).toEqual(["CreateLobbyEvent", "StopLobbyEvent", "StopLobbyEvent"]);
  });

  it("tells of no container when its runner is a process that ends", async () => {
    const wolf = await rig();
    const events = await wolf.subscribe();
    const id = await wolf.lobby(processRunner);
    // This one is told of when it runs; the process was started before it.
    const later = await wolf.lobby();
    await events.heard(3);
    await wolf.emulator.containerExits(id);
    await events.heard(4);
    await wolf.post("/api/v1/lobbies/stop", { lobby_id: later });
    await events.heard(7);
    expect(
      events.events
        .filter(({ data }) => [data.id, data.lobby_id, data.session_id].includes(id))
        .map(({ event }) => event.replace("wolf::core::events::", "")),
    ).toEqual(["CreateLobbyEvent", "StopLobbyEvent"]);
    expect(await listed(wolf)).toEqual([]);
  });

  it("loses its sessions when it is stopped", async () => {
    const wolf = await rig();
    const lobby_id = await wolf.lobby(processRunner);
    const moonlight_session_id = await session(wolf);
    await wolf.post("/api/v1/lobbies/join", { lobby_id, moonlight_session_id });
    expect((await listed(wolf))[0]?.connected_sessions).toEqual([moonlight_session_id]);
    const events = await wolf.subscribe();
    await wolf.post("/api/v1/lobbies/stop", { lobby_id });
    await events.heard(4);
    expect(events.names()).toEqual([
      "SwitchStreamProducerEvents",
      "LeaveLobbyEvent",
      "StopLobbyEvent",
      "StopLobbyEvent",
    ]);
  });

  it("lives on when everyone leaves, unless it was made to stop then", async () => {
    const wolf = await rig();
    const moonlight_session_id = await session(wolf);
    for (const [stops, left] of [
      [false, 1],
      [true, 0],
    ] as const) {
      const lobby_id = await wolf.lobby({ ...processRunner, stop_when_everyone_leaves: stops });
      await wolf.post("/api/v1/lobbies/join", { lobby_id, moonlight_session_id });
      await wolf.post("/api/v1/lobbies/leave", { lobby_id, moonlight_session_id });
      expect((await listed(wolf)).filter((lobby) => lobby.id === lobby_id)).toHaveLength(left);
    }
  });

  it.each([undefined, [], [1, 2, 3], [4, 3, 2, 1], [1, 2, 3, 4, 5]])(
    "with a PIN is not stopped by %j",
    async (pin) => {
      const wolf = await rig();
      const lobby_id = await wolf.lobby({ pin: [1, 2, 3, 4] });
      const refused = await wolf.post("/api/v1/lobbies/stop", { lobby_id, pin });
      expect(refused.statusLine).toBe("HTTP/1.0 500 OK");
      expect(refused.text).toContain("Invalid PIN");
      expect(await listed(wolf)).toHaveLength(1);
      await wolf.post("/api/v1/lobbies/stop", { lobby_id, pin: [1, 2, 3, 4] });
      expect(await listed(wolf)).toEqual([]);
    },
  );

  it("has ids that follow from the dice, and are UUIDs of version 4", async () => {
    const ids: string[] = [];
    for (let run = 0; run < 2; run += 1) {
      let seed = 7;
      const random = () => {
        seed = (seed * 48_271) % 2_147_483_647;
        return seed / 2_147_483_647;
      };
      ids.push(await (await rig({ random })).lobby());
    }
    expect(ids[0]).toBe(ids[1]);
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe("the event stream", () => {
  it("tells every subscriber everything from then on, and nothing of before", async () => {
    const wolf = await rig();
    const first = await wolf.subscribe();
    await wolf.lobby(processRunner);
    await first.heard(1);
    const second = await wolf.subscribe();
    const third = await wolf.subscribe();
    third.socket.destroy();
    await wolf.lobby(processRunner);
    await Promise.all([first.heard(2), second.heard(1)]);
    expect(first.events.slice(1)).toEqual(second.events);
  });

  it("keeps quiet connections alive with comments", async () => {
    const wolf = await rig({ keepaliveMs: 5 });
    const events = await wolf.subscribe();
    await events.heard(2, "comments");
    expect(events.comments.slice(0, 2)).toEqual(["keepalive", "keepalive"]);
    expect(events.events).toEqual([]);
  });

  it("cuts off a subscriber that does not read, and goes on for the others", async () => {
    const wolf = await rig();
    const deaf = await wolf.open();
    deaf.write("GET /api/v1/events HTTP/1.1\r\n\r\n");
    await once(deaf, "data");
    deaf.pause();
    const events = await wolf.subscribe();
    const lobby_id = "x".repeat(200 * 1024);
    for (let told = 1; told <= 30; told += 1)
      await wolf.post("/api/v1/lobbies/leave", { lobby_id, moonlight_session_id: "1" });
    await events.heard(30);
    const cut = everything(deaf);
    deaf.resume();
    expect((await cut).length).toBeLessThan(30 * lobby_id.length);
    expect(events.socket.closed).toBe(false);
  });
});

describe("a failure", () => {
  it("of 500 refuses before anything is done, as often as it was asked to", async () => {
    const wolf = await rig();
    wolf.emulator.fail({ on: CREATE, mode: "500", times: 2 });
    for (const status of [500, 500, 200])
      expect((await wolf.post("/api/v1/lobbies/create", lobbyRequest())).statusLine).toContain(`${status}`);
    expect(await listed(wolf)).toHaveLength(1);
  });

  it("without times goes on for ever, and rules for one place follow each other", async () => {
    const wolf = await rig();
    wolf.emulator.fail({ on: "GET /api/v1/lobbies", mode: "no-reply", times: 1 });
    wolf.emulator.fail({ on: "GET /api/v1/lobbies", mode: "500" });
    expect((await wolf.get("/api/v1/lobbies")).statusLine).toBe("");
    for (let run = 0; run < 3; run += 1)
      expect((await wolf.get("/api/v1/lobbies")).statusLine).toContain("500");
    expect((await wolf.get("/api/v1/apps")).statusLine).toContain("200");
  });

  it("of no-reply does what was asked, then closes without a byte", async () => {
    const wolf = await rig();
    wolf.emulator.fail({ on: CREATE, mode: "no-reply", times: 1 });
    const body = JSON.stringify(lobbyRequest());
    const bytes = await wolf.raw(
      `POST /api/v1/lobbies/create HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    expect(bytes).toHaveLength(0);
    expect(await listed(wolf)).toHaveLength(1);
  });

  it("of half-body does what was asked, then sends less than it announced", async () => {
    const wolf = await rig();
    const id = await wolf.lobby();
    wolf.emulator.fail({ on: STOP, mode: "half-body", times: 1 });
    const answer = await wolf.post("/api/v1/lobbies/stop", { lobby_id: id });
    expect(answer).toEqual({
      statusLine: "HTTP/1.0 200 OK",
      headers: { "Content-Length": "16" },
      text: '{"succes',
    });
    expect(await listed(wolf)).toEqual([]);
  });

  it("of die ends the listener, every connection and every lobby at once", async () => {
    const wolf = await rig();
    await wolf.lobby();
    const events = await wolf.subscribe();
    const idle = await wolf.open();
    const gone = everything(idle);
    wolf.emulator.fail({ on: "GET /api/v1/lobbies", mode: "die" });
    expect((await wolf.get("/api/v1/lobbies")).statusLine).toBe("");
    expect(await wolf.emulator.closed).toBe("died");
    await Promise.all([gone, events.over]);
    expect(wolf.emulator.lobbies()).toEqual([]);
    await expect(wolf.open()).rejects.toThrow(/ENOENT|ECONNREFUSED/);
    // What a host's supervisor does next: the same socket, no memory.
    const unixSocket = wolf.emulator.address.replace("unix://", "");
    const restarted = await startWolfEmulator({ listen: { unixSocket } });
    expect(restarted.lobbies()).toEqual([]);
    await restarted.close();
  });

  it("of stall holds a create, lists its lobby for a while, and answers 500 long after that is gone", async () => {
    const wolf = await rig({ stallMs: 80 });
    const events = await wolf.subscribe();
    wolf.emulator.fail({ on: CREATE, mode: "stall", times: 1 });
    const order: string[] = [];
    const answer = wolf.post("/api/v1/lobbies/create", lobbyRequest()).then((reply) => {
      order.push("answered");
      return reply;
    });
    await events.heard(1);
    expect(wolf.emulator.lobbies()).toMatchObject([{ state: "starting" }]);
    await events.heard(2).then(() => order.push("dropped"));
    expect(await listed(wolf)).toEqual([]);
    expect(await answer).toMatchObject({
      statusLine: "HTTP/1.0 500 OK",
      text: '{"success":false,"error":"Lobby setup timed out"}',
    });
    expect(order).toEqual(["dropped", "answered"]);
    expect(events.names()).toEqual(["CreateLobbyEvent", "StopLobbyEvent"]);
  });

  it("of stall ends with the emulator", async () => {
    const wolf = await rig({ stallMs: 600_000 });
    const events = await wolf.subscribe();
    wolf.emulator.fail({ on: CREATE, mode: "stall" });
    const held = wolf.post("/api/v1/lobbies/create", lobbyRequest());
    await events.heard(1);
    await wolf.emulator.close();
    expect((await held).statusLine).toBe("");
  });

  it.each<[FailureRule["mode"], RegExp]>([
    ["500", /^HTTP\/1\.0 500 OK/],
    ["no-reply", /^$/],
    [
      "half-body",
      /^HTTP\/1\.0 200 OK\r\nContent-Type: text\/event-stream\r\n(.+\r\n)+\r\nevent: wolf::core::ev$/,
    ],
    ["die", /^$/],
    ["stall", /^HTTP\/1\.0 500 OK/],
  ])("of %s can be played on the event stream", async (mode, expected) => {
    const wolf = await rig({ stallMs: 1 });
    wolf.emulator.fail({ on: "GET /api/v1/events", mode, times: 1 });
    expect((await wolf.raw("GET /api/v1/events HTTP/1.1\r\n\r\n")).toString()).toMatch(expected);
  });

  it("of container-exits lets the lobby vanish after its 200, and no container was ever told of", async () => {
    const wolf = await rig();
    const events = await wolf.subscribe();
    wolf.emulator.fail({ on: "container-start", mode: "container-exits", times: 1 });
    const id = await wolf.lobby();
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    await events.heard(2);
    expect(events.names()).toEqual(["CreateLobbyEvent", "StopLobbyEvent"]);
    expect(await listed(wolf)).toEqual([]);
    expect((await wolf.post("/api/v1/lobbies/stop", { lobby_id: id })).text).toContain("Invalid lobby ID");
    await wolf.lobby();
    await events.heard(4);
    expect(wolf.emulator.lobbies()).toMatchObject([{ state: "running" }]);
  });

  it("of stall at container-start leaves the lobby starting until it is stopped", async () => {
    const wolf = await rig();
    const events = await wolf.subscribe();
    wolf.emulator.fail({ on: "container-start", mode: "stall", times: 1 });
    const id = await wolf.lobby();
    await wolf.lobby(processRunner);
    await wolf.lobby();
    await events.heard(4);
    expect(wolf.emulator.lobbies().map(({ state }) => state)).toEqual(["starting", "running", "running"]);
    await wolf.post("/api/v1/lobbies/stop", { lobby_id: id });
    expect(wolf.emulator.lobbies()).toHaveLength(2);
  });

  it("of die at container-start takes the process with it", async () => {
    const wolf = await rig();
    wolf.emulator.fail({ on: "container-start", mode: "die" });
    await wolf.lobby();
    expect(await wolf.emulator.closed).toBe("died");
    expect(wolf.emulator.lobbies()).toEqual([]);
  });

  it("can befall a running container at any time", async () => {
    const wolf = await rig();
    const events = await wolf.subscribe();
    const id = await wolf.lobby();
    await events.heard(2);
    await Promise.all([wolf.emulator.containerExits(id), wolf.emulator.containerExits(id)]);
    await wolf.emulator.containerExits("nobody");
    await events.heard(4);
    expect(events.names().slice(2)).toEqual(["DockerContainerStopped", "StopLobbyEvent"]);
    expect(wolf.emulator.lobbies()).toEqual([]);
  });

  it.each<[FailureRule, string]>([
    [{ on: "POST /api/v1/lobbies/craete", mode: "500" }, "is neither"],
    [{ on: "container-stop", mode: "500" }, "is neither"],
    [{ on: "toString", mode: "500" }, "is neither"],
    [{ on: CREATE, mode: "container-exits" }, "cannot happen on"],
    [{ on: "container-start", mode: "half-body" }, "only die, stall, container-exits"],
    [{ on: CREATE, mode: "explode" as "die" }, "cannot happen on"],
    [{ on: CREATE, mode: "die", times: 0 }, "at least once"],
    [{ on: CREATE, mode: "die", times: Number.NaN }, "at least once"],
  ])("that could never be played is refused: %j", async (rule, message) => {
    const wolf = await rig();
    expect(() => wolf.emulator.fail(rule)).toThrow(message);
  });
});
