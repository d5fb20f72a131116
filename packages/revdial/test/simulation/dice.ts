/** Seeded dice: one seed, one run, on every machine. */
import { seededRandom } from "../../src/testing/index.ts";

export class Dice {
  private readonly random: () => number;

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

  pick<T>(items: readonly T[]): T {
    return items[this.int(0, items.length - 1)] as T;
  }

  /** From 0 to `max`, small ones as likely as large ones: most faults hide at the edges. */
  size(max: number): number {
    return Math.min(max, Math.floor(2 ** (this.random() * Math.log2(max + 1))) - 1 + this.int(0, 1));
  }

  /** Dice of their own for one part of a run: what it throws does not shift the others. */
  fork(): Dice {
    return new Dice(this.int(0, 0xffff_ffff));
  }
}
