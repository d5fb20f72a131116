/** The composition root: the only place that picks implementations and knows who needs whom. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express } from "express";
import { createApp } from "./app.ts";
import { type Clock, repeat, systemClock, type Timer } from "./clock.ts";
import type { Config } from "./config.ts";
import { createPrisma, pingDatabase } from "./database/prisma.prisma.ts";
import { apiRouter } from "./http/api.ts";
import { clientAddresses } from "./http/client-address.ts";
import { conditionalReads } from "./http/etag.ts";
import { idempotency } from "./http/idempotency.ts";
import { prismaIdempotencyStore } from "./http/idempotency-store.prisma.ts";
import { addFields, createLimits } from "./http/limits.ts";
import { createHttpServer } from "./http/server.ts";
import { createAuditLog } from "./identity/audit.ts";
import { prismaAuditStore } from "./identity/audit-store.prisma.ts";
import { identityHandlers } from "./identity/identity-routes.ts";
import { createIdentityService, type IdentityService } from "./identity/identity-service.ts";
import { prismaIdentityStore } from "./identity/identity-store.prisma.ts";
import { webSessionHandlers } from "./identity/web-session-routes.ts";
import { prismaWebSessionStore } from "./identity/web-session-store.prisma.ts";
import { createWebSessions } from "./identity/web-sessions.ts";
import { newId } from "./ids.ts";
import type { Log } from "./logger.ts";
import { createScreen } from "./sessions/screen.ts";
import { sessionHandlers } from "./sessions/session-routes.ts";
import { createSessionService } from "./sessions/session-service.ts";
import { prismaSessionStore } from "./sessions/session-store.prisma.ts";
import { createAdmission } from "./tunnels/admission.ts";
import { createDoctorTunnels } from "./tunnels/doctor-tunnels.ts";
import { tunnelsOverHttp } from "./tunnels/over-http.ts";
import { createTunnelGateway } from "./tunnels/tunnel-gateway.ts";
import { attachUpgrades, upgradeRoutes } from "./tunnels/upgrade.ts";
import { prismaDiskHistoryStore } from "./wolves/disk-history.prisma.ts";
import { createDiskHistory } from "./wolves/disk-history.ts";
import { createHealthMonitor } from "./wolves/health-monitor.ts";
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
  /** Not ready, tunnels told to go elsewhere, new requests refused, those in flight finished; bounded. Ends every connection and timer. */
  stop(): Promise<void>;
}

/** How long requests in flight may take after the last tunnel has ended. */
const REQUESTS_DRAIN_MS = 5000;
const PRUNE_INTERVAL_MS = 10 * 60_000;
/** What a creating request may take besides waiting for a session to start. */
const CREATE_SLACK_MS = 60_000;

