import { describe, expect, it } from "@jest/globals";
import {
  EVENTS_BURST_MAX,
  EVENTS_PER_SECOND_MAX,
  EVENTS_QUEUED_MAX,
  type EventQueue,
  eventQueue,
} from "./event-queue.ts";

const prefix = "wolf::core::events::";
const stop = (seq: number, lobby = `lobby-${seq}`) => ({
  seq,
  event: `${prefix}StopLobbyEvent`,
  data: { lobby_id: lobby },
});
const ping = (seq: number) => ({ seq, event: `${prefix}RTPVideoPingEvent`, data: {} });
/** All that goes in an hour. */
function drain(queue: EventQueue): number[] {
  const seqs: number[] = [];
  for (let now = 0; now < 3_600_000; now += 1000) {
    for (let event = queue.take(now); event !== undefined; event = queue.take(now)) seqs.push(event.seq);
  }
  return seqs;
}

describe("the queue of events", () => {
  it("keeps their order", () => {
    const queue = eventQueue(0);
    for (const event of [stop(1), ping(2), stop(3)]) queue.push(event);
    expect(drain(queue)).toEqual([1, 2, 3]);
    expect(queue.takeGap()).toBe(false);
  });

  it("lets a burst through and then so many per second, also when the clock steps back", () => {
    const queue = eventQueue(10_000);
    let seq = 0;
    const sent = (now: number) => {
      let count = 0;
      for (let i = 0; i < 2 * EVENTS_BURST_MAX; i += 1) {
        seq += 1;
        queue.push(ping(seq));
        if (queue.take(now)) count += 1;
      }
      return count;
    };
    expect(sent(10_000)).toBe(EVENTS_BURST_MAX);
    expect(queue.waitMs(10_000)).toBe(1000 / EVENTS_PER_SECOND_MAX);
    expect(sent(9000)).toBe(0);
    expect(sent(10_000)).toBe(EVENTS_PER_SECOND_MAX);
  });

  it("is bounded: a flood of others pushes out no event of a lobby, and leaves no gap", () => {
    const queue = eventQueue(0);
    queue.push(stop(1));
    for (let seq = 2; seq < 10_000; seq += 1) queue.push(ping(seq));
    queue.push(stop(10_000));
    const seqs = drain(queue);
    expect(seqs).toHaveLength(EVENTS_QUEUED_MAX);
    expect([seqs[0], seqs.at(-1)]).toEqual([1, 10_000]);
    expect(queue.takeGap()).toBe(false);
  });

  it("drops the oldest when all are of lobbies, and says so once, after the rest", () => {
    const queue = eventQueue(0);
    for (let seq = 1; seq <= EVENTS_QUEUED_MAX + 2; seq += 1) queue.push(stop(seq));
    expect(queue.takeGap()).toBe(false);
    expect(drain(queue)[0]).toBe(3);
    expect([queue.takeGap(), queue.takeGap()]).toEqual([true, false]);
  });

  it("takes the same word about the same lobby once while it waits", () => {
    const queue = eventQueue(0);
    for (const event of [stop(1, "a"), stop(2, "a"), stop(3, "b"), ping(4), ping(5)]) queue.push(event);
    expect(drain(queue)).toEqual([1, 3, 4, 5]);
    queue.push(stop(6, "a"));
    expect(queue.waitMs(3_600_000)).toBe(0);
  });
});
