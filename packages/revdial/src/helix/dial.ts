/**
 * Dials a control plane of the original protocol. What programs get is an ordinary tunnel, whose other end is in this process as well
 * and stands in for the control plane: what comes over data connections, as HTTP, goes through it.
 */
import { type Bounds, checkNumbers, TIMER_MS_MAX } from "../bounds.ts";
import { argument, checkCalls } from "../checks.ts";
import { systemClock } from "../clock.ts";
import { createTunnel } from "../core-tunnel.ts";
import { attempt, dialTarget, wayOf } from "../dial.ts";
import type { Connecting, DialOptions, WayOptions } from "../dialling.ts";
import { checkService } from "../head.ts";
import { httpFront } from "../http/front.ts";
import { checkDialOptions } from "../options.ts";
import type { CloseOptions, Tunnel } from "../tunnel.ts";
import { ClientControl } from "./dial-control.ts";
import { DataConnections } from "./dial-data.ts";
import { connectHelix } from "./dial-socket.ts";
import type { ControlLine } from "./lines.ts";
import { Link, type LinkOwner } from "./link.ts";
import type { WebSocket } from "./web-socket-stream.ts";

export interface HelixDialOptions
  extends Omit<DialOptions, "transport" | "upgradeTimeoutMs" | "onFallback" | "zeroMask"> {
  /** The service that the control plane's requests are for. */
  service: string;
  /**
   * Asked before each pick-up: rejects, with what the control plane is told, when what is to be served takes no connections. The
   * signal aborts when nobody waits any more. Default: whatever is to be served takes connections.
   */
  checkTarget?: (signal: AbortSignal) => Promise<void>;
  /** Told why a pick-up failed. Default: nobody. */
  onPickupFailed?: (reason: string) => void;
  /** Without a line for so long the server is dead, whatever it answers. Default 60,000 ms, from 10 to 2,147,483,647. */
  readTimeoutMs?: number;
  /** Between WebSocket pings on control. Default 15,000 ms, from 10 to 2,147,483,647. */
  pingMs?: number;
  /** From the line that asks for a pick-up until it is there. Default 20,000 ms, from 1 to 2,147,483,647. */
  pickupTimeoutMs?: number;
  /**
   * Data connections at once; further pick-ups fail, unless one that is idle, or has waited 5 s for its first request, can make room.
   * Default 128, from 1 to 65,536.
   */
  connectionsMax?: number;
  /** A data connection whose first request has not come by then is closed. Default 30,000 ms, from 10 to 2,147,483,647. */
  unusedTimeoutMs?: number;
}

export const helixDialBounds = {
  readTimeoutMs: [10, TIMER_MS_MAX],
  pingMs: [10, TIMER_MS_MAX],
  pickupTimeoutMs: [1, TIMER_MS_MAX],
  connectionsMax: [1, 65_536],
  unusedTimeoutMs: [10, TIMER_MS_MAX],
} as const satisfies Readonly<Partial<Record<keyof HelixDialOptions, Bounds>>>;

/** The API's mount of the original. */
const MOUNT = "/api/v1/revdial";
/** What a server that says why it closes means, as a tunnel says it. */
const closings: Readonly<Record<number, NonNullable<CloseOptions["code"]>>> = {
  1001: "DRAINING",
  4001: "REPLACED",
  4003: "REVOKED",
};

/**
 * Resolves when the control connection is up and its first line has come. `url` ends in `/api/v1/revdial`, beside its query; pick-ups
 * go to the same place. Rejects as `dialTunnel` does; when the server ends it before its first line, with TRANSPORT_LOST.
 */
export async function dialHelix(url: string | URL, options: HelixDialOptions): Promise<Tunnel> {
  checkDialOptions(options);
  checkNumbers(options, helixDialBounds);
  checkCalls(options, "checkTarget", "onPickupFailed");
  checkService(options.service);
  const target = dialTarget(url, options);
  if (!target.pathname.endsWith(MOUNT)) throw argument(`the URL's path does not end in ${MOUNT}`);
  const way = await wayOf(options);
  const connect = (to: URL, given: WayOptions, events: Connecting) => {
    const { ca, insecure, headers = {}, clock = systemClock } = given;
    const socketOptions = { ca, headers, ...(insecure === undefined ? {} : { insecure }) };
    return connectHelix(
      to,
      { ...socketOptions, clock, what: "upgrade" },
      { ...events, opened: (socket) => events.opened(new Dialled(socket, to, options).link.near) },
    );
  };
  return attempt(connect, target, way, options.handshakeTimeoutMs ?? 10_000, "ready");
}

/** One control connection with its data connections, and the end of the tunnel that stands in for the control plane. */
class Dialled implements LinkOwner {
  readonly transport = "helix";
  readonly link: Link;
  private readonly far: Tunnel;
  private readonly control: ClientControl;
  private readonly data: DataConnections;
  private greeted = false;
  private finishing = false;

  constructor(socket: WebSocket, target: URL, options: HelixDialOptions) {
    const { limits, onHandlerError, clock = systemClock } = options;
    const {
      readTimeoutMs = 60_000,
      pingMs = 15_000,
      pickupTimeoutMs = 20_000,
      connectionsMax = 128,
      unusedTimeoutMs = 30_000,
    } = options;
    this.link = new Link(this);
    this.far = createTunnel(this.link.far, false, {
      agent: "helix",
      clock,
      ...(limits === undefined ? {} : { limits }),
      ...(onHandlerError === undefined ? {} : { onHandlerError }),
    });
    this.control = new ClientControl(
      socket,
      { clock, readTimeoutMs, pingMs },
      { line: (line) => this.line(line), closed: (reason, code) => this.controlClosed(reason, code) },
    );
    this.data = new DataConnections({
      control: target,
      socketOptions: () => socketOptionsOf(options),
      checkTarget: options.checkTarget,
      clock,
      pickupTimeoutMs,
      connectionsMax,
      unusedTimeoutMs,
      front: httpFront(this.far.dispatcher(options.service)),
      say: (line) => this.control.send(line),
      onPickupFailed: options.onPickupFailed ?? (() => undefined),
    });
    void this.far.goingAway.then(() => this.data.drain());
  }

  get rttMs(): number | undefined {
    return this.control?.rttMs;
  }

  /** The tunnel is done. */
  close(): void {
    if (this.control.over) return this.link.cut("the control connection is closed");
    this.finishing = true;
    void this.finish();
  }

  private async finish(): Promise<void> {
    await this.data.finish();
    await this.control.leave();
    this.link.cut("done");
  }

  terminate(): void {
    // The tunnel gives a close handshake a second; the last answers may take longer, and have a bound of their own.
    if (this.finishing) return;
    this.data.destroy();
    this.control.terminate();
    this.link.cut("the connection was terminated");
  }

  private line({ command, connPath }: ControlLine): void {
    if (!this.greeted) {
      this.greeted = true;
      this.link.open();
    }
    // Others, such as keep-alive, ask for nothing.
    if (command === "conn-ready") this.data.pickUp(connPath);
  }

  private controlClosed(reason: string, closeCode?: number): void {
    if (this.finishing) return;
    this.data.destroy();
    const code = closeCode === undefined ? undefined : closings[closeCode];
    if (code === undefined || !this.greeted) return this.link.cut(reason);
    void this.far.close({ code, reason, drainMs: 0 });
  }
}

/** The credential is made anew: a pick-up may come hours after the dial, whose signal says nothing about it. */
async function socketOptionsOf({ signal: _dial, ...options }: HelixDialOptions) {
  const { ca, insecure = false, headers = {} } = await wayOf(options);
  return { ca, insecure, headers };
}
