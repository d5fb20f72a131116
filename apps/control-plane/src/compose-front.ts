/** A part of the composition root: every way in, which are the API, and tunnels by WebSocket and over HTTP. */
import type { IncomingMessage } from "node:http";
import { operations } from "@wolfpack/api-contract";
import { createApp } from "./app.ts";
import type { Base, composeAccess } from "./compose-access.ts";
import type { composeEvents } from "./compose-events.ts";
import type { composeFleet } from "./compose-fleet.ts";
import type { composeReplicas } from "./compose-replicas.ts";
import type { composeSeeing } from "./compose-seeing.ts";
import { pingDatabase } from "./database/prisma.prisma.ts";
import { apiRouter } from "./http/api.ts";
import { conditionalReads } from "./http/etag.ts";
import { idempotency } from "./http/idempotency.ts";
import { prismaIdempotencyStore } from "./http/idempotency-store.prisma.ts";
import { createInFlight } from "./http/in-flight.ts";
import { addFields } from "./http/limits.ts";
import { createHttpServer, limitConnections, type ServerLimits } from "./http/server.ts";
import { tellOfUnread } from "./http/unread.ts";
import { agentHandlers } from "./identity/agent-routes.ts";
import { auditHandlers } from "./identity/audit-routes.ts";
import { identityHandlers } from "./identity/identity-routes.ts";
import { webSessionHandlers } from "./identity/web-session-routes.ts";
import { metricsRoutes } from "./metrics/metrics-routes.ts";
import { createScreen } from "./sessions/screen.ts";
import { sessionHandlers } from "./sessions/session-routes.ts";
import { createAdmission, PENDING_MAX, requireRoom } from "./tunnels/admission.ts";
import { createHelixUpgrades } from "./tunnels/helix/helix-upgrade.ts";
import { isLate, type Lateness } from "./tunnels/lateness.ts";
import { tunnelsOverHttp } from "./tunnels/over-http.ts";
import { createTurns } from "./tunnels/turns.ts";
import { attachUpgrades, upgradeRoutes } from "./tunnels/upgrade.ts";
import { fleetHandlers } from "./wolves/fleet-routes.ts";
import { wolfHandlers } from "./wolves/wolf-routes.ts";

const isChallenge = ({ method, url }: IncomingMessage) =>
  method === "POST" && url?.split("?", 1)[0] === operations.createAgentChallenge.path;

/** A fault of ours: the documents promise other problems. */
export const UNLISTED = "a problem that the contract does not list";

export function composeFront(
  { config, prisma, log, clock, draining, metrics }: Base,
  access: ReturnType<typeof composeAccess>,
  fleet: ReturnType<typeof composeFleet> & {
    seeing: ReturnType<typeof composeSeeing>;
    happening: ReturnType<typeof composeEvents>;
    replicas: ReturnType<typeof composeReplicas>;
    closing: () => boolean;
    lateness: Lateness;
  },
  serverLimits: Partial<ServerLimits>,
) {
  const { identity, agents, bridge, webSessions, audit, auditStore, revocations, addresses, limits } = access;
  const { wolfStore, wolves, diskHistory, gateway, monitor, sessions, doctors, seeing } = fleet;
  const idempotencyStore = prismaIdempotencyStore(prisma);
  const { calls } = fleet.replicas;
  const turns = createTurns({
    clock,
    max: PENDING_MAX,
    others: () => gateway.countOpening() + sessions.countComparing(),
    isLate: () => isLate(fleet.lateness),
    away: async () => {
      // Those of a replica that was killed are taken for connected until its lease has ended.
      const { connected, suspect, lost } = await wolfStore.countConnectivity(clock.now());
      return Math.max(0, connected + suspect + lost - gateway.countServed());
    },
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
  const { heldBy } = fleet.replicas;
  const overHttp = tunnelsOverHttp(admission, { calls, heldBy });
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
          ...agentHandlers(agents),
          ...wolfHandlers({ wolves, diskHistory, bridge, clock, rttMsOf: gateway.rttMsOf }),
          ...fleetHandlers({ monitor, countLive: () => sessions.countLive() }),
          ...fleet.happening.handlers,
          ...auditHandlers(auditStore),
          ...seeing.handlers,
          ...webSessionHandlers({ webSessions, identity, audit, limits }),
          ...sessionHandlers({
            sessions,
            screen: createScreen(fleet.links),
            requireWolf: wolves.get,
            userNames: access.userNames,
          }),
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
    tellOfUnread({ clock, log, count: metrics.requests.unread }),
    // Who is given a challenge comes to connect. In a storm most have to be told to wait: that must not cost what the others need.
    (request) => {
      if (isChallenge(request)) requireRoom(turns.waitSeconds());
    },
  );
  limitConnections(server, { clock, log });
  const serveUpgrade = attachUpgrades(server, {
    admission,
    log,
    helix,
    echo: seeing.echo,
    heldBy,
    door,
    onArrival: limits.upgrade,
  });
  return { app, server, overHttp, inFlight };
}
