import { describe, expect, it } from "@jest/globals";
import type { FleetEvent } from "@wolfpack/api-contract";
import { aSession } from "../../../test/a-session.ts";
import { timelineOf } from "./timeline.ts";

let last = 0;
function anEvent(kind: string, second: number, given: Partial<FleetEvent> = {}): FleetEvent {
  last += 1;
  return {
    id: `evt_${String(last).padStart(4, "0")}`,
    at: `2026-11-26T12:00:${String(second).padStart(2, "0")}.000Z`,
    kind,
    session_id: "ses_1",
    wolf_instance_id: "wlf_1",
    owner_id: "usr_1",
    detail: {},
    ...given,
  };
}

const shown = (oldestFirst: FleetEvent[]) => timelineOf(aSession(), oldestFirst.toReversed());

describe("the timeline of a session", () => {
  const user = { actor: { kind: "user", id: "usr_1" }, cause: "requested" };
  const events = [
    anEvent("session.queued", 1, user),
    anEvent("queue.entered", 1, { detail: { deadline: "2026-11-26T12:30:01.000Z" } }),
    anEvent("session.placed", 4, { cause: "queue", detail: { attempts: 1 } }),
    anEvent("queue.left", 4, { detail: { waited_ms: 3000 } }),
    anEvent("placement.made", 4, { detail: { policy: "cost" } }),
    anEvent("session.running", 5),
  ];

  it("is oldest first, with how long each state lasted and what belongs to it", () => {
    const steps = shown(events);
    expect(steps.map(({ title, lastedMs }) => [title, lastedMs])).toEqual([
      ["Waits for a wolf", 3000],
      ["Placed", 1000],
      ["Runs", null],
    ]);
    expect(steps[0]?.details[0]).toBe("asked for by its owner");
    expect(steps[0]?.details[1]).toMatch(/^until .*Nov.* at the latest$/);
    expect(steps[1]?.details).toEqual([
      "there was room for it",
      "after 3.0 s of waiting",
      "found by the cheapest",
    ]);
    expect(steps.map(({ wolf }) => wolf)).toEqual([null, "wlf_1", null]);
  });

  it("tells of warnings and of a longer life between states, which go on", () => {
    const steps = shown([
      anEvent("session.running", 1),
      anEvent("session.expiring", 2, { detail: { reason: "idle", at: "2026-11-26T12:05:00.000Z" } }),
      anEvent("session.extended", 3, { detail: { expires_at: null } }),
      anEvent("session.stopping", 9, {
        detail: { stop_reason: "requested" },
        actor: { kind: "user", id: "usr_2" },
      }),
    ]);
    expect(steps.map(({ isState, lastedMs }) => [isState, lastedMs])).toEqual([
      [true, 8000],
      [false, null],
      [false, null],
      [true, null],
    ]);
    expect(steps[1]?.details[0]).toContain("nobody used it");
    expect(steps[2]?.details).toEqual(["without an end of its own"]);
    expect(steps[3]?.details).toEqual(["as asked for", "asked for by usr_2"]);
  });

  it("names whoever asked for it, and falls back to the id of who is no more", () => {
    const id = "usr_01KB000000000000000000000B";
    const asked = (actor_name: string | null | undefined) =>
      shown([anEvent("session.stopping", 1, { actor: { kind: "user", id }, actor_name })])[0]?.details;
    expect(asked("ops")).toEqual(["asked for by ops"]);
    for (const gone of [null, undefined]) expect(asked(gone)).toEqual(["asked for by usr_01KB0…000B"]);
    expect(asked("\u001b[31m")).toEqual(["asked for by ␛[31m"]);
  });

  it("says from its own times what events no longer tell", () => {
    const session = aSession({
      status: "failed",
      started_at: null,
      ended_at: "2026-11-26T12:00:09.000Z",
      failure: { code: "start-timeout", reason: "x" },
    });
    const steps = timelineOf(session, []);
    expect(steps.map(({ title, details }) => [title, details])).toEqual([
      ["Was asked for", []],
      ["Has failed", ["Start timeout"]],
    ]);
  });

  it("bears kinds, causes and details that are not known here, and none at all", () => {
    const odd = [
      anEvent("placement.made", 0),
      anEvent("session.dreaming", 1, { cause: "sleep", detail: { stop_reason: 7, failure_code: {} } }),
      anEvent("queue.left", 1, { detail: { waited_ms: "long" } }),
      anEvent("session.expiring", 2),
    ];
    const steps = shown(odd);
    expect(steps.map(({ title, tone }) => [title, tone])).toEqual([
      ["Session dreaming", "neutral"],
      ["Will end soon", "warning"],
    ]);
    expect(steps[1]?.details).toEqual(["at an unknown time: no reason said"]);
  });

  it("keeps the order in which things were written, whatever their times say", () => {
    const steps = shown([
      anEvent("session.placed", 1),
      anEvent("session.starting", 3),
      anEvent("session.running", 2),
      { ...anEvent("session.stopped", 4), at: "soon" },
    ]);
    expect(steps.map(({ title, lastedMs }) => [title, lastedMs])).toEqual([
      ["Placed", 2000],
      ["Starts", 0],
      ["Runs", 0],
      ["Has ended", null],
    ]);
  });
});
