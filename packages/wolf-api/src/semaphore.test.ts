import { describe, expect, it } from "@jest/globals";
import { Semaphore } from "./semaphore.ts";

describe("places for lobby creations", () => {
  it("are given in order, and each only once", async () => {
    const places = new Semaphore(1, 2);
    const { signal } = new AbortController();
    const first = await places.take(signal);
    const order: number[] = [];
    const taken = async (number: number) => {
      const release = await places.take(signal);
      order.push(number);
      return release;
    };
    const second = taken(2);
    const third = taken(3);
    expect(await places.take(signal)).toBeUndefined();
    first?.();
    first?.();
    (await second)?.();
    (await third)?.();
    expect(order).toEqual([2, 3]);
    expect(await places.take(signal)).toBeDefined();
  });

  it("are taken several at once, in order, and given back in parts", async () => {
    const places = new Semaphore(4, 3);
    const { signal } = new AbortController();
    const gone = new AbortController();
    const first = await places.take(signal, { count: 3 });
    const order: string[] = [];
    const large = places.take(gone.signal, { count: 4 }).then((back) => order.push(back ? "large" : "left"));
    const small = places.take(signal).then((back) => {
      order.push("small");
      return back;
    });
    const third = places.take(signal, { count: 2 }).then((back) => {
      order.push("third");
      return back;
    });
    gone.abort();
    await large;
    await small;
    expect(order).toEqual(["left", "small"]);
    first?.(2);
    first?.(-1);
    (await third)?.();
    first?.(9);
    first?.();
    (await small)?.();
    expect(await places.take(signal, { count: 4 })).toBeDefined();
    expect(await places.take(signal, { waitingMax: 0 })).toBeUndefined();
  });

  it("are not kept for a caller that has gone", async () => {
    const places = new Semaphore(1, 2);
    const gone = new AbortController();
    const release = await places.take(gone.signal);
    const waiting = places.take(gone.signal);
    gone.abort();
    expect(await waiting).toBeUndefined();
    expect(await places.take(gone.signal)).toBeUndefined();
    release?.();
    expect(await places.take(new AbortController().signal)).toBeDefined();
  });
});
