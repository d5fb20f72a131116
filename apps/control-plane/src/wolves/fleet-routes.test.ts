import { describe, expect, it } from "@jest/globals";
import { FleetState } from "@wolfpack/api-contract";
import { toFleetState } from "./fleet-routes.ts";

const at = new Date("2026-11-23T12:00:00.000Z");
const wolves = { connected: 3, suspect: 2, lost: 1 };

describe("the fleet's state in the API", () => {
  it("is frozen as long as the row says since when, and an operator's word has its end", () => {
    const state = toFleetState({ frozenSince: at, overrideUntil: null, wolves }, {});
    expect(FleetState.parse(state)).toEqual({
      evictions_frozen: true,
      frozen_since: at.toISOString(),
      override_until: null,
      wolves,
      sessions: {},
      queue_length: 0,
    });
    expect(toFleetState({ frozenSince: null, overrideUntil: at, wolves }, {})).toMatchObject({
      evictions_frozen: false,
      override_until: at.toISOString(),
    });
  });

  it("counts what lives, and names no status in which there is nothing", () => {
    const state = toFleetState(
      { frozenSince: null, overrideUntil: null, wolves },
      { running: 7, queued: 2, lost: 0 },
    );
    expect([state.sessions, state.queue_length]).toEqual([{ running: 7, queued: 2 }, 2]);
  });
});
