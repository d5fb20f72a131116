import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, it } from "@jest/globals";
import { manualClock } from "../../test/manual-clock.ts";
import { FOR_AGENTS_MAX, inBatches } from "./batches.ts";

/** A statement that ends when it is told to. */
function statements<Item>() {
  const batches: (readonly Item[])[] = [];
  const ends: PromiseWithResolvers<void>[] = [];
  return {
    batches,
    run: async (items: readonly Item[]) => {
      batches.push(items);
      const end = Promise.withResolvers<void>();
      ends.push(end);
      await end.promise;
      return items;
    },
    end: (at: number) => ends[at]?.resolve(),
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("calls in batches", () => {
  it("run a single call at once, alone", async () => {
    const ask = inBatches(async (items: readonly number[]) => items.map((item) => item * 2));
    expect(await ask(21)).toBe(42);
  });

  it.each([
    { whose: "agents", isForUsers: false, gathersMs: 100 },
    { whose: "users", isForUsers: true, gathersMs: 20 },
  ])(
    "of $whose share a statement with those of the same turn, and the next with all that come while it runs and $gathersMs ms after",
    async ({ isForUsers, gathersMs }) => {
      const { batches, run, end } = statements<string>();
      const clock = manualClock();
      const ask = inBatches(run, { clock, isForUsers });
      const first = [ask("a"), ask("b")];
      await turn();
      const next = [ask("c"), ask("d")];
      await turn();
      expect(batches).toEqual([["a", "b"]]);
      end(0);
      expect(await Promise.all(first)).toEqual(["a", "b"]);
      await turn();
      next.push(ask("e"));
      clock.advance(gathersMs - 1);
      await turn();
      expect(batches).toEqual([["a", "b"]]);
      clock.advance(1);
      await turn();
      expect(batches).toEqual([
        ["a", "b"],
        ["c", "d", "e"],
      ]);
      end(1);
      expect(await Promise.all(next)).toEqual(["c", "d", "e"]);
    },
  );

  it("do not wait for others where only one came, nor where there are enough for a statement", async () => {
    const { batches, run, end } = statements<string>();
    const ask = inBatches(run, { clock: manualClock(), itemsMax: 2 });
    void ask("a");
    await turn();
    void ask("b");
    end(0);
    await turn();
    for (const one of ["c", "d", "e", "f"]) void ask(one);
    end(1);
    await turn();
    end(2);
    await turn();
    expect(batches).toEqual([["a"], ["b"], ["c", "d"], ["e", "f"]]);
    end(3);
  });

  it("put no more than so many into one statement, in the order they came in", async () => {
    const batches: number[][] = [];
    const ask = inBatches(
      async (items: readonly number[]) => {
        batches.push([...items]);
        return items;
      },
      { itemsMax: 2 },
    );
    await Promise.all([1, 2, 3, 4, 5].map(ask));
    expect(batches).toEqual([[1, 2], [3, 4], [5]]);
  });

  it("fail for the one that cannot be had, and for no other", async () => {
    const ask = inBatches(async (items: readonly string[]) => {
      if (items.includes("bad")) throw new Error("refused");
      return items;
    });
    const settled = await Promise.allSettled(["a", "bad", "c"].map(ask));
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(await ask("later")).toBe("later");
  });

  it("fail all at once where the database does not answer", async () => {
    let tried = 0;
    const away = Object.assign(new Error("cut"), { code: "ECONNRESET" });
    const ask = inBatches(async () => {
      tried += 1;
      throw away;
    });
    const settled = await Promise.allSettled(["a", "b", "c"].map(ask));
    expect(settled).toEqual(["a", "b", "c"].map(() => ({ status: "rejected", reason: away })));
    expect(tried).toBe(1);
  });

  it("reject rather than give somebody the result of another", async () => {
    const ask = inBatches(async (items: readonly string[]) => items.slice(1));
    await expect(ask("a")).rejects.toThrow("another number of results");
  });

  it("are nobody's request: what a caller is about does not reach the statement", async () => {
    const about = new AsyncLocalStorage<string>();
    const ask = inBatches(async (items: readonly number[]) => items.map(() => about.getStore()));
    expect(await about.run("a request", () => ask(1))).toBeUndefined();
  });

  it("begin so many statements at once after a quiet time, and then so many a second", async () => {
    const clock = manualClock();
    let begun = 0;
    const ask = inBatches(
      async (items: readonly number[]) => {
        begun += 1;
        return items;
      },
      { pace: { clock, burst: 3, perSecond: 2 } },
    );
    for (let at = 0; at < 3; at += 1) await ask(at);
    expect(begun).toBe(3);
    const waiting = Promise.all([ask(4), ask(5)]);
    await turn();
    expect(begun).toBe(3);
    clock.advance(499);
    await turn();
    expect(begun).toBe(3);
    clock.advance(1);
    expect(await waiting).toEqual([4, 5]);
    expect(begun).toBe(4);
    clock.advance(1500);
    for (let at = 0; at < 3; at += 1) await ask(at);
    expect(begun).toBe(7);
  });

  // Twice: what the first time gave back is all there is for the second.
  it.each([1, 2])(
    "leave connections to users: of those for agents only so many run at once, and who waits gathers more (time %d)",
    async () => {
      const { batches, run, end } = statements<string>();
      const all: Promise<string>[] = [];
      try {
        for (let at = 0; at < FOR_AGENTS_MAX; at += 1) all.push(inBatches(run)(`agents ${at}`));
        await turn();
        expect(batches).toHaveLength(FOR_AGENTS_MAX);
        const one = inBatches(run);
        const other = inBatches(run);
        all.push(one("a"), other("b"));
        await turn();
        all.push(one("c"));
        await turn();
        expect(batches).toHaveLength(FOR_AGENTS_MAX);
        all.push(inBatches(run, { isForUsers: true })("user"));
        await turn();
        expect(batches.slice(FOR_AGENTS_MAX)).toEqual([["user"]]);
        // A user's that ends has no place to give.
        end(FOR_AGENTS_MAX);
        await turn();
        expect(batches.slice(FOR_AGENTS_MAX)).toEqual([["user"]]);
        end(0);
        await turn();
        expect(batches.slice(FOR_AGENTS_MAX)).toEqual([["user"], ["a", "c"]]);
        end(1);
        await turn();
        expect(batches.slice(FOR_AGENTS_MAX)).toEqual([["user"], ["a", "c"], ["b"]]);
      } finally {
        for (let at = 0; at < FOR_AGENTS_MAX + 3; at += 1) {
          end(at);
          await turn();
        }
        await Promise.all(all);
      }
    },
  );

  it("give their place on when a statement fails", async () => {
    const ask = inBatches(async () => {
      throw new Error("refused");
    });
    for (let at = 0; at <= FOR_AGENTS_MAX; at += 1) await expect(ask(at)).rejects.toThrow("refused");
  });

  it("wait no longer than a bucket takes to fill when the clock steps back", async () => {
    const clock = manualClock();
    let backMs = 0;
    const ask = inBatches(async (items: readonly number[]) => items, {
      pace: {
        clock: { ...clock, now: () => new Date(clock.now().getTime() - backMs) },
        burst: 1,
        perSecond: 1,
      },
    });
    await ask(1);
    backMs = 3_600_000;
    const late = ask(2);
    await turn();
    clock.advance(1000);
    expect(await late).toBe(2);
  });
});
