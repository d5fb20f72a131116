import { tunnelPair } from "../src/testing/index.ts";
import { behavesLikeATunnel } from "./behaviour.ts";

behavesLikeATunnel("memory", async (options = {}) => {
  const handlerErrors: unknown[] = [];
  const onHandlerError = (error: unknown) => void handlerErrors.push(error);
  const { left, right } = tunnelPair({ ...options, both: { onHandlerError, ...options.both } });
  return {
    left,
    right,
    handlerErrors,
    async stop() {
      left.destroy();
      right.destroy();
      await Promise.all([left.closed, right.closed]);
    },
  };
});
