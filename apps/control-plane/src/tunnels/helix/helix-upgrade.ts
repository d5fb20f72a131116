/**
 * Tunnels of Helix's agents: a control connection that tells them to bring data connections, on WebSockets without a subprotocol, or
 * on the bare stream of a plain GET. Who may open one is the admission's to say, as for any tunnel.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Request, Response } from "express";
import {
  createHelixExchange,
  type HelixAcceptOptions,
  type HelixExchange,
  type HelixFault,
  helixWebSocketServerOptions,
  isDialerId,
  newDialerId,
} from "revdial/helix";
import { WebSocketServer } from "ws";
import type { Clock } from "../../clock.ts";
import { checkHead } from "../../http/head-check.ts";
import type { Limits } from "../../http/limits.ts";
import { ApiError, toApiError } from "../../http/problem.ts";
import { requestIdOf } from "../../http/request-id.ts";
import { apiHeaderFields } from "../../http/security-headers.ts";
import { bearerOf } from "../../identity/api-key.ts";
import type { Log } from "../../logger.ts";
import type { Calls } from "../../replicas/calls.ts";
import { type Admission, type Admitted, TUNNEL_PATH, type TunnelTarget } from "../admission.ts";
import { checkWebSocket } from "../handshake.ts";
import { answerRaw, refuse } from "../refused-upgrade.ts";
import { TokenBucket } from "../token-bucket.ts";
import {
  credentialOf,
  decidePickUp,
  dialerOf,
  type HelixRefusal,
  isPickUp,
  type PickUp,
  unknownDialer,
} from "./pick-up.ts";
import { sandboxStandIn } from "./sandbox-stand-in.ts";
import { pipeStandIn, type StandIn, WolfGuards, wolfStandIn } from "./stand-in.ts";

export interface HelixUpgrades {
  /** Whether this upgrade opens a data connection. */
  isPickUp(request: IncomingMessage): boolean;
  /** Never throws. */
  pickUp(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Whether this upgrade opens a control connection. */
  isControl(request: IncomingMessage): boolean;
  /** Rejects with the problem that refuses it. */
  open(request: IncomingMessage, socket: Duplex, head: Buffer, requestId: string): Promise<void>;
  /** Whether this plain GET of the tunnel's path opens a control connection. */
  isStream(request: IncomingMessage): boolean;
  /** Rejects with the problem that refuses it. */
  openStream(request: Request, response: Response): Promise<void>;
  readonly exchange: HelixExchange;
}

export interface HelixUpgradeOptions {
  admission: Admission;
  clock: Clock;
  log: Log;
  /** Default: none. */
  limits?: Pick<Limits, "upgrade" | "unknown">;
  /** Default: one with the defaults. */
  exchange?: HelixExchange;
  /** Data connections of other replicas' agents. Default: there are none. */
  calls?: Pick<Calls, "hold" | "ownerOf" | "passOnUpgrade"> | undefined;
}

/** Of one tunnel, logged at once; an agent whose target is gone has one for every request. */
const FAULTS_BURST_MAX = 20;
const FAULTS_PER_SECOND_MAX = 0.1;
/** Pick-ups of one agent that come too late; as many as it may be told of at once, twice. */
const LATE_BURST_MAX = 24;
const LATE_PER_SECOND_MAX = 2;

