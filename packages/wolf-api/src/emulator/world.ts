/** What Wolf knows: lobbies with their containers, Moonlight sessions, apps, profiles, clients; and the events it tells of them. */
import { randomUUID } from "node:crypto";
import { wolfEventPrefix } from "../events.ts";
import {
  defaultApps,
  defaultClients,
  defaultImages,
  defaultPairRequests,
  defaultProfiles,
  pulledImage,
} from "./defaults.ts";
import type { FailureMode } from "./failures.ts";
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
  /** Its compositor never gets ready, so its runner never starts. */
  hangs?: boolean;
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
  /** Hears one sentence when a sandbox cannot be set up or cleaned away. */
  onProblem: (problem: string) => void;
  /** What happens instead when the next runner starts. */
  containerStart: () => FailureMode | undefined;
}

/** An UUID v4 from injected dice. */
export function uuidFrom(random: () => number): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16));
  hex[12] = "4";
  hex[16] = (8 + Math.floor(random() * 4)).toString(16);
  return hex.join("").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const IMAGES_MAX = 1000;

export class World {
  readonly lobbies = new Map<string, EmulatedLobby>();
  readonly sessions: MoonlightSession[] = [];
  apps = defaultApps();
  profiles = defaultProfiles();
  clients = defaultClients();
  pairRequests = defaultPairRequests();
  /** What Docker says of each image of the host. */
  readonly images = new Map(defaultImages());
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

  /** At most 1,000 images: those that come later are not kept. */
  pulled(name: string): void {
    if (!this.images.has(name) && this.images.size < IMAGES_MAX) this.images.set(name, pulledImage(name));
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
    if (!this.lobbies.has(lobby.id) || lobby.hangs) return;
    const failure = this.options.containerStart();
    if (failure === "stall" || failure === "die") return;
    if (failure === "container-exits") return this.runnerEnded(lobby);
    const { runner } = lobby.request;
    if (runner.type === "docker") {
      this.pulled(runner.image);
      try {
        await this.options.sandboxes.start(lobby);
      } catch (error) {
        this.options.onProblem(`The sandbox of lobby ${lobby.id} cannot start: ${messageOf(error)}`);
        return this.runnerEnded(lobby);
      }
      if (!this.lobbies.has(lobby.id)) return this.stopSandbox(lobby);
      this.emit("DockerContainerCreated", containerOf(lobby));
    }
    lobby.state = "running";
  }

  private async stopSandbox(lobby: EmulatedLobby): Promise<void> {
    try {
      await this.options.sandboxes.stop(lobby);
    } catch (error) {
      this.options.onProblem(`The sandbox of lobby ${lobby.id} cannot be cleaned away: ${messageOf(error)}`);
    }
  }

  /** What ran in the lobby is over, or never began: the lobby goes with it. */
  runnerEnded(lobby: EmulatedLobby): void {
    if (!this.lobbies.delete(lobby.id)) return;
    this.everyoneLeaves(lobby);
    this.emit("StopLobbyEvent", { lobby_id: lobby.id });
  }

  /** What runs in a lobby ends by itself; the lobby is listed until that has been noticed. Ids that are unknown or not running: nothing. */
  async containerExits(lobbyId: string): Promise<void> {
    const lobby = this.lobbies.get(lobbyId);
    if (lobby?.state !== "running") return;
    if (inDocker(lobby)) {
      await this.stopSandbox(lobby);
      // Stopped meanwhile: then that stop tells of both.
      if (!this.lobbies.has(lobbyId)) return;
      this.emit("DockerContainerStopped", containerOf(lobby));
    }
    this.runnerEnded(lobby);
  }

  /** The list is clean at once; the container ends a moment later and says so again. */
  stopLobby(lobby: EmulatedLobby): void {
    this.lobbies.delete(lobby.id);
    this.everyoneLeaves(lobby);
    this.emit("StopLobbyEvent", { lobby_id: lobby.id });
    this.later(0, async () => {
      if (inDocker(lobby) && lobby.state === "running") {
        await this.stopSandbox(lobby);
        this.emit("DockerContainerStopped", containerOf(lobby));
      }
      this.emit("StopLobbyEvent", { lobby_id: lobby.id });
    });
  }

  private everyoneLeaves(lobby: EmulatedLobby): void {
    for (const sessionId of lobby.connected.splice(0)) {
      this.emit("SwitchStreamProducerEvents", { session_id: sessionId, interpipe_src_id: sessionId });
      this.emit("LeaveLobbyEvent", { lobby_id: lobby.id, moonlight_session_id: sessionId });
    }
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
    await Promise.all(lobbies.map((lobby) => this.stopSandbox(lobby)));
  }
}

const inDocker = (lobby: EmulatedLobby) => lobby.request.runner.type === "docker";
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

function containerOf(lobby: EmulatedLobby): object {
  return { container_id: lobby.containerId, hostname: lobby.containerId.slice(0, 12), session_id: lobby.id };
}
