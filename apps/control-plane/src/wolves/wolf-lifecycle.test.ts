import { describe, expect, it } from "@jest/globals";
import { Connectivity, Health, Intent } from "@wolfpack/api-contract";
import {
  allowedWords,
  connectivityTransitions,
  derivedStatus,
  type IntentEvent,
  intentAfter,
  intentsBefore,
  intentTransitions,
} from "./wolf-lifecycle.ts";

describe("a wolf's status", () => {
  it("is online only when it is connected and healthy, and offline only when it is lost", () => {
    for (const connectivity of Connectivity.options) {
      for (const health of Health.options) {
        const expected =
          connectivity === "lost"
            ? "offline"
            : connectivity === "connected" && health === "ok"
              ? "online"
              : "degraded";
        expect([connectivity, health, derivedStatus[connectivity][health]]).toEqual([
          connectivity,
          health,
          expected,
        ]);
      }
    }
  });
});

describe("connectivity", () => {
  it("never goes from suspect to lost by silence or a heartbeat, only by the end of its grace", () => {
    expect(connectivityTransitions.suspect).toEqual({
      tunnelOpened: "connected",
      tunnelLives: "connected",
      graceOver: "lost",
      heartbeat: "suspect",
    });
  });

  it("is restored from every state by a tunnel, a new one or one that lives on", () => {
    for (const state of Connectivity.options)
      expect(connectivityTransitions[state]).toMatchObject({
        tunnelOpened: "connected",
        tunnelLives: "connected",
      });
  });

  it("of a connected wolf is not ended by a grace that runs out late", () => {
    expect(connectivityTransitions.connected.graceOver).toBeUndefined();
  });
});

describe("intents", () => {
  /** Row by row what operators may do, in the API's words: the table once more, as they read it. */
  const allowed: Record<Intent, string[]> = {
    pending: ["uncordon", "retire"],
    active: ["cordon", "drain", "maintenance", "retire"],
    cordoned: ["uncordon", "drain", "maintenance", "retire"],
    draining: ["cordon", "uncordon", "drain", "maintenance", "retire"],
    maintenance: ["cordon", "uncordon", "drain", "retire"],
    retired: ["uncordon"],
  };

  it.each(Intent.options)("of a wolf that is %s allow what the API says", (intent) => {
    expect(allowedWords(intent)).toEqual(allowed[intent]);
  });

  it("turn into the same one by an event, whatever they were", () => {
    const events: IntentEvent[] = ["cordon", "uncordon", "drain", "drained", "maintain", "retire"];
    expect(events.map(intentAfter)).toEqual([
      "cordoned",
      "active",
      "draining",
      "next",
      "maintenance",
      "retired",
    ]);
    for (const event of events) expect(intentsBefore(event)).not.toEqual([]);
  });

  it("end a drain only while it lasts", () => {
    expect(intentsBefore("drained")).toEqual(["draining"]);
  });

  it("lead out of every state, and back to active from all but active", () => {
    for (const intent of Intent.options.filter((one) => one !== "active"))
      expect([intent, intentTransitions[intent].uncordon]).toEqual([intent, "active"]);
  });
});
