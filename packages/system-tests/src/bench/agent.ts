/** Process: the agent's end of what the gateway is asked through. */
import { connect, createServer } from "node:net";
import { dialTunnel } from "revdial";
import { forwardTo } from "revdial/http";
import { Pool } from "undici";
import { dialH2 } from "./h2.ts";
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
    await dialH2(gateway, new Pool(`http://127.0.0.1:${origin}`, { connections: 128 }));
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
