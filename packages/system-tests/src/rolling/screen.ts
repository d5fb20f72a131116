/** The screens of all sandboxes, as an HTTP server: a clipboard after 50 ms, a screenshot whose bytes come over seconds. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

export const SHORT_MS = 50;

export interface Screens {
  port: number;
  close(): Promise<void>;
}

const PIECES = 20;
const PNG_SIGNATURE = Buffer.from("89504e470d0a1a0a", "hex");

export async function startScreens({ longMs }: { longMs: number }): Promise<Screens> {
  const server = createServer((request, response) => {
    const long = request.url?.endsWith("/screenshot") === true;
    void (long ? slowly() : shortly());

    async function shortly(): Promise<void> {
      await pause(SHORT_MS);
      response.setHeader("content-type", "application/json").end(JSON.stringify({ text: "of a sandbox" }));
    }

    async function slowly(): Promise<void> {
      response.setHeader("content-type", "image/png");
      response.write(PNG_SIGNATURE);
      for (let piece = 0; piece < PIECES && !response.destroyed; piece += 1) {
        await pause(longMs / PIECES);
        response.write(Buffer.alloc(1024, piece));
      }
      response.end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
