/** The composition root: the only place that picks implementations and knows who needs whom. */
import { noTracing, type Tracing } from "@wolfpack/telemetry";
import type { Express } from "express";
import { type Clock, pause, type Repeated, repeat, systemClock, type Timer, within } from "./clock.ts";
import { type Base, composeAccess } from "./compose-access.ts";
import { composeEvents } from "./compose-events.ts";
import { composeFleet } from "./compose-fleet.ts";
import { composeFront } from "./compose-front.ts";
import { composeReplicas } from "./compose-replicas.ts";
import { composeSeeing } from "./compose-seeing.ts";
import type { Config } from "./config.ts";
import { createPrisma } from "./database/prisma.prisma.ts";
import { prismaRetentionStore } from "./database/retention.prisma.ts";
import { createRetention, TURN_EVERY_MS } from "./database/retention.ts";
import { because } from "./events/author.ts";
import { type Listening, listenOn } from "./http/listening.ts";
import type { ServerLimits } from "./http/server.ts";
import type { IdentityService } from "./identity/identity-service.ts";
import type { Log } from "./logger.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { isLate, type Lateness, watchLateness } from "./tunnels/lateness.ts";

export { UNLISTED } from "./compose-front.ts";

export interface ControlPlane {
  readonly app: Express;
  readonly identity: IdentityService;
  /** Begins to serve and to look after the fleet; resolves to the port. Rejects with a ListenError, a RefusedReplica or the database's. */
  listen(): Promise<number>;
  /**
   * Not ready, but serving until load balancers have seen it and agents have moved, where there are other replicas. Then tunnels are
   * told to go elsewhere, new requests refused, those in flight finished; bounded. Ends every connection and timer.
   */
  stop(): Promise<void>;
}

export interface ComposeParts {
  clock?: Clock;
  serverLimits?: Partial<ServerLimits>;
  /** Of the process this runs in; ended with the control plane. Default: as measured. */
  lateness?: Lateness;
  /** Ended with the control plane. */
  tracing?: Tracing;
}

