/** What every tunnel does, whatever carries it: the same sentences run over memory and over a real WebSocket. */
import { afterEach, beforeEach, describe, expect } from "@jest/globals";
import { endsInOrder } from "./behaviour-ends.ts";
import { carriesExchanges } from "./behaviour-exchange.ts";
import { keepsLengths } from "./behaviour-length.ts";
import { carriesSockets } from "./behaviour-socket.ts";
import type { Connect, Pair } from "./support.ts";

export function behavesLikeATunnel(name: string, connect: Connect): void {
  describe(`a tunnel over ${name}`, () => {
    let current: Pair;
    const pair = () => current;

    beforeEach(async () => {
      current = await connect();
    });

    afterEach(async () => {
      await current.stop();
      expect((await current.left.closed).code).toBeDefined();
      expect((await current.right.closed).code).toBeDefined();
    });

    carriesExchanges(pair, connect);
    keepsLengths(pair);
    carriesSockets(pair);
    endsInOrder(pair, connect);
  });
}
