/**
 * Readings that may never end: a tool whose process cannot be killed, a disk that does not answer. Each is waited for so
 * long and no longer, and none begins while an earlier one of the same source hangs.
 */
import type { Clock } from "../clock.ts";

export type Reading<Value> =
  | { outcome: "read"; value: Value }
  | { outcome: "failed"; error: unknown }
  /** It did not end in time, or an earlier one has not ended yet. */
  | { outcome: "hangs" };

export interface BoundedOptions {
  clock: Clock;
  deadlineMs: number;
  /** Ends the waiting at once, as if it hung. */
  signal: AbortSignal;
}

export interface BoundedSource<Value> {
  /** Never rejects. */
  read(): Promise<Reading<Value>>;
  /** A reading was given up and still holds what it holds. */
  readonly hangs: boolean;
}

export function boundedSource<Value>(
  read: () => Promise<Value>,
  { clock, deadlineMs, signal }: BoundedOptions,
): BoundedSource<Value> {
  let open = false;
  return {
    get hangs() {
      return open;
    },
    read() {
      if (open) return Promise.resolve({ outcome: "hangs" });
      open = true;
      return new Promise((resolve) => {
        const giveUp = () => settle({ outcome: "hangs" });
        const timer = clock.setTimer(deadlineMs, giveUp);
        const settle = (reading: Reading<Value>) => {
          timer.cancel();
          signal.removeEventListener("abort", giveUp);
          resolve(reading);
        };
        const ended = (reading: Reading<Value>) => {
          open = false;
          settle(reading);
        };
        signal.addEventListener("abort", giveUp, { once: true });
        read().then(
          (value) => ended({ outcome: "read", value }),
          (error: unknown) => ended({ outcome: "failed", error }),
        );
        if (signal.aborted) giveUp();
      });
    },
  };
}