/** How long requests in flight may take after tunnels have moved, and after the last one has ended. */
const REQUESTS_DRAIN_MS = 5000;
/** For each of the last things that are asked of the database: it may be what has gone. */
const LAST_WORDS_MS = 1000;
/** The whole of a stop after the notice, whatever hangs; docs/operations/replicas.md names both together. */
const STOP_MS = 36_000;
/** How long connections that were taken in last may take to say what they want, and then to hear the answer. */
const LAST_CONNECTIONS_MS = 1000;
/** Between two looks at deadlines of sessions, at lost wolves, at drains, and at what others changed. */
const TICK_MS = 1000;
export function compose(
  config: Config,
  databaseUrl: string,
  log: Log,
  {
    clock = systemClock,
    serverLimits = {},
    lateness = watchLateness(clock, () => performance.now()),
    tracing = noTracing,
  }: ComposeParts = {},
): ControlPlane {
  let isDraining = false;
  const draining = () => isDraining;
  let isClosing = false;
  const closing = () => isClosing;
  const metrics = createMetrics({ clock, log, tracing, draining });
  const prisma = createPrisma(databaseUrl, metrics.pool);
  const base: Base = { config, databaseUrl, prisma, log, clock, draining, metrics };
  const access = composeAccess(base);
  const happening = composeEvents(base, access);
  // Each needs the other; nothing of it is asked before both stand.
  const replicas = composeReplicas(base, access, happening.feed, () => fleet);
  const fleet: ReturnType<typeof composeFleet> = composeFleet(base, access, happening.log, replicas);
  const { membership } = replicas;
  const seeing = composeSeeing(base, {
    ...fleet,
    membership,
    requireWolf: fleet.wolves.get,
    replica: access.replica,
    calls: replicas.calls,
  });
  const front = composeFront(
    base,
    access,
    { ...fleet, seeing, happening, replicas, closing, lateness },
    serverLimits,
  );
  const { identity, notifications, revocations, exclusive } = access;
  const { monitor, gateway, sessions, drains, doctors } = fleet;
  const { app, server, overHttp, inFlight } = front;
  const retention = createRetention({ store: prismaRetentionStore(prisma), clock, log, stopping: draining });
  const prune = async () => {
    await exclusive("prune", retention.turn).catch((err: unknown) =>
      log.warn({ err }, "old rows not removed yet"),
    );
  };

  /** Nothing of it is to be noticed: everything is served until nobody asks here any more. Never rejects. */
  async function leave(): Promise<void> {
    // Load balancers see at their next look that it is not ready.
    await pause(clock, config.drainNoticeMs);
    happening.streams.close();
    await gateway.moveAway(monitor.findOvertaken);
    await inFlight.none(REQUESTS_DRAIN_MS);
    // Who did not move hears of the end now, and may ask again; what a tunnel over HTTP carries comes by new connections.
    if (gateway.countServed() > 0 || overHttp.open > 0) {
      await gateway.drain();
      overHttp.close();
    }
    // Whoever still comes, by a load balancer that has not looked yet, finds nobody here and goes to another: that is no refusal.
    stopListening();
    await within(clock, LAST_CONNECTIONS_MS, closed);
    await inFlight.none(LAST_CONNECTIONS_MS);
  }

  let listening: Listening | undefined;
  let closed: Promise<void> | undefined;
  const stopListening = () => {
    closed ??= listening?.close();
  };
  let ticking: Repeated | undefined;
  let reconciling: Repeated | undefined;
  let pruning: Repeated | undefined;
  let balancing: Timer | undefined;
  /** In this order: each needs those after it. */
  async function stopAll(): Promise<void> {
    isDraining = true;
    balancing?.cancel();
    if (await membership.hasOthers()) await leave();
    isClosing = true;
    ticking?.cancel();
    reconciling?.cancel();
    pruning?.cancel();
    lateness.stop();
    sessions.close();
    happening.streams.close();
    // Still listening: over HTTP, what is in flight needs new connections to arrive.
    doctors.close();
    seeing.stop();
    await gateway.drain();
    overHttp.close();
    stopListening();
    const timer = setTimeout(() => listening?.cut(), REQUESTS_DRAIN_MS);
    await closed;
    clearTimeout(timer);
    monitor.stop();
    sessions.end();
    // What it would ask the database after that would open connections anew.
    const working = Promise.all([ticking?.idle, reconciling?.idle, pruning?.idle]);
    await within(clock, REQUESTS_DRAIN_MS, working);
    await replicas.stop();
    await within(
      clock,
      LAST_WORDS_MS,
      Promise.all([happening.stop(), notifications.stop(), revocations.stop()]),
    );
    await within(clock, LAST_WORDS_MS, prisma.$disconnect());
    metrics.stop();
    await tracing.stop();
  }

  return {
    app,
    identity,

    async listen() {
      if (config.legacyRunnerToken)
        log.warn("LEGACY_RUNNER_TOKEN=allow: whoever holds the RUNNER_TOKEN may be any wolf without a key");
      // Before it counts on anything that it does: a cluster may refuse it.
      await membership.start();
      // Before any agent can come back: whoever was connected to an earlier process is suspect until then.
      await monitor.start();
      await revocations.start();
      notifications.start();
      happening.start();
      listening = await listenOn(server, config);
      ticking = repeat(clock, TICK_MS, async () => {
        await sessions.tick();
        await because("drain", drains.tick);
      });
      const liveIds = () => gateway.liveWolves().map(({ id }) => id);
      const everyMs = config.reconcileIntervalMs;
      // Those that came back a moment ago have been compared. With the time between two rounds it stays below what counts as unseen.
      const unseen = { forMs: everyMs / 2, givesWayMs: everyMs, isLate: () => isLate(lateness) };
      reconciling = repeat(clock, everyMs, () =>
        because("reconciled", () => sessions.reconcileAll(liveIds(), unseen)),
      );
      pruning = repeat(clock, TURN_EVERY_MS, prune);
      balancing = replicas.keepBalance();
      metrics.start({
        ...gateway,
        countStreams: happening.streams.count,
        countReplicas: () => membership.peers.length,
        countLive: () => sessions.countLive(),
        fleetState: monitor.state,
      });
      seeing.start();
      return listening.port;
    },

    async stop() {
      if (await isOver(stopAll(), config.drainNoticeMs + STOP_MS)) return;
      log.warn("stopped although not all has ended");
    },
  };
}

/** A timer that keeps the process: nothing else may be left that does. */
async function isOver(work: Promise<void>, limitMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs);
  });
  return Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer));
}
