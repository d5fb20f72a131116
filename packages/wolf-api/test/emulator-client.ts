/** How the emulator's tests talk to it: raw bytes in, raw bytes out, and its event stream as a list that grows. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { startWolfEmulator, type WolfEmulator, type WolfEmulatorOptions } from "../src/emulator/index.ts";
import { parseEventStream } from "../src/index.ts";

export const lobbyRequest = (changes: Record<string, unknown> = {}) => ({
  profile_id: "user",
  name: "ses_01JZ8QK3V7W2X4Y6Z8A0B2C4D6",
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
  runner_state_folder: "wolfpack/ses_01JZ8QK3V7W2X4Y6Z8A0B2C4D6",
  runner: {
    type: "docker",
    name: "wolfpack",
    image: "ghcr.io/games-on-whales/xfce:edge",
    mounts: [],
    env: ["WOLFPACK_SESSION_ID=ses_01JZ8QK3V7W2X4Y6Z8A0B2C4D6"],
    devices: [],
    ports: [],
  },
  ...changes,
});

export interface Answer {
  statusLine: string;
  headers: Record<string, string>;
  text: string;
}

export interface Story {
  event: string;
  data: Record<string, unknown>;
}

const rigs = new Set<Rig>();

/** For `afterEach`: whatever a test has left, also when it failed half-way. */
export async function endRigs(): Promise<void> {
  for (const one of rigs) {
    rigs.delete(one);
    await one.end();
  }
}

/** An emulator on a Unix socket in a folder of its own. */
export interface Rig {
  emulator: WolfEmulator;
  folder: string;
  stateFolder: string;
  problems: string[];
  open(): Promise<Socket>;
  raw(bytes: string | Buffer): Promise<Buffer>;
  get(target: string): Promise<Answer>;
  post(target: string, body: unknown): Promise<Answer>;
  subscribe(): Promise<Subscription>;
  /** Creates a lobby and gives its id. */
  lobby(changes?: Record<string, unknown>): Promise<string>;
  end(): Promise<void>;
}

export interface Subscription {
  events: Story[];
  comments: string[];
  /** Resolves once this many events, or comments, have come. */
  heard(count: number, what?: "events" | "comments"): Promise<void>;
  /** Names without Wolf's prefix. */
  names(): string[];
  socket: Socket;
  over: Promise<void>;
}

export async function rig(options: Partial<WolfEmulatorOptions> = {}): Promise<Rig> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "wolf-"));
  const stateFolder = path.join(folder, "state");
  const socketPath = path.join(folder, "wolf.sock");
  const problems: string[] = [];
  const emulator = await startWolfEmulator({
    listen: { unixSocket: socketPath },
    stateFolder,
    containerStartDelayMs: 0,
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  const clients = new Set<Socket>();
  const open = async () => {
    const at = emulator.address.startsWith("unix://")
      ? { path: emulator.address.slice("unix://".length) }
      : { host: "127.0.0.1", port: Number(emulator.address.split(":").at(-1)) };
    const socket = connect(at);
    clients.add(socket);
    await once(socket, "connect");
    // Resets are part of what is tested; the bytes that came before them are what counts.
    socket.on("error", () => undefined);
    return socket;
  };
  const raw = async (bytes: string | Buffer) => {
    const socket = await open();
    const reply = everything(socket);
    socket.write(bytes);
    return reply;
  };
  const post = async (target: string, body: unknown) => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return answerOf(
      await raw(`POST ${target} HTTP/1.1\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`),
    );
  };
  const made: Rig = {
    emulator,
    folder,
    stateFolder,
    problems,
    open,
    raw,
    post,
    get: async (target) => answerOf(await raw(`GET ${target} HTTP/1.1\r\nHost: wolf\r\n\r\n`)),
    subscribe: async () => subscription(await open()),
    async lobby(changes) {
      const { text } = await post("/api/v1/lobbies/create", lobbyRequest(changes));
      return (JSON.parse(text) as { lobby_id: string }).lobby_id;
    },
    async end() {
      for (const client of clients) client.destroy();
      await emulator.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  rigs.add(made);
  return made;
}

/** All bytes until the connection is over, however it ends. */
export async function everything(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
  return Buffer.concat(chunks);
}

export function answerOf(bytes: Buffer): Answer {
  const end = bytes.indexOf("\r\n\r\n");
  const [statusLine = "", ...fields] = bytes.subarray(0, Math.max(0, end)).toString("latin1").split("\r\n");
  return {
    statusLine,
    headers: Object.fromEntries(fields.map((field) => field.split(": ") as [string, string])),
    text: end < 0 ? "" : bytes.subarray(end + 4).toString("utf8"),
  };
}

async function subscription(socket: Socket): Promise<Subscription> {
  socket.write("GET /api/v1/events HTTP/1.1\r\nHost: wolf\r\n\r\n");
  await once(socket, "data");
  const lists = { events: [] as Story[], comments: [] as string[] };
  const waiting = new Set<() => void>();
  const over = (async () => {
    for await (const item of parseEventStream(socket as AsyncIterable<Uint8Array>)) {
      if ("comment" in item) lists.comments.push(item.comment);
      else lists.events.push({ event: item.event, data: JSON.parse(item.data) as Record<string, unknown> });
      for (const wake of waiting) wake();
    }
  })().catch(() => undefined);
  return {
    ...lists,
    socket,
    over,
    names: () => lists.events.map(({ event }) => event.replace("wolf::core::events::", "")),
    heard: (count, what = "events") =>
      new Promise((resolve) => {
        const check = () => {
          if (lists[what].length < count) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
  };
}

/** An ordinary HTTP/1.1 request to a screen service. */
export async function ask(
  socketPath: string,
  method: string,
  target: string,
  body?: string | Buffer,
): Promise<{ status: number; headers: IncomingHttpHeaders; bytes: Buffer }> {
  const request = httpRequest({ socketPath, method, path: target, agent: false });
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return { status: response.statusCode ?? 0, headers: response.headers, bytes: Buffer.concat(chunks) };
}
