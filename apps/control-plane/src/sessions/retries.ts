/** Looks at wolves that failed are made again: after a second, then after twice as long, and so on. */
import type { Clock } from "../clock.ts";

const BASE_MS = 1000;
const CAP_MS = 30_000;

export interface RetriesOptions {
  clock: Clock;
  later: (ms: number, run: () => void) => void;
  look: (wolfId: string) => void;
}

export class Retries {
  private readonly options: RetriesOptions;
  /** Failures of a wolf, one after the other. */
  private readonly failures = new Map<string, number>();
  /** When a wolf's next look is due, in milliseconds. */
  private readonly due = new Map<string, number>();

  constructor(options: RetriesOptions) {
    this.options = options;
  }

  /** Several that fail before the next look are one failure. */
  failed(wolfId: string): void {
    const { clock, later, look } = this.options;
    const failures = this.failures.get(wolfId) ?? 0;
    const waitMs = Math.min(CAP_MS, BASE_MS * 2 ** failures);
    const atMs = clock.now().getTime() + waitMs;
    // One of earlier failures may be planned for much later, though a look for another reason has succeeded since.
    if ((this.due.get(wolfId) ?? Number.POSITIVE_INFINITY) <= atMs) return;
    this.due.set(wolfId, atMs);
    this.failures.set(wolfId, failures + 1);
    later(waitMs, () => {
      if (this.due.get(wolfId) === atMs) this.due.delete(wolfId);
      look(wolfId);
    });
  }

  succeeded(wolfId: string): void {
    this.failures.delete(wolfId);
  }
}