export function createHelixUpgrades(options: HelixUpgradeOptions): HelixUpgrades {
  const { admission, clock, log, limits, calls, exchange = createHelixExchange() } = options;
  const guards = new WolfGuards();
  /** As long as the exchange has the agent: nothing is to be tidied up. */
  const lateBudgets = new WeakMap<object, TokenBucket>();
  const webSockets = new WebSocketServer({ ...helixWebSocketServerOptions, noServer: true });
  webSockets.on("wsClientError", (cause, socket) => {
    refuse(socket, new ApiError("malformed-http", "The WebSocket handshake is not valid.", { cause }), log);
  });

  async function acceptOptions(
    { tunnelOptions, target }: Admitted,
    request: IncomingMessage,
    carrier: Duplex,
  ): Promise<HelixAcceptOptions> {
    const about = aboutOf(target);
    const dialerId = newDialerId();
    // The first data connection may come to another replica as soon as the agent is told of it.
    await calls?.hold("helix", dialerId, carrier);
    return {
      ...tunnelOptions,
      dialerId,
      credential: credentialOf(bearerOf(request.headers.authorization) ?? ""),
      standIn: standInOf(target, guards, { clock, log: log.child(about) }),
      onFault: faultLog(about, clock, log),
    };
  }

  /** What nobody asked for counts like any other call, and as one of somebody unknown. */
  function overLimit(request: IncomingMessage): ApiError | undefined {
    try {
      limits?.upgrade(request);
      limits?.unknown(request);
      return undefined;
    } catch (cause) {
      return toApiError(cause);
    }
  }

  /** Whoever knows its own dialer id may bring as many as it likes. */
  function mayBeLate(dialer: string): boolean {
    const agent = exchange.dialer(dialer);
    if (agent === undefined) return false;
    const budget = lateBudgets.get(agent) ?? new TokenBucket(clock, LATE_BURST_MAX, LATE_PER_SECOND_MAX);
    lateBudgets.set(agent, budget);
    return budget.take();
  }

  /** The dial it is for, or why it is for none. */
  function decide(request: IncomingMessage): PickUp | HelixRefusal | ApiError {
    try {
      checkHead(request);
      return decidePickUp(request, exchange);
    } catch (cause) {
      return toApiError(cause);
    }
  }

  /** Of an agent whose control connection another replica holds, that one decides. Undefined: no other does. */
  async function elsewhere(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): Promise<HelixRefusal | "passed on" | undefined> {
    const dialer = dialerOf(request);
    if (calls === undefined || dialer === undefined || !isDialerId(dialer)) return undefined;
    try {
      const owner = await calls.ownerOf("helix", dialer, request);
      if (owner === undefined) return undefined;
      await calls.passOnUpgrade(owner, request, socket, head);
      return "passed on";
    } catch {
      // Told by those that failed; the agent tells whoever waits for this connection.
      return { status: 503, code: "SERVICE_UNAVAILABLE", message: "the dialer cannot be reached now" };
    }
  }

  async function take(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    let found = decide(request);
    if ("dialer" in found) {
      const { dialer, requestId } = found;
      return webSockets.handleUpgrade(request, socket, head, (data) =>
        exchange.pickUp(dialer, requestId, data),
      );
    }
    if (found === unknownDialer) {
      const refused = await elsewhere(request, socket, head);
      if (refused === "passed on") return;
      found = refused ?? found;
    }
    refusePickUp(found, request, socket);
  }

  function refusePickUp(found: HelixRefusal | ApiError, request: IncomingMessage, socket: Duplex): void {
    // One that comes too late was asked for, if there are few of them.
    const wasAsked = "of" in found && found.of !== undefined && mayBeLate(found.of);
    const error = wasAsked ? undefined : overLimit(request);
    const refusal = error ?? found;
    if (refusal instanceof ApiError) return refuse(socket, refusal, log);
    const requestId = randomUUID();
    log.info({ request_id: requestId, code: refusal.code, detail: refusal.message }, "pick-up refused");
    answerRaw(socket, rawRefusal(refusal), requestId);
  }

  return {
    exchange,
    isPickUp,

    pickUp(request, socket, head) {
      take(request, socket, head).catch((cause: unknown) => refuse(socket, toApiError(cause), log));
    },

    isControl(request) {
      return request.headers["sec-websocket-protocol"] === undefined && pathOf(request) === TUNNEL_PATH;
    },

    async open(request, socket, head, requestId) {
      const admitted = await admission.admit(request, requestId, { protocol: "helix", check: checkControl });
      const options = await acceptOptions(admitted, request, socket);
      webSockets.handleUpgrade(request, socket, head, (control) =>
        admitted.takeOver(exchange.accept(control, options)),
      );
    },

    isStream({ method, headers }) {
      const wanted = (headers.connection ?? "").split(",").map((option) => option.trim().toLowerCase());
      return method === "GET" && headers.upgrade === undefined && wanted.includes("upgrade");
    },

    async openStream(request, response) {
      const way = { protocol: "helix", check: checkBearer } as const;
      const admitted = await admission.admit(request, requestIdOf(response), way);
      const { socket } = request;
      const options = await acceptOptions(admitted, request, socket);
      if (socket.destroyed || !socket.writable) return;
      admitted.takeOver(exchange.acceptStream(takenFrom(socket), options));
    },
  };
}

function checkControl(request: IncomingMessage): void {
  checkWebSocket(request);
  checkBearer(request);
}

/** Its data connections show the same: what proves a key is good for one connection. */
function checkBearer({ headers }: IncomingMessage): void {
  if (bearerOf(headers.authorization) === undefined)
    throw new ApiError(
      "tunnel-protocol-unsupported",
      "Offer the WebSocket subprotocol revdial.v3: without it a bearer credential is needed.",
    );
}

function pathOf({ url = "" }: IncomingMessage): string | undefined {
  return URL.parse(url, "http://control-plane")?.pathname;
}

function standInOf(target: TunnelTarget, guards: WolfGuards, options: { clock: Clock; log: Log }): StandIn {
  if (target.kind === "wolf") return wolfStandIn(guards.of(target.wolf.id), options);
  if (target.kind === "sandbox") return sandboxStandIn(target.sessionId, options);
  return pipeStandIn(target.kind, options);
}

function aboutOf(target: TunnelTarget): Record<string, string> {
  if (target.kind === "sandbox") return { session_id: target.sessionId };
  return target.kind === "doctor" ? {} : { wolf_id: target.wolf.id, name: target.wolf.name };
}

function faultLog(about: object, clock: Clock, log: Log): (fault: HelixFault) => void {
  const faults = new TokenBucket(clock, FAULTS_BURST_MAX, FAULTS_PER_SECOND_MAX);
  let left = 0;
  return ({ code, detail }) => {
    if (!faults.take()) {
      left += 1;
      return;
    }
    log.warn({ ...about, code, detail, ...(left > 0 && { not_logged: left }) }, "an agent of Helix failed");
    left = 0;
  };
}

function rawRefusal({ status, code, message }: HelixRefusal) {
  return {
    status,
    headers: { ...apiHeaderFields, "content-type": "application/json", "cache-control": "no-store" },
    body: JSON.stringify({ status_code: status, code, message }),
  };
}

const STREAM_HEAD = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/**
 * The connection of a request whose answer is no HTTP any more: the head promises chunks, and lines follow, for that is what these
 * agents read. Node's parser gets nothing of what comes; its other listeners stay, so that it lets go of the connection at its end.
 */
function takenFrom(socket: Socket): Socket {
  socket.removeAllListeners("data");
  socket.setTimeout(0);
  socket.setNoDelay(true);
  socket.write(STREAM_HEAD);
  return socket;
}
