/**
 * A simulated Wolf: lobbies that take their time, come late into its list, vanish after a 200, survive a lost reply. It keeps the
 * truth that the invariants compare the control plane's rows with.
 */
import { type CreateLobbyRequest, type Lobby, wolfEventPrefix } from "@wolfpack/wolf-api";
import type { Session } from "../../src/sessions/session-store.ts";
import { sessionOf } from "../../src/sessions/session-tag.ts";
import type { Dice } from "./dice.ts";
import type { World } from "./world.ts";

/** How one Wolf behaves. */
export interface Temper {
  createMs: readonly [min: number, max: number];
  answerMs: readonly [min: number, max: number];
  /** Shares of creations: refused at once; refused and yet made; made and gone a moment later; listed before they are answered. */
  refused: number;
  refusedButMade: number;
  vanishing: number;
  listedEarly: number;
  /** Of endings that Wolf tells nobody. */
  silentEnds: number;
  /** A sandbox ends by itself once in so long; Infinity: never. */
  sandboxLifeMs: number;
  /** Somebody is connected for so long, then nobody for as long. */
  connectedMs: number;
}

export interface SimLobby {
  readonly id: string;
  readonly wolf: SimWolf;
  /** Of our session. */
  readonly tag: Session["id"] | undefined;
  readonly pin: string | undefined;
  readonly request: Pick<CreateLobbyRequest, "name" | "runner">;
  readonly madeAtMs: number;
  listed: boolean;
}

export type WolfRequest =
  | { kind: "list" }
  | { kind: "create"; body: CreateLobbyRequest }
  | { kind: "stop"; lobbyId: string; pin: readonly number[] | undefined };

/** What Wolf says, or what its agent says in its place. */
export type WolfReply =
  | { ok: true; lobbies: Lobby[] }
  | { ok: true; lobbyId: string }
  | { ok: true }
  | {
      ok: false;
      code: "WOLF_REFUSED" | "WOLF_TIMEOUT" | "WOLF_UNREACHABLE";
      mayHaveRun: boolean;
      words: string;
    };

/** Who watches what is really there. */
export interface Witness {
  appeared(lobby: SimLobby): void;
  gone(lobby: SimLobby): void;
  stopAsked(lobby: SimLobby, pinFits: boolean): void;
}

export type WolfEventListener = (event: string, data: Record<string, unknown>) => void;

/** Wolf gives up on a lobby that does not come up. */
const SETUP_MS = 20_000;
const VANISHES_WITHIN_MS = 15_000;
const CONTAINER_WITHIN_MS = 2000;
const RESTART_MS = [2000, 40_000] as const;

export class SimWolf {
  readonly id: string;
  readonly lobbies = new Map<string, SimLobby>();
  temper: Temper;
  /** Requests are taken and not answered until then. */
  stuckUntilMs = 0;
  up = true;
  restarts = 0;
  /** When a lobby last came or went. */
  changedAtMs = 0;
  restartedAtMs = Number.NEGATIVE_INFINITY;
  onEvent: WolfEventListener = () => undefined;
  private readonly world: World;
  private readonly dice: Dice;
  private readonly witness: Witness;
  /** What was begun in an earlier life of the program does nothing in this one. */
  private life = 0;
  private made = 0;
  private readonly number: number;

  constructor(options: {
    id: string;
    number: number;
    world: World;
    dice: Dice;
    witness: Witness;
    temper: Temper;
  }) {
    this.id = options.id;
    this.number = options.number;
    this.world = options.world;
    this.dice = options.dice;
    this.witness = options.witness;
    this.temper = options.temper;
  }

  /** How it answers its agent's probe. */
  get answers(): "ok" | "stuck" | "unreachable" {
    if (!this.up) return "unreachable";
    return this.stuckUntilMs > this.world.nowMs ? "stuck" : "ok";
  }

  ask(request: WolfRequest, reply: (reply: WolfReply) => void): void {
    if (!this.up)
      return reply({ ok: false, code: "WOLF_UNREACHABLE", mayHaveRun: false, words: "connection refused" });
    const stuckMs = Math.max(0, this.stuckUntilMs - this.world.nowMs);
    this.later(stuckMs + this.dice.between(...this.temper.answerMs), () => {
      if (request.kind === "list") reply({ ok: true, lobbies: this.list() });
      else if (request.kind === "stop") reply(this.stop(request));
      else this.create(request.body, reply);
    });
  }

  /** One of somebody else, or one that an earlier control plane left. */
  plant(name: string, env: string[] = []): SimLobby {
    return this.appear(
      { name, runner: { type: "docker", name, image: "desktop", mounts: [], env, devices: [], ports: [] } },
      undefined,
    );
  }

  /** Ends a lobby by itself: its user logs out, its container dies, somebody stops it on the host. */
  end(lobby: SimLobby, event: "DockerContainerStopped" | "StopLobbyEvent"): void {
    if (!this.remove(lobby)) return;
    this.world.note(`${this.id} lobby ${lobby.id} of ${lobby.tag ?? "nobody"} ends: ${event}`);
    if (!this.dice.chance(this.temper.silentEnds)) this.emit(event, lobby);
  }

