/**
 * One control-plane process of the simulation: the production services, composed as compose.ts does, on a clock, a database and a
 * network that are not to be trusted.
 */

import { repeat } from "../../src/clock.ts";
import { createLogger, type Log } from "../../src/logger.ts";
import type { Lobbies, LobbyApi } from "../../src/sessions/lobbies.ts";
import { SessionService } from "../../src/sessions/session-service.ts";
import type { SessionStore } from "../../src/sessions/session-store.ts";
import { createTunnelGateway, type TunnelGateway } from "../../src/tunnels/tunnel-gateway.ts";
import { createDrains } from "../../src/wolves/drains.ts";
import { createHealthMonitor, type HealthMonitor } from "../../src/wolves/health-monitor.ts";
import { createWolfService, type WolfService } from "../../src/wolves/wolf-service.ts";
import type { WolfStore } from "../../src/wolves/wolf-store.ts";
import type { Dialled } from "./agent.ts";
import type { Database } from "./database.ts";
import type { Dice } from "./dice.ts";
import { type AgentSide, type Path, SimTunnel } from "./network.ts";
import { Process } from "./process.ts";
import { settings } from "./settings.ts";
import type { World } from "./world.ts";

export interface Stores {
  sessions: SessionStore;
  wolves: WolfStore;
}

export interface ReplicaOptions {
  world: World;
  dice: Dice;
  database: Database;
  stores: Stores;
  newId: (prefix: "ses") => string;
  aheadMs: number;
  name: string;
  alterLobbies: (api: LobbyApi) => LobbyApi;
  /** The services' own lines, for whoever looks at one seed. */
  onLog?: ((line: string) => void) | undefined;
}

const quiet = createLogger("silent");
/** Where simulated hosts have their GPU. */
const RENDER_NODE = "/dev/dri/renderD128";

function logOf(options: ReplicaOptions): Log {
  const { onLog, name } = options;
  return onLog === undefined
    ? quiet
    : createLogger("debug", { write: (line) => onLog(`[${name}] ${line.trimEnd()}`) });
}

export class Replica {
  readonly process: Process;
  readonly name: string;
  readonly sessions: SessionService;
  readonly wolves: WolfService;
  readonly monitor: HealthMonitor;
  readonly gateway: TunnelGateway;
  /** It has begun to listen. */
  ready = false;
  private readonly options: ReplicaOptions;
  private readonly wolfStore: WolfStore;
  private readonly tunnels = new Set<SimTunnel>();

  constructor(options: ReplicaOptions) {
    this.options = options;
    this.name = options.name;
    this.process = new Process(options.world, options.aheadMs);
    const { database, dice, newId, stores } = options;
    const { clock } = this.process;
    const log = logOf(options);
    const sessionStore = database.connect(stores.sessions, this.process);
    const wolfStore = database.connect(stores.wolves, this.process);
    this.wolfStore = wolfStore;
    const { random } = dice.fork();
    this.monitor = createHealthMonitor({
      store: wolfStore,
      clock,
      log,
      liveTunnels: () => this.gateway.liveWolves(),
      onOvertaken: (key) => this.gateway.sendAway(key),
      tunnelLostAfterMs: settings.tunnelLostAfterMs,
      restartGraceMs: settings.restartGraceMs,
      wolfStaleAfterMs: settings.wolfStaleAfterMs,
      intervalMs: settings.monitorIntervalMs,
      massLoss: settings.massLoss,
      overrideMs: settings.overrideMs,
      quarantine: settings.quarantine,
    });
    this.gateway = createTunnelGateway({
      store: wolfStore,
      clock,
      log,
      random,
      tunnelLost: this.monitor.tunnelLost,
      audit: { record: async () => undefined },
      revocations: { revokedSince: () => false },
      control: { serve: () => undefined },
    });
    let tokens = 0;
    this.sessions = new SessionService({
      ...settings,
      store: sessionStore,
      wolves: wolfStore,
      tunnels: this.gateway,
      lobbies: this.lobbies(),
      rttMsOf: (wolfId) => this.gateway.rttMsOf(wolfId),
      clock,
      log,
      random,
      newId,
      newToken: () => `${this.name}-${++tokens}`,
      renderNode: RENDER_NODE,
      onExpiring: async () => undefined,
    });
    this.wolves = createWolfService({
      store: wolfStore,
      clock,
      log,
      onRemoved: (wolfId) => this.gateway.revoke(wolfId),
      onChanged: (wolfId) => this.sessions.wolfChanged(wolfId),
      onDraining: (wolfId, deadline) => void this.sessions.announceDrain(wolfId, deadline),
    });
    this.monitor.onWolvesLost(() => void this.sessions.wolvesLost());
    const drains = createDrains({
      store: wolfStore,
      clock,
      log,
      evict: (wolfId) => this.sessions.evict(wolfId),
      onChanged: (wolfId) => this.sessions.wolfChanged(wolfId),
    });
    void this.monitor.start().then(() => {
      this.ready = true;
      options.world.note(`${this.name} serves`);
      repeat(clock, settings.reconcileIntervalMs, () =>
        this.sessions.reconcileAll(
          this.gateway.liveWolves().map(({ id }) => id),
          { forMs: settings.reconcileIntervalMs / 2, givesWayMs: 0, isLate: () => false },
        ),
      );
      repeat(clock, settings.tickMs, () => this.sessions.tick());
      repeat(clock, settings.tickMs, () => drains.tick());
    });
  }

