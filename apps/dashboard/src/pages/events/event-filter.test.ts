import { describe, expect, it } from "@jest/globals";
import type { FleetEvent } from "@wolfpack/api-contract";
import { type EventFilter, filterErrors, filterQuery, fits, kindOptions } from "./event-filter.ts";

const WOLF = "wlf_01KB00000000000000000000WF";
const SESSION = "ses_01KB00000000000000000000SE";
const any: EventFilter = { kind: "", wolf: "", session: "", actor: "" };
const event: FleetEvent = {
  id: "evt_01KB00000000000000000000EV",
  at: "2026-11-26T12:00:00.000Z",
  kind: "session.running",
  session_id: SESSION,
  wolf_instance_id: WOLF,
  owner_id: null,
  actor: { kind: "agent", id: WOLF },
  detail: {},
};

describe("the filter of events", () => {
  it("asks the API for the newest first, and for nothing that is empty", () => {
    expect(filterQuery(any)).toEqual({ newest_first: "true" });
    expect(filterQuery({ kind: "wolf.*", wolf: WOLF, session: SESSION, actor: "usr_x" })).toEqual({
      newest_first: "true",
      kind: "wolf.*",
      wolf_instance_id: WOLF,
      session_id: SESSION,
      actor_id: "usr_x",
    });
  });

  it("holds what comes live to the same filter", () => {
    expect(fits(event, any)).toBe(true);
    expect(fits(event, { kind: "session.*", wolf: WOLF, session: SESSION, actor: WOLF })).toBe(true);
    for (const wrong of [
      { kind: "session.lost" },
      { kind: "wolf.*" },
      { wolf: `${WOLF.slice(0, -1)}X` },
      { session: "ses_other" },
      { actor: "usr_other" },
    ])
      expect(fits(event, { ...any, ...wrong })).toBe(false);
  });

  it("takes an event without an actor, as earlier control planes send, for nobody's", () => {
    const { actor: _actor, ...before } = event;
    expect(fits(before, { ...any, actor: WOLF })).toBe(false);
    expect(fits(before, any)).toBe(true);
  });

  it("takes a beginning for whole words only", () => {
    expect(fits({ ...event, kind: "sessions.all" }, { ...any, kind: "session.*" })).toBe(false);
  });

  it.each([
    [{ kind: "<b>" }, "kind"],
    [{ kind: "session." }, "kind"],
    [{ wolf: "../../etc" }, "wolf"],
    [{ session: "ses_1" }, "session"],
  ])("says what is wrong with %j before it asks", (wrong, field) => {
    expect(Object.keys(filterErrors({ ...any, ...wrong }))).toEqual([field]);
  });

  it("finds nothing wrong with names, ids and nothing", () => {
    expect(filterErrors(any)).toEqual({});
    expect(filterErrors({ kind: "api-key.*", wolf: "gpu-1", session: SESSION, actor: "Ada" })).toEqual({});
  });

  it("offers each kind below all of its like, and what a link asks for though it does not know it", () => {
    const options = kindOptions(["session.queued", "session.lost", "api-key.revoked"], "session.new");
    expect(options.map(([value]) => value)).toEqual([
      "",
      "session.*",
      "session.queued",
      "session.lost",
      "api-key.*",
      "api-key.revoked",
      "session.new",
    ]);
    expect(options.find(([value]) => value === "api-key.*")?.[1]).toBe("API key: all");
  });
});
