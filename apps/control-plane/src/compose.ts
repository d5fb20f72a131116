/** The composition root: the only place that picks implementations and knows who needs whom. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express } from "express";
import { createApp } from "./app.ts";
import { repeat, systemClock, type Timer } from "./clock.ts";
import type { Config } from "./config.ts";
import { createPrisma, pingDatabase } from "./database/prisma.prisma.ts";
import { apiRouter } from "./http/api.ts";
import { createHttpServer } from "./http/server.ts";
import { prismaAgentKeyStore } from "./identity/agent-key-store.prisma.ts";
import { agentHandlers } from "./identity/agent-routes.ts";
import { createAgentService } from "./identity/agent-service.ts";
import { createAuditLog } from "./identity/audit.ts";
import { prismaAuditStore } from "./identity/audit-store.prisma.ts";
import { createChallenges } from "./identity/challenge.ts";
import { identityHandlers } from "./identity/identity-routes.ts";
import { createIdentityService, type IdentityService } from "./identity/identity-service.ts";
import { prismaIdentityStore } from "./identity/identity-store.prisma.ts";
import { prismaJoinTokenStore } from "./identity/join-token-store.prisma.ts";
import { createRunnerBridge } from "./identity/runner-bridge.ts";
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

export function compose(config: Config, databaseUrl: string, log: Log): ControlPlane {
  const clock = systemClock;
  let isDraining = false;
  const draining = () => isDraining;

  const prisma = createPrisma(databaseUrl);
  const wolfStore = prismaWolfStore(prisma);
  const { apiKeySecret, runnerToken } = config;
  const agentKeys = prismaAgentKeyStore(prisma);
  const agents = createAgentService({
    keys: agentKeys,
    tokens: prismaJoinTokenStore(prisma),
    challenges: createChallenges(apiKeySecret),
    clock,
    log,
    apiKeySecret,
    publicHosts: config.publicHosts,
    keyLifeMs: config.agentKeyLifeMs,
  });
  const bridge = createRunnerBridge(config.legacyRunnerToken, agentKeys);
  const identity = createIdentityService({
    store: prismaIdentityStore(prisma),
    clock,
    log,
    apiKeySecret,
    runnerToken,
    agents,
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
    audit,
    bridge,
    wolves: wolfStore,
    ownerOf: sessions.ownerOf,
    gateway,
    doctors,
    log,
    draining,
  });
  const overHttp = tunnelsOverHttp(admission);
  const app = createApp({
    log,
    draining,
    pingDatabase: () => pingDatabase(prisma),
    tunnelPosts: overHttp.posts,
    routers: [
      apiRouter(
        {
          ...identityHandlers(identity),
          ...agentHandlers(agents),
          ...wolfHandlers({ wolves, diskHistory, bridge, rttMsOf: gateway.rttMsOf }),
          ...sessionHandlers({ sessions, screen: createScreen(gateway) }),
        },
        { identity, audit, bodyBytesMax: config.bodyBytesMax },
      ),
      upgradeRoutes(),
      overHttp.routes,
    ],
  });
  const server = createHttpServer(app);
  attachUpgrades(server, admission, log);

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
      pruning = repeat(clock, PRUNE_INTERVAL_MS, async () => {
        await diskHistory.prune();
        await agents.prune();
      });
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
