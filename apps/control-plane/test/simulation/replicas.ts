/**
 * The control plane's processes: one that serves, those that have been replaced and are not gone yet, and whoever sends callers to one
 * of them. They share one database.
 */
import type { LobbyApi } from "../../src/sessions/lobbies.ts";
import type { Database } from "./database.ts";
import type { Dice } from "./dice.ts";
import type { Process } from "./process.ts";
import { Replica, type Stores } from "./replica.ts";
import type { World } from "./world.ts";

export interface ReplicasOptions {
  world: World;
  dice: Dice;
  database: Database;
  stores: Stores;
  newId: (prefix: "ses") => string;
  alterLobbies: (api: LobbyApi) => LobbyApi;
  /** Share of statements after which the replica that makes them is killed. */
  killAtStep: number;
  onLog: ((line: string) => void) | undefined;
}

export class Replicas {
  private readonly options: ReplicasOptions;
  private readonly killer: Dice;
  private serving: Replica | undefined;
  private readonly leaving = new Set<Replica>();
  private started = 0;
  private kills = true;
  private servesSinceMs: number | undefined;

  constructor(options: ReplicasOptions) {
    this.options = options;
    this.killer = options.dice.fork();
  }

  get current(): Replica | undefined {
    return this.serving;
  }

  /** Since when one has been serving without a disturbance; undefined: none does. */
  get sinceMs(): number | undefined {
    return this.servesSinceMs;
  }

  /** The one that a load balancer takes: it does not see that one is stopped, nor that it has been replaced. */
  any(): Replica | undefined {
    const leaving = [...this.leaving].filter(({ ready }) => ready);
    return this.options.dice.any(this.serving === undefined ? leaving : [this.serving, ...leaving]);
  }

  start(): void {
    const { dice, killAtStep: _, ...options } = this.options;
    this.started += 1;
    this.serving = new Replica({
      ...options,
      dice: dice.fork(),
      aheadMs: dice.chance(0.3) ? dice.between(0, 5000) : 0,
      name: `replica-${this.started}`,
    });
    this.disturbed();
  }

  /** Another one is started after `forMs`. */
  kill(replica: Replica, told: boolean, forMs: number): void {
    this.options.world.count("replica kills");
    replica.kill(told);
    this.serving = undefined;
    this.disturbed();
    this.options.world.timeline.after(forMs, () => this.start());
  }

  /** A rolling restart: the next one is there before or after the last one has gone. */
  replace(replica: Replica, nextInMs: number): void {
    this.options.world.count("replica restarts");
    this.leaves(replica);
    this.options.world.timeline.after(nextInMs, () => this.start());
    replica.stop();
  }

  /** It is stopped and taken for dead; when it goes on, another one has its place, and a moment later it is ended. */
  supersede(replica: Replica, pausedMs: number, afterMs: number): void {
    const { world } = this.options;
    world.count("replicas superseded");
    this.leaves(replica);
    this.pauseFor(replica, pausedMs);
    this.start();
    world.timeline.after(pausedMs + afterMs, () => replica.kill(true));
  }

  pause(replica: Replica, forMs: number): void {
    this.options.world.count("replica pauses");
    this.pauseFor(replica, forMs);
  }

  /** From now on nobody dies at a step. */
  spare(): void {
    this.kills = false;
  }

  /** A process has made a statement, or is about to: a chance to die. */
  step(process: Process, method: string): void {
    const { killAtStep, world } = this.options;
    if (!this.kills || !this.killer.chance(killAtStep)) return;
    const { serving } = this;
    if (serving?.process !== process || process.paused) return;
    world.note(`${serving.name} dies at ${method}`);
    world.timeline.after(0, () => {
      if (this.serving === serving) this.kill(serving, true, this.killer.between(500, 5000));
    });
  }

  /** Nobody could be expected to have put anything right in time. */
  disturbed(): void {
    this.servesSinceMs = undefined;
  }

  observe(): void {
    const { serving } = this;
    const serves = this.options.database.up && serving?.ready === true && serving.process.serves;
    if (serves) this.servesSinceMs ??= this.options.world.nowMs;
    else this.servesSinceMs = undefined;
  }

  private pauseFor(replica: Replica, forMs: number): void {
    const { world } = this.options;
    world.note(`${replica.name} is stopped for ${Math.round(forMs)} ms`);
    replica.pause();
    this.disturbed();
    world.timeline.after(forMs, () => {
      world.note(`${replica.name} goes on`);
      replica.resume();
      this.disturbed();
    });
  }

  private leaves(replica: Replica): void {
    this.serving = undefined;
    this.leaving.add(replica);
    this.disturbed();
    replica.process.onDeath(() => {
      this.leaving.delete(replica);
      this.disturbed();
    });
  }
}
