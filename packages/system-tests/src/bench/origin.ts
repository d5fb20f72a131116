/** Process: the local HTTP server behind everything. `/small` is 550 bytes of JSON, `/file?mib=N` N MiB from memory. */
import { createServer } from "node:http";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

const small = Buffer.from(JSON.stringify({ text: "x".repeat(539) }));
const piece = Buffer.alloc(256 * 1024, "0123456789abcdef");

const server = createServer((request, response) => {
  const url = request.url ?? "/";
  if (url === "/small") {
    response.writeHead(200, { "content-type": "application/json", "content-length": small.length });
    return void response.end(small);
  }
  let left = Number(/^\/file\?mib=(\d+)$/.exec(url)?.[1] ?? 0) * 1024 * 1024;
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": left });
  const more = () => {
    while (left > 0) {
      left -= piece.length;
      if (!response.write(piece)) return void response.once("drain", more);
    }
    response.end();
  };
  more();
});
server.keepAliveTimeout = 600_000;

serveCalls({ listen: () => listen(server) });
