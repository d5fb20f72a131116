/**
 * After each file of tests, nothing keeps its process going that did not before: no socket, no server, no child, no timer. What is
 * closed takes a moment to be gone, so this waits; what never goes is named.
 */
import { afterAll, beforeAll } from "@jest/globals";

const LOOK_EVERY_MS = 20;
/** Far longer than anything that was closed takes, and less than a hook may. */
const LOOKS = 400;

type Counts = Readonly<Record<string, number>>;

function resources(): Counts {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

/** Of what is running now what was not then. Both are asked within a hook, which has a timer of its own. */
const left = (then: Counts) =>
  Object.entries(resources()).filter(([kind, count]) => kind !== "Immediate" && count > (then[kind] ?? 0));

let before: Counts = {};
beforeAll(() => {
  before = resources();
});

afterAll(async () => {
  for (let look = 0; left(before).length > 0; look += 1) {
    if (look === LOOKS) throw new Error(`left behind: ${JSON.stringify(Object.fromEntries(left(before)))}`);
    await new Promise<void>((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
});
