/** Looks at wolves that failed are made again: after a second, then after twice as long, and so on; one at a time for each wolf. */

const BASE_MS = 1000;
const CAP_MS = 30_000;

export class Retries {
  private readonly later: (ms: number, run: () => void) => void;
  private readonly look: (wolfId: string) => void;
  /** Failures of a wolf, one after the other. */
  private readonly failures = new Map<string, number>();
  /** Wolves whose next look is planned. */
  private readonly planned = new Set<string>();

  constructor(later: (ms: number, run: () => void) => void, look: (wolfId: string) => void) {
    this.later = later;
    this.look = look;
  }

  /** Several that fail together are one failure. */
  failed(wolfId: string): void {
    if (this.planned.has(wolfId)) return;
    this.planned.add(wolfId);
    const failures = this.failures.get(wolfId) ?? 0;
    this.failures.set(wolfId, failures + 1);
    this.later(Math.min(CAP_MS, BASE_MS * 2 ** failures), () => {
      this.planned.delete(wolfId);
      this.look(wolfId);
    });
  }

  succeeded(wolfId: string): void {
    this.failures.delete(wolfId);
  }
}
