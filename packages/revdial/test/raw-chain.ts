/** For tests that speak to a chain by hand: one chain at a time, and everything of a test ends with it. */
import type { Server } from "node:net";
import { afterEach } from "@jest/globals";
import { type Chain, type ChainOptions, chain } from "./probes/chain.ts";
import { RawClient } from "./raw-http.ts";

let running: Chain<Server> | undefined;
const clients: RawClient[] = [];

afterEach(async () => {
  for (const one of clients.splice(0)) one.socket.destroy();
  await running?.stop();
  running = undefined;
});

/** `origin` is a server that does not listen yet. */
export async function start(origin: Server, options?: ChainOptions): Promise<Chain<Server>> {
  running = await chain(origin, {}, options);
  return running;
}

export function isStarted(): boolean {
  return running !== undefined;
}

/** A connection to the chain's front that says this. */
export function client(...said: string[]): RawClient {
  return clientAt((running as Chain<Server>).port, ...said);
}

/** The same, to another server. */
export function clientAt(port: number, ...said: string[]): RawClient {
  const made = new RawClient(port, ...said);
  clients.push(made);
  return made;
}
