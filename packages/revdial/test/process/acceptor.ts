/** The accepting side as a process: listens, serves, and says what it holds. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import {
  acceptTunnel,
  type IncomingRequest,
  type OutgoingResponse,
  type Tunnel,
  type TunnelOptions,
  webSocketServerOptions,
} from "../../src/index.ts";
import { ManualClock } from "../../src/testing/index.ts";
import { until } from "../turns.ts";
import { serveBystander } from "./bystander.ts";
import { askMany, type Tally } from "./calls.ts";
import { answerParent, forgetPeak, heldBytes, peakBytes } from "./parent.ts";
import { stream } from "./stream.ts";

const tunnels: Tunnel[] = [];
const ends: string[] = [];
const mistakes: string[] = [];
const given = { bytes: 0 };
let dialler: number | undefined;
let aborted = 0;

function serve(request: IncomingRequest): OutgoingResponse | Promise<OutgoingResponse> {
  if (request.path.startsWith("/stream/"))
    return { status: 200, body: stream(Number(request.path.slice("/stream/".length)), given) };
  request.signal.addEventListener("abort", () => {
    aborted += 1;
  });
  return serveBystander(request);
}

const clock = new ManualClock();

/** `byHand`: time stands still until `advance`. */
async function listen(given: TunnelOptions = {}, byHand = false): Promise<string> {
  const options = byHand ? { ...given, clock } : given;
  const server = createServer();
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  server.on("upgrade", (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      const onHandlerError = (error: unknown) => void mistakes.push(String(error));
      const tunnel = acceptTunnel(webSocket, { onHandlerError, ...options });
      tunnel.serve(serve);
      tunnels.push(tunnel);
      void tunnel.closed.then(({ code }) => ends.push(code));
    }),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

function theTunnel(): Tunnel {
  const tunnel = tunnels.at(-1);
  if (tunnel === undefined) throw new Error("nobody has dialled");
  return tunnel;
}

answerParent(
  {
    listen,
    /** Who is to end when our parent does, though it may be stopped and cannot see that by itself. */
    guard(pid: number) {
      dialler = pid;
    },
    state: () => ({
      given: given.bytes,
      rss: process.memoryUsage.rss(),
      load: tunnels.reduce((sum, { load }) => sum + load, 0),
      aborted,
      ends,
      mistakes,
    }),
    held: heldBytes,
    peak: peakBytes,
    forgetPeak,
    advance: (ms: number) => clock.advance(ms),
    /** Nothing is in flight any more. */
    idle: () => until(() => tunnels.every(({ load }) => load === 0)),
    ended: async () => (await theTunnel().closed).code,
    ask: (count: number, abortEvery: number): Promise<Tally> => askMany(theTunnel(), count, abortEvery),
  },
  () => {
    if (dialler !== undefined) process.kill(dialler, "SIGKILL");
  },
);
