/** Waiting for what the event loop brings: for tests, and for the processes that some of them start. */

/** Turns within which one event has had all its consequences in this process. */
const SETTLING_TURNS = 50;

/**
 * Waits for a condition that events of this process bring about: looks again after each, for some turns. In between the event
 * loop sleeps, and so it has no bound of its own but the test's.
 */
export async function until(condition: () => boolean): Promise<void> {
  for (;;) {
    for (let turn = 0; turn < SETTLING_TURNS; turn += 1) {
      if (condition()) return;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    // One that does not keep the loop going runs when something else has happened.
    await new Promise<void>((resolve) => setImmediate(resolve).unref());
  }
}
