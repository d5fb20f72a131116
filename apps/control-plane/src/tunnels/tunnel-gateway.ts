/**
 * Every tunnel of this replica, whatever carries it, from its acceptance to its end: epochs, replacement, who is told. Nothing a peer
 * does leaves this file as an exception.
 */
import { randomUUID } from "node:crypto";
import type { Tunnel, TunnelEnd } from "revdial";
import { pause } from "../clock.ts";
import type { AuditEntry } from "../identity/audit.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import { agentNotices } from "./agent-notices.ts";
import { createFurtherConnections, furtherKey, noFurtherPlaces } from "./further-connections.ts";
import type { TunnelGateway, TunnelGatewayOptions } from "./gateway-face.ts";
import { createGrace, mayComeBack } from "./helix/grace.ts";
import { inOrder } from "./in-order.ts";
import { moveAway, moveSome } from "./moving.ts";
import { clockOffsetOf, type Opener, objectIdsOf, originOf } from "./opener.ts";
import { takeoverLimit } from "./takeovers.ts";
import { type LiveTunnel, TunnelRegistry } from "./tunnel-registry.ts";
import type { Tunnels } from "./tunnels.ts";
import { type Listeners, WolfSink } from "./wolf-sink.ts";

export type { TunnelGateway, TunnelGatewayOptions } from "./gateway-face.ts";

/** Of the moonlight-web beside a wolf, among everything that tunnels lead to. */
export const moonlightKey = (wolfId: string): string => `moonlight ${wolfId}`;

/** Agents told to go away come back spread over this time. */
const RETRY_MIN_MS = 100;
const RETRY_SPREAD_MS = 2000;
const DRAIN_MS = 10_000;
/** An agent that has other tunnels has its first one again within. */
const REOPEN_MS = 2000;
/** A tunnel whose agent moves to another connection: longer than the creation of a sandbox, the slowest request, takes. */
const REPLACED_DRAIN_MS = 120_000;

