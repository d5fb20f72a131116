/** The composition root: the only place that picks implementations and knows who needs whom. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express } from "express";
import { createApp } from "./app.ts";
import { type Clock, repeat, systemClock, type Timer } from "./clock.ts";
import type { Config } from "./config.ts";
import { createNotifications } from "./database/notifications.ts";
import { createPrisma, type Prisma, pingDatabase } from "./database/prisma.prisma.ts";
import { apiRouter } from "./http/api.ts";
import { clientAddresses } from "./http/client-address.ts";
import { conditionalReads } from "./http/etag.ts";
import { idempotency } from "./http/idempotency.ts";
import { prismaIdempotencyStore } from "./http/idempotency-store.prisma.ts";
import { addFields, createLimits } from "./http/limits.ts";
import { createHttpServer, type ServerLimits } from "./http/server.ts";
import { prismaAgentKeyStore } from "./identity/agent-key-store.prisma.ts";
import { prismaAgentRenewalStore } from "./identity/agent-renewal-store.prisma.ts";
import { createAgentRenewals } from "./identity/agent-renewals.ts";
import { agentHandlers } from "./identity/agent-routes.ts";
import { createAgentService } from "./identity/agent-service.ts";
import { createAuditLog } from "./identity/audit.ts";
import { auditHandlers } from "./identity/audit-routes.ts";
import { prismaAuditStore } from "./identity/audit-store.prisma.ts";
import { createAuthentications } from "./identity/authentications.ts";
import { createChallenges } from "./identity/challenge.ts";
import { identityHandlers } from "./identity/identity-routes.ts";
import { createIdentityService, type IdentityService, type KnownKey } from "./identity/identity-service.ts";
import { prismaIdentityStore } from "./identity/identity-store.prisma.ts";
import { prismaJoinTokenStore } from "./identity/join-token-store.prisma.ts";
import type { UserPrincipal } from "./identity/principal.ts";
import {
  parseRevocation,
  prismaRevocationStore,
  REVOKED_CHANNEL,
} from "./identity/revocation-store.prisma.ts";
import { createRevocations } from "./identity/revocations.ts";
import { createRunnerBridge } from "./identity/runner-bridge.ts";
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
import { createAgentControl } from "./tunnels/agent-control.ts";
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

/** What every part is made with. */
interface Base {
  config: Config;
  databaseUrl: string;
  prisma: Prisma;
  log: Log;
  clock: Clock;
  draining: () => boolean;
}

export function compose(
  config: Config,
  databaseUrl: string,
  log: Log,
  { clock = systemClock, serverLimits = {} }: { clock?: Clock; serverLimits?: Partial<ServerLimits> } = {},
): ControlPlane {
  let isDraining = false;
  const prisma = createPrisma(databaseUrl);
  const base: Base = { config, databaseUrl, prisma, log, clock, draining: () => isDraining };
  const access = composeAccess(base);
  const fleet = composeFleet(base, access);
  const front = composeFront(base, access, fleet, serverLimits);
  const { identity, agents, notifications, revocations, webSessionStore } = access;
  const { monitor, gateway, sessions, doctors, diskHistory } = fleet;
  const { app, server, overHttp, idempotencyStore } = front;

  const prune = async () => {
    await diskHistory.prune();
    await agents.prune();
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
      await revocations.start();
      notifications.start();
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
      await notifications.stop();
      await revocations.stop();
      await prisma.$disconnect();
    },
  };
}