export function compose(
  config: Config,
  databaseUrl: string,
  log: Log,
  clock: Clock = systemClock,
): ControlPlane {
  let isDraining = false;
  const draining = () => isDraining;

  const prisma = createPrisma(databaseUrl);
  const wolfStore = prismaWolfStore(prisma);
  const { apiKeySecret, runnerToken } = config;
  const identity = createIdentityService({
    store: prismaIdentityStore(prisma),
    clock,
    log,
    apiKeySecret,
    runnerToken,
  });

  const webSessionStore = prismaWebSessionStore(prisma);
  const webSessions = createWebSessions({ store: webSessionStore, clock, identity, apiKeySecret });
  const idempotencyStore = prismaIdempotencyStore(prisma);
  const addresses = clientAddresses(config.trustedProxies);
  const limits = createLimits({
    clock,
    addresses,
    addressPerMinute: config.ratePerAddress,
    credentialPerMinute: config.ratePerCredential,
    unknownPerMinute: config.rateUnauthenticated,
  });

  const audit = createAuditLog(prismaAuditStore(prisma), clock, newId("rep"));

  const gateway = createTunnelGateway({
    store: wolfStore,
    clock,
    log,
    random: Math.random,
    tunnelLost: (id, epoch) => monitor.tunnelLost(id, epoch),
  });
  const monitor = createHealthMonitor({
    store: wolfStore,
    clock,
    log,
    liveTunnels: gateway.liveWolves,
    tunnelLostAfterMs: config.tunnelLostAfterMs,
    wolfStaleAfterMs: config.wolfStaleAfterMs,
    intervalMs: config.healthIntervalMs,
  });
  const onRemoved = (wolfId: string): void => {
    gateway.drop(wolfId);
    sessions.changedElsewhere();
  };
  const wolves = createWolfService({ store: wolfStore, clock, log, onRemoved });
  const diskHistory = createDiskHistory({
    store: prismaDiskHistoryStore(prisma),
    wolves: wolfStore,
    clock,
    log,
  });
  const sessions = createSessionService({
    store: prismaSessionStore(prisma),
    wolves: wolfStore,
    tunnels: gateway,
    clock,
    log,
    defaultImage: config.defaultSandboxImage,
    renderNode: config.renderNode,
    startTimeoutMs: config.sessionStartTimeoutMs,
    settleMs: config.lobbySettleMs,
    strayGraceMs: config.lobbyGraceMs,
  });

  const doctors = createDoctorTunnels({ clock, log });
  const admission = createAdmission({
    identity,
    wolves: wolfStore,
    ownerOf: sessions.ownerOf,
    gateway,
    doctors,
    log,
    draining,
    limits,
  });
  const overHttp = tunnelsOverHttp(admission);
  const app = createApp({
    log,
    draining,
    pingDatabase: () => pingDatabase(prisma),
    tunnelPosts: overHttp.posts,
    trustsProxy: addresses.trusts,
    limitByAddress: limits.byAddress,
    corsOrigins: config.corsOrigins,
    routers: [
      apiRouter(
        {
          ...identityHandlers(identity),
          ...webSessionHandlers({ webSessions, identity, audit, limits }),
          ...wolfHandlers({ wolves, diskHistory, rttMsOf: gateway.rttMsOf }),
          ...sessionHandlers({ sessions, screen: createScreen(gateway) }),
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
              secret: apiKeySecret,
              runningMs: config.sessionStartTimeoutMs + CREATE_SLACK_MS,
            }),
          ],
        },
      ),
      upgradeRoutes(),
      overHttp.routes,
    ],
  });
  const server = createHttpServer(app);
  attachUpgrades(server, admission, log, limits.upgrade);

  const prune = async () => {
    await diskHistory.prune();
    const now = clock.now();
    await Promise.all([idempotencyStore.prune(now), webSessionStore.prune(now)]).catch((err: unknown) =>
      log.warn({ err }, "what has expired was not removed"),
    );
  };

  let reconciling: Timer | undefined;
  let pruning: Timer | undefined;
  return {
    app,
    identity,

    async listen() {
      // Before any agent can come back: whoever was connected to an earlier process is suspect until then.
      await monitor.start();
      server.listen(config.port, config.host);
      await once(server, "listening");
      reconciling = repeat(clock, config.reconcileIntervalMs, () =>
        sessions.reconcileAll(gateway.liveWolves().map(({ id }) => id)),
      );
      pruning = repeat(clock, PRUNE_INTERVAL_MS, prune);
      return (server.address() as AddressInfo).port;
    },

    async stop() {
      isDraining = true;
      reconciling?.cancel();
      pruning?.cancel();
      sessions.close();
      // Still listening: over HTTP, what is in flight needs new connections to arrive.
      doctors.close();
      await gateway.drain();
      overHttp.close();
      const closed = closeServer(server);
      const timer = setTimeout(() => server.closeAllConnections(), REQUESTS_DRAIN_MS);
      await closed;
      clearTimeout(timer);
      monitor.stop();
      await prisma.$disconnect();
    },
  };
}

/** Resolves when the last connection has ended, and at once when it never listened. */
function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
