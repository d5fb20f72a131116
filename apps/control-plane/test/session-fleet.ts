/** Sessions on real PostgreSQL with Wolfs that do as they are told, and time by hand. */
import { randomUUID } from "node:crypto";
import { CreateSessionRequest, type SessionStatus } from "@wolfpack/api-contract";
import { type CreateLobbyRequest, type Lobby, WolfApiError } from "@wolfpack/wolf-api";
import type { UserPrincipal } from "../src/identity/principal.ts";
import { newId } from "../src/ids.ts";
import { createLogger } from "../src/logger.ts";
import type { LobbyApi } from "../src/sessions/lobbies.ts";
import { SessionService } from "../src/sessions/session-service.ts";
import { prismaSessionStore } from "../src/sessions/session-store.prisma.ts";
import type { Session, SessionStore } from "../src/sessions/session-store.ts";
import { sessionOf } from "../src/sessions/session-tag.ts";
import type { Tunnels } from "../src/tunnels/tunnels.ts";
import { prismaWolfStore } from "../src/wolves/wolf-store.prisma.ts";
import type { WolfReport, WolfStore } from "../src/wolves/wolf-store.ts";
import { sessionSettings } from "./a-session.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { eventually } from "./host.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";

/** A Wolf whose lobbies are an array. */
export class ToldWolf implements LobbyApi {
  readonly lobbies: Lobby[] = [];
  readonly created: CreateLobbyRequest[] = [];
  readonly stopped: { lobby_id: string; pin?: number[] | undefined }[] = [];
  /** What the next creations do instead; the default makes a lobby. */
  onCreate: ((make: () => { lobby_id: string }) => Promise<{ lobby_id: string }>) | undefined;
  /** It answers nothing. */
  isSilent = false;

  async listLobbies(): Promise<Lobby[]> {
    this.speak();
    return structuredClone(this.lobbies);
  }

  async createLobby(request: CreateLobbyRequest): Promise<{ lobby_id: string }> {
    this.speak();
    this.created.push(request);
    const make = () => {
      const { name, runner, pin } = request;
      const lobby = {
        id: randomUUID(),
        name,
        runner,
        connected_sessions: [],
        pin_required: pin !== undefined,
      };
      this.lobbies.push(lobby);
      return { lobby_id: lobby.id };
    };
    return this.onCreate?.(make) ?? make();
  }

  async stopLobby(request: { lobby_id: string; pin?: number[] | undefined }): Promise<void> {
    this.speak();
    this.stopped.push(request);
    const at = this.lobbies.findIndex(({ id }) => id === request.lobby_id);
    if (at < 0) throw refused("Invalid lobby ID");
    this.lobbies.splice(at, 1);
  }

  tags(): (string | undefined)[] {
    return this.lobbies.map(sessionOf);
  }

  private speak(): void {
    if (this.isSilent) throw new WolfApiError("WOLF_TIMEOUT", "no answer", { mayHaveRun: true });
  }
}

export const refused = (wolfMessage: string) =>
  new WolfApiError("WOLF_REFUSED", `Wolf refused: ${wolfMessage}`, { mayHaveRun: true, wolfMessage });

export interface SessionFleet {
  database: TestDatabase;
  store: SessionStore;
  wolves: WolfStore;
  clock: ManualClock;
  service: SessionService;
  expiring: string[];
  lines: string[];
  user(name: string, role?: UserPrincipal["role"]): Promise<UserPrincipal>;
  /** Registered, connected and compared. */
  wolf(name: string, report?: Partial<WolfReport>): Promise<{ id: string; told: ToldWolf }>;
  /** Its tunnel is gone, and its grace too. */
  lose(wolfId: string): Promise<void>;
  /** Its tunnel is back. */
  connect(wolfId: string): Promise<void>;
  create(user: UserPrincipal, request?: Partial<CreateSessionRequest>, createKey?: string): Promise<Session>;
  becomes(id: string, status: SessionStatus): Promise<Session>;
  /** Created, and its lobby has settled. */
  running(user: UserPrincipal, request?: Partial<CreateSessionRequest>): Promise<Session>;
  claims(wolfId: string): Promise<{ slots: number; vramMb: number; encoderSessions: number }>;
  /** Another process on the same database, with the same tunnels; the one before stops. */
  restart(): void;
  close(): Promise<void>;
}

