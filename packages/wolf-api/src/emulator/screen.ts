/** The screen service inside a sandbox: a picture of its screen that says whose it is and when it was taken, and a clipboard. */
import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import path from "node:path";
import { Picture } from "./png.ts";
import type { EmulatedLobby, Sandboxes } from "./world.ts";

const BODY_BYTES_MAX = 256 * 1024;
/** Linux's sun_path without its final zero byte. */
const SOCKET_PATH_BYTES_MAX = 107;
const WIDTH_MAX = 1280;
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

  async function stop(lobbyId: string): Promise<void> {
    const entry = servers.get(lobbyId);
    if (entry === undefined) return;
    servers.delete(lobbyId);
    entry.server.closeAllConnections();
    await new Promise((resolve) => entry.server.close(resolve));
    await rm(entry.socketPath, { force: true });
  }

  return {
    async start(lobby) {
      if (stateFolder === undefined) return;
      const socketPath = socketPathOf(stateFolder, lobby.request.runner_state_folder);
      if (socketPath === undefined) return;
      await mkdir(path.dirname(socketPath), { recursive: true });
      await rm(socketPath, { force: true });
      const server = createServer(screenService(lobby, now));
      server.listen(socketPath);
      await once(server, "listening");
      servers.set(lobby.id, { server, socketPath });
    },
    stop: (lobby) => stop(lobby.id),
    async close() {
      await Promise.all([...servers.keys()].map(stop));
    },
  };
}

/** Undefined for a folder that would leave the state folder, as for Docker: such a container has no home there. */
export function socketPathOf(stateFolder: string, runnerStateFolder: string): string | undefined {
  const base = path.resolve(stateFolder);
  const folder = path.resolve(base, runnerStateFolder);
  if (!folder.startsWith(`${base}${path.sep}`)) return undefined;
  const socketPath = path.join(folder, "screen.sock");
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_BYTES_MAX) {
    throw new Error(
      `The screen socket's path has more than ${SOCKET_PATH_BYTES_MAX} bytes: choose a shorter state folder than ${base}.`,
    );
  }
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

export function renderScreen(label: string, time: string, video: { width: number; height: number }): Buffer {
  const width = Math.max(320, Math.min(WIDTH_MAX, video.width));
  const height = Math.max(180, Math.round((width * video.height) / Math.max(1, video.width)));
  const palette = Object.values(colors);
  const [, panel, accent, text, dim] = palette.keys();
  const picture = new Picture(width, height, palette);
  const scale = Math.max(1, Math.floor((width * 0.8) / Picture.textWidth(label, 1)));
  const left = Math.round((width - Picture.textWidth(label, scale)) / 2);
  const top = Math.round(height / 2) - 9 * scale;
  picture.fill(0, 0, width, Math.round(height / 16), panel as number);
  picture.text(
    12,
    Math.round(height / 48),
    "WOLF EMULATOR",
    Math.max(1, Math.round(height / 240)),
    dim as number,
  );
  picture.fill(
    left - 4 * scale,
    top - 4 * scale,
    Picture.textWidth(label, scale) + 8 * scale,
    26 * scale,
    panel as number,
  );
  picture.fill(
    left - 4 * scale,
    top - 4 * scale,
    Picture.textWidth(label, scale) + 8 * scale,
    scale,
    accent as number,
  );
  picture.text(left, top, label, scale, text as number);
  picture.text(left, top + 11 * scale, time, scale, accent as number);
  return picture.toPng({ "wolfpack-session": label, "wolfpack-time": time });
}

function screenService(
  lobby: EmulatedLobby,
  now: () => Date,
): (request: IncomingMessage, response: ServerResponse) => void {
  let clipboard = "";
  const answer = (response: ServerResponse, status: number, value: object) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  };
  return async (request, response) => {
    const { method, url } = request;
    if (url === "/screenshot" && method === "GET") {
      const image = renderScreen(labelOf(lobby), now().toISOString(), lobby.request.video_settings);
      response.writeHead(200, { "content-type": "image/png", "content-length": image.length }).end(image);
    } else if (url === "/clipboard" && method === "GET") {
      answer(response, 200, { text: clipboard });
    } else if (url === "/clipboard" && method === "POST") {
      const text = await clipboardText(request);
      if (text === undefined)
        return answer(response, 400, { success: false, error: 'expected {"text": "…"}' });
      clipboard = text;
      answer(response, 200, { success: true });
    } else {
      const known = url === "/screenshot" || url === "/clipboard";
      answer(response, known ? 405 : 404, {
        success: false,
        error: known ? "method not allowed" : "not found",
      });
    }
  };
}

async function clipboardText(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > BODY_BYTES_MAX) return undefined;
      chunks.push(chunk);
    }
    const { text } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { text?: unknown };
    return typeof text === "string" ? text : undefined;
  } catch {
    return undefined;
  }
}
