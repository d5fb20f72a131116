/** Process: a Wolf with one lobby, or a full host's, that answers at once, so that what is measured is the agent. */
import { once } from "node:events";
import { createServer } from "node:net";
import { serveCalls } from "./process.ts";

const reply = (body: string) =>
  `HTTP/1.0 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
/** What an agent takes by default. */
const LOBBIES = 12;
const lobby = (at: number) => ({
  id: `136a065d-a12f-4297-a211-16842d5d71${at + 10}`,
  name: "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  multi_user: true,
  started_by_profile_id: "wolfpack",
  pin_required: false,
  stop_when_everyone_leaves: false,
  runner: {
    type: "docker",
    name: "wolfpack-ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    image: "ghcr.io/games-on-whales/xfce:edge",
    mounts: [],
    env: [
      "WOLFPACK_SESSION_ID=ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
      "GOW_REQUIRED_DEVICES=/dev/input/* /dev/dri/* /dev/nvidia*",
    ],
    devices: [],
    ports: [],
  },
  connected_sessions: ["10594003729173467913"],
});
const listOf = (length: number) =>
  reply(JSON.stringify({ success: true, lobbies: Array.from({ length }, (_, at) => lobby(at)) }));
let list = listOf(1);
const created = reply('{"success":true,"lobby_id":"136a065d-a12f-4297-a211-16842d5d7103"}');

const server = createServer({ allowHalfOpen: true }, (socket) => {
  let text = "";
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    if (end >= 0 && text.length >= end + 4 + length) socket.end(text.startsWith("GET") ? list : created);
  });
});

serveCalls({
  fill: (full: boolean) => {
    list = listOf(full ? LOBBIES : 1);
  },
  /** A Unix socket, as Wolf's own is. */
  listen: async (socketPath: string) => {
    server.listen({ path: socketPath, backlog: 4096 });
    await once(server, "listening");
  },
});
