/** Seeded dice: one seed, one run, on every machine. */
import { seededRandom } from "revdial/testing";

export class Dice {
  /** Uniform in [0, 1): what services take for `Math.random`. */
  readonly random: () => number;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  /** Both bounds included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.random() * (max - min + 1));
  }

  between(min: number, max: number): number {
    return min + this.random() * (max - min);
  }

  pick<const T>(items: readonly [T, ...T[]]): T {
    return items[this.int(0, items.length - 1)] as T;
  }

  /** One of `items`, or undefined when there is none. */
  any<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.int(0, items.length - 1)];
  }

  /** Waiting time until the next event of those that come once in `meanMs` on average. */
  gapMs(meanMs: number): number {
    return -Math.log(1 - this.random()) * meanMs;
  }

  /** Dice of their own for one part of a run: what it throws does not shift the others. */
  fork(): Dice {
    return new Dice(this.int(0, 0xffff_ffff));
  }
}
