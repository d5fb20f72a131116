/** Process: a Wolf that answers at once, so that what is measured is the agent. */
import { createServer } from "node:net";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

const reply = (body: string) =>
  `HTTP/1.0 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const list = reply('{"success":true,"lobbies":[]}');
const created = reply('{"success":true,"lobby_id":"136a065d-a12f-4297-a211-16842d5d7103"}');

serveCalls({
  listen: () =>
    listen(
      createServer({ allowHalfOpen: true }, (socket) => {
        let text = "";
        socket.on("error", () => socket.destroy());
        socket.on("data", (chunk) => {
          text += chunk.toString("latin1");
          const end = text.indexOf("\r\n\r\n");
          const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
          if (end >= 0 && text.length >= end + 4 + length)
            socket.end(text.startsWith("GET") ? list : created);
        });
      }),
    ),
});
