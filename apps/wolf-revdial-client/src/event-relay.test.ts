/** What of Wolf's events becomes a notice, and when: time is moved by hand. */
import { describe, expect, it } from "@jest/globals";
import { ManualClock } from "revdial/testing";
import { EVENTS_BURST_MAX } from "./event-queue.ts";
import { eventRelay } from "./event-relay.ts";
import { createLogger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";

const prefix = "wolf::core::events::";
const ping = '{"client_ip":"10.0.0.5","client_port":47998,"payload":"0123456789abcdef"}';

function relay() {
  const clock = new ManualClock();
  const stop = new AbortController();
  const metrics = createMetrics();
  const lines: { level: number; msg: string; count: number }[] = [];
  const notices: { type: string; payload: { seq?: number; event?: string } }[] = [];
  const events = eventRelay({
    clock,
    log: createLogger("info", { write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[0]) }),
    metrics,
    signal: stop.signal,
    notify: (type, payload) => notices.push({ type, payload: payload as object }) > 0,
  });
  return {
    clock,
    stop,
    lines,
    notices,
    take: (name: string, data = "{}") => events.take(`${prefix}${name}`, data),
    seqs: () => notices.flatMap(({ payload }) => payload.seq ?? []),
    counted: () => Object.fromEntries(metrics.counters().map(({ labels, value }) => [labels.why, value])),
  };
}

describe("Wolf's events", () => {
  it("of a lobby are not delayed by 100 pings a second, which leave no gap in the numbers and no trace above", async () => {
    const { clock, notices, take, seqs, counted } = relay();
    take("CreateLobbyEvent", '{"id":"a"}');
    for (let sent = 0; sent < 6000; sent += 1) {
      expect(take(sent % 2 === 0 ? "RTPVideoPingEvent" : "RTPAudioPingEvent", ping)).toBeUndefined();
      if (sent % 100 === 99) await clock.advance(1000);
    }
    take("StopLobbyEvent", '{"lobby_id":"a"}');
    expect(notices.map(({ payload }) => payload.event)).toEqual([
      `${prefix}CreateLobbyEvent`,
      `${prefix}StopLobbyEvent`,
    ]);
    expect(seqs()).toEqual([1, 2]);
    expect(counted()).toEqual({ "not-needed": 6000 });
  });

  it("of a lobby overtake others that wait, and all are numbered as they go", async () => {
    const { clock, notices, take, seqs } = relay();
    for (let i = 0; i < EVENTS_BURST_MAX + 20; i += 1) take("JoinLobbyEvent", `{"lobby_id":"a","i":${i}}`);
    take("StopLobbyEvent", '{"lobby_id":"a"}');
    expect(notices).toHaveLength(EVENTS_BURST_MAX);
    await clock.advance(20);
    expect(notices.at(-1)?.payload.event).toBe(`${prefix}StopLobbyEvent`);
    await clock.advance(10_000);
    expect(seqs()).toEqual(Array.from({ length: EVENTS_BURST_MAX + 21 }, (_, at) => at + 1));
  });

  it("that cannot be read are one line in 10 s with their count, and a word to list the lobbies, no faster than events", async () => {
    const { clock, stop, lines, notices, take, counted } = relay();
    for (let i = 0; i < 20_000; i += 1) take("StopLobbyEvent", "{");
    expect(lines).toMatchObject([{ level: 40, count: 1 }]);
    expect(notices).toHaveLength(EVENTS_BURST_MAX);
    expect(new Set(notices.map(({ type }) => type))).toEqual(new Set(["relist"]));
    await clock.advance(10_000);
    take("StopLobbyEvent", "[]");
    expect(lines).toMatchObject([{ count: 1 }, { count: 20_000 }]);
    take("StopLobbyEvent", "1");
    stop.abort();
    expect(lines).toMatchObject([{ count: 1 }, { count: 20_000 }, { count: 1 }]);
    expect(counted()).toEqual({ malformed: 20_002 });
  });
});
