/**
 * A simulated operating-system process: a clock that may be wrong, and an end that may come at any step. Whatever reaches it from
 * outside comes through `deliver`, so that a dead process hears nothing and a stopped one hears everything late.
 */
import type { Clock, Timer } from "../../src/clock.ts";
import { BEGAN_AT_MS, type World } from "./world.ts";

export class Process {
  readonly clock: Clock;
  alive = true;
  /** What its wall clock is ahead of the world's. */
  aheadMs = 0;
  /** How often it was stopped and went on. */
  resumes = 0;
  private readonly world: World;
  private late: (() => void)[] | undefined;
  private readonly atDeath = new Set<() => void>();

  constructor(world: World, aheadMs = 0) {
    this.world = world;
    this.aheadMs = aheadMs;
    this.clock = {
      now: () => new Date(Math.floor(BEGAN_AT_MS + world.nowMs + this.aheadMs)),
      elapsedMs: () => Math.floor(world.nowMs),
      setTimer: (ms, run) => this.after(ms, run),
    };
  }

  get paused(): boolean {
    return this.late !== undefined;
  }

  /** Serves: it lives and is not stopped. */
  get serves(): boolean {
    return this.alive && this.late === undefined;
  }

  /** Runs inside of the process after `ms`, unless it has died; later when it is stopped then. */
  after(ms: number, run: () => void): Timer {
    let cancelled = false;
    const planned = this.world.timeline.after(ms, () => this.enter(() => !cancelled && run()));
    return {
      cancel: () => {
        cancelled = true;
        planned.cancel();
      },
    };
  }

  /** Now, from outside. */
  enter(run: () => void): void {
    if (!this.alive) return;
    if (this.late !== undefined) this.late.push(run);
    else run();
  }

  /** As SIGSTOP does. */
  pause(): void {
    this.late ??= [];
  }

  /** As SIGCONT does: timers that were due and bytes that came run now, in their order, a step each. */
  resume(): void {
    const late = this.late ?? [];
    this.resumes += 1;
    this.late = undefined;
    for (const run of late) this.world.timeline.after(0, () => this.enter(run));
  }

  /** As SIGKILL does. */
  kill(): void {
    if (!this.alive) return;
    this.alive = false;
    this.late = undefined;
    for (const run of [...this.atDeath]) run();
    this.atDeath.clear();
  }

  /** What the rest of the world sees of its death. Returns the way to look away. */
  onDeath(run: () => void): () => void {
    this.atDeath.add(run);
    return () => void this.atDeath.delete(run);
  }
}
