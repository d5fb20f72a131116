/** When a tunnel hands over what is ready: at the end of a turn of the event loop, whose frames share messages (SPEC §2), or within it. */

/** Requests or answers that share a message; measured at 64 at once (docs/performance.md). */
const EXCHANGES_PER_MESSAGE = 16;

export class FlushTurn {
  private readonly flush: () => void;
  private queued = false;
  private unflushed = 0;

  constructor(flush: () => void) {
    this.flush = flush;
  }

  /** Something is ready, and may wait for the end of the turn. */
  soon(): void {
    if (this.queued) return;
    this.queued = true;
    setImmediate(() => {
      this.queued = false;
      this.flush();
    });
  }

  /**
   * A request or an answer is complete. Not waited for more where nobody else is there to share a message; and a long turn is cut,
   * so that the far end works on the first half while we work on the second.
   */
  exchange(alone: boolean): void {
    this.unflushed += 1;
    if (alone || this.unflushed >= EXCHANGES_PER_MESSAGE) this.flush();
  }

  /** Everything that was ready has been handed over, or waits for its transport. */
  flushed(): void {
    this.unflushed = 0;
  }
}
