import { describe, expect, it } from "@jest/globals";
import {
  EVENTS_BURST_MAX,
  EVENTS_PER_SECOND_MAX,
  EVENTS_QUEUED_MAX,
  type EventQueue,
  eventQueue,
  goesUp,
} from "./event-queue.ts";

const prefix = "wolf::core::events::";
const stop = (n: number, lobby = `lobby-${n}`) => ({
  event: `${prefix}StopLobbyEvent`,
  data: { n, lobby_id: lobby },
});
const join = (n: number) => ({ event: `${prefix}JoinLobbyEvent`, data: { n, lobby_id: "a" } });
/** All that goes in an hour. */
function drain(queue: EventQueue): unknown[] {
  const taken: unknown[] = [];
  for (let now = 0; now < 3_600_000; now += 1000) {
    for (let next = queue.take(now); next !== undefined; next = queue.take(now))
      taken.push(next === "gap" ? next : next.data.n);
  }
  return taken;
}

describe("the queue of events", () => {
  it("lets those of a lobby's life go first, and keeps the order of each kind", () => {
    const queue = eventQueue(0);
    for (const event of [join(1), stop(2), join(3), stop(4)]) queue.push(event);
    expect(drain(queue)).toEqual([2, 4, 1, 3]);
  });

  it("lets a burst through and then so many per second, also when the clock steps back", () => {
    const queue = eventQueue(10_000);
    let n = 0;
    const sent = (now: number) => {
      let count = 0;
      for (let i = 0; i < 2 * EVENTS_BURST_MAX; i += 1) {
        n += 1;
        queue.push(join(n));
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
    for (let n = 2; n < 10_000; n += 1) queue.push(join(n));
    queue.push(stop(10_000));
    const taken = drain(queue);
    expect(taken).toHaveLength(EVENTS_QUEUED_MAX);
    expect(taken.slice(0, 2)).toEqual([1, 10_000]);
    expect(taken).not.toContain("gap");
  });

  it("drops the oldest when all are of lobbies, and says so once, after the rest", () => {
    const queue = eventQueue(0);
    for (let n = 1; n <= EVENTS_QUEUED_MAX + 2; n += 1) queue.push(stop(n));
    const taken = drain(queue);
    expect(taken).toHaveLength(EVENTS_QUEUED_MAX + 1);
    expect([taken[0], taken.indexOf("gap")]).toEqual([3, EVENTS_QUEUED_MAX]);
    expect(queue.waitMs(3_600_000)).toBeUndefined();
  });

  it("says no faster than it lets events go that some could not be read", () => {
    const queue = eventQueue(0);
    let said = 0;
    for (let i = 0; i < 10_000; i += 1) {
      queue.lose();
      if (queue.take(0) === "gap") said += 1;
    }
    expect(said).toBe(EVENTS_BURST_MAX);
    expect(queue.waitMs(0)).toBe(1000 / EVENTS_PER_SECOND_MAX);
  });

  it("takes the same word about the same lobby once while it waits", () => {
    const queue = eventQueue(0);
    for (const event of [stop(1, "a"), stop(2, "a"), stop(3, "b"), join(4), join(5)]) queue.push(event);
    expect(drain(queue)).toEqual([1, 3, 4, 5]);
    queue.push(stop(6, "a"));
    expect(queue.waitMs(3_600_000)).toBe(0);
  });

  it("is for what somebody above makes use of, by its full name", () => {
    const up = [
      ...["CreateLobbyEvent", "StopLobbyEvent", "JoinLobbyEvent", "LeaveLobbyEvent"],
      ...["DockerContainerCreated", "DockerContainerStopped", "StreamSession"],
      ...["PauseStreamEvent", "ResumeStreamEvent", "StopStreamEvent"],
    ].map((name) => `${prefix}${name}`);
    for (const name of [...up, "DockerPullImageStartEvent", "DockerPullImageEndEvent"])
      expect([name, goesUp(name)]).toEqual([name, true]);
    for (const name of [
      ...["RTPVideoPingEvent", "RTPAudioPingEvent", "VideoSession", "AudioSession", "IDRRequestEvent"],
      ...["PlugDeviceEvent", "UnplugDeviceEvent", "PairSignal", "SwitchStreamProducerEvents", "StartRunner"],
      ...["", "StopLobbyEvent\n", "stoplobbyevent", "__proto__"],
    ])
      expect([name, goesUp(`${prefix}${name}`)]).toEqual([name, false]);
    for (const name of ["", "message", "StopLobbyEvent", "toString"]) expect(goesUp(name)).toBe(false);
  });
});