export function createTunnelGateway(options: TunnelGatewayOptions): TunnelGateway {
  const { store, clock, log, random, tunnelLost, audit, control } = options;
  const wolves = new TunnelRegistry();
  const sandboxes = new TunnelRegistry();
  const moonlights = new TunnelRegistry();
  const further = createFurtherConnections({ places: options.furtherPlaces ?? noFurtherPlaces, clock, log });
  const isOfHelix = ({ transport }: Pick<Tunnel, "transport">) => transport.startsWith("helix");
  const canMove = (tunnel: Tunnel) => !tunnel.draining && !isOfHelix(tunnel);
  const wolfGrace = createGrace({ clock, isOfHelix, live: (id) => wolves.dial(id) });
  const sandboxGrace = createGrace({ clock, isOfHelix, live: (id) => sandboxes.dial(id) });
  const connected: ((wolfId: string) => void)[] = [];
  const lost: ((wolfId: string) => void)[] = [];
  const events: Parameters<Tunnels["onWolfEvent"]>[0][] = [];
  const relists: ((wolfId: string) => void)[] = [];
  /** What is still to be done after tunnels that end. */
  const endings = new Set<Promise<void>>();
  /**
   * From their acceptance to their end, with what each stands and falls with: those that have not said HELLO, live ones, and those
   * replaced and still busy.
   */
  const all = new Map<Tunnel, readonly string[]>();
  const takeovers = takeoverLimit({
    clock,
    ...(options.takeoversMax === undefined ? {} : { takeoversMax: options.takeoversMax }),
    onStorm(object) {
      log.error({ object }, "agents take over from each other: is one identity used twice?");
      const alarm = { action: "agent.takeover", result: "denied", code: "rate-limited" } as const;
      record({ principal: "system", ...alarm, object, requestId: randomUUID() });
    },
  });
  /** Told so already: on the replica that revokes, a revocation is heard of twice. */
  const revoked = new WeakSet<Tunnel>();
  /** Their end is our doing, and no flap of the wolf's. */
  const sentAway = new WeakSet<Tunnel>();
  /** Wolves whose next epoch is being issued. */
  const opening = new Map<string, number>();
  let serviceEpoch = 0;
  let draining = false;

  /** A listener's mistake is its own. */
  function tell<Args extends unknown[]>(
    listeners: readonly ((...args: Args) => void)[],
    ...args: Args
  ): void {
    for (const listener of listeners) {
      try {
        listener(...args);
      } catch (err) {
        log.error({ err }, "a listener of tunnels failed");
      }
    }
  }

  function goAway(tunnel: Tunnel, reason = "the replica shuts down", drainMs = DRAIN_MS): Promise<unknown> {
    sentAway.add(tunnel);
    return tunnel.close({
      drainMs,
      retryAfterMs: RETRY_MIN_MS + Math.floor(random() * RETRY_SPREAD_MS),
      reason,
    });
  }

  /** For what is in flight through a tunnel in whose place there is another. */
  const replacedDrainMs = () => (draining ? DRAIN_MS : REPLACED_DRAIN_MS);

  const listeners: Listeners = {
    store,
    clock,
    isLive: ({ wolfId, epoch }) => wolves.get(wolfId)?.epoch === epoch,
    event: (from, event) => tell(events, from, event),
    relist: ({ wolfId }) => tell(relists, wolfId),
  };

  /** False when a newer tunnel of the same key has overtaken this one; an older one is told to end. */
  function enter(registry: TunnelRegistry, key: string, entry: LiveTunnel): boolean {
    const replaced = registry.register(key, entry);
    const older = replaced === false ? entry.tunnel : replaced?.tunnel;
    void older?.close({ code: "REPLACED", reason: "replaced", drainMs: replacedDrainMs() });
    return replaced !== false;
  }

  const ordered = inOrder();
  /** A removal never overtakes what it removes. A place that is not written is one that others do not find. */
  function placed(key: string, change: "put" | "remove"): void {
    const { places } = options;
    if (places === undefined) return;
    ordered(key, () => places[change](key)).catch((err: unknown) =>
      log.warn({ err, key, change }, "the place of a tunnel was not written"),
    );
  }

  /** A tunnel does not wait for its event, nor end for want of it. */
  function record(entry: AuditEntry): void {
    audit.record(entry).catch((err: unknown) => log.error({ err, ...entry }, "event not written"));
  }

  function tookOver(wolfId: string, opener: Opener, now: LiveTunnel, before: LiveTunnel): void {
    const { principal, requestId, address } = opener;
    const bootOf = ({ tunnel }: LiveTunnel) => tunnel.peer?.incarnation || undefined;
    const boot = bootOf(now);
    record({
      principal,
      action: "agent.takeover",
      object: wolfId,
      result: "allowed",
      requestId,
      address,
      // A process that moves to another connection; or so it says.
      detail: {
        epoch: now.epoch,
        replaced: before.epoch,
        same_process: boot !== undefined && boot === bootOf(before),
      },
    });
  }

  /** False: what it was opened with was revoked while it opened. */
  function keep(tunnel: Tunnel, { principal, mark }: Opener, wolfId?: string): boolean {
    const objectIds = objectIdsOf(principal, wolfId);
    if (options.revocations.revokedSince(mark, objectIds)) {
      end(tunnel, 0);
      return false;
    }
    all.set(tunnel, objectIds);
    const expiresAt =
      principal.kind === "user" || principal.kind === "agent" ? principal.expiresAt : undefined;
    const expiry =
      expiresAt &&
      clock.setTimer(expiresAt.getTime() - clock.now().getTime(), () => end(tunnel, REPLACED_DRAIN_MS));
    void tunnel.closed.then((end) => {
      expiry?.cancel();
      all.delete(tunnel);
      options.onTunnelEnd?.(end);
    });
    return true;
  }

  /** Tells the peer that with the same it need not come back. */
  function end(tunnel: Tunnel, drainMs: number): void {
    const reason = "what it was opened with is no longer valid";
    // One that was told to go takes its time, and hears no second word.
    if (tunnel.draining && drainMs === 0) tunnel.destroy(new Error(reason));
    else void tunnel.close({ code: "REVOKED", reason, drainMs });
  }

  function isOpened(wolfId: string): void {
    const others = (opening.get(wolfId) ?? 1) - 1;
    if (others === 0) opening.delete(wolfId);
    else opening.set(wolfId, others);
  }

  const isContested = (key: string) =>
    opening.has(key) ||
    [wolves, sandboxes, moonlights, further.registry].some((live) => live.dial(key) !== undefined);

  /** False, and the tunnel is over: it would take over too soon again. */
  function takesOver(key: string, tunnel: Tunnel): boolean {
    const waitMs = isContested(key) ? takeovers.take(key) : undefined;
    if (waitMs === undefined) return true;
    const reason = "agents take over from each other";
    void tunnel.close({ retryAfterMs: waitMs, drainMs: 0, reason });
    return false;
  }

  function atEnd(tunnel: Tunnel, run: (end: Awaited<Tunnel["closed"]>) => unknown): void {
    const ending: Promise<void> = tunnel.closed
      .then(run)
      .catch((err: unknown) => log.error({ err }, "the end of a tunnel was not handled"))
      .then(() => void endings.delete(ending));
    endings.add(ending);
  }

  /**
   * The epoch; undefined when the tunnel cannot be used. None for a path that carries one way only: it would replace a
   * tunnel that works.
   */
  async function open(wolf: Wolf, tunnel: Tunnel, opener: Opener): Promise<Wolf | undefined> {
    try {
      await tunnel.reached;
      if (!takesOver(wolf.id, tunnel)) return undefined;
      opening.set(wolf.id, (opening.get(wolf.id) ?? 0) + 1);
      const opened = await store
        // A database that was restored under us has forgotten epochs that were issued: the newest tunnel has the highest all the same.
        .openTunnel(wolf.id, clock.now(), originOf(opener), {
          after: wolves.get(wolf.id)?.epoch,
          incarnation: tunnel.peer?.incarnation,
          clockOffsetMs: clockOffsetOf(opener),
        })
        .finally(() => isOpened(wolf.id));
      if (opened === undefined) tunnel.destroy(new Error("the wolf was removed"));
      return opened;
    } catch (err) {
      log.warn({ err, wolf_id: wolf.id }, "tunnel not accepted");
      tunnel.destroy(new Error("the tunnel could not be accepted"));
      return undefined;
    }
  }

  /** Of a sandbox or a service beside a wolf: epochs are counted here. False when it is none (any more). */
  async function acceptService(
    registry: TunnelRegistry,
    key: string,
    tunnel: Tunnel,
    { about, what, onEnd }: { about: object; what: string; onEnd?: (end: TunnelEnd) => void },
  ): Promise<boolean> {
    serviceEpoch += 1;
    const epoch = serviceEpoch;
    try {
      await tunnel.reached;
    } catch (err) {
      log.info({ err, ...about }, `${what} tunnel not accepted`);
      return false;
    }
    if (!takesOver(key, tunnel) || !enter(registry, key, { tunnel, epoch })) return false;
    atEnd(tunnel, (end) => {
      if (registry.remove(key, epoch)) onEnd?.(end);
    });
    log.info({ ...about, epoch, transport: tunnel.transport }, `${what} tunnel up`);
    if (draining) void goAway(tunnel);
    // One that ended meanwhile is removed again before the next line runs.
    await Promise.resolve();
    return registry.get(key)?.tunnel === tunnel;
  }

  return {
    links: { wolf: (id) => further.link(id, wolfGrace.link(id)), sandbox: sandboxGrace.link },
    wolf: (wolfId) => wolves.dial(wolfId),
    holdsWolf: (wolfId) => wolves.dial(wolfId) !== undefined || further.of(wolfId).length > 0,
    wolfEpoch: (wolfId) => wolves.get(wolfId)?.epoch,
    sandbox: (sessionId) => sandboxes.dial(sessionId),
    takeoverWaitMs: (key) => (isContested(key) ? takeovers.waitMs(key) : undefined),
    moonlight: (wolfId) => moonlights.dial(moonlightKey(wolfId)),
    dropSandbox(sessionId) {
      sandboxGrace.end(sessionId);
      const reason = "the session has ended";
      void sandboxes.get(sessionId)?.tunnel.close({ code: "REVOKED", reason, drainMs: 0 });
    },
    onWolfConnected: (listener) => void connected.push(listener),
    onWolfTunnelLost: (listener) => void lost.push(listener),
    onWolfEvent: (listener) => void events.push(listener),
    onWolfRelist: (listener) => void relists.push(listener),
    rttMsOf: (wolfId) => wolves.get(wolfId)?.tunnel.rttMs,
    liveWolves: () => wolves.list().map(([id, { epoch, tunnel }]) => ({ id, epoch, rttMs: tunnel.rttMs })),
    countServed: () => wolves.list().filter(([, { tunnel }]) => !tunnel.draining).length,
    countOpening: () => [...opening.values()].reduce((sum, count) => sum + count, 0),

    async acceptWolf(wolf, tunnel, opener) {
      if (!keep(tunnel, opener, wolf.id)) return;
      const notices = agentNotices({ wolfId: wolf.id, clock, log, renderNode: options.renderNode });
      tunnel.onNotice((type, payload) => notices.hear(type, payload));
      atEnd(tunnel, () => notices.close());
      const opened = await open(wolf, tunnel, opener);
      if (opened === undefined) return;
      const { id, epoch, name } = opened;
      const before = wolves.get(id);
      const isTakeover = before !== undefined && !before.tunnel.draining;
      if (!enter(wolves, id, { tunnel, epoch })) return;
      if (isTakeover) tookOver(id, opener, { tunnel, epoch }, before);
      atEnd(tunnel, async (end) => {
        if (!wolves.remove(id, epoch)) return;
        if (mayComeBack(end, opener)) wolfGrace.begin(id);
        log.info({ wolf_id: id, epoch, code: end.code, reason: end.reason }, "tunnel down");
        // Its agent opens it again at once, and is reached meanwhile.
        if (!draining && (await further.lives(id))) await pause(clock, REOPEN_MS);
        await tunnelLost(id, epoch, { sentAway: draining || sentAway.has(tunnel) });
        tell(lost, id);
      });
      // One that ended while its epoch was issued is removed again before the next line runs.
      await Promise.resolve();
      if (wolves.get(id)?.tunnel !== tunnel) return;
      const { transport, peer } = tunnel;
      const incarnation = peer?.incarnation ?? 0n;
      notices.open(new WolfSink({ wolfId: id, epoch, incarnation }, listeners), opened.healthReasons);
      if (opener.principal.kind === "agent") control.serve(tunnel, opener.principal, opener);
      const { protocol } = opener;
      log.info({ wolf_id: id, name, epoch, protocol, transport, agent: peer?.agent }, "tunnel up");
      wolfGrace.arrived(id, tunnel);
      tell(connected, id);
      if (draining) void goAway(tunnel);
    },

    async acceptFurther({ wolfId, connection }, tunnel, opener) {
      if (!keep(tunnel, opener, wolfId)) return;
      const about = { wolf_id: wolfId, connection };
      try {
        await tunnel.reached;
        const held = { wolfId, connection, incarnation: tunnel.peer?.incarnation ?? 0n };
        void tunnel.closed.then(() => further.left(held));
        if (!(await further.admit(held, tunnel)))
          return log.info(about, "a further tunnel of another agent is sent away");
      } catch (err) {
        log.info({ err, ...about }, "further tunnel not accepted");
        return tunnel.destroy(new Error("the tunnel could not be accepted"));
      }
      const key = furtherKey({ wolfId, connection });
      await acceptService(further.registry, key, tunnel, { about, what: "further" });
    },

    async acceptSandbox(sessionId, tunnel, opener) {
      if (!keep(tunnel, opener)) return;
      const isLive = await acceptService(sandboxes, sessionId, tunnel, {
        about: { session_id: sessionId, protocol: opener.protocol },
        what: "sandbox",
        onEnd(end) {
          if (mayComeBack(end, opener)) sandboxGrace.begin(sessionId);
          placed(sessionId, "remove");
        },
      });
      if (!isLive) return;
      placed(sessionId, "put");
      sandboxGrace.arrived(sessionId, tunnel);
    },

    async acceptMoonlight({ id, name }, tunnel, opener) {
      if (!keep(tunnel, opener, id)) return;
      const about = { wolf_id: id, name, protocol: opener.protocol };
      await acceptService(moonlights, moonlightKey(id), tunnel, { about, what: "moonlight" });
    },

    revoke(objectId) {
      wolfGrace.end(objectId);
      for (const [tunnel, objectIds] of all) {
        if (!objectIds.includes(objectId) || revoked.has(tunnel)) continue;
        revoked.add(tunnel);
        end(tunnel, 0);
      }
    },

    sendAway({ id, epoch }) {
      const live = wolves.get(id);
      const reason = "a newer tunnel of this wolf was opened elsewhere";
      if (live?.epoch === epoch) void goAway(live.tunnel, reason, replacedDrainMs());
    },

    sendAllAway() {
      for (const tunnel of all.keys()) void goAway(tunnel, "the replica was taken for gone");
    },

    moveAway(sendOvertaken) {
      const live = [wolves, further.registry, sandboxes]
        .flatMap((registry) => registry.list())
        .map(([, { tunnel }]) => tunnel);
      const tunnels = live.filter(canMove);
      const sendAll = async () => void (await Promise.all([sendOvertaken(), further.look()]));
      return moveAway({ tunnels, sendOvertaken: sendAll, clock, log, random });
    },

    moveSome: (count, sendOvertaken) =>
      moveSome({ wolves, count, canMove, sendOvertaken, clock, log, random }),

    async drain() {
      draining = true;
      wolfGrace.close();
      sandboxGrace.close();
      further.close();
      const late = clock.setTimer(DRAIN_MS, () => {
        for (const tunnel of all.keys()) tunnel.destroy(new Error("the replica shuts down"));
      });
      await Promise.all([...all.keys()].map((tunnel) => goAway(tunnel)));
      await Promise.all(endings);
      late.cancel();
    },
  };
}
