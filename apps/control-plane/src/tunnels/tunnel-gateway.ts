/**
 * Every tunnel of this replica, from the accepted WebSocket to its end: epochs, replacement, what agents say in notices,
 * and who is told. Nothing a peer sends leaves this file as an exception.
 */
import { AgentHeartbeat, AgentInventory, AgentWolfEvent, agentNoticeTypes } from "@wolfpack/api-contract";
import type { Tunnel } from "revdial";
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { HealthMonitor } from "../wolves/health-monitor.ts";
import { healthOf } from "../wolves/wolf-lifecycle.ts";
import { reportOf } from "../wolves/wolf-service.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import { TunnelRegistry } from "./tunnel-registry.ts";

/** What the rest of the program may do with tunnels. */
export interface Tunnels {
  /** The live tunnel of a wolf. */
  wolf(wolfId: string): Tunnel | undefined;
  /** The live tunnel of a session's own sandbox. */
  sandbox(sessionId: string): Tunnel | undefined;
  onWolfConnected(listener: (wolfId: string) => void): void;
  onWolfTunnelLost(listener: (wolfId: string) => void): void;
  onWolfEvent(listener: (wolfId: string, event: AgentWolfEvent) => void): void;
}

export interface TunnelGateway extends Tunnels {
  acceptWolf(wolf: Wolf, tunnel: Tunnel): Promise<void>;
  acceptSandbox(sessionId: string, tunnel: Tunnel): Promise<void>;
  liveWolves(): { id: string; epoch: number }[];
  rttMsOf(wolfId: string): number | undefined;
  /** Ends a wolf's tunnel: the wolf was removed. */
  drop(wolfId: string): void;
  /** GOAWAY to all, each told to come back at another moment; resolves when all have ended. */
  drain(): Promise<void>;
}

export interface TunnelGatewayOptions {
  store: WolfStore;
  clock: Clock;
  log: Log;
  random: () => number;
  /** Told of every tunnel that is gone. */
  tunnelLost: HealthMonitor["tunnelLost"];
}

/** Agents told to go away come back spread over this time. */
const RETRY_SPREAD_MS = 2000;
const DRAIN_MS = 10_000;
/** Notices that may arrive before the epoch is known. */
const EARLY_NOTICES_MAX = 16;

