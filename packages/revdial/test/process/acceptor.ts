/** The accepting side as a process: listens, serves, and says what it holds. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { WebSocketServer } from "ws";
import {
  acceptTunnel,
  createHttpAcceptor,
  type RequestHandler,
  type Tunnel,
  type TunnelOptions,
  webSocketServerOptions,
} from "../../src/index.ts";
import { ManualClock } from "../../src/testing/index.ts";
import { until } from "../turns.ts";
import { serveBystander } from "./bystander.ts";
import { askMany, type Tally } from "./calls.ts";
import { answerParent, CountingClock, forgetPeak, heldBytes, peakBytes, whatIsLeft } from "./parent.ts";
import { stream } from "./stream.ts";

const tunnels: Tunnel[] = [];
const ends: string[] = [];
const mistakes: string[] = [];
const given = { bytes: 0 };
const sockets = new Set<Socket>();
let dialler: number | undefined;
let aborted = 0;

const serve: RequestHandler = (request, reply) => {
  if (request.path.startsWith("/stream/"))
    return { status: 200, body: stream(Number(request.path.slice("/stream/".length)), given) };
  request.signal.addEventListener("abort", () => {
    aborted += 1;
  });
  // Its caller knows from this that it runs.
  if (request.path.startsWith("/wait")) reply.interim(103);
  return serveBystander(request);
};

const clock = new ManualClock();
const counting = new CountingClock();

/** `byHand`: time stands still until `advance`. */
async function listen(given: TunnelOptions = {}, byHand = false): Promise<string> {
  const onHandlerError = (error: unknown) => void mistakes.push(String(error));
  const options = { onHandlerError, clock: byHand ? clock : counting, ...given };
  const accepted = (tunnel: Tunnel | undefined) => {
    if (tunnel === undefined) return;
    tunnel.serve(serve);
    tunnels.push(tunnel);
    void tunnel.closed.then(({ code }) => ends.push(code));
  };
  const overHttp = createHttpAcceptor();
  const server = createServer((request, response) => {
    if (overHttp.kindOf(request) === "open") accepted(overHttp.open(request, response, options));
    else overHttp.receive(request, response);
  });
  server.on("connection", (socket: Socket) => void sockets.add(socket));
  // The connection of POSTs stays, however long there is none: it is counted.
  server.keepAliveTimeout = 0;
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  server.on("upgrade", (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (webSocket) => accepted(acceptTunnel(webSocket, options))),
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
    left: () => whatIsLeft(counting),
    peak: peakBytes,
    forgetPeak,
    /** One of the connections has brought so many bytes. */
    heard: (bytes: number) => until(() => [...sockets].some(({ bytesRead }) => bytesRead >= bytes)),
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
