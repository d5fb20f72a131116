/** The screen service in a sandbox: a PNG that is checked to its pixels, a clipboard, and a socket that lives as long as its lobby. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { crc32, inflateSync } from "node:zlib";
import { afterEach, describe, expect, it } from "@jest/globals";
import { glyphs } from "../src/emulator/font.ts";
import { renderScreen, screenSize, socketPathOf } from "../src/emulator/screen.ts";
import {
  ask,
  endRigs,
  everything,
  lobbyRequest,
  type Rig,
  rig,
  type Subscription,
} from "./emulator-client.ts";

const SESSION = "ses_01JZ8QK3V7W2X4Y6Z8A0B2C4D6";
const NOW = "2026-06-23T12:34:56.789Z";
const at1080 = { width: 1920, height: 1080 };

interface Png {
  width: number;
  height: number;
  texts: Record<string, string>;
  /** Palette index of a pixel. */
  pixel(x: number, y: number): number;
}

/** A reader that shares nothing with the writer: chunk lengths, checksums, zlib stream and filters are all looked at. */
function readPng(bytes: Buffer): Png {
  expect(bytes.subarray(0, 8).toString("hex")).toBe("89504e470d0a1a0a");
  const texts: Record<string, string> = {};
  const kinds: string[] = [];
  const data: Buffer[] = [];
  let [width, height] = [0, 0];
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const kind = bytes.toString("latin1", at + 4, at + 8);
    const body = bytes.subarray(at + 8, at + 8 + length);
    expect(bytes.readUInt32BE(at + 8 + length)).toBe(crc32(bytes.subarray(at + 4, at + 8 + length)));
    kinds.push(kind);
    if (kind === "IHDR") {
      [width, height] = [body.readUInt32BE(0), body.readUInt32BE(4)];
      expect([...body.subarray(8)]).toEqual([8, 3, 0, 0, 0]);
    }
    if (kind === "IDAT") data.push(body);
    if (kind === "tEXt") {
      const [keyword = "", value = ""] = body.toString("latin1").split("\0");
      texts[keyword] = value;
    }
    at += 12 + length;
  }
  expect(kinds).toEqual(["IHDR", "PLTE", "tEXt", "tEXt", "IDAT", "IEND"]);
  const rows = inflateSync(Buffer.concat(data));
  expect(rows).toHaveLength((width + 1) * height);
  return { width, height, texts, pixel: (x, y) => rows[y * (width + 1) + 1 + x] ?? -1 };
}

/** Whether `text` stands somewhere on the picture in one colour, scaled by `scale`. */
function shows(png: Png, text: string, scale: number): boolean {
  const dots = [...text.toUpperCase()].flatMap((character, index) =>
    (glyphs[character] ?? []).flatMap((bits, column) =>
      [0, 1, 2, 3, 4, 5, 6].map((row) => ({
        x: (index * 6 + column) * scale,
        y: row * scale,
        on: ((bits >> row) & 1) === 1,
      })),
    ),
  );
  const first = dots.find((dot) => dot.on);
  if (first === undefined) return false;
  for (let y = 0; y < png.height - 7 * scale; y += 1) {
    for (let x = 0; x < png.width; x += 1) {
      const color = png.pixel(x + first.x, y + first.y);
      if (color > 1 && dots.every((dot) => (png.pixel(x + dot.x, y + dot.y) === color) === dot.on))
        return true;
    }
  }
  return false;
}

interface Running {
  wolf: Rig;
  events: Subscription;
  id: string;
  socketPath: string;
}

async function running(changes: Record<string, unknown> = {}): Promise<Running> {
  const wolf = await rig({ now: () => new Date(NOW) });
  const events = await wolf.subscribe();
  const id = await wolf.lobby(changes);
  await events.heard(2);
  return { wolf, events, id, socketPath: path.join(wolf.stateFolder, "wolfpack", SESSION, "screen.sock") };
}

afterEach(endRigs);

