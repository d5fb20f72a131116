import { describe, expect, it } from "@jest/globals";
import { concernsOf, isConcerned } from "../src/api/concerns.ts";
import { createPace, type PaceTimers } from "../src/api/pace.ts";
import { anEvent, WOLF_ID } from "./a-wolf.ts";

const SESSION_ID = "ses_01KB00000000000000000000SE";

describe("what an event makes outdated", () => {
  const outdated = (kind: string, key: readonly unknown[], changes = {}) =>
    concernsOf(anEvent({ kind, ...changes })).some((concern) => isConcerned(key, concern));

  it("is the wolf that it names, and no other", () => {
    expect(outdated("wolf.intent", ["getWolf", { params: { id: WOLF_ID } }])).toBe(true);
    expect(outdated("wolf.intent", ["getWolf", { params: { id: "wlf_other" } }])).toBe(false);
    expect(outdated("wolf.intent", ["listUsers", {}])).toBe(false);
  });

  it("is a session with its lists, whatever their filters", () => {
    const changes = { session_id: SESSION_ID };
    expect(outdated("session.running", ["getSession", { params: { id: SESSION_ID } }], changes)).toBe(true);
    expect(outdated("session.running", ["listSessions", { query: { status: "running" } }], changes)).toBe(
      true,
    );
    expect(outdated("session.running", ["getFleet", {}], changes)).toBe(true);
  });

  it("is at least the list of events for a kind that nobody knows yet", () => {
    expect(concernsOf(anEvent({ kind: "moon.rose", wolf_instance_id: null }))).toEqual([
      { operation: "listEvents" },
    ]);
    expect(concernsOf(anEvent({ kind: "", wolf_instance_id: null }))).toEqual([{ operation: "listEvents" }]);
    expect(concernsOf(anEvent({ kind: "constructor.x", wolf_instance_id: null }))).toEqual([
      { operation: "listEvents" },
    ]);
  });
});

class Clock implements PaceTimers {
  at = 0;
  waiting: { at: number; run: () => void }[] = [];
  now = () => this.at;
  after = (ms: number, run: () => void) => {
    const timer = { at: this.at + ms, run };
    this.waiting.push(timer);
    return () => {
      this.waiting = this.waiting.filter((one) => one !== timer);
    };
  };
  pass(ms: number): void {
    this.at += ms;
    const due = this.waiting.filter(({ at }) => at <= this.at);
    this.waiting = this.waiting.filter(({ at }) => at > this.at);
    for (const { run } of due) run();
  }
}

describe("the pace of what is asked again", () => {
  it("is at once when it was quiet, then once for all that came within the interval", () => {
    const clock = new Clock();
    const pace = createPace(clock);
    let asked = 0;
    const ask = () =>
      pace.ask(
        "sessions",
        () => {
          asked += 1;
        },
        1000,
      );
    for (let event = 0; event < 100; event += 1) ask();
    expect(asked).toBe(1);
    clock.pass(999);
    expect(asked).toBe(1);
    clock.pass(1);
    expect(asked).toBe(2);
    clock.pass(1000);
    expect(asked).toBe(2);
    ask();
    expect(asked).toBe(3);
  });

  it("is each name's own, and over when it is closed", () => {
    const clock = new Clock();
    const pace = createPace(clock);
    const asked: string[] = [];
    for (const name of ["a", "b", "a", "b"]) pace.ask(name, () => void asked.push(name), 50);
    expect(asked).toEqual(["a", "b"]);
    pace.close();
    clock.pass(1000);
    expect(asked).toEqual(["a", "b"]);
    expect(clock.waiting).toEqual([]);
  });
});
