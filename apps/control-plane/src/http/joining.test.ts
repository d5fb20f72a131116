import { EventEmitter } from "node:events";
import { describe, expect, it } from "@jest/globals";
import { manualClock } from "../../test/manual-clock.ts";
import { type Flight, Flights, wait } from "./joining.ts";

class Line extends EventEmitter {
  closed = false;
}

describe("waiting for a flight", () => {
  const aWait = () => {
    const clock = manualClock();
    const line = new Line();
    const flight = { waiting: new Set<() => void>() };
    const over = wait(clock, 1000, line, flight);
    const left = () => [clock.pending, line.listenerCount("close"), flight.waiting.size];
    return { clock, line, flight, over, left };
  };

  it.each<[string, (waiting: ReturnType<typeof aWait>) => void]>([
    ["its time", ({ clock }) => clock.advance(1000)],
    ["the caller", ({ line }) => line.emit("close")],
    ["the flight", ({ flight }) => void [...flight.waiting].map((wake) => wake())],
  ])("ends by %s, and leaves no timer, no listener and no place in the flight", async (_what, end) => {
    const waiting = aWait();
    expect(waiting.left()).toEqual([1, 1, 1]);
    end(waiting);
    await waiting.over;
    expect(waiting.left()).toEqual([0, 0, 0]);
  });

  it("does not end before its time", async () => {
    const { clock, over, left } = aWait();
    clock.advance(999);
    expect(left()).toEqual([1, 1, 1]);
    clock.advance(1);
    await over;
  });

  it("does not begin for a caller who has hung up", async () => {
    const clock = manualClock();
    const line = new Line();
    line.closed = true;
    await wait(clock, 1000, line);
    expect([clock.pending, line.listenerCount("close")]).toEqual([0, 0]);
  });
});

describe("a flight", () => {
  it("is seen by others until it has ended, and wakes them then, however it ends", async () => {
    const flights = new Flights<string, number>();
    for (const fails of [false, true]) {
      let woken = 0;
      const flown = flights.fly("id", "asked", async (mine: Flight<string, number>) => {
        mine.answer = 1;
        if (fails) throw new Error("failed");
        return "landed";
      });
      const seen = flights.get("id");
      expect(seen?.asked).toBe("asked");
      expect(flights.get("other")).toBeUndefined();
      seen?.waiting.add(() => {
        woken += 1;
        // Whoever is woken may fly next.
        expect(flights.get("id")).toBeUndefined();
      });
      expect(await flown.catch((error: Error) => error.message)).toBe(fails ? "failed" : "landed");
      expect([woken, seen?.answer]).toEqual([1, 1]);
    }
  });
});
