/** What all parts of one run share: time, what happened so far, and what was found wrong. */
import { createHash } from "node:crypto";
import { Timeline } from "./timeline.ts";

/** The moment at which every run begins. */
export const BEGAN_AT_MS = Date.UTC(2026, 10, 23, 12);
const LINES_KEPT = 400;

export interface Violation {
  invariant: string;
  sentence: string;
}

export class World {
  readonly timeline = new Timeline();
  /** The first ones: what follows a violation is most often its consequence. */
  readonly violations: Violation[] = [];
  /** How often what happened, for the report and to see that a run was not empty. */
  readonly counts = new Map<string, number>();
  /** Events so far. */
  steps = 0;
  private readonly hash = createHash("sha256");
  private readonly lines: string[] = [];
  private readonly onLine: ((line: string) => void) | undefined;

  constructor(onLine?: (line: string) => void) {
    this.onLine = onLine;
  }

  get nowMs(): number {
    return this.timeline.nowMs;
  }

  /** One line of the trace. Whatever may differ between two runs of a seed must not be in it. */
  note(what: string): void {
    const line = `${(this.nowMs / 1000).toFixed(3)} s #${this.steps} ${what}`;
    this.hash.update(line).update("\n");
    this.lines.push(line);
    if (this.lines.length > 2 * LINES_KEPT) this.lines.splice(0, LINES_KEPT);
    this.onLine?.(line);
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  violate(invariant: string, sentence: string): void {
    this.note(`VIOLATED ${invariant}: ${sentence}`);
    this.violations.push({ invariant, sentence });
  }

  lastLines(count: number): string[] {
    return this.lines.slice(-count);
  }

  /** Of all lines so far. */
  digest(): string {
    return this.hash.copy().digest("hex");
  }
}

/** Every promise job that is due has run afterwards. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
