/** The screen service inside a sandbox: a picture of its screen that says whose it is and when it was taken, and a clipboard. */
import { once } from "node:events";
import { mkdir, rename, rm } from "node:fs/promises";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import path from "node:path";
import { Picture } from "./png.ts";
import type { EmulatedLobby, Sandboxes } from "./world.ts";

const BODY_BYTES_MAX = 256 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
/** Linux's sun_path without its final zero byte. */
const SOCKET_PATH_BYTES_MAX = 107;
const EDGE_MAX = 1280;
const WIDTH_MIN = 320;
const HEIGHT_MIN = 180;
const colors = {
  background: [24, 26, 34],
  panel: [38, 42, 56],
  accent: [96, 165, 250],
  text: [240, 242, 248],
  dim: [148, 156, 176],
} as const;

/** Sandboxes whose screens are served below `stateFolder`; without one, containers have no screen. */
export function screenSandboxes(
  stateFolder: string | undefined,
  now: () => Date,
): Sandboxes & { close(): Promise<void> } {
  const servers = new Map<string, { server: Server; socketPath: string }>();
  let started = 0;

  async function stop(lobbyId: string): Promise<void> {
    const entry = servers.get(lobbyId);
    if (entry === undefined) return;
    servers.delete(lobbyId);
    const closed = new Promise((resolve) => entry.server.close(resolve));
    entry.server.closeAllConnections();
    await closed;
    // The newest sandbox of a folder owns its socket; older ones leave it alone.
    const taken = [...servers.values()].some(({ socketPath }) => socketPath === entry.socketPath);
    if (!taken) await rm(entry.socketPath, { force: true });
  }

  return {
    async start(lobby) {
      if (stateFolder === undefined) return;
      const socketPath = socketPathOf(stateFolder, lobby.request.runner_state_folder);
      if (socketPath === undefined) return;
      const folder = path.dirname(socketPath);
      await mkdir(folder, { recursive: true });
      const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, screenService(lobby, now));
      // Moved into place when it listens: nobody meets a socket that refuses, and libuv, which removes the name it was
      // bound to on close, cannot take a newer sandbox's socket away.
      started += 1;
      const firstName = path.join(folder, `.${started.toString(36)}`);
      await rm(firstName, { force: true });
      server.listen({ path: firstName });
      await once(server, "listening");
      servers.set(lobby.id, { server, socketPath });
      try {
        await rename(firstName, socketPath);
      } catch (error) {
        await stop(lobby.id);
        throw error;
      }
    },
    stop: (lobby) => stop(lobby.id),
    async close() {
      await Promise.all([...servers.keys()].map(stop));
    },
  };
}

/** Throws one sentence for a path that no Unix socket can have. */
export function checkSocketPath(socketPath: string): void {
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_BYTES_MAX || socketPath === "")
    throw new Error(
      `The socket path ${socketPath} needs 1 to ${SOCKET_PATH_BYTES_MAX} bytes and has ${Buffer.byteLength(socketPath)}.`,
    );
}

/** Undefined for a folder that is not below the state folder: such a container has no screen there. */
export function socketPathOf(stateFolder: string, runnerStateFolder: string): string | undefined {
  const base = path.resolve(stateFolder);
  const folder = path.resolve(base, runnerStateFolder);
  if (!folder.startsWith(`${base}${path.sep}`)) return undefined;
  const socketPath = path.join(folder, "screen.sock");
  checkSocketPath(socketPath);
  return socketPath;
}

/** The session a sandbox says it belongs to, else its lobby. */
function labelOf(lobby: EmulatedLobby): string {
  const { runner } = lobby.request;
  const env = runner.type === "docker" ? runner.env : [];
  return (
    env.find((entry) => entry.startsWith("WOLFPACK_SESSION_ID="))?.slice("WOLFPACK_SESSION_ID=".length) ??
    lobby.id
  );
}

