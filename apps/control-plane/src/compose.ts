/** The composition root: the only place that picks implementations and knows who needs whom. */
import { randomUUID } from "node:crypto";
import { noTracing, type Tracing } from "@wolfpack/telemetry";
import type { Express } from "express";
import { createApp } from "./app.ts";
import { type Clock, repeat, systemClock, type Timer } from "./clock.ts";
import { type Base, composeAccess } from "./compose-access.ts";
import { composeEvents } from "./compose-events.ts";
import { composeReplicas } from "./compose-replicas.ts";
import { composeSeeing } from "./compose-seeing.ts";
import type { Config } from "./config.ts";
import { createPrisma, pingDatabase } from "./database/prisma.prisma.ts";
import { because } from "./events/author.ts";
import { apiRouter } from "./http/api.ts";
import { conditionalReads } from "./http/etag.ts";
import { idempotency } from "./http/idempotency.ts";
import { prismaIdempotencyStore } from "./http/idempotency-store.prisma.ts";
import { createInFlight } from "./http/in-flight.ts";
import { addFields } from "./http/limits.ts";
import { type Listening, listenOn } from "./http/listening.ts";
import { createHttpServer, limitConnections, type ServerLimits } from "./http/server.ts";
import { agentHandlers } from "./identity/agent-routes.ts";
import { auditHandlers } from "./identity/audit-routes.ts";
import { identityHandlers } from "./identity/identity-routes.ts";
import type { IdentityService } from "./identity/identity-service.ts";
import { webSessionHandlers } from "./identity/web-session-routes.ts";
import { newId } from "./ids.ts";
import type { Log } from "./logger.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { metricsRoutes } from "./metrics/metrics-routes.ts";
import { lobbiesThrough } from "./sessions/lobbies.ts";
import { createScreen } from "./sessions/screen.ts";
import { sessionHandlers } from "./sessions/session-routes.ts";
import { SessionService } from "./sessions/session-service.ts";
import { sessionSettings } from "./sessions/session-settings.ts";
import { prismaSessionStore } from "./sessions/session-store.prisma.ts";
import { createAdmission, PENDING_MAX, requireRoom } from "./tunnels/admission.ts";
import { createAgentControl } from "./tunnels/agent-control.ts";
import { createDoctorTunnels } from "./tunnels/doctor-tunnels.ts";
import { createHelixUpgrades } from "./tunnels/helix/helix-upgrade.ts";
import { watchLateness } from "./tunnels/lateness.ts";
import { tunnelsOverHttp } from "./tunnels/over-http.ts";
import { createTunnelGateway } from "./tunnels/tunnel-gateway.ts";
import { createTurns } from "./tunnels/turns.ts";
import { attachUpgrades, upgradeRoutes } from "./tunnels/upgrade.ts";
import { watchedLinks } from "./tunnels/watched-links.ts";
import { reportedBy } from "./wolves/agents-reports.ts";
import { prismaDiskHistoryStore } from "./wolves/disk-history.prisma.ts";
import { createDiskHistory } from "./wolves/disk-history.ts";
import { createDrains } from "./wolves/drains.ts";
import { fleetHandlers } from "./wolves/fleet-routes.ts";
import { createHealthMonitor } from "./wolves/health-monitor.ts";
import { createUsageHistory, tellingUsage } from "./wolves/usage-history.ts";
import { wolfHandlers } from "./wolves/wolf-routes.ts";
import { createWolfService } from "./wolves/wolf-service.ts";
import { prismaWolfStore } from "./wolves/wolf-store.prisma.ts";

/** A fault of ours: the documents promise other problems. */
export const UNLISTED = "a problem that the contract does not list";

export interface ControlPlane {
  readonly app: Express;
  readonly identity: IdentityService;
  /** Begins to serve and to look after the fleet; resolves to the port. Rejects with Node's error, such as EADDRINUSE. */
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
  /** Ended with the control plane. */
  tracing?: Tracing;
}

