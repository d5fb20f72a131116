/** A part of the composition root: wolves, their tunnels and what runs on them. */
import { randomUUID } from "node:crypto";
import type { Base, composeAccess } from "./compose-access.ts";
import type { composeEvents } from "./compose-events.ts";
import type { composeReplicas } from "./compose-replicas.ts";
import { newId } from "./ids.ts";
import { lobbiesThrough } from "./sessions/lobbies.ts";
import { SessionService } from "./sessions/session-service.ts";
import { sessionSettings } from "./sessions/session-settings.ts";
import { prismaSessionStore } from "./sessions/session-store.prisma.ts";
import { createAgentControl } from "./tunnels/agent-control.ts";
import { createDoctorTunnels } from "./tunnels/doctor-tunnels.ts";
import { prismaFurtherPlaces } from "./tunnels/further-places.prisma.ts";
import { createTunnelGateway } from "./tunnels/tunnel-gateway.ts";
import { watchedLinks } from "./tunnels/watched-links.ts";
import { reportedBy } from "./wolves/agents-reports.ts";
import { prismaDiskHistoryStore } from "./wolves/disk-history.prisma.ts";
import { createDiskHistory } from "./wolves/disk-history.ts";
import { createDrains } from "./wolves/drains.ts";
import { createHealthMonitor } from "./wolves/health-monitor.ts";
import { createUsageHistory, tellingUsage } from "./wolves/usage-history.ts";
import { createWolfService } from "./wolves/wolf-service.ts";
import { prismaWolfStore } from "./wolves/wolf-store.prisma.ts";

/** An operator's word that a loss is real. */
const OVERRIDE_MS = 10 * 60_000;

export function composeFleet(
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
    furtherPlaces: prismaFurtherPlaces(prisma, replicas.membership.id),
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
    if (kind === "wolf") sessions.changedElsewhere(objectId);
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
