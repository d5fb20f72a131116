/** Counts events of the peer in fixed spans of time and objects when there are too many (SPEC §8). */
import { RevdialError, type WireCodeName } from "./errors.ts";

export class FloodGuard {
  private readonly code: WireCodeName;
  private readonly max: number;
  private readonly spanMs: number;
  private since = Number.NEGATIVE_INFINITY;
  private count = 0;

  constructor(code: WireCodeName, max: number, spanMs: number) {
    this.code = code;
    this.max = max;
    this.spanMs = spanMs;
  }

  /** One more. Error: the code given. */
  add(now: number): void {
    if (now - this.since >= this.spanMs) {
      this.since = now;
      this.count = 0;
    }
    this.count += 1;
    if (this.count > this.max)
      throw new RevdialError(this.code, `more than ${this.max} in ${this.spanMs} ms`);
  }
}
