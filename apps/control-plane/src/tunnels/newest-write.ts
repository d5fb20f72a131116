/**
 * Writes the newest of many values, one write at a time: an agent that reports often costs one statement at once, and an
 * older report never lands after a newer one. A failed write is tried again. Each tunnel has several for as long as it lives, so that
 * they keep little: a print of what was last written, not the value.
 */
import { createHash } from "node:crypto";
import type { Clock, Timer } from "../clock.ts";

/** What several of them share: each names itself. */
export interface Writing<What extends string> {
  write(what: What, value: unknown): Promise<unknown>;
  failed(what: What, error: unknown): void;
  readonly clock: Clock;
  /** Between a failed write and the next try. */
  readonly retryMs: number;
}

export class NewestWrite<What extends string> {
  private readonly what: What;
  private readonly writing: Writing<What>;
  private wanted: { print: string; value: unknown } | undefined;
  private written: string | undefined;
  private isWriting = false;
  private retry: Timer | undefined;
  private stopped = false;

  constructor(what: What, writing: Writing<What>) {
    this.what = what;
    this.writing = writing;
  }

  /** Forgets an earlier value that is not being written yet; a value equal to the one last written costs nothing. */
  set(value: unknown): void {
    this.wanted = { print: printOf(value), value };
    void this.run();
  }

  /** Nothing is written from now on. */
  stop(): void {
    this.stopped = true;
    this.retry?.cancel();
  }

  private async run(): Promise<void> {
    if (this.isWriting || this.retry !== undefined) return;
    const { what, writing } = this;
    this.isWriting = true;
    try {
      while (this.wanted !== undefined && !this.stopped) {
        const { print, value } = this.wanted;
        if (print !== this.written) {
          // A write that fails may have happened all the same.
          this.written = undefined;
          await writing.write(what, value);
          this.written = print;
        }
        if (this.wanted.print === print) this.wanted = undefined;
      }
    } catch (error) {
      writing.failed(what, error);
      if (!this.stopped) this.retry = writing.clock.setTimer(writing.retryMs, () => this.again());
    } finally {
      this.isWriting = false;
    }
  }

  private again(): void {
    this.retry = undefined;
    void this.run();
  }
}

const printOf = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("base64");
