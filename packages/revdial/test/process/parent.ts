/** The child's side of `child.ts`: answers calls, and ends with its parent. */

const SMALLEST_STEP_BYTES = 10_000;

type Calls = Record<string, (...args: never[]) => unknown>;

interface Call {
  id: number;
  call: string;
  args: never[];
}

/** `onOrphaned`: what else must not outlive the parent. */
export function answerParent(calls: Calls, onOrphaned: () => void = () => undefined): void {
  process.on("message", async ({ id, call, args }: Call) => {
    try {
      const run = calls[call];
      if (run === undefined) throw new Error(`no call ${call}`);
      process.send?.({ id, result: await run(...args) });
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  process.stdin.resume().once("end", () => {
    onOrphaned();
    process.exit(0);
  });
}

/** Collections without a new low after which there is nothing left to collect. */
const IDLE_COLLECTIONS = 3;

/** Bytes this process holds once nothing is left to collect. */
export async function heldBytes(): Promise<number> {
  if (globalThis.gc === undefined) throw new Error("start with --expose-gc");
  let least = Number.POSITIVE_INFINITY;
  for (let idle = 0; idle < IDLE_COLLECTIONS; idle += 1) {
    // Finalizers and settled promises let go some turns later, and what they held goes with the next collection.
    for (let turn = 0; turn < 5; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    if (heapUsed + external < least - SMALLEST_STEP_BYTES) idle = -1;
    least = Math.min(least, heapUsed + external);
  }
  return least;
}