export async function sessionFleet(
  overrides: Parameters<typeof sessionSettings>[0] = {},
): Promise<SessionFleet> {
  const database = await testDatabase();
  const [store, wolves] = [prismaSessionStore(database.prisma), prismaWolfStore(database.prisma)];
  const clock = manualClock();
  const told = new Map<string, ToldWolf>();
  const epochs = new Map<string, number>();
  const connected: ((wolfId: string) => void)[] = [];
  const lostTunnel: ((wolfId: string) => void)[] = [];
  const tunnels: Tunnels = {
    wolf: (id) => (epochs.has(id) ? ({} as ReturnType<Tunnels["wolf"]>) : undefined),
    wolfEpoch: (id) => epochs.get(id),
    sandbox: () => undefined,
    moonlight: () => undefined,
    dropSandbox: () => undefined,
    onWolfConnected: (listener) => void connected.push(listener),
    onWolfTunnelLost: (listener) => void lostTunnel.push(listener),
    onWolfEvent: () => undefined,
    onWolfRelist: () => undefined,
  };
  const settings = sessionSettings({ settleMs: 1000, strayGraceMs: 5000, ...overrides });
  const aService = () =>
    new SessionService({
      store,
      wolves,
      tunnels,
      lobbies: (id) => (epochs.has(id) ? told.get(id) : undefined),
      rttMsOf: () => undefined,
      clock,
      log: createLogger("trace", { write: (line) => void fleet.lines.push(line) }),
      random: () => 0,
      newId,
      newToken: randomUUID,
      onExpiring: async ({ id }, reason) => void fleet.expiring.push(`${id} ${reason}`),
      ...settings,
    });

  async function connect(wolfId: string): Promise<void> {
    const opened = await wolves.openTunnel(wolfId, clock.now());
    if (opened === undefined) throw new Error("no such wolf");
    epochs.set(wolfId, opened.epoch);
    for (const listener of connected) listener(wolfId);
    await eventually(
      () => wolves.get(wolfId),
      (wolf) => wolf?.reconciledEpoch === opened.epoch,
    );
  }

  const fleet: SessionFleet = {
    database,
    store,
    wolves,
    clock,
    service: undefined as unknown as SessionService,
    expiring: [],
    lines: [],
    connect,

    async user(name, role = "user") {
      const userId = newId("usr");
      await database.prisma.user.create({ data: { id: userId, name, role, created_at: clock.now() } });
      return { kind: "user", userId, role, scopes: null, credentialId: newId("key") };
    },

    async wolf(name, report = {}) {
      const { id } = await wolves.register(
        {
          id: newId("wlf"),
          name,
          address: "",
          gpuType: "nvidia",
          maxSandboxes: 2,
          labels: {},
          region: null,
          costPerHour: null,
          agentVersion: null,
          encoderSessionsMax: null,
          ...report,
        },
        clock.now(),
      );
      const one = new ToldWolf();
      told.set(id, one);
      await connect(id);
      return { id, told: one };
    },

    async lose(wolfId) {
      const epoch = epochs.get(wolfId) ?? 0;
      epochs.delete(wolfId);
      await wolves.loseTunnel(wolfId, epoch, settings.quarantine, clock.now());
      for (const listener of lostTunnel) listener(wolfId);
      await wolves.markLost(wolfId, epoch, clock.now());
      await fleet.service.wolvesLost();
    },

    async create(user, request = {}, createKey) {
      let isOver = false;
      const wish = CreateSessionRequest.parse({ wait_seconds: 0, ...request });
      const creation = fleet.service.create(user, wish, createKey ?? null).finally(() => {
        isOver = true;
      });
      creation.catch(() => undefined);
      await eventually(
        () => {
          clock.advance(0);
          return isOver;
        },
        (over) => over,
      );
      return creation;
    },

    async becomes(id, status) {
      const session = await eventually(
        () => store.get(id),
        (now) => now?.status === status,
      );
      if (session === undefined) throw new Error("no such session");
      return session;
    },

    async running(user, request) {
      const { id } = await fleet.create(user, request);
      const { wolfId } = await fleet.becomes(id, "starting");
      clock.advance(settings.settleMs);
      await fleet.service.reconcileAll([wolfId ?? ""]);
      return fleet.becomes(id, "running");
    },

    async claims(wolfId) {
      const wolf = await wolves.get(wolfId);
      return {
        slots: wolf?.connectedSandboxes ?? -1,
        vramMb: wolf?.vramMb.claimed ?? -1,
        encoderSessions: wolf?.encoderSessions.claimed ?? -1,
      };
    },

    restart() {
      fleet.service.close();
      fleet.service.end();
      connected.length = 0;
      lostTunnel.length = 0;
      fleet.service = aService();
    },

    async close() {
      fleet.service.close();
      fleet.service.end();
      await database.drop();
    },
  };
  fleet.service = aService();
  return fleet;
}
