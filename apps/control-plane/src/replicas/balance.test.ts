import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import type { Timer } from "../clock.ts";
import { createLogger } from "../logger.ts";
import { keepBalance, MOVES_MAX, tunnelsToMove } from "./balance.ts";
import type { ReplicaRow } from "./replica-store.ts";

const row = (id: string, tunnels: number, changes: Partial<ReplicaRow> = {}): ReplicaRow => ({
  id,
  url: `http://${id}:8080`,
  version: "1",
  startedAt: new Date(0),
  draining: false,
  tunnels,
  ...changes,
});

describe("how many tunnels are to move", () => {
  it.each([
    ["half of what is too much, to an empty replica", 100, [row("b", 0)], 25],
    ["nothing where all have the same", 100, [row("b", 100), row("c", 100)], 0],
    ["nothing where this one has less", 10, [row("b", 100)], 0],
    ["nothing within a fifth of the share", 119, [row("b", 81)], 0],
    ["some above a fifth of the share", 122, [row("b", 78)], 11],
    ["nothing of a handful", 8, [row("b", 0)], 0],
    ["at most so many at a time", 100_000, [row("b", 0)], MOVES_MAX],
    ["nothing where there is no other", 100, [], 0],
    ["nothing of its own old word on itself", 100, [row("a", 0)], 0],
    ["nothing to one that is about to leave", 100, [row("b", 0, { draining: true })], 0],
    ["nothing to one that cannot be reached by others", 100, [row("b", 0, { url: null })], 0],
    ["nothing where there are none", 0, [row("b", 0)], 0],
  ])("is %s", (_, own, rows, count) => {
    expect(tunnelsToMove("a", own, rows)).toBe(count);
  });

  it("is of all together half of what others lack, so that none gets too many from a load balancer that counts", () => {
    const counts = fc.array(fc.nat({ max: 2000 }), { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(counts, (tunnels) => {
        const rows = tunnels.map((count, at) => row(`r${at}`, count));
        const share = tunnels.reduce((sum, count) => sum + count, 0) / tunnels.length;
        const moves = rows.map(({ id, tunnels: own }) => tunnelsToMove(id, own, rows));
        const coming = moves.reduce((sum, count) => sum + count, 0);
        const lacking = tunnels.reduce((sum, count) => sum + Math.max(0, share - count), 0);
        expect(coming).toBeLessThanOrEqual(lacking / 2 + tunnels.length);
        for (const [at, count] of moves.entries())
          if (count > 0) expect((tunnels[at] ?? 0) - count).toBeGreaterThanOrEqual(Math.floor(share));
        // To the least loaded first, as a load balancer that counts connections does.
        const after = tunnels.map((count, at) => count - (moves[at] ?? 0));
        for (let left = coming; left > 0; left -= 1) {
          const least = after.indexOf(Math.min(...after));
          after[least] = (after[least] ?? 0) + 1;
        }
        expect(Math.max(...after)).toBeLessThanOrEqual(Math.max(...tunnels));
        expect(Math.min(...after)).toBeGreaterThanOrEqual(Math.min(...tunnels));
      }),
      { numRuns: 200 },
    );
  });
});

describe("the look at the others", () => {
  const EVERY_MS = 60_000;
  let clock: ManualClock;
  let own: number;
  let asked: number[];
  let lines: string[];
  /** Of those asked, how many the load balancer brings elsewhere. */
  let share: number;
  let canBeAsked: boolean;
  let list: () => Promise<ReplicaRow[]>;
  let timer: Timer;

  beforeEach(() => {
    clock = manualClock();
    [own, asked, lines, share, canBeAsked] = [100, [], [], 1, true];
    list = async () => [row("a", own), row("b", 0)];
    start();
  });
  afterEach(() => timer.cancel());

  function start(everyMs = EVERY_MS): void {
    timer?.cancel();
    timer = keepBalance({
      self: "a",
      list: () => list(),
      tunnels: () => own,
      async move(count) {
        asked.push(count);
        const moved = Math.floor(count * share);
        own -= moved;
        return { asked: canBeAsked ? count : 0, moved };
      },
      everyMs,
      clock,
      log: createLogger("debug", { write: (line) => void lines.push(line) }),
    });
  }

  async function looks(count: number): Promise<void> {
    for (let at = 0; at < count; at += 1) {
      clock.advance(EVERY_MS);
      // Of one look: the list, the move, the timer of the next.
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    }
  }

  it("moves some at each until nobody has many more than the share", async () => {
    list = async () => [row("a", own), row("b", 100 - own)];
    await looks(20);
    expect(asked).toEqual([25, 13, 6]);
    expect(own).toBe(56);
    expect(lines.filter((line) => line.includes("more than its share"))).toHaveLength(3);
  });

  it("is repeated ever more rarely where those that are asked come back to this one", async () => {
    share = 0.1;
    await looks(1 + 2 + 4 + 8);
    expect(asked).toHaveLength(4);
    expect(lines.filter((line) => line.includes("came back"))).toHaveLength(4);
    await looks(200);
    expect(asked.length).toBeLessThanOrEqual(4 + 1 + 1 + 3);
  });

  it("is as often as ever once moves help again", async () => {
    share = 0;
    await looks(1 + 2);
    share = 1;
    list = async () => [row("a", own), row("b", 100 - own)];
    await looks(4 + 2);
    expect(asked).toEqual([25, 25, 25, 13, 6]);
  });

  it("begins anew with replicas that come, whatever did not help with those of before", async () => {
    share = 0;
    await looks(1 + 2 + 4);
    expect(asked).toHaveLength(3);
    share = 1;
    list = async () => [row("a", own), row("b", 50), row("c", 0)];
    await looks(1);
    expect(asked).toHaveLength(4);
    expect(asked.at(-1)).toBe(25);
  });

  it("says nothing of agents that cannot be asked, and seldom tries", async () => {
    [share, canBeAsked] = [0, false];
    await looks(1 + 2 + 4);
    expect(asked).toHaveLength(3);
    expect(lines).toEqual([]);
  });

  it("does nothing without a database, and goes on afterwards", async () => {
    const answering = list;
    list = async () => {
      throw new Error("no database");
    };
    await looks(3);
    expect(asked).toEqual([]);
    list = answering;
    await looks(1);
    expect(asked).toEqual([25]);
  });

  it("is never made where it is switched off, and no more once it is cancelled", async () => {
    start(0);
    expect(clock.pending).toBe(0);
    start();
    timer.cancel();
    await looks(3);
    expect(asked).toEqual([]);
  });
});
