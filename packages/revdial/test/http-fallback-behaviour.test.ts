import { dialTunnel, type Tunnel } from "../src/index.ts";
import { behavesLikeATunnel } from "./behaviour.ts";
import { httpGateway } from "./http-gateway.ts";

behavesLikeATunnel("HTTP", async (options = {}) => {
  const handlerErrors: unknown[] = [];
  const onHandlerError = (error: unknown) => void handlerErrors.push(error);
  const gateway = await httpGateway({ onHandlerError, ...options.both, ...options.right });
  const left = await dialTunnel(gateway.url, {
    onHandlerError,
    ...options.both,
    ...options.left,
    transport: "http",
  });
  const right = gateway.tunnels[0] as Tunnel;
  return {
    left,
    right,
    handlerErrors,
    async stop() {
      left.destroy();
      right.destroy();
      await Promise.all([left.closed, right.closed]);
      await gateway.stop();
    },
  };
});
