/** What Wolf knows: lobbies with their containers, Moonlight sessions, apps, profiles, clients; and the events it tells of them. */
import { randomUUID } from "node:crypto";
import { wolfEventPrefix } from "../events.ts";
import { defaultApps, defaultClients, defaultPairRequests, defaultProfiles } from "./defaults.ts";
import type { Runner } from "./shapes.ts";

export interface CreateLobby {
  profile_id: string;
  name: string;
  multi_user: boolean;
  stop_when_everyone_leaves: boolean;
  video_settings: { width: number; height: number; refresh_rate: number };
  audio_settings: object;
  runner_state_folder: string;
  runner: Runner;
  icon_png_path?: string;
  pin?: number[];
  client_settings?: object;
}

export interface EmulatedLobby {
  id: string;
  state: "starting" | "running";
  request: CreateLobby;
  connected: string[];
  containerId: string;
}

/** A container that starts and stops: the emulator's stand-in for Docker and what runs inside. */
export interface Sandboxes {
  start(lobby: EmulatedLobby): Promise<void>;
  stop(lobby: EmulatedLobby): Promise<void>;
}

export interface MoonlightSession {
  id: string;
  /** As it is listed. */
  listed: Record<string, unknown>;
}

export interface WorldOptions {
  emit: (event: string, data: object) => void;
  sandboxes: Sandboxes;
  containerStartDelayMs: number;
  random: () => number;
  /** Whether the next container fails to start. */
  containerFails: () => boolean;
}

/** An UUID v4 from injected dice. */
export function uuidFrom(random: () => number): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16));
  hex[12] = "4";
  hex[16] = (8 + Math.floor(random() * 4)).toString(16);
  return hex.join("").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export class World {
  readonly lobbies = new Map<string, EmulatedLobby>();
  readonly sessions: MoonlightSession[] = [];
  apps = defaultApps();
  profiles = defaultProfiles();
  clients = defaultClients();
  pairRequests = defaultPairRequests();
  private readonly options: WorldOptions;
  private readonly timers = new Set<NodeJS.Timeout>();
  private readonly pending = new Set<Promise<void>>();
  private over = false;

  constructor(options: WorldOptions) {
    this.options = options;
  }

  emit(name: string, data: object): void {
    this.options.emit(`${wolfEventPrefix}${name}`, data);
  }

  newId(): string {
    return this.options.random === Math.random ? randomUUID() : uuidFrom(this.options.random);
  }

  createLobby(request: CreateLobby, clientSettings: object): EmulatedLobby {
    const id = this.newId();
    const containerId = uuidFrom(this.options.random).replaceAll("-", "").repeat(2);
    const lobby: EmulatedLobby = { id, state: "starting", request, connected: [], containerId };
    this.lobbies.set(id, lobby);
    const {
      profile_id,
      name,
      icon_png_path,
      pin,
      multi_user,
      stop_when_everyone_leaves,
      video_settings,
      audio_settings,
      runner_state_folder,
      runner,
    } = request;
    this.emit("CreateLobbyEvent", {
      id,
      profile_id,
      name,
      ...(icon_png_path === undefined ? {} : { icon_png_path }),
      ...(pin === undefined ? {} : { pin }),
      multi_user,
      stop_when_everyone_leaves,
      video_settings,
      audio_settings,
      client_settings: clientSettings,
      runner_state_folder,
      runner,
    });
    this.later(this.options.containerStartDelayMs, () => this.startContainer(lobby));
    return lobby;
  }

  private async startContainer(lobby: EmulatedLobby): Promise<void> {
    if (!this.lobbies.has(lobby.id)) return;
    if (this.options.containerFails()) return this.runnerEnded(lobby);
    if (lobby.request.runner.type === "docker") {
      await this.options.sandboxes.start(lobby);
      if (!this.lobbies.has(lobby.id)) return this.options.sandboxes.stop(lobby);
      this.emit("DockerContainerCreated", containerOf(lobby));
    }
    lobby.state = "running";
  }

  /** The container ended by itself: its lobby is gone at once. */
  private runnerEnded(lobby: EmulatedLobby): void {
    if (!this.lobbies.delete(lobby.id)) return;
    this.emit("StopLobbyEvent", { lobby_id: lobby.id });
  }

  /** For tests: the container of a running lobby ends by itself. */
  async containerExits(lobbyId: string): Promise<void> {
    const lobby = this.lobbies.get(lobbyId);
    if (lobby === undefined) return;
    this.lobbies.delete(lobbyId);
    await this.options.sandboxes.stop(lobby);
    this.emit("DockerContainerStopped", containerOf(lobby));
    this.emit("StopLobbyEvent", { lobby_id: lobby.id });
  }

  /** The list is clean at once; the container ends a moment later and says so again. */
  stopLobby(lobby: EmulatedLobby): void {
    this.lobbies.delete(lobby.id);
    this.emit("StopLobbyEvent", { lobby_id: lobby.id });
    this.later(0, async () => {
      if (lobby.request.runner.type === "docker" && lobby.state === "running") {
        await this.options.sandboxes.stop(lobby);
        this.emit("DockerContainerStopped", containerOf(lobby));
      }
      this.emit("StopLobbyEvent", { lobby_id: lobby.id });
    });
  }

  /** A session leaves whatever lobby it is in; the last one out may stop it. */
  leaveAll(sessionId: string): void {
    for (const lobby of this.lobbies.values()) {
      if (lobby.connected.includes(sessionId)) this.leave(lobby, sessionId);
    }
  }

  leave(lobby: EmulatedLobby, sessionId: string): void {
    lobby.connected = lobby.connected.filter((id) => id !== sessionId);
    this.emit("SwitchStreamProducerEvents", { session_id: sessionId, interpipe_src_id: sessionId });
    if (lobby.request.stop_when_everyone_leaves && lobby.connected.length === 0) this.stopLobby(lobby);
    this.emit("LeaveLobbyEvent", { lobby_id: lobby.id, moonlight_session_id: sessionId });
  }

  private later(ms: number, run: () => Promise<void> | void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      if (this.over) return;
      const work = Promise.resolve(run()).finally(() => this.pending.delete(work));
      this.pending.add(work);
    }, ms);
    this.timers.add(timer);
  }

  /** Everything ends, as when the process does; nothing is told. */
  async end(): Promise<void> {
    this.over = true;
    for (const timer of this.timers) clearTimeout(timer);
    await Promise.allSettled(this.pending);
    const lobbies = [...this.lobbies.values()];
    this.lobbies.clear();
    await Promise.all(lobbies.map((lobby) => this.options.sandboxes.stop(lobby)));
  }
}

function containerOf(lobby: EmulatedLobby): object {
  return { container_id: lobby.containerId, hostname: lobby.containerId.slice(0, 12), session_id: lobby.id };
}
