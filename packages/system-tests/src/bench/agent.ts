/** Process: the agent's end of what the gateway is asked through. */
import { connect, createServer } from "node:net";
import { dialTunnel, REVDIAL_SUBPROTOCOL } from "revdial";
import { forwardTo } from "revdial/http";
import { Pool } from "undici";
import { WebSocket } from "ws";
import { serveH2 } from "./h2.ts";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

serveCalls({
  tunnel: async ({ origin, gateway }: { origin: number; gateway: number }) => {
    await dialTunnel(`ws://127.0.0.1:${gateway}/`, {
      agent: "bench-agent",
      handler: forwardTo({ host: "127.0.0.1", port: origin }),
    });
  },
  h2: async ({ origin, gateway }: { origin: number; gateway: number }) => {
    const webSocket = new WebSocket(`ws://127.0.0.1:${gateway}/`, REVDIAL_SUBPROTOCOL, {
      perMessageDeflate: false,
      // The same favour the tunnel gets on loopback.
      generateMask: (mask) => void mask.fill(0),
    });
    await new Promise((resolve, reject) => webSocket.once("open", resolve).once("error", reject));
    serveH2(webSocket, new Pool(`http://127.0.0.1:${origin}`, { connections: 128 }));
  },
  tcp: ({ origin }: { origin: number }) =>
    listen(
      createServer({ noDelay: true }, (near) => {
        const far = connect({ port: origin, host: "127.0.0.1", noDelay: true });
        near.pipe(far).pipe(near);
        near.on("error", () => far.destroy());
        far.on("error", () => near.destroy());
      }),
    ),
});
