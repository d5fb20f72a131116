/** Time that passes when a test says so. */
import type { PaceTimers } from "../src/api/pace.ts";

export class ManualTimers implements PaceTimers {
  at = 0;
  private waiting: { at: number; run: () => void }[] = [];

  now = (): number => this.at;

  after = (ms: number, run: () => void): (() => void) => {
    const timer = { at: this.at + ms, run };
    this.waiting.push(timer);
    return () => {
      this.waiting = this.waiting.filter((one) => one !== timer);
    };
  };

  get count(): number {
    return this.waiting.length;
  }

  /** In order, each with what its answers lead to. */
  async pass(ms: number): Promise<void> {
    const end = this.at + ms;
    await settled();
    for (;;) {
      const [next] = this.waiting.toSorted((a, b) => a.at - b.at);
      if (next === undefined || next.at > end) break;
      this.at = next.at;
      this.waiting = this.waiting.filter((one) => one !== next);
      next.run();
      await settled();
    }
    this.at = end;
  }
}

/** What has been answered has been heard. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