/** How long requests in flight may take after tunnels have moved, and after the last one has ended. */
const REQUESTS_DRAIN_MS = 5000;
const PRUNE_INTERVAL_MS = 10 * 60_000;
/** Between two looks at deadlines of sessions, at lost wolves, at drains, and at what others changed. */
const TICK_MS = 1000;
/** An operator's word that a loss is real. */
const OVERRIDE_MS = 10 * 60_000;
export function compose(
  config: Config,
  databaseUrl: string,
  log: Log,
  { clock = systemClock, serverLimits = {}, tracing = noTracing }: ComposeParts = {},
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
  const front = composeFront(base, access, { ...fleet, seeing, happening, replicas, closing }, serverLimits);
  const { identity, agents, notifications, revocations, webSessionStore, exclusive } = access;
  const { monitor, gateway, sessions, drains, events, doctors, diskHistory } = fleet;
  const { app, server, overHttp, inFlight, idempotencyStore, lateness } = front;

  const pruneAll = async () => {
    await diskHistory.prune();
    await agents.prune();
    await events.prune();
    const now = clock.now();
    await Promise.all([idempotencyStore.prune(now), webSessionStore.prune(now)]);
  };
  const prune = async () => {
    await exclusive("prune", pruneAll).catch((err: unknown) =>
      log.warn({ err }, "what has expired was not removed"),
    );
  };

  /** Nothing of it is to be noticed: everything is served until nobody asks here any more. Never rejects. */
  async function leave(): Promise<void> {
    // Load balancers see at their next look that it is not ready.
    await new Promise<void>((resolve) => void clock.setTimer(config.drainNoticeMs, resolve));
    happening.streams.close();
    await gateway.moveAway(monitor.beat);
    await inFlight.none(REQUESTS_DRAIN_MS);
  }

  let listening: Listening | undefined;
  let ticking: Timer | undefined;
  let reconciling: Timer | undefined;
  let pruning: Timer | undefined;
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
      reconciling = repeat(clock, config.reconcileIntervalMs, () =>
        because("reconciled", () => sessions.reconcileAll(gateway.liveWolves().map(({ id }) => id))),
      );
      pruning = repeat(clock, PRUNE_INTERVAL_MS, prune);
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
      isDraining = true;
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
      const closed = listening?.close();
      const timer = setTimeout(() => server.closeAllConnections(), REQUESTS_DRAIN_MS);
      await closed;
      clearTimeout(timer);
      monitor.stop();
      sessions.end();
      await replicas.stop();
      await happening.stop();
      await notifications.stop();
      await revocations.stop();
      await prisma.$disconnect();
      metrics.stop();
      await tracing.stop();
    },
  };
}

/** Wolves, their tunnels and what runs on them. */
function composeFleet(
  { config, prisma, log, clock, metrics }: Base,
  { audit, renewals, revocations, exclusive }: ReturnType<typeof composeAccess>,
  events: ReturnType<typeof composeEvents>["log"],
  replicas: ReturnType<typeof composeReplicas>,
) {
  const wolfStore = prismaWolfStore(prisma, replicas.membership.id);
  const usageHistory = createUsageHistory({ clock });
  const gateway = createTunnelGateway({
    store: reportedBy(tellingUsage(wolfStore, usageHistory)),
    clock,
    log,
    random: Math.random,
    tunnelLost: (...lost) => monitor.tunnelLost(...lost),
    audit,
    revocations,
    control: createAgentControl({ renewals, audit, clock, log }),
    renderNode: config.renderNode,
    onTunnelEnd: metrics.tunnelEnded,
    ...(replicas.places && { places: replicas.places }),
  });
  const links = watchedLinks(replicas.links(gateway), metrics.links);
  const monitor = createHealthMonitor({
    store: wolfStore,
    clock,
    log,
    liveTunnels: gateway.liveWolves,
    onOvertaken: gateway.sendAway,
    tunnelLostAfterMs: config.tunnelLostAfterMs,
    restartGraceMs: config.restartGraceMs,
    wolfStaleAfterMs: config.wolfStaleAfterMs,
    intervalMs: config.healthIntervalMs,
    massLoss: config.massLoss,
    overrideMs: OVERRIDE_MS,
    quarantine: config.quarantine,
    exclusive,
  });
  const onRemoved = (wolfId: string) => revocations.tell("wolf", wolfId);
  const onChanged = (wolfId: string) => sessions.wolfChanged(wolfId);
  const wolves = createWolfService({
    store: wolfStore,
    clock,
    log,
    onRemoved,
    onChanged,
    onDraining: (wolfId, deadline) => void sessions.announceDrain(wolfId, deadline),
  });
  const diskHistory = createDiskHistory({
    store: prismaDiskHistoryStore(prisma),
    wolves: wolfStore,
    clock,
    log,
  });
  const sessions = new SessionService({
    store: prismaSessionStore(prisma),
    wolves: wolfStore,
    tunnels: gateway,
    lobbies: lobbiesThrough(links, config.sessionStartTimeoutMs),
    rttMsOf: gateway.rttMsOf,
    elsewhere: replicas.elsewhere,
    clock,
    log,
    random: Math.random,
    newId,
    newToken: randomUUID,
    onExpiring: (session, reason, at) =>
      events.record({ kind: "session.expiring", session, wolfId: session.wolfId, detail: { reason, at } }),
    watch: metrics.sessions,
    exclusive,
    ...sessionSettings(config),
  });
  monitor.onWolvesLost(() => void sessions.wolvesLost());
  const drains = createDrains({
    store: wolfStore,
    clock,
    log,
    evict: (wolfId) => sessions.evict(wolfId),
    onChanged,
    exclusive,
  });

  revocations.onRevoked((kind, objectId) => {
    gateway.revoke(objectId);
    if (kind === "wolf") sessions.changedElsewhere();
  });

  const doctors = createDoctorTunnels({ clock, log });
  return {
    wolfStore,
    wolves,
    diskHistory,
    usageHistory,
    gateway,
    links,
    monitor,
    sessions,
    drains,
    events,
    doctors,
  };
}