  /** A live agent asks for a tunnel; what it hears comes by the path, if it comes. */
  async admit(wolfId: string, path: Path, agent: AgentSide, done: (dialled: Dialled) => void): Promise<void> {
    const { world } = this.options;
    const refuse = (retryAfterMs?: number) =>
      world.timeline.after(path.oneWayMs(), () => {
        if (path.isOpen("down"))
          done({ outcome: "refused", ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
      });
    if (!this.ready) return void refuse();
    const wolf = await this.wolfStore.get(wolfId).catch(() => undefined);
    const waitMs = this.gateway.takeoverWaitMs(wolfId);
    if (wolf === undefined || waitMs !== undefined) return void refuse(waitMs);
    const tunnel = new SimTunnel(world, path, this.process, agent);
    this.tunnels.add(tunnel);
    void tunnel.closed.then(() => this.tunnels.delete(tunnel));
    void this.gateway.acceptWolf(wolf, tunnel, {
      principal: { kind: "runner" },
      mark: 0,
      hosts: [],
      protocol: "revdial",
      requestId: "",
      address: undefined,
    });
    tunnel.offer(() => done({ outcome: "open", tunnel }));
  }

  /** `told`: the system of its host closes its connections; else the host has lost its power. */
  kill(told: boolean): void {
    if (!this.process.alive) return;
    this.options.world.note(`${this.name} is killed${told ? "" : ", its host is gone"}`);
    this.process.kill();
    for (const tunnel of [...this.tunnels]) tunnel.died("replica", told);
  }

  /** As SIGTERM does: resolves into the end of the process. */
  stop(): void {
    if (!this.process.alive) return;
    this.options.world.note(`${this.name} is told to end`);
    this.ready = false;
    this.process.enter(() => {
      this.sessions.close();
      void this.gateway.drain().then(() => {
        this.monitor.stop();
        this.sessions.end();
        this.options.world.note(`${this.name} has ended`);
        this.kill(true);
      });
    });
  }

  pause(): void {
    this.process.pause();
    for (const tunnel of [...this.tunnels]) tunnel.review();
  }

  resume(): void {
    this.process.resume();
    for (const tunnel of [...this.tunnels]) tunnel.review();
  }

  private lobbies(): Lobbies {
    return (wolfId) => {
      const tunnel = this.gateway.wolf(wolfId);
      if (!(tunnel instanceof SimTunnel)) return undefined;
      return this.options.alterLobbies({
        async listLobbies() {
          const reply = await tunnel.call({ kind: "list" }, settings.callTimeoutMs);
          return "lobbies" in reply ? reply.lobbies : [];
        },
        async createLobby(body) {
          const reply = await tunnel.call({ kind: "create", body }, settings.createTimeoutMs);
          return { lobby_id: "lobbyId" in reply ? reply.lobbyId : "" };
        },
        async stopLobby({ lobby_id: lobbyId, pin }) {
          await tunnel.call({ kind: "stop", lobbyId, pin }, settings.callTimeoutMs);
        },
      });
    };
  }
}
