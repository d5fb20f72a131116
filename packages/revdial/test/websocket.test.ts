import { dialTunnel, type Tunnel } from "../src/index.ts";
import { behavesLikeATunnel } from "./behaviour.ts";
import { gateway, stopServer } from "./gateway.ts";
import { signal } from "./support.ts";

behavesLikeATunnel("a WebSocket", async (options = {}) => {
  const handlerErrors: unknown[] = [];
  const onHandlerError = (error: unknown) => void handlerErrors.push(error);
  const accepted = signal<Tunnel>();
  const { url, server } = await gateway(accepted.give, { onHandlerError, ...options.both, ...options.right });
  const left = await dialTunnel(url, { onHandlerError, ...options.both, ...options.left });
  const right = await accepted.seen;
  return {
    left,
    right,
    handlerErrors,
    async stop() {
      left.destroy();
      right.destroy();
      await Promise.all([left.closed, right.closed]);
      await stopServer(server);
    },
  };
});
