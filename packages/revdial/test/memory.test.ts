import { tunnelPair } from "../src/testing/index.ts";
import { behavesLikeATunnel } from "./behaviour.ts";

behavesLikeATunnel("memory", async () => {
  const { left, right, ready } = tunnelPair();
  await ready;
  return {
    left,
    right,
    async stop() {
      left.destroy();
      right.destroy();
      await Promise.all([left.closed, right.closed]);
    },
  };
});
