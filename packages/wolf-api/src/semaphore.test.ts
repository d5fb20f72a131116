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