describe("a screenshot", () => {
  it("shows the session and the time, to people and to machines", async () => {
    const { socketPath } = await running();
    const { status, headers, bytes } = await ask(socketPath, "GET", "/screenshot");
    expect({ status, type: headers["content-type"] }).toEqual({ status: 200, type: "image/png" });
    const png = readPng(bytes);
    expect(png).toMatchObject({
      width: 1280,
      height: 720,
      texts: { "wolfpack-session": SESSION, "wolfpack-time": NOW },
    });
    expect(shows(png, SESSION, 5)).toBe(true);
    expect(shows(png, NOW, 5)).toBe(true);
    expect(shows(png, "SES_01JZ8QK3V7W2X4Y6Z8A0B2C4D7", 5)).toBe(false);
  });

  it("shows the lobby's id when its environment names no session", async () => {
    const runner = { ...lobbyRequest().runner, env: ["OTHER=ses_1"] };
    const { socketPath, id } = await running({ runner });
    expect(readPng((await ask(socketPath, "GET", "/screenshot")).bytes).texts["wolfpack-session"]).toBe(id);
  });

  it.each([
    [at1080, { width: 1280, height: 720 }],
    [
      { width: 1080, height: 1920 },
      { width: 720, height: 1280 },
    ],
    [
      { width: 800, height: 600 },
      { width: 800, height: 600 },
    ],
    [
      { width: 0, height: 0 },
      { width: 320, height: 180 },
    ],
    [
      { width: -1920, height: -1080 },
      { width: 320, height: 180 },
    ],
    [
      { width: 1, height: 2_000_000_000 },
      { width: 320, height: 1280 },
    ],
    [
      { width: 1e300, height: 1 },
      { width: 1280, height: 180 },
    ],
  ])("of a video of %j has the size %j", (video, size) => {
    expect(screenSize(video)).toEqual(size);
    expect(readPng(renderScreen(SESSION, NOW, video))).toMatchObject(size);
  });

  it.each(["", "x".repeat(5000), "sës ☃ \u0000\n", "136a065d-a12f-4297-a211-16842d5d7103"])(
    "is a picture whatever the label, as with %j",
    (label) => {
      const { texts } = readPng(renderScreen(label, NOW, at1080));
      expect(texts["wolfpack-session"]).toBe(label.replace(/[☃\0\n]/g, "?"));
    },
  );
});

describe("the font", () => {
  const drawn = (character: string) =>
    [0, 1, 2, 3, 4, 5, 6].map((row) =>
      (glyphs[character] ?? []).map((bits) => ((bits >> row) & 1 ? "#" : ".")).join(""),
    );

  it("draws what it is asked to", () => {
    expect(drawn("S")).toEqual([".####", "#....", "#....", ".###.", "....#", "....#", "####."]);
    expect(drawn("Z")).toEqual(["#####", "....#", "...#.", "..#..", ".#...", "#....", "#####"]);
  });

  it("has every character of ids and times, no two of them alike", () => {
    const needed = [..."0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_-:. "];
    expect(new Set(needed.map((character) => drawn(character).join("\n"))).size).toBe(needed.length);
  });
});

describe("the clipboard", () => {
  it("gives back what was put there, per sandbox, whatever the script", async () => {
    const { wolf, events, socketPath } = await running();
    await wolf.lobby({ runner_state_folder: "wolfpack/other" });
    await events.heard(4);
    const other = path.join(wolf.stateFolder, "wolfpack/other/screen.sock");
    const text = 'naïve "quotes"\n☃ 😀';
    expect(JSON.parse((await ask(socketPath, "GET", "/clipboard")).bytes.toString())).toEqual({ text: "" });
    const stored = await ask(socketPath, "POST", "/clipboard", JSON.stringify({ text }));
    expect({ status: stored.status, body: stored.bytes.toString() }).toEqual({
      status: 200,
      body: '{"success":true}',
    });
    const read = await ask(socketPath, "GET", "/clipboard");
    expect(read.headers["content-type"]).toBe("application/json");
    expect(JSON.parse(read.bytes.toString())).toEqual({ text });
    expect(JSON.parse((await ask(other, "GET", "/clipboard")).bytes.toString())).toEqual({ text: "" });
  });

  it.each<[string, string | Buffer]>([
    ["nothing", ""],
    ["no JSON", "{"],
    ["null", "null"],
    ["a list", "[]"],
    ["no text", "{}"],
    ["a number", '{"text":1}'],
    ["broken UTF-8", Buffer.from('{"text":"\xff"}', "latin1")],
    ["more than 256 KiB", JSON.stringify({ text: "x".repeat(262_144) })],
  ])("refuses %s and keeps what it had", async (_what, body) => {
    const { socketPath } = await running();
    await ask(socketPath, "POST", "/clipboard", '{"text":"kept"}');
    const refused = await ask(socketPath, "POST", "/clipboard", body);
    expect(refused.status).toBe(400);
    expect(JSON.parse(refused.bytes.toString())).toMatchObject({ success: false });
    expect((await ask(socketPath, "GET", "/clipboard")).bytes.toString()).toBe('{"text":"kept"}');
  });

  it("takes exactly 256 KiB", async () => {
    const { socketPath } = await running();
    const body = JSON.stringify({ text: "x".repeat(262_144 - 11) });
    expect(body).toHaveLength(262_144);
    expect((await ask(socketPath, "POST", "/clipboard", body)).status).toBe(200);
  });

  it("forgets a body that its sender never finished", async () => {
    const { wolf, socketPath } = await running();
    const { connect } = await import("node:net");
    const socket = connect({ path: socketPath });
    socket.on("error", () => undefined);
    const over = everything(socket);
    socket.write('POST /clipboard HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"text":"half');
    socket.end();
    await over;
    expect((await ask(socketPath, "GET", "/clipboard")).bytes.toString()).toBe('{"text":""}');
    expect(wolf.problems).toEqual([]);
  });
});