  /** The program dies and its lobbies with it; it comes back after a while. */
  crash(forMs = this.dice.between(...RESTART_MS)): void {
    if (!this.up) return;
    this.world.note(
      `${this.id} Wolf crashes with ${this.lobbies.size} lobbies, back in ${Math.round(forMs)} ms`,
    );
    this.world.count("wolf crashes");
    this.up = false;
    this.life += 1;
    for (const lobby of [...this.lobbies.values()]) this.remove(lobby);
    this.world.timeline.after(forMs, () => {
      this.up = true;
      this.restarts += 1;
      this.restartedAtMs = this.world.nowMs;
      this.world.note(`${this.id} Wolf is back`);
    });
  }

  private later(ms: number, run: () => void): void {
    const { life } = this;
    this.world.timeline.after(ms, () => {
      if (this.life === life) run();
    });
  }

  private list(): Lobby[] {
    return [...this.lobbies.values()].filter(({ listed }) => listed).map((lobby) => this.describe(lobby));
  }

  private describe({ id, pin, request, madeAtMs }: SimLobby): Lobby {
    const { connectedMs } = this.temper;
    const connected = Math.floor((this.world.nowMs - madeAtMs) / connectedMs) % 2 === 0;
    return {
      id,
      name: request.name,
      multi_user: true,
      pin_required: pin !== undefined,
      stop_when_everyone_leaves: false,
      connected_sessions: connected ? ["1234567890"] : [],
      runner: request.runner,
    };
  }

  private stop({ lobbyId, pin }: Extract<WolfRequest, { kind: "stop" }>): WolfReply {
    const lobby = this.lobbies.get(lobbyId);
    const refused = { ok: false, code: "WOLF_REFUSED", mayHaveRun: true } as const;
    if (lobby === undefined) return { ...refused, words: "Invalid lobby ID" };
    const pinFits = lobby.pin === undefined || lobby.pin === pin?.join("");
    this.witness.stopAsked(lobby, pinFits);
    if (!pinFits) return { ...refused, words: "Invalid PIN" };
    this.remove(lobby);
    this.world.note(`${this.id} lobby ${lobbyId} of ${lobby.tag ?? "nobody"} is stopped`);
    if (!this.dice.chance(this.temper.silentEnds)) this.emit("StopLobbyEvent", lobby);
    return { ok: true };
  }

  private create(body: CreateLobbyRequest, reply: (reply: WolfReply) => void): void {
    const { dice, temper } = this;
    const takesMs = dice.between(...temper.createMs);
    const refusal = { ok: false, code: "WOLF_REFUSED", mayHaveRun: true } as const;
    if (dice.chance(temper.refused)) {
      this.world.count("creations refused");
      const words = dice.pick(["no space left on device", "No such image", "Error starting the runner"]);
      return this.later(Math.min(takesMs, SETUP_MS), () => reply({ ...refusal, words }));
    }
    const refusedButMade = dice.chance(temper.refusedButMade);
    const listedAfterMs = dice.chance(temper.listedEarly) ? takesMs * dice.random() : takesMs;
    this.later(listedAfterMs, () => {
      const lobby = this.appear(body, body.pin?.join(""));
      this.fate(lobby, takesMs - listedAfterMs);
      if (takesMs > SETUP_MS) return;
      const answer: WolfReply = refusedButMade
        ? { ...refusal, words: "Lobby setup failed" }
        : { ok: true, lobbyId: lobby.id };
      this.later(takesMs - listedAfterMs, () => reply(answer));
    });
    if (takesMs > SETUP_MS) this.later(SETUP_MS, () => reply({ ...refusal, words: "Lobby setup timed out" }));
  }

  /** What becomes of a lobby that was made: its container starts, or not, and runs for a while. */
  private fate(lobby: SimLobby, answeredInMs: number): void {
    const { dice, temper } = this;
    if (dice.chance(temper.vanishing)) {
      this.world.count("lobbies vanished");
      this.later(answeredInMs + dice.between(0, VANISHES_WITHIN_MS), () => this.end(lobby, "StopLobbyEvent"));
      return;
    }
    this.later(dice.between(0, answeredInMs + CONTAINER_WITHIN_MS), () =>
      this.emit("DockerContainerCreated", lobby),
    );
    if (Number.isFinite(temper.sandboxLifeMs))
      this.later(answeredInMs + dice.gapMs(temper.sandboxLifeMs), () =>
        this.end(lobby, "DockerContainerStopped"),
      );
  }

  private appear(request: SimLobby["request"], pin: string | undefined): SimLobby {
    this.made += 1;
    const id = `${hex(this.number)}-${hex(this.made)}`;
    const tag = sessionOf({ id, name: request.name, runner: request.runner });
    const lobby: SimLobby = { id, wolf: this, tag, pin, request, madeAtMs: this.world.nowMs, listed: true };
    this.lobbies.set(id, lobby);
    this.changedAtMs = this.world.nowMs;
    this.world.count("lobbies");
    this.world.note(`${this.id} lobby ${id} of ${tag ?? "nobody"} is there`);
    this.witness.appeared(lobby);
    return lobby;
  }

  private remove(lobby: SimLobby): boolean {
    if (!this.lobbies.delete(lobby.id)) return false;
    this.changedAtMs = this.world.nowMs;
    this.witness.gone(lobby);
    return true;
  }

  private emit(name: string, lobby: SimLobby): void {
    if (!this.lobbies.has(lobby.id) && name === "DockerContainerCreated") return;
    const data = name === "StopLobbyEvent" ? { lobby_id: lobby.id } : { session_id: lobby.id };
    this.onEvent(`${wolfEventPrefix}${name}`, data);
  }
}

const hex = (value: number) => value.toString(16).padStart(8, "0");
