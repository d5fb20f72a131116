/** Process: a balancer of TCP connections. Each goes to the next of those that listen; who does not, is asked again a second later. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

const REST_MS = 1000;
const CONNECT_TIMEOUT_MS = 1000;

let ports: number[] = [];
let turn = 0;
const restsUntil = new Map<number, number>();

/** A connection to the next that takes it. */
async function open(): Promise<Socket | undefined> {
  for (let tries = 0; tries < ports.length; tries += 1) {
    const port = ports[turn % ports.length] ?? 0;
    turn += 1;
    if ((restsUntil.get(port) ?? 0) > performance.now()) continue;
    const socket = connect({ host: "127.0.0.1", port });
    const timer = setTimeout(() => socket.destroy(new Error("no connection in time")), CONNECT_TIMEOUT_MS);
    try {
      await once(socket, "connect");
      return socket;
    } catch {
      restsUntil.set(port, performance.now() + REST_MS);
    } finally {
      clearTimeout(timer);
    }
  }
  return undefined;
}

const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, async (near) => {
  near.on("error", () => near.destroy());
  const far = await open();
  if (far === undefined) return void near.resetAndDestroy();
  far.on("error", () => far.destroy());
  near.on("close", () => far.destroy());
  far.on("close", () => near.destroy());
  near.pipe(far);
  far.pipe(near);
  near.resume();
});

serveCalls({
  listen: (to: number[]) => {
    ports = to;
    return listen(server);
  },
});
