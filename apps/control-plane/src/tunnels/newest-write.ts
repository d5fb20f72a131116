/**
 * Writes the newest of many values, one write at a time: an agent that reports often costs one statement at once, and an
 * older report never lands after a newer one. A failed write is tried again.
 */
import type { Clock, Timer } from "../clock.ts";

export interface NewestWrite<Value> {
  /** Forgets an earlier value that is not being written yet; a value equal to the one last written costs nothing. */
  set(value: Value): void;
  /** Nothing is written from now on. */
  stop(): void;
}

export interface NewestWriteOptions<Value> {
  write: (value: Value) => Promise<unknown>;
  clock: Clock;
  /** Between a failed write and the next try. */
  retryMs: number;
  failed: (error: unknown) => void;
}

export function newestWrite<Value>(options: NewestWriteOptions<Value>): NewestWrite<Value> {
  const { write, clock, retryMs, failed } = options;
  let wanted: { text: string; value: Value } | undefined;
  let written: string | undefined;
  let writing = false;
  let retry: Timer | undefined;
  let stopped = false;

  async function run(): Promise<void> {
    if (writing || retry !== undefined) return;
    writing = true;
    try {
      while (wanted !== undefined && !stopped) {
        const { text, value } = wanted;
        if (text !== written) {
          // A write that fails may have happened all the same.
          written = undefined;
          await write(value);
          written = text;
        }
        if (wanted.text === text) wanted = undefined;
      }
    } catch (error) {
      failed(error);
      if (!stopped) retry = clock.setTimer(retryMs, again);
    } finally {
      writing = false;
    }
  }

  function again(): void {
    retry = undefined;
    void run();
  }

  return {
    set(value) {
      wanted = { text: JSON.stringify(value), value };
      void run();
    },
    stop() {
      stopped = true;
      retry?.cancel();
    },
  };
}
