/** The periodic comparison of all wolves, with comparisons that end when they are told to. */
import { describe, expect, it } from "@jest/globals";
import { AT_ONCE_MAX, ComparisonRound, WHILE_LATE_MAX } from "./comparison-round.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));

function aRound() {
  const waiting: (() => void)[] = [];
  const begun: string[] = [];
  const round = new ComparisonRound((wolfId) => {
    begun.push(wolfId);
    return new Promise<void>((resolve) => void waiting.push(resolve));
  });
  /** Ends some that are under way, the oldest first. */
  const end = async (count: number) => {
    for (const resolve of waiting.splice(0, count)) resolve();
    await settled();
  };
  return { round, begun, end };
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
    const { round, begun, end } = aRound();
    let late = false;
    const run = round.run(wolves(1000), () => late);
    await settled();
    late = true;
    await end(AT_ONCE_MAX);
    expect(round.comparing).toBe(WHILE_LATE_MAX);
    for (let turn = 0; turn < 5; turn += 1) {
      await end(1);
      expect(round.comparing).toBe(WHILE_LATE_MAX);
    }
    late = false;
    await end(1);
    expect(round.comparing).toBe(AT_ONCE_MAX);
    while (round.comparing > 0) await end(AT_ONCE_MAX);
    await run;
    expect(new Set(begun).size).toBe(1000);
    expect(begun).toHaveLength(1000);
  });

  it("begins with a few where the process is late from the first", async () => {
    const { round, end } = aRound();
    const run = round.run(wolves(20), () => true);
    await settled();
    expect(round.comparing).toBe(WHILE_LATE_MAX);
    while (round.comparing > 0) await end(1);
    await run;
  });
});
