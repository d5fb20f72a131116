/** The emulator's HTTP: what Wolf's own server does with odd, half and hostile requests, over real sockets. */
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { startWolfEmulator } from "../src/emulator/index.ts";
import { endRigs, everything, lobbyRequest, type Rig, rig } from "./emulator-client.ts";

const EMPTY_LIST = '{"success":true,"lobbies":[]}';

afterEach(endRigs);

describe("the emulator's HTTP", () => {
  let wolf: Rig;
  beforeEach(async () => {
    wolf = await rig();
  });
  it("answers with HTTP/1.0, OK for every status, and Content-Length alone", async () => {
    expect((await wolf.raw("GET /api/v1/lobbies HTTP/1.1\r\n\r\n")).toString()).toBe(
      `HTTP/1.0 200 OK\r\nContent-Length: ${EMPTY_LIST.length}\r\n\r\n${EMPTY_LIST}`,
    );
    expect((await wolf.raw("GET /api/v1/lobbies/ HTTP/1.1\r\n\r\n")).toString()).toBe(
      "HTTP/1.0 404 OK\r\nContent-Length: 0\r\n\r\n",
    );
  });

  it("serves TCP as it serves a Unix socket", async () => {
    const tcp = await rig({ listen: { port: 0 } });
    expect(tcp.emulator.address).toMatch(/^127\.0\.0\.1:\d+$/);
    expect((await tcp.get("/api/v1/lobbies")).text).toBe(EMPTY_LIST);
  });

  it("drops a second, pipelined request", async () => {
    const one = "GET /api/v1/lobbies HTTP/1.1\r\nConnection: keep-alive\r\n\r\n";
    expect((await wolf.raw(one + one)).toString().match(/HTTP\/1\.0/g)).toHaveLength(1);
    expect(wolf.emulator.requests).toHaveLength(1);
  });

  it.each(["HEAD", "PATCH", "OPTIONS", "BREW"])("reads %s as GET, body included", async (method) => {
    expect((await wolf.raw(`${method} /api/v1/lobbies HTTP/1.1\r\n\r\n`)).toString()).toContain(EMPTY_LIST);
    expect(wolf.emulator.requests).toEqual([{ method, path: "/api/v1/lobbies", body: "" }]);
  });

  it("counts requests by route as they came, and all that are of none together", async () => {
    for (const target of [
      "GET /api/v1/lobbies?a=b",
      "GET /api/v1/lobbies",
      "HEAD /api/v1/lobbies",
      "GET /a",
      "PUT /b",
    ])
      await wolf.raw(`${target} HTTP/1.1\r\n\r\n`);
    const events = await wolf.subscribe();
    expect(Object.fromEntries(wolf.emulator.counts.requests)).toEqual({
      "GET /api/v1/lobbies": 2,
      "GET /api/v1/events": 1,
      other: 3,
    });
    events.socket.destroy();
  });

  it.each(["PUT", "DELETE"])("knows %s, and no route for it", async (method) => {
    expect((await wolf.raw(`${method} /api/v1/lobbies HTTP/1.1\r\n\r\n`)).toString()).toMatch(
      /^HTTP\/1\.0 404 OK/,
    );
  });

  it("refuses a chunked body in plain text, whatever its route", async () => {
    const reply = await wolf.raw("POST /api/v1/nope HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect(reply.toString()).toBe(
      "HTTP/1.0 500 OK\r\nContent-Length: 52\r\n\r\nChunked encoding not supported, use HTTP/1.0 instead",
    );
  });

  it("reads a body that comes byte by byte, and sends nothing before it is whole", async () => {
    const body = JSON.stringify({ lobby_id: "nöpe" });
    const bytes = Buffer.from(
      `POST /api/v1/lobbies/stop HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    const socket = await wolf.open();
    socket.setNoDelay(true);
    const reply = everything(socket);
    for (const byte of bytes) await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
    expect((await reply).toString()).toMatch(
      /^HTTP\/1\.0 500 OK\r\nContent-Length: \d+\r\n\r\n.*Invalid lobby ID/,
    );
    expect(wolf.emulator.requests[0]?.body).toBe(body);
  });

  it("still answers a peer that has closed its own half, however late", async () => {
    const slow = await rig({ stallMs: 20 });
    slow.emulator.fail({ on: "GET /api/v1/apps", mode: "stall" });
    for (const [target, expected] of [
      ["/api/v1/lobbies", EMPTY_LIST],
      ["/api/v1/apps", "timed out"],
    ] as const) {
      const socket = await slow.open();
      const reply = everything(socket);
      socket.end(`GET ${target} HTTP/1.0\r\n\r\n`);
      expect((await reply).toString()).toContain(expected);
    }
  });

  it("describes an image once it was pulled", async () => {
    const inspect = () => wolf.get("/api/v1/docker/images/inspect?image_name=some/image:1");
    expect((await inspect()).statusLine).toContain("404");
    await wolf.post("/api/v1/docker/images/pull", { image_name: "some/image:1" });
    expect(JSON.parse((await inspect()).text)).toMatchObject({
      RepoTags: ["some/image:1"],
      RepoDigests: [expect.stringMatching(/^some\/image@sha256:[0-9a-f]{64}$/)],
    });
  });

  it("takes parameters as they are: not decoded, and exactly one", async () => {
    const inspect = (query: string) => wolf.get(`/api/v1/docker/images/inspect${query}`);
    expect((await inspect("?image_name=ghcr.io/games-on-whales/xfce:edge")).statusLine).toContain("200");
    expect((await inspect("?image_name=ghcr.io%2Fgames-on-whales%2Fxfce:edge")).statusLine).toContain("404");
    expect((await inspect("?image_name=a=b")).statusLine).toContain("400");
    expect((await inspect("?image_name=toString")).statusLine).toContain("404");
    expect((await wolf.get("/api/v1/utils/get-icon?icon_path=/etc/hostname")).statusLine).toContain("404");
  });

  it.each([
    ["no HTTP at all", "hello\r\n\r\n"],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["a method in lower case", "get /api/v1/lobbies HTTP/1.1\r\n\r\n"],
    ["a length that is no number", "POST /api/v1/lobbies/stop HTTP/1.1\r\nContent-Length: ten\r\n\r\n"],
    ["a negative length", "POST /api/v1/lobbies/stop HTTP/1.1\r\nContent-Length: -1\r\n\r\n"],
    ["a body above 4 MiB", "POST /api/v1/lobbies/stop HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n"],
    ["a head above 64 KiB", `GET / HTTP/1.1\r\nX: ${"x".repeat(65_536)}`],
    ["a whole head above 64 KiB", `GET / HTTP/1.1\r\nX: ${"x".repeat(65_536)}\r\n\r\n`],
  ])("closes on %s without a word", async (_what, bytes) => {
    expect((await wolf.raw(bytes)).toString()).toBe("");
    expect((await wolf.get("/api/v1/lobbies")).text).toBe(EMPTY_LIST);
    expect(wolf.emulator.requests).toHaveLength(1);
  });

  it("forgets requests that end before they are whole", async () => {
    const whole = "POST /api/v1/lobbies/stop HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}";
    for (const cut of [0, 1, 20, whole.length]) {
      const socket = await wolf.open();
      const reply = everything(socket);
      socket.end(whole.slice(0, cut));
      expect((await reply).toString()).toBe("");
    }
    expect(wolf.emulator.requests).toEqual([]);
  });

  it("stays up under random bytes and random bodies on every kind of route", async () => {
    const routes = [
      "lobbies/create",
      "lobbies/join",
      "apps/add",
      "profiles/add",
      "sessions/add",
      "clients/settings",
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...routes),
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.anything().map((extra) => JSON.stringify(lobbyRequest({ runner: extra }))),
          fc.integer({ min: 1, max: 600 }).map((end) => JSON.stringify(lobbyRequest()).slice(0, end)),
        ),
        fc.uint8Array({ maxLength: 64 }),
        async (route, body, junk) => {
          const answer = await wolf.post(`/api/v1/${route}`, body);
          expect(JSON.parse(answer.text)).toMatchObject({ success: false });
          const socket = await wolf.open();
          const reply = everything(socket);
          socket.end(junk);
          expect((await reply).length).toBe(0);
        },
      ),
      { numRuns: 60, seed: 20_260_623 },
    );
    expect((await wolf.get("/api/v1/lobbies")).text).toBe(EMPTY_LIST);
  });

  it("names every missing or ill-typed field of a body", async () => {
    const { name, ...nameless } = lobbyRequest();
    expect(name).toBeDefined();
    const errorOf = async (body: unknown) =>
      (JSON.parse((await wolf.post("/api/v1/lobbies/create", body)).text) as { error: string }).error;
    expect(await errorOf(nameless)).toBe("Field named 'name' not found.");
    expect(await errorOf(lobbyRequest({ multi_user: 1 }))).toBe(
      "Failed to parse field 'multi_user': Could not cast to boolean.",
    );
    expect(await errorOf(lobbyRequest({ pin: [1, "2"] }))).toBe(
      "Failed to parse field 'pin': Failed to parse element 1: Could not cast to int.",
    );
    expect(await errorOf([])).toBe("Could not cast to object.");
    expect(await errorOf(lobbyRequest({ runner: {} }))).toMatch(/Could not find field 'type'/);
    expect(wolf.emulator.lobbies()).toEqual([]);
  });

  it("closes without a reply where Wolf does: a started runner, an unreadable pull", async () => {
    const session = {
      client_ip: "10.0.0.5",
      aes_key: "00",
      aes_iv: "1",
      rtsp_fake_ip: "0.0.0.1",
      video_width: 1,
      video_height: 1,
      video_refresh_rate: 60,
      audio_channel_count: 2,
    };
    const { session_id } = JSON.parse((await wolf.post("/api/v1/sessions/add", session)).text) as {
      session_id: string;
    };
    const runner = { type: "process", run_cmd: "true" };
    const start = { stop_stream_when_over: false, runner, session_id };
    expect((await wolf.post("/api/v1/runners/start", start)).statusLine).toBe("");
    expect((await wolf.post("/api/v1/docker/images/pull", {})).statusLine).toBe("");
  });

  it("keeps the last 1,000 requests", async () => {
    for (let index = 0; index < 1003; index += 1) await wolf.get(`/${index}`);
    expect(wolf.emulator.requests).toHaveLength(1000);
    expect(Object.fromEntries(wolf.emulator.counts.requests)).toEqual({ other: 1003 });
    expect(wolf.emulator.requests[0]).toEqual({ method: "GET", path: "/3", body: "" });
  });

  it("keeps no more than 16 MiB of bodies", async () => {
    const body = "x".repeat(4 * 1024 * 1024);
    for (let index = 0; index < 5; index += 1) await wolf.post(`/${index}`, body);
    expect(wolf.emulator.requests.map((request) => request.path)).toEqual(["/1", "/2", "/3", "/4"]);
  });
});

describe("the emulator's address", () => {
  it("is refused while somebody serves the socket, and the other keeps it", async () => {
    const wolf = await rig();
    const unixSocket = path.join(wolf.folder, "wolf.sock");
    await expect(startWolfEmulator({ listen: { unixSocket } })).rejects.toThrow(
      `Somebody already serves ${unixSocket}.`,
    );
    expect((await wolf.get("/api/v1/lobbies")).text).toBe(EMPTY_LIST);
  });

  it("is refused when a file that is no socket is there, and the file stays", async () => {
    const wolf = await rig();
    const unixSocket = path.join(wolf.folder, "precious.txt");
    writeFileSync(unixSocket, "mine");
    await expect(startWolfEmulator({ listen: { unixSocket } })).rejects.toThrow("exists and is not a socket");
    expect(readFileSync(unixSocket, "utf8")).toBe("mine");
  });

  it("is refused when no Unix socket can have it", async () => {
    await expect(startWolfEmulator({ listen: { unixSocket: `/tmp/${"x".repeat(103)}` } })).rejects.toThrow(
      "needs 1 to 107 bytes and has 108",
    );
    await expect(startWolfEmulator({ listen: { unixSocket: "" } })).rejects.toThrow("and has 0");
  });

  it("is refused when the port is taken", async () => {
    const wolf = await rig({ listen: { port: 0 } });
    const port = Number(wolf.emulator.address.split(":")[1]);
    await expect(startWolfEmulator({ listen: { port } })).rejects.toThrow("EADDRINUSE");
  });

  it("is free again after close, which may be called twice and ends open connections", async () => {
    const wolf = await rig();
    const idle = await wolf.open();
    const gone = once(idle, "close");
    await Promise.all([wolf.emulator.close(), wolf.emulator.close()]);
    expect(await wolf.emulator.closed).toBe("closed");
    await gone;
    const again = await startWolfEmulator({ listen: { unixSocket: path.join(wolf.folder, "wolf.sock") } });
    await again.close();
  });
});