describe("the screen service", () => {
  it.each([
    ["GET", "/", 404, undefined],
    ["GET", "/screenshot?x=1", 404, undefined],
    ["GET", "/constructor", 404, undefined],
    ["POST", "/screenshot", 405, "GET"],
    ["HEAD", "/screenshot", 405, "GET"],
    ["DELETE", "/clipboard", 405, "GET, POST"],
  ])("answers %s %s with %d", async (method, target, status, allow) => {
    const { socketPath } = await running();
    const answer = await ask(socketPath, method, target);
    expect({ status: answer.status, allow: answer.headers.allow }).toEqual({ status, allow });
  });

  it("survives what is no HTTP", async () => {
    const { socketPath } = await running();
    const { connect } = await import("node:net");
    const socket = connect({ path: socketPath });
    socket.on("error", () => undefined);
    const over = everything(socket);
    socket.write(Buffer.from("\0\xff\r\n\r\n", "latin1"));
    await over;
    expect((await ask(socketPath, "GET", "/clipboard")).status).toBe(200);
  });

  it("is there before its container is announced, and gone before its end is", async () => {
    const { wolf, events, id, socketPath } = await running();
    expect(existsSync(socketPath)).toBe(true);
    await wolf.post("/api/v1/lobbies/stop", { lobby_id: id });
    await events.heard(4);
    expect(events.names()[3]).toBe("DockerContainerStopped");
    expect(readdirSync(path.dirname(socketPath))).toEqual([]);
  });

  it("does not come while the container has not started, nor for a process", async () => {
    const wolf = await rig({ containerStartDelayMs: 60_000 });
    await wolf.lobby();
    expect(existsSync(wolf.stateFolder)).toBe(false);
    const { wolf: other, events } = await running();
    await other.lobby({ runner: { type: "process", run_cmd: "true" }, runner_state_folder: "process" });
    await other.lobby({ runner_state_folder: "docker" });
    await events.heard(5);
    expect(readdirSync(other.stateFolder).sort()).toEqual(["docker", "wolfpack"]);
  });

  it("goes with the emulator, open connections too", async () => {
    const { wolf, socketPath } = await running();
    const { connect } = await import("node:net");
    const socket = connect({ path: socketPath });
    const over = everything(socket);
    await ask(socketPath, "GET", "/clipboard");
    await wolf.emulator.close();
    await over;
    expect(existsSync(socketPath)).toBe(false);
  });

  it("replaces a socket that a killed emulator left, and survives the end of an older lobby in its folder", async () => {
    const { wolf, events, id, socketPath } = await running();
    const newer = await wolf.lobby({ runner: { ...lobbyRequest().runner, env: [] } });
    await events.heard(4);
    await wolf.post("/api/v1/lobbies/stop", { lobby_id: id });
    await events.heard(7);
    const { texts } = readPng((await ask(socketPath, "GET", "/screenshot")).bytes);
    expect(texts["wolfpack-session"]).toBe(newer);
    await wolf.post("/api/v1/lobbies/stop", { lobby_id: newer });
    await events.heard(10);
    expect(readdirSync(path.dirname(socketPath))).toEqual([]);
  });

  it.each(["..", ".", "", "../outside", "/etc", "a/../../b", "wolfpack/../../../tmp/x"])(
    "is not opened for the folder %j, which is not below the state folder",
    async (runner_state_folder) => {
      expect(socketPathOf("/state", runner_state_folder)).toBeUndefined();
      const { wolf } = await running({ runner_state_folder });
      expect(wolf.emulator.lobbies()).toMatchObject([{ state: "running" }]);
      expect(readdirSync(wolf.folder)).toEqual(["wolf.sock"]);
    },
  );

  it("leaves the state folder for no lookalike beside it", () => {
    expect(socketPathOf("/state", "../state-2/x")).toBeUndefined();
    expect(socketPathOf("/state", "a/../b")).toBe("/state/b/screen.sock");
  });

  it.each([
    ["a path too long for a Unix socket", "x".repeat(100), "needs 1 to 107 bytes"],
    ["a folder that is a file", "wolfpack/file", "EEXIST|ENOTDIR"],
    ["a folder that nothing can be called", "wolfpack/\0", "null bytes"],
    ["a directory where its socket belongs", "taken", "EISDIR|ENOTEMPTY|EEXIST"],
  ])("that cannot open because of %s lets its lobby vanish, and says why", async (_what, folder, reason) => {
    const wolf = await rig();
    mkdirSync(path.join(wolf.stateFolder, "taken", "screen.sock"), { recursive: true });
    mkdirSync(path.join(wolf.stateFolder, "wolfpack"));
    writeFileSync(path.join(wolf.stateFolder, "wolfpack", "file"), "");
    const events = await wolf.subscribe();
    const id = await wolf.lobby({ runner_state_folder: folder });
    await events.heard(2);
    expect(events.names()).toEqual(["CreateLobbyEvent", "StopLobbyEvent"]);
    expect(wolf.problems).toHaveLength(1);
    expect(wolf.problems[0]).toMatch(new RegExp(`The sandbox of lobby ${id} cannot start: .*(${reason})`));
    expect(wolf.emulator.lobbies()).toEqual([]);
  });
});
