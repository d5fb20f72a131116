/** A clock that moves only when told, so that no test waits and none depends on the machine's speed. */
import type { Clock, Timer } from "../clock.ts";

export class ManualClock implements Clock {
  private at = 0;
  private timers: { due: number; run: () => void }[] = [];

  now(): number {
    return this.at;
  }

  setTimer(ms: number, run: () => void): Timer {
    const timer = { due: this.at + ms, run };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((other) => other !== timer);
      },
    };
  }

  /** Timers that are set and have neither fired nor been cancelled. */
  get pending(): number {
    return this.timers.length;
  }

  /** Fires what falls due in order, letting promises settle after each. */
  async advance(ms: number): Promise<void> {
    const until = this.at + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.due <= until).sort((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((other) => other !== next);
      this.at = Math.max(this.at, next.due);
      next.run();
      await settle();
    }
    this.at = until;
    await settle();
  }
}

/** Lets everything that is ready run, without time: enough turns for a few messages each way. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}