/** Who calls, what is no longer valid, and the audit log. */
function composeAccess({ config, databaseUrl, prisma, log, clock }: Base) {
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
  const revocations = createRevocations({ store: prismaRevocationStore(prisma), clock, log });
  const notifications = createNotifications({
    url: databaseUrl,
    channel: REVOKED_CHANNEL,
    clock,
    log,
    random: Math.random,
    onNotification(payload) {
      const revocation = parseRevocation(payload);
      if (revocation) revocations.hear(revocation);
    },
    onListening: () => void revocations.catchUp(),
  });
  const identity = createIdentityService({
    store: prismaIdentityStore(prisma),
    clock,
    log,
    apiKeySecret,
    runnerToken,
    agents,
    authentications: createAuthentications<KnownKey>({ revocations, clock }),
    revocations,
  });

  const auditStore = prismaAuditStore(prisma);
  const audit = createAuditLog(auditStore, clock, newId("rep"));
  const webSessionStore = prismaWebSessionStore(prisma);
  const webSessions = createWebSessions({
    store: webSessionStore,
    clock,
    identity,
    apiKeySecret,
    authentications: createAuthentications<UserPrincipal>({ revocations, clock }),
    revocations,
  });
  const renewals = createAgentRenewals({
    store: prismaAgentRenewalStore(prisma),
    clock,
    keyLifeMs: config.agentKeyLifeMs,
  });
  return {
    identity,
    agents,
    bridge,
    renewals,
    webSessions,
    webSessionStore,
    audit,
    auditStore,
    revocations,
    notifications,
  };
}

/** Wolves, their tunnels and what runs on them. */
function composeFleet(
  { config, prisma, log, clock }: Base,
  { audit, renewals, revocations }: ReturnType<typeof composeAccess>,
) {
  const wolfStore = prismaWolfStore(prisma);
  const gateway = createTunnelGateway({
    store: wolfStore,
    clock,
    log,
    random: Math.random,
    tunnelLost: (id, epoch) => monitor.tunnelLost(id, epoch),
    audit,
    revocations,
    control: createAgentControl({ renewals, audit, clock, log }),
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
  const onRemoved = (wolfId: string) => revocations.tell("wolf", wolfId);
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
    quotas: config.quotas,
    defaultImage: config.defaultSandboxImage,
    renderNode: config.renderNode,
    startTimeoutMs: config.sessionStartTimeoutMs,
    settleMs: config.lobbySettleMs,
    strayGraceMs: config.lobbyGraceMs,
  });

  revocations.onRevoked((kind, objectId) => {
    gateway.revoke(objectId);
    if (kind === "wolf") sessions.changedElsewhere();
  });

  const doctors = createDoctorTunnels({ clock, log });
  return { wolfStore, wolves, diskHistory, gateway, monitor, sessions, doctors };
}

/** Every way in: the API, and tunnels by WebSocket and over HTTP. */
function composeFront(
  { config, prisma, log, clock, draining }: Base,
  access: ReturnType<typeof composeAccess>,
  fleet: ReturnType<typeof composeFleet>,
  serverLimits: Partial<ServerLimits>,
) {
  const { identity, agents, bridge, webSessions, audit, auditStore, revocations } = access;
  const { wolfStore, wolves, diskHistory, gateway, sessions, doctors } = fleet;
  const idempotencyStore = prismaIdempotencyStore(prisma);
  const addresses = clientAddresses(config.trustedProxies);
  const limits = createLimits({
    clock,
    addresses,
    addressPerMinute: config.ratePerAddress,
    credentialPerMinute: config.ratePerCredential,
    unknownPerMinute: config.rateUnauthenticated,
  });
  const admission = createAdmission({
    identity,
    audit,
    bridge,
    wolves: wolfStore,
    ownerOf: sessions.ownerOf,
    gateway,
    doctors,
    publicHosts: config.publicHosts,
    mark: revocations.mark,
    log,
    draining,
    limits,
    addressOf: addresses.of,
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
          ...agentHandlers(agents),
          ...wolfHandlers({ wolves, diskHistory, bridge, rttMsOf: gateway.rttMsOf }),
          ...auditHandlers(auditStore),
          ...webSessionHandlers({ webSessions, identity, audit, limits }),
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
              secret: config.apiKeySecret,
              log,
              runningMs: config.sessionStartTimeoutMs + CREATE_SLACK_MS,
            }),
          ],
        },
      ),
      upgradeRoutes(),
      overHttp.routes,
    ],
  });
  const server = createHttpServer(app, serverLimits);
  attachUpgrades(server, admission, log, limits.upgrade);
  return { app, server, overHttp, idempotencyStore };
}

/** Resolves when the last connection has ended, and at once when it never listened. */
function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
