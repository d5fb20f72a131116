/**
 * The database as a replica meets it: late, sometimes gone, and failing before or after what it was asked to do. Effects happen in
 * the order in which statements arrive, each whole, as guarded statements do in PostgreSQL.
 */
import type { Dice } from "./dice.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

/** As a lost connection looks to whoever asked. */
export class DatabaseGone extends Error {
  constructor(what: string) {
    super(`simulated: ${what}`);
    this.name = "DatabaseGone";
  }
}

export interface DatabaseTemper {
  latencyMs: readonly [min: number, max: number];
  /** Shares of statements: not done and failed; done and failed; slow. */
  failsBefore: number;
  failsAfter: number;
  slow: number;
  slowMs: readonly [min: number, max: number];
}

export interface DatabaseHooks {
  /** A statement has taken effect. */
  done(method: string, args: readonly unknown[], result: unknown): void;
  /** Before and after each effect: a chance for whoever kills processes at any step. */
  step(process: Process, method: string): void;
}

export class Database {
  up = true;
  temper: DatabaseTemper;
  private readonly world: World;
  private readonly dice: Dice;
  private readonly hooks: DatabaseHooks;

  constructor(options: { world: World; dice: Dice; temper: DatabaseTemper; hooks: DatabaseHooks }) {
    this.world = options.world;
    this.dice = options.dice;
    this.temper = options.temper;
    this.hooks = options.hooks;
  }

  /** The store as one process sees it: each method by way of the network, with all its faults. */
  connect<Store extends object>(store: Store, process: Process): Store {
    return new Proxy(store, {
      get: (target, name) => {
        const method = Reflect.get(target, name) as unknown;
        if (typeof method !== "function" || typeof name !== "string") return method;
        return (...args: unknown[]) =>
          this.ask(process, name, args, () => Promise.resolve(Reflect.apply(method, target, args)));
      },
    });
  }

  private latencyMs(): number {
    const { latencyMs, slow, slowMs } = this.temper;
    return this.dice.chance(slow) ? this.dice.between(...slowMs) : this.dice.between(...latencyMs);
  }

  private ask(
    process: Process,
    method: string,
    args: readonly unknown[],
    run: () => Promise<unknown>,
  ): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const { dice, temper, world } = this;
    const answer = (settle: () => void) => process.after(this.latencyMs(), settle);
    // What a process has sent before its death may be done all the same.
    const survives = dice.chance(0.5);
    this.hooks.step(process, method);
    world.timeline.after(this.latencyMs(), () => {
      if (!process.alive && !survives) return;
      if (!this.up || dice.chance(temper.failsBefore))
        return void answer(() => reject(new DatabaseGone(`${method} was not done`)));
      run().then(
        (result) => {
          this.hooks.done(method, args, result);
          this.hooks.step(process, method);
          if (dice.chance(temper.failsAfter))
            return void answer(() => reject(new DatabaseGone(`nobody knows whether ${method} was done`)));
          answer(() => resolve(result));
        },
        (error: unknown) => {
          answer(() => reject(error));
        },
      );
    });
    return promise;
  }
}
