/**
 * Process: the local HTTP server behind everything, on bare sockets so that it costs little beside what is measured. `/small`
 * is 550 bytes of JSON, `/file?mib=N` N MiB from memory.
 */
import { createServer, type Socket } from "node:net";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

const MIB = 1024 * 1024;
const head = (type: string, bytes: number) =>
  `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${bytes}\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n`;
const smallBody = JSON.stringify({ text: "x".repeat(539) });
const small = Buffer.from(head("application/json", smallBody.length) + smallBody);
const piece = Buffer.alloc(256 * 1024, "0123456789abcdef");

function sendFile(socket: Socket, mib: number): void {
  let left = mib * MIB;
  socket.write(head("application/octet-stream", left));
  const more = () => {
    while (left > 0 && !socket.destroyed) {
      left -= piece.length;
      if (!socket.write(piece)) return void socket.once("drain", more);
    }
  };
  more();
}

const server = createServer({ noDelay: true }, (socket) => {
  let rest = "";
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes) => {
    // A connection has one request at a time, and no request has a body.
    rest += bytes.toString("latin1");
    if (!rest.endsWith("\r\n\r\n")) return;
    const path = rest.slice(4, rest.indexOf(" ", 4));
    rest = "";
    if (path === "/small") socket.write(small);
    else sendFile(socket, Number(/^\/file\?mib=(\d+)$/.exec(path)?.[1] ?? 0));
  });
});

serveCalls({ listen: () => listen(server) });
