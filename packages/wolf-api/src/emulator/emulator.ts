/** A Wolf for tests and demos: it listens, streams events, and fails on demand. What it answers is held to a recording of the real one. */
import { once } from "node:events";
import { existsSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { CONTAINER_START, type FailureRule, Failures } from "./failures.ts";
import { routesOfGeneration, type WolfGeneration } from "./generations.ts";
import { CREATE_LOBBY } from "./handlers.ts";
import { Broadcast, corrupted, type Harm, harmsOf, iconOf, Threads } from "./hazards.ts";
import { checkSocketPath, screenSandboxes } from "./screen.ts";
import { readRequest, type WireReply, type WireRequest, wolfJson, writeReply } from "./wire.ts";
import { World } from "./world.ts";

export interface WolfEmulatorOptions {
  listen: { unixSocket: string } | { port: number; host?: string };
  /** Which generation of Wolf's API it describes and serves; "none" describes nothing. Default: the newest. */
  generation?: WolfGeneration | "none";
  /** Base of runner_state_folder; with it, every running container serves its screen there. */
  stateFolder?: string;
  /** Between a lobby's creation and its container. Default 50 ms. */
  containerStartDelayMs?: number;
  /** Between two keepalive comments of /events. Default 15,000 ms, as Wolf's. */
  keepaliveMs?: number;
  /** How long `stall` holds a request. Default 20,000 ms, as Wolf's compositor wait. */
  stallMs?: number;
  /** Falls over where a real Wolf does (hazards.ts). Default: no. */
  hazards?: boolean;
  /** Handler threads in hazard mode. Default 2, as Wolf's on a small host. */
  threads?: number;
  /** Hears one sentence when a sandbox cannot be set up or cleaned away. Default: a process warning. */
  onProblem?: (problem: string) => void;
  random?: () => number;
  now?: () => Date;
}

export interface WolfEmulator {
  /** `unix:///path` or `host:port`. */
  readonly address: string;
  /** The last requests, oldest first; at most 1,000, and 16 MiB of bodies. */
  readonly requests: readonly { method: string; path: string; body: string }[];
  /** All since the start. */
  readonly counts: {
    /** By "METHOD path" as they came, without query; "other" for what is no route of this Wolf. */
    readonly requests: ReadonlyMap<string, number>;
    readonly harms: ReadonlyMap<Harm["hazard"], number>;
  };
  lobbies(): { id: string; name: string; state: "starting" | "running" }[];
  /** What was done to it in hazard mode, oldest first; at most 1,000. */
  readonly harms: readonly Harm[];
  /** From now on; later rules for the same place come after earlier ones. Throws FailureRuleError. */
  fail(rule: FailureRule): void;
  /** The container of a running lobby ends by itself. Resolves when its lobby is gone. */
  containerExits(lobbyId: string): Promise<void>;
  /** Settles when it has ended, by `close` ("closed") or by a rule ("died"). */
  readonly closed: Promise<"closed" | "died">;
  close(): Promise<void>;
}

const REQUESTS_KEPT_MAX = 1000;
const BODY_BYTES_KEPT_MAX = 16 * 1024 * 1024;
const SUBSCRIBER_BYTES_MAX = 4 * 1024 * 1024;
const HARMS_KEPT_MAX = 1000;
const GET_ICON = "/api/v1/utils/get-icon";
const EVENTS = "GET /api/v1/events";
const EVENTS_HEAD =
  "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n\r\n";
/** Wolf reads every other method as GET. */
const knownMethods = new Set(["GET", "POST", "PUT", "DELETE"]);

/** Rejects with one sentence when the address cannot be had. */
export async function startWolfEmulator(options: WolfEmulatorOptions): Promise<WolfEmulator> {
  const { listen, stateFolder, containerStartDelayMs = 50, keepaliveMs = 15_000, stallMs = 20_000 } = options;
  const random = options.random ?? Math.random;
  const now = options.now ?? (() => new Date());
  const onProblem =
    options.onProblem ?? ((problem) => process.emitWarning(problem, { type: "WolfEmulatorWarning" }));
  const sockets = new Set<Socket>();
  const subscribers = new Set<Socket>();
  const stalled = new Set<NodeJS.Timeout>();
  const requests: { method: string; path: string; body: string }[] = [];
  const counts = { requests: new Map<string, number>(), harms: new Map<Harm["hazard"], number>() };
  const ended = Promise.withResolvers<"closed" | "died">();
  const { hazards = false } = options;
  const harms: Harm[] = [];
  const threads = new Threads(hazards ? (options.threads ?? 2) : Number.POSITIVE_INFINITY);
  const broadcast = new Broadcast<Socket>();
  const sandboxes = screenSandboxes(stateFolder, now);

  function suffer(harm: Harm): void {
    count(counts.harms, harm.hazard);
    if (harms.length < HARMS_KEPT_MAX) harms.push(harm);
    if (harm.fatal) void stop("died");
  }

  function tell(event: string, data: object): void {
    if (hazards && broadcast.broken)
      return suffer({ hazard: "H5", what: "an event after an earlier subscriber has left", fatal: true });
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
    onProblem,
    containerStart: () => {
      const mode = failures.take(CONTAINER_START);
      if (mode === "die") void stop("died");
      return mode;
    },
  });
  const table = routesOfGeneration(tell, options.generation ?? "2026-06-23");
  const failures = new Failures((on) => on === EVENTS || Object.hasOwn(table, on));

  function subscribe(socket: Socket, cut: boolean): void {
    socket.write(EVENTS_HEAD);
    if (cut) return void socket.end("event: wolf::core::ev");
    subscribers.add(socket);
    broadcast.joined(socket);
    socket.on("close", () => {
      subscribers.delete(socket);
      broadcast.left(socket);
    });
    socket.on("end", () => socket.destroy());
    socket.resume();
  }

  let bodyBytesKept = 0;
  function remember(method: string, path: string, body: string): void {
    requests.push({ method, path, body });
    bodyBytesKept += Buffer.byteLength(body);
    while (requests.length > REQUESTS_KEPT_MAX || bodyBytesKept > BODY_BYTES_KEPT_MAX)
      bodyBytesKept -= Buffer.byteLength(requests.shift()?.body ?? "");
  }

  /** Holds the request. A hanging compositor takes its lobby with it after 5 of Wolf's 20 seconds; the caller hears of it only at the end. */
  function stall(socket: Socket, route: string, request: WireRequest, leave: () => void): void {
    const after = (ms: number, run: () => void) => {
      const timer = setTimeout(() => {
        stalled.delete(timer);
        run();
      }, ms);
      stalled.add(timer);
    };
    if (route === CREATE_LOBBY) {
      const known = new Set(world.lobbies.keys());
      table[route]?.(world, request);
      for (const lobby of world.lobbies.values()) {
        if (known.has(lobby.id)) continue;
        lobby.hangs = true;
        after(stallMs / 4, () => world.runnerEnded(lobby));
      }
    }
    after(stallMs, () => {
      writeReply(socket, { status: 500, body: '{"success":false,"error":"Lobby setup timed out"}' });
      leave();
    });
  }

  function answer(socket: Socket, request: WireRequest): void {
    const method = knownMethods.has(request.method) ? request.method : "GET";
    const route = `${method} ${request.path}`;
    const target = request.query === undefined ? request.path : `${request.path}?${request.query}`;
    if (request.lengthInvalid && !hazards) return void socket.destroy();
    const written = `${request.method} ${request.path}`;
    count(counts.requests, written === EVENTS || Object.hasOwn(table, written) ? written : "other");
    remember(request.method, target, request.body);
    if (request.chunked)
      return writeReply(socket, {
        status: 500,
        body: "Chunked encoding not supported, use HTTP/1.0 instead",
      });
    // The I/O thread keeps subscribers, so that they take none of the handlers' threads.
    if (route === EVENTS) return play(socket, route, request, () => undefined);
    threads.enter((leave) => play(socket, route, request, leave));
  }

  /** Calls `leave` when Wolf's thread is done with it. */
  function play(socket: Socket, route: string, request: WireRequest, leave: () => void): void {
    const mode = failures.take(route);
    if (mode === "stall") return stall(socket, route, request, leave);
    leave();
    if (mode === "die") return void stop("died");
    if (mode === "500")
      return writeReply(socket, { status: 500, body: '{"success":false,"error":"Injected failure"}' });
    const found = hazards ? harmsOf(route, request, world) : [];
    for (const harm of found) suffer(harm);
    if (found.some(({ fatal }) => fatal)) return;
    if (route === EVENTS && mode !== "no-reply") return subscribe(socket, mode === "half-body");
    const handler = Object.hasOwn(table, route) ? table[route] : undefined;
    const reply = handler ? handler(world, request) : { status: 404, body: "" };
    if (mode === "no-reply" || reply === "no-reply") socket.destroy();
    else writeReply(socket, hazards ? hazardous(request, reply) : reply, mode === "half-body");
  }

  function hazardous(request: WireRequest, reply: WireReply): WireReply {
    const [name, value = ""] = (request.query ?? "").split("=");
    const icon = request.path === GET_ICON && name === "icon_path" ? iconOf(value) : {};
    if (icon.harm) suffer(icon.harm);
    const whole = icon.reply ?? reply;
    const broken = corrupted(whole, random);
    if (broken) suffer({ hazard: "H6", what: `a reply of more than 64 KiB`, fatal: false });
    return broken ?? whole;
  }

  // Half-open, so that a peer that has said all it has to say still gets its answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
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
    counts,
    lobbies: () =>
      [...world.lobbies.values()].map(({ id, request, state }) => ({ id, name: request.name, state })),
    harms,
    fail: (rule) => failures.add(rule),
    containerExits: (lobbyId) => world.containerExits(lobbyId),
    closed: ended.promise,
    close: () => stop("closed"),
  };
}

