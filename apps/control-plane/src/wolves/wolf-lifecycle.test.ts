import { describe, expect, it } from "@jest/globals";
import { Connectivity, Health } from "@wolfpack/api-contract";
import { connectivityTransitions, derivedStatus } from "./wolf-lifecycle.ts";

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
      graceOver: "lost",
      heartbeat: "suspect",
    });
  });

  it("is restored from every state by a tunnel", () => {
    for (const state of Connectivity.options)
      expect(connectivityTransitions[state].tunnelOpened).toBe("connected");
  });

  it("of a connected wolf is not ended by a grace that runs out late", () => {
    expect(connectivityTransitions.connected.graceOver).toBeUndefined();
  });
});
