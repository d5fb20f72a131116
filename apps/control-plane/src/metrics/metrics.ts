/**
 * The numbers of this replica, and what the rooms of the control plane tell them through the small interfaces that each room has for
 * whoever watches it. Where a watch stands around something, a span of the trace stands there too.
 */
import { createMeters, type Tracing, watchProcess } from "@wolfpack/telemetry";
import type { Clock, Timer } from "../clock.ts";
import { repeat } from "../clock.ts";
import type { PoolWatch } from "../database/watched-pool.ts";
import type { RequestWatch } from "../http/request-watch.ts";
import type { Log } from "../logger.ts";
import type { HopWatch } from "../replicas/hop-watch.ts";
import type { SessionWatch } from "../sessions/session-watch.ts";
import type { LinkWatch } from "../tunnels/watched-links.ts";
import { version } from "../version.ts";
import { type ControlPlaneDefinitions, definitions } from "./definitions.ts";
import { type FleetReading, fleetGauges } from "./fleet-gauges.ts";
import { hopWatch } from "./hop-watch.ts";
import { linkWatch } from "./link-watch.ts";
import { createReconnects } from "./reconnects.ts";
import { requestWatchOf } from "./requests.ts";
import { sessionWatchOf } from "./session-numbers.ts";

export interface MetricsOptions {
  clock: Clock;
  log: Log;
  tracing: Tracing;
  draining: () => boolean;
}

export type ControlPlaneMeters = ReturnType<typeof createMeters<ControlPlaneDefinitions>>;

export interface Metrics {
  readonly requests: RequestWatch;
  readonly sessions: SessionWatch;
  readonly links: LinkWatch;
  readonly pool: PoolWatch;
  readonly hops: HopWatch;
  tunnelEnded(end: { code: string }): void;
  /** Another replica was asked for a wolf of its. */
  forwarded(outcome: "answered" | "failed"): void;
  /** Another replica asked for a wolf of this one's. */
  askedByReplica(outcome: "answered" | "refused" | "failed"): void;
  fenced(): void;
  /** Once the rooms stand. Until `stop`. */
  start(reading: MetricsReading): void;
  stop(): void;
  text(): Promise<string>;
  readonly contentType: string;
}

export interface MetricsReading extends FleetReading {
  /** Wolves with a live tunnel to this replica. */
  liveWolves: () => readonly { id: string }[];
  rttMsOf: (wolfId: string) => number | undefined;
  onWolfConnected: (listener: (wolfId: string) => void) => void;
  onWolfTunnelLost: (listener: (wolfId: string) => void) => void;
  countStreams: () => number;
  /** Others. */
  countReplicas: () => number;
}

const RTT_SAMPLE_MS = 10_000;

export function createMetrics({ clock, log, tracing, draining }: MetricsOptions): Metrics {
  const meters: ControlPlaneMeters = createMeters(definitions, {
    onReadFailed(err) {
      meters.add("wolfpack_metrics_failures_total");
      log.debug({ err }, "a number could not be read");
    },
  });
  meters.set("wolfpack_info", 1, { version });
  meters.onRead(() => meters.set("wolfpack_draining", Number(draining())));
  const sessions = sessionWatchOf(meters, tracing);
  let sampling: Timer | undefined;
  let watching: { stop(): void } | undefined;

  return {
    requests: requestWatchOf(meters, tracing),
    sessions: sessions.watch,
    links: linkWatch(meters, tracing),
    hops: hopWatch(tracing),
    pool: {
      pool(counts) {
        meters.onRead(() => {
          const { used, idle, waiting } = counts();
          meters.set("wolfpack_database_pool_connections", used, { state: "used" });
          meters.set("wolfpack_database_pool_connections", idle, { state: "idle" });
          meters.set("wolfpack_database_pool_waiting", waiting);
        });
      },
      waited: (ms, outcome) => meters.observe("wolfpack_database_pool_wait_seconds", ms / 1000, { outcome }),
      used: (ms) => meters.observe("wolfpack_database_pool_use_seconds", ms / 1000),
    },
    forwarded: (outcome) => meters.add("wolfpack_forwarded_requests_total", 1, { direction: "out", outcome }),
    askedByReplica: (outcome) =>
      meters.add("wolfpack_forwarded_requests_total", 1, { direction: "in", outcome }),
    fenced: () => meters.add("wolfpack_fenced_total"),
    tunnelEnded: ({ code }) => meters.add("wolfpack_tunnel_ends_total", 1, { code }),

    start(reading) {
      const { liveWolves, rttMsOf, onWolfConnected, onWolfTunnelLost } = reading;
      const reconnects = createReconnects(clock, (ms) =>
        meters.observe("wolfpack_tunnel_reconnect_duration_seconds", ms / 1000),
      );
      onWolfTunnelLost(reconnects.lost);
      onWolfConnected(reconnects.connected);
      meters.onRead(() => {
        meters.set("wolfpack_tunnels", liveWolves().length);
        meters.set("wolfpack_event_streams", reading.countStreams());
        meters.set("wolfpack_replicas", reading.countReplicas());
      });
      fleetGauges(meters, { ...reading, clock, candidates: sessions.candidates });
      watching = watchProcess(meters, {
        onDelay: (seconds) => meters.observe("wolfpack_event_loop_delay_seconds", seconds),
      });
      sampling = repeat(clock, RTT_SAMPLE_MS, async () => {
        for (const { id } of liveWolves()) {
          const rttMs = rttMsOf(id);
          if (rttMs !== undefined) meters.observe("wolfpack_tunnel_rtt_seconds", rttMs / 1000);
        }
      });
    },

    stop() {
      watching?.stop();
      sampling?.cancel();
    },

    text: () => meters.text(),
    contentType: meters.contentType,
  };
}
