import { beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { NewestWrite } from "./newest-write.ts";

interface Writing {
  value: number;
  done(): Promise<void>;
  fail(): Promise<void>;
}

let clock: ManualClock;
let writes: Writing[];
let errors: unknown[];
let newest: NewestWrite<"count">;

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
}

beforeEach(() => {
  clock = manualClock();
  writes = [];
  errors = [];
  newest = new NewestWrite("count", {
    write(_what, value) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const settled = (act: () => void) => async () => {
        act();
        await settle();
      };
      writes.push({
        value: Number(value),
        done: settled(resolve),
        fail: settled(() => reject(new Error("down"))),
      });
      return promise;
    },
    clock,
    retryMs: 5000,
    failed: (_what, error) => void errors.push(error),
  });
});

const values = () => writes.map(({ value }) => value);

describe("the newest write", () => {
  it("begins at once", () => {
    newest.set(1);
    expect(values()).toEqual([1]);
  });

  it("skips what is overtaken while another write runs, and never runs two", async () => {
    newest.set(1);
    for (const value of [2, 3, 4]) newest.set(value);
    expect(values()).toEqual([1]);
    await writes[0]?.done();
    expect(values()).toEqual([1, 4]);
    await writes[1]?.done();
    expect(values()).toEqual([1, 4]);
  });

  it("costs nothing for what is written already", async () => {
    newest.set(1);
    newest.set(1);
    await writes[0]?.done();
    newest.set(1);
    await settle();
    expect(values()).toEqual([1]);
  });

  it("writes a value again that was overtaken and came back", async () => {
    newest.set(1);
    await writes[0]?.done();
    newest.set(2);
    newest.set(1);
    await writes[1]?.done();
    expect(values()).toEqual([1, 2, 1]);
  });

  it("that failed is tried again later, with whatever is newest then", async () => {
    newest.set(1);
    await writes[0]?.fail();
    expect(errors).toHaveLength(1);
    newest.set(2);
    clock.advance(4999);
    expect(values()).toEqual([1]);
    clock.advance(1);
    expect(values()).toEqual([1, 2]);
    await writes[1]?.done();
    expect(clock.pending).toBe(0);
  });

  it("that failed may have happened: an earlier value is not taken for written", async () => {
    newest.set(1);
    await writes[0]?.done();
    newest.set(2);
    await writes[1]?.fail();
    newest.set(1);
    clock.advance(5000);
    expect(values()).toEqual([1, 2, 1]);
  });

  it("does not happen after a stop, and leaves no timer", async () => {
    newest.set(1);
    newest.set(2);
    newest.stop();
    await writes[0]?.done();
    expect(values()).toEqual([1]);
  });

  it("is not tried again after a stop", async () => {
    newest.set(1);
    await writes[0]?.fail();
    newest.stop();
    clock.advance(60_000);
    expect(values()).toEqual([1]);
    expect(clock.pending).toBe(0);
  });
});