export function createTunnelGateway({
  store,
  clock,
  log,
  random,
  tunnelLost,
}: TunnelGatewayOptions): TunnelGateway {
  const wolves = new TunnelRegistry();
  const sandboxes = new TunnelRegistry();
  const connected: ((wolfId: string) => void)[] = [];
  const lost: ((wolfId: string) => void)[] = [];
  const events: ((wolfId: string, event: AgentWolfEvent) => void)[] = [];
  let sandboxEpoch = 0;
  let draining = false;

  function goAway(tunnel: Tunnel): Promise<unknown> {
    return tunnel.close({
      drainMs: DRAIN_MS,
      retryAfterMs: 100 + Math.floor(random() * RETRY_SPREAD_MS),
      reason: "the replica shuts down",
    });
  }

  /** Notices come as bytes of somebody else: whatever does not fit is counted in the log and dropped. */
  function notice(wolfId: string, epoch: number, type: string, payload: Uint8Array): void {
    const dropped = (why: string) =>
      log.warn({ wolf_id: wolfId, type: type.slice(0, 32), why }, "notice dropped");
    let json: unknown;
    try {
      json = JSON.parse(Buffer.from(payload).toString("utf8"));
    } catch {
      return dropped("not JSON");
    }
    const written = (promise: Promise<unknown>) =>
      void promise.catch((err: unknown) => log.warn({ err, wolf_id: wolfId }, "notice not written"));
    if (type === agentNoticeTypes.heartbeat) {
      const beat = AgentHeartbeat.safeParse(json);
      if (!beat.success) return dropped("not a heartbeat");
      const { health, reasons } = healthOf(beat.data.wolf, beat.data.detail);
      return changedHealth(wolfId, epoch, health, reasons, written);
    }
    if (type === agentNoticeTypes.inventory) {
      const inventory = AgentInventory.safeParse(json);
      if (!inventory.success) return dropped("not an inventory");
      return written(store.changeReport(wolfId, epoch, reportOf(inventory.data), clock.now()));
    }
    if (type === agentNoticeTypes.wolfEvent) {
      const event = AgentWolfEvent.safeParse(json);
      if (!event.success) return dropped("not a Wolf event");
      for (const listener of events) listener(wolfId, event.data);
      return;
    }
    dropped("unknown type");
  }

  /** Health is written when it changes, not with every beat. */
  const healthText = new Map<string, string>();
  function changedHealth(
    wolfId: string,
    epoch: number,
    health: Wolf["health"],
    reasons: string[],
    written: (promise: Promise<unknown>) => void,
  ): void {
    const text = `${epoch} ${health} ${reasons.join("; ")}`;
    if (healthText.get(wolfId) === text) return;
    healthText.set(wolfId, text);
    written(
      store.changeHealth(wolfId, epoch, health, reasons, clock.now()).catch((err: unknown) => {
        healthText.delete(wolfId);
        throw err;
      }),
    );
  }

  return {
    wolf: (wolfId) => wolves.dial(wolfId),
    sandbox: (sessionId) => sandboxes.dial(sessionId),
    onWolfConnected: (listener) => void connected.push(listener),
    onWolfTunnelLost: (listener) => void lost.push(listener),
    onWolfEvent: (listener) => void events.push(listener),
    rttMsOf: (wolfId) => wolves.get(wolfId)?.tunnel.rttMs,
    liveWolves: () => wolves.list().map(([id, { epoch }]) => ({ id, epoch })),

    async acceptWolf(wolf, tunnel) {
      const early: [string, Uint8Array][] = [];
      let hear = (type: string, payload: Uint8Array): void => {
        if (early.length < EARLY_NOTICES_MAX) early.push([type, payload]);
      };
      tunnel.onNotice((type, payload) => hear(type, payload));
      let opened: Wolf | undefined;
      try {
        await tunnel.ready;
        opened = await store.openTunnel(wolf.id, clock.now());
      } catch (err) {
        log.warn({ err, wolf_id: wolf.id }, "tunnel not accepted");
        tunnel.destroy(new Error("the tunnel could not be accepted"));
        return;
      }
      if (opened === undefined) {
        tunnel.destroy(new Error("the wolf was removed"));
        return;
      }
      const { id, epoch } = opened;
      const replaced = wolves.register(id, { tunnel, epoch, since: clock.now() });
      if (replaced === false) {
        // A newer tunnel of this wolf overtook us between the statement and here.
        void tunnel.close({ code: "REPLACED", reason: "replaced", drainMs: DRAIN_MS });
        return;
      }
      if (replaced) void replaced.tunnel.close({ code: "REPLACED", reason: "replaced", drainMs: DRAIN_MS });
      hear = (type, payload) => notice(id, epoch, type, payload);
      for (const [type, payload] of early) notice(id, epoch, type, payload);
      log.info(
        { wolf_id: id, name: opened.name, epoch, agent: tunnel.peer?.agent, replaced: Boolean(replaced) },
        "tunnel up",
      );
      void tunnel.closed.then(async (end) => {
        hear = () => undefined;
        if (!wolves.remove(id, epoch)) return;
        healthText.delete(id);
        log.info({ wolf_id: id, epoch, code: end.code, reason: end.reason }, "tunnel down");
        await tunnelLost(id, epoch);
        for (const listener of lost) listener(id);
      });
      for (const listener of connected) listener(id);
      if (draining) void goAway(tunnel);
    },

    async acceptSandbox(sessionId, tunnel) {
      sandboxEpoch += 1;
      const epoch = sandboxEpoch;
      try {
        await tunnel.ready;
      } catch (err) {
        log.info({ err, session_id: sessionId }, "sandbox tunnel not accepted");
        return;
      }
      const replaced = sandboxes.register(sessionId, { tunnel, epoch, since: clock.now() });
      if (replaced === false) {
        void tunnel.close({ code: "REPLACED", reason: "replaced", drainMs: DRAIN_MS });
        return;
      }
      if (replaced) void replaced.tunnel.close({ code: "REPLACED", reason: "replaced", drainMs: DRAIN_MS });
      log.info({ session_id: sessionId, epoch }, "sandbox tunnel up");
      void tunnel.closed.then(() => sandboxes.remove(sessionId, epoch));
      if (draining) void goAway(tunnel);
    },

    drop(wolfId) {
      wolves.get(wolfId)?.tunnel.destroy(new Error("the wolf was removed"));
    },

    async drain() {
      draining = true;
      await Promise.all([...wolves.list(), ...sandboxes.list()].map(([, { tunnel }]) => goAway(tunnel)));
    },
  };
}
