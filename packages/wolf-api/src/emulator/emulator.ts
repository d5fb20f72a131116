/** A Wolf for tests and demos: it listens, streams events, and fails on demand. What it answers is held to a recording of the real one. */
import { once } from "node:events";
import { readFileSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { routes } from "./handlers.ts";
import { screenSandboxes } from "./screen.ts";
import { readRequest, type WireRequest, wolfJson, writeReply } from "./wire.ts";
import { World } from "./world.ts";

export type FailureMode = "500" | "no-reply" | "half-body" | "die" | "stall" | "container-exits";
export const failureModes: readonly FailureMode[] = [
  "500",
  "no-reply",
  "half-body",
  "die",
  "stall",
  "container-exits",
];

export interface FailureRule {
  /** "POST /api/v1/lobbies/create", or "container-start" with `container-exits`. */
  on: string;
  /**
   * `500`: refused before anything is done. `no-reply`, `half-body`: done, then the answer is lost. `die`: the process is gone.
   * `stall`: nothing happens for 20 s, then 500, as when a compositor hangs. `container-exits`: 200, then the lobby vanishes.
   */
  mode: FailureMode;
  /** How many times. Default: always. */
  times?: number;
}

export interface WolfEmulatorOptions {
  listen: { unixSocket: string } | { port: number; host?: string };
  /** Base of runner_state_folder; with it, every running container serves its screen there. */
  stateFolder?: string;
  /** Between a lobby's creation and its container. Default 50 ms. */
  containerStartDelayMs?: number;
  /** Between two keepalive comments of /events. Default 15,000 ms, as Wolf's. */
  keepaliveMs?: number;
  /** How long `stall` holds a request. Default 20,000 ms, as Wolf's compositor wait. */
  stallMs?: number;
  random?: () => number;
  now?: () => Date;
}

export interface WolfEmulator {
  /** `unix:///path` or `host:port`. */
  readonly address: string;
  /** The last requests, oldest first; at most 1,000. */
  readonly requests: readonly { method: string; path: string; body: string }[];
  lobbies(): { id: string; name: string; state: "starting" | "running" }[];
  /** From now on; later rules for the same place come after earlier ones. */
  fail(rule: FailureRule): void;
  /** The container of a running lobby ends by itself. */
  containerExits(lobbyId: string): Promise<void>;
  /** Settles when it has ended, by `close` ("closed") or by a rule ("died"). */
  readonly closed: Promise<"closed" | "died">;
  close(): Promise<void>;
}

const REQUESTS_KEPT = 1000;
const SUBSCRIBER_BYTES_MAX = 4 * 1024 * 1024;
const readAsGet = new Set(["HEAD", "PATCH", "OPTIONS", "TRACE", "CONNECT"]);

/** Rejects with one sentence when the address cannot be had. */
export async function startWolfEmulator(options: WolfEmulatorOptions): Promise<WolfEmulator> {
  const { listen, stateFolder, containerStartDelayMs = 50, keepaliveMs = 15_000, stallMs = 20_000 } = options;
  const random = options.random ?? Math.random;
  const now = options.now ?? (() => new Date());
  const sockets = new Set<Socket>();
  const subscribers = new Set<Socket>();
  const stalled = new Set<NodeJS.Timeout>();
  const requests: { method: string; path: string; body: string }[] = [];
  const rules: Required<FailureRule>[] = [];
  const ended = Promise.withResolvers<"closed" | "died">();
  const sandboxes = screenSandboxes(stateFolder, now);

  /** The failure to play at this place, if any; used up when its times are. */
  function takeRule(on: string): FailureMode | undefined {
    const rule = rules.find((candidate) => candidate.on === on && candidate.times > 0);
    if (rule === undefined) return undefined;
    rule.times -= 1;
    return rule.mode;
  }

  function tell(event: string, data: object): void {
    for (const subscriber of subscribers) {
      // A subscriber that never reads is cut off rather than kept in memory.
      if (subscriber.writableLength > SUBSCRIBER_BYTES_MAX) subscriber.destroy();
      else subscriber.write(`event: ${event}\ndata: ${wolfJson(data)}\n\n`);
    }
  }

  const world = new World({
    emit: tell,
    sandboxes,
    containerStartDelayMs,
    random,
    containerFails: () => takeRule("container-start") === "container-exits",
  });
  const schema = readFileSync(
    new URL("../../spec/schema-generated-2026-06-23.json", import.meta.url),
    "utf8",
  );
  const table = routes(tell, schema);

  function subscribe(socket: Socket): void {
    socket.write(
      "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n\r\n",
    );
    subscribers.add(socket);
    socket.on("close", () => subscribers.delete(socket));
    socket.resume();
  }

  function answer(socket: Socket, request: WireRequest): void {
    const { path, body } = request;
    const method = readAsGet.has(request.method) ? "GET" : request.method;
    requests.push({ method: request.method, path, body });
    if (requests.length > REQUESTS_KEPT) requests.shift();
    if (request.chunked)
      return writeReply(socket, {
        status: 500,
        body: "Chunked encoding not supported, use HTTP/1.0 instead",
      });
    const route = `${method} ${path}`;
    const mode = takeRule(route);
    if (mode === "die") return void stop("died");
    if (mode === "500")
      return writeReply(socket, { status: 500, body: '{"success":false,"error":"Injected failure"}' });
    if (mode === "stall") {
      const timer = setTimeout(() => {
        stalled.delete(timer);
        writeReply(socket, { status: 500, body: '{"success":false,"error":"Lobby setup timed out"}' });
      }, stallMs);
      stalled.add(timer);
      return;
    }
    if (route === "GET /api/v1/events") return subscribe(socket);
    const handler = Object.hasOwn(table, route) ? table[route] : undefined;
    const reply = handler ? handler(world, request) : { status: 404, body: "" };
    if (mode === "no-reply") socket.destroy();
    else writeReply(socket, reply, mode === "half-body");
  }

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    void readRequest(socket).then((request) => {
      if (request === undefined) socket.destroy();
      else answer(socket, request);
    });
  });
  const keepalive = setInterval(() => {
    for (const subscriber of subscribers) subscriber.write(":keepalive\n\n");
  }, keepaliveMs);

  let stopping: Promise<void> | undefined;
  function stop(how: "closed" | "died"): Promise<void> {
    stopping ??= (async () => {
      clearInterval(keepalive);
      for (const timer of stalled) clearTimeout(timer);
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
      await world.end();
      await sandboxes.close();
      ended.resolve(how);
    })();
    return stopping;
  }

  try {
    await listenOn(server, listen);
  } catch (error) {
    clearInterval(keepalive);
    throw error;
  }
  return {
    address: addressOf(server, listen),
    requests,
    lobbies: () =>
      [...world.lobbies.values()].map(({ id, request, state }) => ({ id, name: request.name, state })),
    fail: (rule) => void rules.push({ times: Number.POSITIVE_INFINITY, ...rule }),
    containerExits: (lobbyId) => world.containerExits(lobbyId),
    closed: ended.promise,
    close: () => stop("closed"),
  };
}

async function listenOn(server: Server, listen: WolfEmulatorOptions["listen"]): Promise<void> {
  if ("unixSocket" in listen) {
    await removeStaleSocket(listen.unixSocket);
    server.listen(listen.unixSocket);
  } else {
    server.listen(listen.port, listen.host ?? "127.0.0.1");
  }
  await once(server, "listening");
}

/** As Wolf does, an old socket file is replaced; unlike Wolf, not one that somebody serves, and nothing that is no socket. */
async function removeStaleSocket(socketPath: string): Promise<void> {
  const found = statSync(socketPath, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${socketPath} exists and is not a socket.`);
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(socketPath, () => resolve(true)).on("error", () => resolve(false));
    probe.on("connect", () => probe.destroy());
  });
  if (alive) throw new Error(`Somebody already serves ${socketPath}.`);
  rmSync(socketPath);
}

function addressOf(server: Server, listen: WolfEmulatorOptions["listen"]): string {
  if ("unixSocket" in listen) return `unix://${listen.unixSocket}`;
  const address = server.address();
  return typeof address === "object" && address !== null ? `${address.address}:${address.port}` : "";
}
