/**
 * What can be seen of a tunnel from outside: numbers to sample, and events on Node's diagnostics channels, which cost
 * nothing while nobody subscribes.
 */
import { channel as diagnosticsChannel } from "node:diagnostics_channel";
import type { Core } from "./core.ts";
import type { RevdialErrorCode } from "./errors.ts";
import type { Message } from "./frame.ts";
import type { Tunnel, TunnelEnd } from "./tunnel.ts";

/** Counters only rise; gauges are of the moment. Names fit a metrics system as they are. */
export interface TunnelMetrics {
  /** Counter: channels opened by us. */
  readonly openedOutbound: number;
  /** Counter: channels opened by the peer and taken up. */
  readonly openedInbound: number;
  /** Counter: channels opened by the peer and refused before they were any: no memory, an unknown kind, or we go away. */
  readonly refusedInbound: number;
  /** Gauge: channels in use, of both sides. */
  readonly active: number;
  /** Counter by code: channels that ended before their time, by either side. */
  readonly resets: Readonly<Partial<Record<RevdialErrorCode, number>>>;
  /** Counter: bytes of messages handed to the transport. */
  readonly bytesSent: number;
  /** Counter: bytes of messages received. */
  readonly bytesReceived: number;
  /** Gauge: bytes of bodies that wait in this process for the peer's credit, or for their turn. */
  readonly waitingBytes: number;
  /** Gauge: bytes handed to the transport and not yet written; those of bodies wait before (`waitingBytes`). */
  readonly queuedBytes: number;
  /** Counter: times a channel had more to send than its peer had granted. */
  readonly creditStalls: number;
  /** Counter: pings that the peer has answered; one that stands still for long says that nobody is there. */
  readonly pingsAnswered: number;
  /** Gauge: last round trip in milliseconds. */
  readonly rttMs: number | undefined;
}

const counters = [
  "openedOutbound",
  "openedInbound",
  "refusedInbound",
  "bytesSent",
  "bytesReceived",
  "creditStalls",
  "pingsAnswered",
] as const;
const gauges = ["active", "waitingBytes", "queuedBytes"] as const;

/** What is left of the numbers of a tunnel that has ended. */
export type TunnelCounters = Pick<TunnelMetrics, (typeof counters)[number] | "resets">;

function sums<Name extends string>(names: readonly Name[], all: readonly Record<Name, number>[]) {
  const sum = (name: Name) => all.reduce((total, one) => total + one[name], 0);
  return Object.fromEntries(names.map((name) => [name, sum(name)])) as Record<Name, number>;
}

/** The counters of several tunnels together. */
export function countersOf(all: readonly TunnelCounters[]): TunnelCounters {
  const resets: Partial<Record<RevdialErrorCode, number>> = {};
  for (const one of all)
    for (const [code, count] of Object.entries(one.resets) as [RevdialErrorCode, number][])
      resets[code] = (resets[code] ?? 0) + count;
  return { ...sums(counters, all), resets };
}

/** Of several tunnels together, and of those that were there before them. The round trip is the shortest of late. */
export function metricsOf(live: readonly TunnelMetrics[], gone: TunnelCounters): TunnelMetrics {
  const trips = live.map(({ rttMs }) => rttMs).filter((ms) => ms !== undefined);
  const rttMs = trips.length === 0 ? undefined : Math.min(...trips);
  return { ...countersOf([gone, ...live]), ...sums(gauges, live), rttMs };
}

/** Published on "revdial:tunnel". */
export interface TunnelDiagnostic {
  event: "ready" | "closed";
  tunnel: Tunnel;
  end?: TunnelEnd;
}

/** Published on "revdial:channel". */
export interface ChannelDiagnostic {
  event: "opened" | "finished" | "reset";
  tunnel: Tunnel;
  channel: number;
  /** "reset" only. */
  code?: RevdialErrorCode;
  /** "opened" only: opened by the peer. */
  inbound?: boolean;
  service?: string;
  traceparent?: string;
}

type CoreMetrics = Pick<Core, "live" | "creditStalls" | "opensRefused" | "bodyBytes">;

const tunnels = diagnosticsChannel("revdial:tunnel");
const channels = diagnosticsChannel("revdial:channel");

export class Observer {
  /** Milliseconds that the last of the tunnel's own pings took. */
  pingMs: number | undefined;
  private openedOutbound = 0;
  private openedInbound = 0;
  private pingsAnswered = 0;
  private bytesSent = 0;
  private bytesReceived = 0;
  private readonly resets: Partial<Record<RevdialErrorCode, number>> = {};
  private readonly tunnel: Tunnel;

  constructor(tunnel: Tunnel) {
    this.tunnel = tunnel;
  }

  ready(): void {
    if (tunnels.hasSubscribers) this.publish(tunnels, { event: "ready" });
  }

  closed(end: TunnelEnd): void {
    if (tunnels.hasSubscribers) this.publish(tunnels, { event: "closed", end });
  }

  opened(
    channel: number,
    inbound: boolean,
    { service, traceparent }: { service: string; traceparent: string },
  ) {
    if (inbound) this.openedInbound += 1;
    else this.openedOutbound += 1;
    if (channels.hasSubscribers)
      this.publish(channels, { event: "opened", channel, inbound, service, traceparent });
  }

  ended(channel: number, code: RevdialErrorCode | undefined): void {
    if (code !== undefined) this.resets[code] = (this.resets[code] ?? 0) + 1;
    if (!channels.hasSubscribers) return;
    this.publish(
      channels,
      code === undefined ? { event: "finished", channel } : { event: "reset", channel, code },
    );
  }

  answered(ms: number): void {
    this.pingMs = ms;
    this.pingsAnswered += 1;
  }

  /** Counts, and hands on. */
  sent(parts: Uint8Array[]): Uint8Array[] {
    for (const part of parts) this.bytesSent += part.byteLength;
    return parts;
  }

  /** Counts, and hands on. */
  received(message: Message): Message {
    if (message instanceof Uint8Array) this.bytesReceived += message.byteLength;
    else for (const fragment of message) this.bytesReceived += fragment.byteLength;
    return message;
  }

  snapshot(core: CoreMetrics, queuedBytes: number): TunnelMetrics {
    const { openedOutbound, openedInbound, bytesSent, bytesReceived, pingsAnswered, resets } = this;
    return {
      openedOutbound,
      openedInbound,
      bytesSent,
      bytesReceived,
      pingsAnswered,
      resets: { ...resets },
      refusedInbound: core.opensRefused,
      waitingBytes: core.bodyBytes,
      queuedBytes,
      active: core.live,
      creditStalls: core.creditStalls,
      rttMs: this.tunnel.rttMs,
    };
  }

  private publish(
    to: typeof tunnels,
    told: Omit<TunnelDiagnostic, "tunnel"> | Omit<ChannelDiagnostic, "tunnel">,
  ): void {
    to.publish({ ...told, tunnel: this.tunnel });
  }
}
