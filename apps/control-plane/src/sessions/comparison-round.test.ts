/** The periodic comparison of all wolves, with comparisons that end when they are told to. */
import { describe, expect, it } from "@jest/globals";
import { manualClock } from "../../test/manual-clock.ts";
import { AT_ONCE_MAX, ComparisonRound, WHILE_LATE_MAX } from "./comparison-round.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));
const FOR_MS = 15_000;
const GIVES_WAY_MS = 30_000;

function aRound() {
  const waiting: (() => void)[] = [];
  const begun: string[] = [];
  const seen = new Map<string, Date>();
  const elsewhere = new Set<string>();
  const clock = manualClock();
  let late = false;
  const round = new ComparisonRound({
    clock,
    keeper: {
      seenAt: (wolfId) => seen.get(wolfId),
      isComparing: (wolfId) => elsewhere.has(wolfId),
      reconcileWolf: (wolfId) => {
        begun.push(wolfId);
        return new Promise<void>((resolve) => void waiting.push(resolve));
      },
    },
  });
  return {
    round,
    begun,
    seen,
    clock,
    /** Wolves that are compared for another reason. */
    elsewhere,
    unseen: { forMs: FOR_MS, givesWayMs: GIVES_WAY_MS, isLate: () => late },
    becomes: (isLate: boolean) => {
      late = isLate;
    },
    /** Ends some that are under way, the oldest first. */
    async end(count: number) {
      for (const resolve of waiting.splice(0, count)) resolve();
      await settled();
    },
  };
}

const wolves = (count: number) => Array.from({ length: count }, (_, at) => `wlf_${at}`);

describe("a round of comparisons", () => {
  it("compares each wolf once, some at a time, and ends with the last", async () => {
    const { round, begun, end } = aRound();
    const ids = wolves(2 * AT_ONCE_MAX + 1);
    let over = false;
    const run = round.run(ids).then(() => {
      over = true;
    });
    await settled();
    expect([begun.length, round.comparing]).toEqual([AT_ONCE_MAX, AT_ONCE_MAX]);
    await end(1);
    expect([begun.length, round.comparing]).toEqual([AT_ONCE_MAX + 1, AT_ONCE_MAX]);
    await end(AT_ONCE_MAX);
    await end(AT_ONCE_MAX - 1);
    expect([over, round.comparing]).toEqual([false, 1]);
    await end(1);
    await run;
    expect([begun.toSorted(), round.comparing]).toEqual([ids.toSorted(), 0]);
  });

  it("is over at once where there is no wolf", async () => {
    const { round, begun } = aRound();
    await round.run([]);
    expect(begun).toEqual([]);
  });

  it("goes on with a few while the process is late, and with as many as before when it is not", async () => {
    const { round, begun, end, unseen, becomes } = aRound();
    const run = round.run(wolves(1000), unseen);
    await settled();
    becomes(true);
    await end(AT_ONCE_MAX);
    expect(round.comparing).toBe(WHILE_LATE_MAX);
    for (let turn = 0; turn < 5; turn += 1) {
      await end(1);
      expect(round.comparing).toBe(WHILE_LATE_MAX);
    }
    becomes(false);
    await end(1);
    expect(round.comparing).toBe(AT_ONCE_MAX);
    while (round.comparing > 0) await end(AT_ONCE_MAX);
    await run;
    expect(new Set(begun).size).toBe(1000);
    expect(begun).toHaveLength(1000);
  });

  it("gives way for so long and no longer, however late the process stays", async () => {
    const { round, end, unseen, becomes, clock } = aRound();
    becomes(true);
    const run = round.run(wolves(200), unseen);
    await settled();
    clock.advance(GIVES_WAY_MS - 1);
    await end(1);
    expect(round.comparing).toBe(WHILE_LATE_MAX);
    clock.advance(1);
    await end(1);
    expect(round.comparing).toBe(AT_ONCE_MAX);
    while (round.comparing > 0) await end(AT_ONCE_MAX);
    await run;
  });

  it("passes over wolves that were compared a moment ago, or are, when their turn comes", async () => {
    const { round, begun, end, unseen, seen, elsewhere, clock } = aRound();
    const ids = wolves(AT_ONCE_MAX + 3);
    const [before, meanwhile, comparing] = ["wlf_0", `wlf_${AT_ONCE_MAX + 1}`, `wlf_${AT_ONCE_MAX + 2}`];
    seen.set(before, clock.now());
    clock.advance(FOR_MS - 1);
    const run = round.run(ids, unseen);
    await settled();
    seen.set(meanwhile, clock.now());
    elsewhere.add(comparing);
    while (round.comparing > 0) await end(AT_ONCE_MAX);
    await run;
    expect(ids.filter((id) => !begun.includes(id))).toEqual([before, meanwhile, comparing]);
  });

  it("compares what was seen so long ago, and what was seen before the clock stepped back", async () => {
    const { round, begun, end, unseen, seen, clock } = aRound();
    seen.set("wlf_0", clock.now());
    seen.set("wlf_1", new Date(clock.now().getTime() + 3_600_000));
    clock.advance(FOR_MS);
    const run = round.run(wolves(2), unseen);
    await end(1);
    await end(1);
    await run;
    expect(begun).toEqual(["wlf_0", "wlf_1"]);
  });
});
