/** A part of the composition root: this replica among the others, and the ways to their tunnels. */
import type { HeldBy } from "@wolfpack/api-contract";
import type { Base, composeAccess } from "./compose-access.ts";
import { migrationNames } from "./database/migrate.prisma.ts";
import type { EventFeed, EventListener } from "./events/event-feed.ts";
import { keepBalance } from "./replicas/balance.ts";
import { createCalls } from "./replicas/calls.ts";
import { createDoor, type DoorOptions } from "./replicas/door.ts";
import { createForwarding } from "./replicas/forwarding.ts";
import { KNOWN_PATH, lookPath, SELF_PATH } from "./replicas/internal-wire.ts";
import { linksOfAll } from "./replicas/links-of-all.ts";
import { createMembership } from "./replicas/membership.ts";
import { createRawUpgrades } from "./replicas/raw-upgrade.ts";
import { createReplicaCredentials, secretPrintOf } from "./replicas/replica-credential.ts";
import { prismaReplicaStore, prismaTunnelPlaces } from "./replicas/replica-store.prisma.ts";
import type { Owner } from "./replicas/replica-store.ts";
import type { Elsewhere } from "./sessions/elsewhere.ts";
import type { SessionService } from "./sessions/session-service.ts";
import type { TunnelGateway } from "./tunnels/tunnel-gateway.ts";
import { version } from "./version.ts";
import type { HealthMonitor } from "./wolves/health-monitor.ts";

const LOOK_MS = 5000;
/** For another replica to say who it is, or who we are to it. */
const ASKED_MS = 3000;
/** After which a sandbox's own tunnel leads nowhere. */
const endings: ReadonlySet<string> = new Set(["session.stopped", "session.failed", "session.queued"]);

export interface HeldHere {
  gateway: Pick<TunnelGateway, "dropSandbox" | "links" | "wolf" | "countServed" | "moveSome" | "sendAllAway">;
  monitor: Pick<HealthMonitor, "replicasGone" | "findOvertaken">;
  sessions: Pick<SessionService, "replicasChanged" | "look" | "happened">;
}

/** `held`: once it is made. */
export function composeReplicas(
  { config, prisma, log, clock, draining, metrics }: Base,
  {
    replica,
    addresses,
    limits,
    exclusive,
  }: Pick<ReturnType<typeof composeAccess>, "replica" | "addresses" | "limits" | "exclusive">,
  feed: Pick<EventFeed, "add" | "remove">,
  held: () => HeldHere,
) {
  const { apiKeySecret, replicaUrl: url = null, replicaLeaseMs: leaseMs } = config;
  const found = prismaTunnelPlaces(prisma, replica);
  // Nobody would find what ends here.
  const places = url === null ? undefined : found;
  const credentials = createReplicaCredentials(apiKeySecret, replica);
  const forwarding = createForwarding({ credentials, clock });
  const store = prismaReplicaStore(prisma);
  const reap = async () => {
    const gone = await exclusive("reap", store.reap);
    return gone === "elsewhere" ? [] : gone;
  };
  const membership = createMembership({
    store: { ...store, reap },
    self: {
      id: replica,
      url,
      version,
      startedAt: clock.now(),
      secretPrint: secretPrintOf(apiKeySecret),
      steps: migrationNames(),
    },
    leaseMs,
    clock,
    log,
    draining,
    tunnels: () => held().gateway.countServed(),
    answers,
    saysGone,
    onFenced() {
      metrics.fenced();
      held().gateway.sendAllAway();
    },
    onCutOff: () => held().gateway.sendAllAway(),
    onGone: () => held().monitor.replicasGone(),
    onPeers() {
      held().sessions.replicasChanged();
      // What one replica does alone it knows.
      if (membership.peers.length > 0) feed.add(hear);
      else feed.remove(hear);
    },
  });
  const hear: EventListener = (events) => {
    const { gateway, sessions } = held();
    const sessionIds = new Set(events.flatMap(({ sessionId }) => sessionId ?? []));
    for (const { kind, sessionId } of events)
      if (sessionId !== null && endings.has(kind)) gateway.dropSandbox(sessionId);
    sessions.happened({ sessionIds, fleet: events.some(({ wolfId }) => wolfId !== null) });
  };
  const elsewhere: Elsewhere = {
    holds: ({ tunnelReplicaId, tunnelSince }) =>
      tunnelSince !== null && tunnelReplicaId !== null && membership.peer(tunnelReplicaId) !== undefined,
    look: (wolfId) => void askToLook(wolfId),
  };

  /** The status of its answer. */
  async function ask(owner: Owner, service: string, path: string): Promise<number> {
    const request = { service, method: "GET", path: "", deadlineMs: ASKED_MS };
    const { status, body } = await forwarding.ask(owner, path, request);
    for await (const _ of body);
    return status;
  }

  async function answers(owner: Owner): Promise<boolean> {
    try {
      return (await ask(owner, "self", SELF_PATH)) === 204;
    } catch (err) {
      log.info({ err, replica: owner.id }, "the replica that was at this URL is gone");
      return false;
    }
  }

  async function saysGone(peer: Owner): Promise<boolean> {
    try {
      return (await ask(peer, "known", KNOWN_PATH)) === 410;
    } catch (err) {
      log.debug({ err, replica: peer.id }, "another replica does not say whether this one lives");
      return false;
    }
  }

  /** A hint: whoever holds the wolf's tunnel compares it within a minute anyhow. */
  async function askToLook(wolfId: string): Promise<void> {
    if (membership.peers.length === 0) return;
    try {
      const owner = await found.findWolf(wolfId);
      if (owner === undefined) return;
      const request = { service: "look", method: "POST", path: "", deadlineMs: LOOK_MS };
      const { body } = await forwarding.ask(owner, lookPath(wolfId), request);
      for await (const _ of body);
    } catch (err) {
      log.debug({ err, wolf_id: wolfId }, "another replica was not asked to look");
    }
  }

  const calls = createCalls({
    places,
    find: found,
    membership,
    forwarding,
    upgrade: createRawUpgrades({ credentials, clock, addressOf: addresses.of }),
    addressOf: addresses.of,
    onStranger: limits.upgrade,
    clock,
    log,
    onForwarded: metrics.forwarded,
  });
  return {
    membership,
    elsewhere,
    calls,
    places,
    /** Who holds tunnels that are opened here, of how many that others could be opened at. */
    heldBy: (): HeldBy => ({ replica, of: membership.peers.length + 1 }),
    links: (gateway: Pick<TunnelGateway, "links" | "holdsWolf">) =>
      linksOfAll({
        local: gateway.links,
        alone: url === null,
        isHere: gateway.holdsWolf,
        membership,
        places: found,
        clock,
        forwarding,
        onForwarded: metrics.forwarded,
        hops: metrics.hops,
      }),
    door: (served: DoorOptions["calls"]) =>
      createDoor({
        calls: served,
        credentials,
        membership,
        draining,
        links: held().gateway.links,
        look: (wolfId) => held().sessions.look(wolfId),
        clock,
        log,
        onAsked: metrics.askedByReplica,
        hops: metrics.hops,
      }),
    /** Until it is cancelled. One that others cannot reach is not among those that share. */
    keepBalance: () =>
      keepBalance({
        self: replica,
        list: membership.list,
        tunnels: () => held().gateway.countServed(),
        move: (count) => held().gateway.moveSome(count, held().monitor.findOvertaken),
        everyMs: url === null ? 0 : config.replicaBalanceMs,
        clock,
        log,
      }),
    /** After the last request. */
    async stop() {
      await membership.stop();
      forwarding.close();
    },
  };
}