/** Fits into a square of `EDGE_MAX`; what a nonsensical size asks for is still a picture. */
export function screenSize(video: { width: number; height: number }): { width: number; height: number } {
  const scale = EDGE_MAX / Math.max(EDGE_MAX, video.width, video.height);
  const edge = (length: number, min: number) =>
    Math.min(EDGE_MAX, Math.max(min, Math.round(length * scale) || min));
  return { width: edge(video.width, WIDTH_MIN), height: edge(video.height, HEIGHT_MIN) };
}

/** A screen on which `label` and `time` can be read; text chunks carry both for machines. */
export function renderScreen(label: string, time: string, video: { width: number; height: number }): Buffer {
  const { width, height } = screenSize(video);
  const palette = Object.values(colors);
  const [, panel, accent, text, dim] = [0, 1, 2, 3, 4] as const;
  const picture = new Picture(width, height, palette);
  const small = Math.max(1, Math.round(Math.min(width / 427, height / 240)));
  const scale = Math.max(1, Math.floor((width * 0.8) / Picture.textWidth(label, 1)));
  const shown = label.slice(0, Math.floor((width * 0.9) / Picture.textWidth("0", scale)));
  const line = 12 * scale;
  const box = { width: Picture.textWidth(shown, scale) + 8 * scale, height: 2 * line + 6 * scale };
  const left = Math.round((width - box.width) / 2);
  const top = Math.round((height - box.height) / 2);
  picture.fill(0, 0, width, 15 * small, panel);
  picture.text(5 * small, 4 * small, "WOLF EMULATOR", small, dim);
  const size = `${video.width} X ${video.height}`;
  picture.text(width - Picture.textWidth(size, small) - 4 * small, 4 * small, size, small, dim);
  picture.fill(left, top, box.width, box.height, panel);
  picture.fill(left, top, box.width, scale, accent);
  picture.text(left + 4 * scale, top + 6 * scale, shown, scale, text);
  picture.text(left + 4 * scale, top + 6 * scale + line, time, scale, accent);
  return picture.toPng({ "wolfpack-session": label, "wolfpack-time": time });
}

const allowed: Record<string, string> = { "/screenshot": "GET", "/clipboard": "GET, POST" };

function screenService(lobby: EmulatedLobby, now: () => Date): RequestListener {
  let clipboard = "";
  const answer = (response: ServerResponse, status: number, value: object) => {
    const body = JSON.stringify(value);
    response.setHeader("content-type", "application/json");
    response.setHeader("content-length", Buffer.byteLength(body));
    response.writeHead(status).end(body);
  };
  const refuse = (response: ServerResponse, status: number, error: string) =>
    answer(response, status, { success: false, error });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url = "" } = request;
    const methods = Object.hasOwn(allowed, url) ? allowed[url] : undefined;
    if (methods === undefined) return refuse(response, 404, "not found");
    if (method === undefined || !methods.split(", ").includes(method)) {
      response.setHeader("allow", methods);
      return refuse(response, 405, "method not allowed");
    }
    if (url === "/screenshot") {
      const image = renderScreen(labelOf(lobby), now().toISOString(), lobby.request.video_settings);
      response.writeHead(200, { "content-type": "image/png", "content-length": image.length }).end(image);
    } else if (method === "GET") {
      answer(response, 200, { text: clipboard });
    } else {
      const text = clipboardText(await bounded(request));
      if (text === undefined) return refuse(response, 400, 'expected {"text": "…"}');
      clipboard = text;
      answer(response, 200, { success: true });
    }
  }

  return (request, response) => {
    // Only a peer that went away in the middle of its body gets here.
    handle(request, response).catch(() => response.destroy());
  };
}

/** The body, read to its end so that the answer arrives; undefined when it is too long to keep. */
async function bounded(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) chunks.length = 0;
    else chunks.push(chunk);
  }
  return bytes > BODY_BYTES_MAX ? undefined : Buffer.concat(chunks);
}

function clipboardText(body: Buffer | undefined): string | undefined {
  try {
    const json: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    const text = (json as { text?: unknown } | null)?.text;
    return typeof text === "string" ? text : undefined;
  } catch {
    return undefined;
  }
}