const count = <Key>(counts: Map<Key, number>, key: Key) => void counts.set(key, (counts.get(key) ?? 0) + 1);

async function listenOn(server: Server, listen: WolfEmulatorOptions["listen"]): Promise<void> {
  if ("unixSocket" in listen) {
    checkSocketPath(listen.unixSocket);
    // Node would call this "permission denied".
    if (!existsSync(path.dirname(listen.unixSocket)))
      throw new Error(`There is no folder for ${listen.unixSocket}.`);
    await removeStaleSocket(listen.unixSocket);
    // Named as a path: Node would take "8080" for a port.
    server.listen({ path: listen.unixSocket });
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
    const probe = connect({ path: socketPath }, () => resolve(true));
    // Only these say that nobody listens; a full backlog or a forbidden socket belongs to somebody.
    probe.on("error", ({ code }: NodeJS.ErrnoException) =>
      resolve(code !== "ECONNREFUSED" && code !== "ENOENT"),
    );
    probe.on("connect", () => probe.destroy());
  });
  if (alive) throw new Error(`Somebody already serves ${socketPath}.`);
  rmSync(socketPath, { force: true });
}

function addressOf(server: Server, listen: WolfEmulatorOptions["listen"]): string {
  if ("unixSocket" in listen) return `unix://${listen.unixSocket}`;
  const address = server.address();
  return typeof address === "object" && address !== null ? `${address.address}:${address.port}` : "";
}