/** Every way in: the API, and tunnels by WebSocket and over HTTP. */
function composeFront(
  { config, prisma, log, clock, draining, metrics }: Base,
  access: ReturnType<typeof composeAccess>,
  fleet: ReturnType<typeof composeFleet> & {
    seeing: ReturnType<typeof composeSeeing>;
    happening: ReturnType<typeof composeEvents>;
    replicas: ReturnType<typeof composeReplicas>;
    closing: () => boolean;
  },
  serverLimits: Partial<ServerLimits>,
) {
  const { identity, agents, bridge, webSessions, audit, auditStore, revocations, addresses, limits } = access;
  const { wolfStore, wolves, diskHistory, gateway, monitor, sessions, doctors, seeing } = fleet;
  const idempotencyStore = prismaIdempotencyStore(prisma);
  const { calls } = fleet.replicas;
  const lateness = watchLateness(clock, () => performance.now());
  const turns = createTurns({
    clock,
    max: PENDING_MAX,
    others: () => gateway.countOpening() + sessions.countComparing(),
    lateMs: lateness.ms,
  });
  const admission = createAdmission({
    identity,
    audit,
    bridge,
    wolves: { ...wolfStore, registerOnConnect: wolves.registerOnConnect },
    ownerOf: (sessionId) => sessions.ownerOf(sessionId),
    gateway,
    doctors,
    publicHosts: config.publicHosts,
    mark: revocations.mark,
    log,
    draining,
    limits,
    addressOf: addresses.of,
    turns,
  });
  const overHttp = tunnelsOverHttp(admission, { calls });
  const inFlight = createInFlight(clock);
  const helix = createHelixUpgrades({ admission, clock, log, limits, calls });
  const app = createApp({
    log,
    draining,
    closing: fleet.closing,
    pingDatabase: () => pingDatabase(prisma),
    tunnelPosts: overHttp.posts,
    trustsProxy: addresses.trusts,
    limitByAddress: limits.byAddress,
    countCall: inFlight.count,
    requests: metrics.requests,
    metrics: metricsRoutes({
      metrics,
      identity,
      audit,
      token: config.metricsToken,
      onUnknown: limits.unknown,
    }),
    corsOrigins: config.corsOrigins,
    routers: [
      apiRouter(
        {
          ...identityHandlers(identity),
          ...agentHandlers(agents, () => requireRoom(turns.waitSeconds())),
          ...wolfHandlers({ wolves, diskHistory, bridge, clock, rttMsOf: gateway.rttMsOf }),
          ...fleetHandlers({ monitor, countLive: () => sessions.countLive() }),
          ...fleet.happening.handlers,
          ...auditHandlers(auditStore),
          ...seeing.handlers,
          ...webSessionHandlers({ webSessions, identity, audit, limits }),
          ...sessionHandlers({ sessions, screen: createScreen(fleet.links), requireWolf: wolves.get }),
        },
        {
          identity,
          webSessions,
          audit,
          bodyBytesMax: config.bodyBytesMax,
          onKnown: (principal, request, response) =>
            addFields(response, limits.byCredential(principal, request)),
          onUnknown: limits.unknown,
          onUnlisted: (operation, code) => log.error({ operation, code }, UNLISTED),
          steps: [
            conditionalReads,
            idempotency({
              store: idempotencyStore,
              clock,
              secret: config.apiKeySecret,
              log,
            }),
          ],
        },
      ),
      upgradeRoutes(helix),
      overHttp.routes,
    ],
  });
  const door = fleet.replicas.door({
    request: app,
    upgrade: (...call) => serveUpgrade(...call),
  });
  // Ahead of everything that is for people and agents: limits, the API's log, a replica that shuts down.
  const server = createHttpServer(
    (request, response) =>
      door.isInternal(request) ? door.request(request, response) : app(request, response),
    serverLimits,
  );
  limitConnections(server, { clock, log });
  const serveUpgrade = attachUpgrades(server, {
    admission,
    log,
    helix,
    echo: seeing.echo,
    door,
    onArrival: limits.upgrade,
  });
  return { app, server, overHttp, inFlight, idempotencyStore, lateness };
}
