/** Performs the core's effects in order, also when a handler or listener called by one of them makes new ones. */
import type { Effect } from "./core-events.ts";

export class EffectQueue {
  private readonly performOne: (effect: Effect) => void;
  private readonly failed: (effect: Effect, error: unknown) => void;
  /** What is not yet performed, batch by batch; undefined when nobody is performing. */
  private batches: (readonly Effect[])[] | undefined;

  /** `failed` hears of what an effect throws, and may throw it again: what is left is dropped then. */
  constructor(performOne: (effect: Effect) => void, failed: (effect: Effect, error: unknown) => void) {
    this.performOne = performOne;
    this.failed = failed;
  }

  perform(effects: readonly Effect[]): void {
    if (effects.length === 0) return;
    if (this.batches !== undefined) return void this.batches.push(effects);
    this.batches = [effects];
    try {
      for (const batch of this.batches) this.performBatch(batch);
    } finally {
      this.batches = undefined;
    }
  }

  /** One `try` for the whole of it, and one more for each effect that throws. */
  private performBatch(batch: readonly Effect[]): void {
    let at = 0;
    while (at < batch.length) {
      try {
        while (at < batch.length) this.performOne(batch[at++] as Effect);
      } catch (error) {
        this.failed(batch[at - 1] as Effect, error);
      }
    }
  }
}
