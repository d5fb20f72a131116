/**
 * The accepting side of the original protocol. An agent of it is a byte pipe to its host; what it lacks to be the far end of a
 * tunnel is done here, by a stand-in in this process, which talks HTTP through that pipe. So programs get the tunnel they know.
 */
import { randomBytes as systemRandomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { type Bounds, checkNumbers, TIMER_MS_MAX } from "../bounds.ts";
import { argument, checkCalls, checkClock, checkObject } from "../checks.ts";
import { type Clock, systemClock } from "../clock.ts";
import { createTunnel } from "../core-tunnel.ts";
import { guarded, warn } from "../exchange.ts";
import { forwardTo } from "../http/forward.ts";
import type { ForwardTarget } from "../http/origin-target.ts";
import { Summary } from "../summary.ts";
import type { RequestHandler, Tunnel, TunnelOptions } from "../tunnel.ts";
import { type Control, type ControlEvents, streamControl, webSocketControl } from "./control.ts";
import { type ControlLine, encodeLine, requestIdOf } from "./lines.ts";
import { Link, type LinkOwner } from "./link.ts";
import { Pickups } from "./pickups.ts";
import type { WebSocket } from "./web-socket-stream.ts";

/** What an agent did that it should not have, or failed to do. */
export interface HelixFault {
  code:
    | "text-frame"
    | "line-invalid"
    | "line-too-long"
    | "empty-message"
    | "pickup-failed"
    | "pickup-late"
    | "pickup-timeout";
  /** For logs; no ids in it. */
  detail: string;
}

export interface HelixExchangeOptions {
  /** Time and timers. Default: the system's. */
  clock?: Clock;
  /** What ids are made of. Default: that of node:crypto. */
  randomBytes?: (size: number) => Buffer;
  /** A keep-alive line at once, and then after so many milliseconds each. Default 17,000, from 10 to 2,147,483,647. */
  keepAliveMs?: number;
  /** Between WebSocket pings on control, the first at once. Default 10,000 ms, from 10 to 2,147,483,647. */
  pingMs?: number;
  /**
   * A control connection of which nothing was heard for so long is dead, and so is one that has answered no ping in that time from its
   * beginning; over a byte stream there are no pings, and silence is no sign. Default 25,000 ms, from 10 to 2,147,483,647.
   */
  readTimeoutMs?: number;
  /** Dials that an agent is told of and has not answered; more wait for their turn. Default 12, from 1 to 1,024. */
  pickupsInFlightMax?: number;
  /** Data connections of one tunnel at once; more wait. Default 128, from 1 to 65,536. */
  connectionsMax?: number;
  /**
   * Until an agent that was told of a dial has brought the connection. A byte stream is dead when two dials, the second told after the
   * first's time was over, were not answered and nothing was heard between. Default 20,000 ms, from 10 to 2,147,483,647.
   */
  pickupTimeoutMs?: number;
}

export interface HelixAcceptOptions extends TunnelOptions {
  /** Opaque: what `dialer(id).credential` gives back, for the caller to compare with what a pick-up shows. */
  credential: string;
  /** One of `newDialerId`, for callers that have to know it before the agent does. Default: one made of `randomBytes`. */
  dialerId?: string;
  /**
   * What stands in for the agent, given the way through data connections, and the agent's end of the tunnel to say things there
   * (`notify`). Default: `forwardTo(pipe)`.
   */
  standIn?: (pipe: ForwardTarget, end: Pick<Tunnel, "ready" | "closed" | "notify">) => RequestHandler;
  /** Told of each fault once. Default: nobody. */
  onFault?: (fault: HelixFault) => void;
  /**
   * Data connections kept for later requests while nobody uses them; 0: one pick-up for each request, as the original did. Of the
   * default stand-in only. Default 64, from 0 to 65,536.
   */
  idleConnectionsMax?: number;
}

export interface HelixExchange {
  /**
   * The tunnel of an agent, whose `peer.agent` is "helix", and whose `rttMs` is that of the WebSocket's ping; it is `ready` and
   * `reached` after the first pong. It ends when the control connection does (TRANSPORT_LOST), and all data connections with it. The
   * other way round the control connection is closed with 4001 "replaced" (REPLACED), 4003 "revoked" (REVOKED) or 1001 (all else that
   * is in order), and cut by `destroy`. Error: ARGUMENT.
   */
  accept(control: WebSocket, options: HelixAcceptOptions): Tunnel;
  /**
   * The same over a byte stream that carries nothing but lines. There are no pings: it is `reached` at once, and one that is idle stays,
   * whatever has become of its host, until it is asked for something (`pickupTimeoutMs`). Error: ARGUMENT.
   */
  acceptStream(control: Duplex, options: HelixAcceptOptions): Tunnel;
  /** The live control connection with this dialer id; the same object as long as it lives. */
  dialer(id: string): { credential: string } | undefined;
  /** Whether a pick-up with this id is waited for; one without an id never is, since all of ours have one. */
  awaits(dialerId: string, requestId: string | undefined): boolean;
  /**
   * Hands over the WebSocket of a pick-up, in the turn in which it was upgraded unless its server has `helixWebSocketServerOptions`.
   * One for which nobody waits (any more) is closed with 4410 "given up", and is a fault.
   */
  pickUp(dialerId: string, requestId: string | undefined, data: WebSocket): void;
  /** Gauges: dials that wait for their data connection, data connections, control connections. */
  readonly pending: number;
  readonly connections: number;
  readonly dialers: number;
}

const exchangeBounds = {
  keepAliveMs: [10, TIMER_MS_MAX],
  pingMs: [10, TIMER_MS_MAX],
  readTimeoutMs: [10, TIMER_MS_MAX],
  pickupTimeoutMs: [10, TIMER_MS_MAX],
  pickupsInFlightMax: [1, 1024],
  connectionsMax: [1, 65_536],
} as const satisfies Partial<Record<keyof HelixExchangeOptions, Bounds>>;

const acceptBounds = { idleConnectionsMax: [0, 65_536] } as const;

const DIALER_ID_BYTES = 16;
/** The stand-in always answers: it is asked seldom, and is not taken for dead while the process is busy. */
const STAND_IN_PING_MS = 60_000;
/** Turns of the event loop in which what was not sent fails as that, before everything else fails with the connection. */
const LAST_TURNS = 3;
const GIVEN_UP = 4410;

/** How a control connection is closed, by the code of the tunnel's GOAWAY. */
const closings: ReadonlyMap<string, readonly [code: number, reason: string]> = new Map([
  ["REPLACED", [4001, "replaced"]],
  ["REVOKED", [4003, "revoked"]],
]);
const leaving = [1001, "going away"] as const;

const DIALER_ID_FORM = /^[0-9a-f]{32}$/;

/** Of one control connection: a secret between its agent and us. */
export function newDialerId(randomBytes = systemRandomBytes as (size: number) => Buffer): string {
  return randomBytes(DIALER_ID_BYTES).toString("hex");
}

export const isDialerId = (text: string): boolean => DIALER_ID_FORM.test(text);

/** Error: ARGUMENT. */
export function createHelixExchange(options: HelixExchangeOptions = {}): HelixExchange {
  checkObject(options);
  checkNumbers(options, exchangeBounds);
  checkClock(options.clock);
  checkCalls(options, "randomBytes");
  return new Exchange(options);
}

type Settings = Required<HelixExchangeOptions>;

class Exchange extends Summary implements HelixExchange {
  private readonly settings: Settings;
  readonly #agents = new Map<string, Agent>();
  readonly #accepted = new WeakSet<object>();

  constructor(options: HelixExchangeOptions) {
    super();
    this.settings = {
      clock: options.clock ?? systemClock,
      randomBytes: options.randomBytes ?? systemRandomBytes,
      keepAliveMs: options.keepAliveMs ?? 17_000,
      pingMs: options.pingMs ?? 10_000,
      readTimeoutMs: options.readTimeoutMs ?? 25_000,
      pickupsInFlightMax: options.pickupsInFlightMax ?? 12,
      connectionsMax: options.connectionsMax ?? 128,
      pickupTimeoutMs: options.pickupTimeoutMs ?? 20_000,
    };
  }

  get pending(): number {
    return this.sum(({ pickups }) => pickups.pending);
  }

  get connections(): number {
    return this.sum(({ pickups }) => pickups.connections);
  }

  get dialers(): number {
    return this.sum(({ live }) => (live ? 1 : 0));
  }

  private sum(of: (agent: Agent) => number): number {
    let sum = 0;
    for (const agent of this.#agents.values()) sum += of(agent);
    return sum;
  }

  toJSON() {
    const { pending, connections, dialers } = this;
    return { pending, connections, dialers };
  }

  accept(control: WebSocket, options: HelixAcceptOptions): Tunnel {
    if (typeof control?.on !== "function" || typeof control.ping !== "function")
      throw argument("only a WebSocket of ws can be accepted");
    return this.add("helix", control, options, (events) => webSocketControl(control, this.settings, events));
  }

  acceptStream(control: Duplex, options: HelixAcceptOptions): Tunnel {
    if (typeof control?.on !== "function" || typeof control.write !== "function")
      throw argument("only a byte stream can be accepted");
    return this.add("helix-stream", control, options, (events) =>
      streamControl(control, this.settings, events),
    );
  }

  private add(
    transport: string,
    carrier: object,
    options: HelixAcceptOptions,
    connect: (events: ControlEvents) => Control,
  ): Tunnel {
    checkAcceptOptions(options);
    if (this.#accepted.has(carrier)) throw argument("the connection carries a tunnel already");
    const id = options.dialerId ?? newDialerId(this.settings.randomBytes);
    if (this.#agents.has(id)) throw argument("the dialer id is in use");
    const agent = new Agent(id, transport, this.settings, options, () => this.#agents.delete(id));
    this.#accepted.add(carrier);
    this.#agents.set(id, agent);
    agent.start(connect(agent));
    return agent.tunnel;
  }

  dialer(id: string): { credential: string } | undefined {
    const agent = this.#agents.get(id);
    return agent?.live ? agent.shown : undefined;
  }

  awaits(dialerId: string, requestId: string | undefined): boolean {
    return this.#agents.get(dialerId)?.pickups.awaits(requestId) ?? false;
  }

  pickUp(dialerId: string, requestId: string | undefined, data: WebSocket): void {
    if (this.#agents.get(dialerId)?.pickUp(requestId, data)) return;
    data.on("error", () => undefined); // `close` follows.
    data.close(GIVEN_UP, "given up");
  }
}

/** Error: ARGUMENT. */
function checkAcceptOptions(options: HelixAcceptOptions): void {
  checkObject(options);
  checkNumbers(options, acceptBounds);
  checkCalls(options, "standIn", "onFault");
  if (typeof options.credential !== "string") throw argument("the credential is no text");
  const { dialerId } = options;
  if (dialerId !== undefined && (typeof dialerId !== "string" || !isDialerId(dialerId)))
    throw argument("the dialer id is none");
}

/** One control connection, and the tunnel that stands on it. */
class Agent implements LinkOwner, ControlEvents {
  readonly transport: string;
  readonly shown: { readonly credential: string };
  readonly pickups: Pickups;
  readonly tunnel: Tunnel;
  /** Its control connection is there, and nobody has ended it. */
  live = true;
  private readonly link: Link;
  private readonly onFault: (fault: HelixFault) => void;
  private readonly onOver: () => void;
  private control: Control | undefined;
  /** Why the tunnel takes nothing any more, in the word of its GOAWAY. */
  private leaving = "";

  /** Error: ARGUMENT, with nothing started. */
  constructor(
    id: string,
    transport: string,
    settings: Settings,
    options: HelixAcceptOptions,
    onOver: () => void,
  ) {
    const report = guarded(options.onHandlerError ?? warn);
    this.transport = transport;
    this.shown = { credential: options.credential };
    this.onOver = onOver;
    this.onFault = (fault) => {
      try {
        options.onFault?.(fault);
      } catch (error) {
        report(error);
      }
    };
    this.pickups = new Pickups({
      ...settings,
      announce: (requestId) => this.control?.send(connReadyLine(id, requestId)),
      onUnanswered: (toldAt) => this.control?.unanswered(toldAt),
      onFault: this.onFault,
    });
    const pipe: ForwardTarget = { authority: "localhost", connect: () => this.pickups.connect() };
    this.link = new Link(this);
    // Whether somebody is there, the control connection finds out: its read timeout is that of a HELLO, too.
    const limits = { ...options.limits, helloTimeoutMs: TIMER_MS_MAX };
    const { clock = settings.clock, onHandlerError } = options;
    this.tunnel = createTunnel(this.link.near, false, { ...options, clock, limits });
    const standIn = createTunnel(this.link.far, true, {
      agent: "helix",
      clock,
      limits,
      pingIntervalMs: STAND_IN_PING_MS,
      deadAfterMs: TIMER_MS_MAX,
      ...(onHandlerError === undefined ? {} : { onHandlerError }),
    });
    const { standIn: make = () => forwardTo(pipe, idleOptions(options)) } = options;
    try {
      standIn.serve(make(pipe, standIn));
    } catch (error) {
      this.link.cut("nothing stands in for the agent");
      throw error;
    }
    void standIn.goingAway.then(({ code }) => {
      this.leaving = code;
    });
    void standIn.closed.then(({ reason }) => {
      this.live = false;
      this.pickups.end(reason);
      this.onOver();
    });
  }

  start(control: Control): void {
    this.control = control;
    control.start();
  }

  get rttMs(): number | undefined {
    return this.control?.rttMs;
  }

  /** False when nobody waits for it. */
  pickUp(requestId: string | undefined, data: WebSocket): boolean {
    this.control?.brought();
    return this.pickups.pickUp(requestId, data);
  }

  /** Of the link: the tunnel has ended in order. */
  close(): void {
    this.live = false;
    this.control?.close(...(closings.get(this.leaving) ?? leaving));
  }

  /** Of the link: the tunnel has ended. */
  terminate(): void {
    this.live = false;
    this.control?.terminate();
  }

  line({ command, connPath, err = "" }: ControlLine): void {
    if (command === "pickup-failed") this.pickups.failed(requestIdOf(connPath), err);
  }

  fault(fault: HelixFault): void {
    this.onFault(fault);
  }

  reached(): void {
    this.link.open();
  }

  /** First of all it is known of no more of it, then what was never sent fails, and at last what is under way. */
  closed(reason: string): void {
    this.live = false;
    this.link.deafen(reason);
    this.pickups.stop(reason);
    let turns = LAST_TURNS;
    const turn = () => {
      turns -= 1;
      if (turns > 0) setImmediate(turn);
      else this.link.cut(reason);
    };
    setImmediate(turn);
  }
}

function idleOptions({ idleConnectionsMax }: HelixAcceptOptions) {
  return idleConnectionsMax === undefined ? {} : { idleConnectionsMax };
}

/** Below the path at which the oldest clients dial literally, and which later ones rewrite. */
function connReadyLine(dialerId: string, requestId: string): string {
  const connPath = `/revdial?revdial.dialer=${dialerId}&revdial.req=${requestId}`;
  return encodeLine({ command: "conn-ready", connPath });
}
