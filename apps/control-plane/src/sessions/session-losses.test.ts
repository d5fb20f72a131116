import { describe, expect, it } from "@jest/globals";
import type { DisconnectPolicy, SessionStatus } from "@wolfpack/api-contract";
import { aSession, aSpec } from "../../test/a-session.ts";
import { sessionTransitions } from "./session-lifecycle.ts";
import { fateOf, fateOnEviction, fateOnLoss } from "./session-losses.ts";

const policies: DisconnectPolicy[] = ["keep", "replace", "stop"];
const statuses = Object.keys(sessionTransitions) as SessionStatus[];
const fate = (status: SessionStatus, policy: DisconnectPolicy, table: typeof fateOnLoss) =>
  fateOf(aSession({ status, spec: aSpec({ disconnect_policy: policy }) }), table);

describe("what becomes of a session", () => {
  it.each<[SessionStatus, string, string, string]>([
    ["queued", "leave", "leave", "leave"],
    ["placed", "move", "move", "move"],
    ["starting", "move", "move", "move"],
    ["running", "wait", "move", "end"],
    ["stopping", "end", "end", "end"],
    ["lost", "leave", "leave", "leave"],
    ["stopped", "leave", "leave", "leave"],
    ["failed", "leave", "leave", "leave"],
  ])("whose wolf is lost while it is %s: keep %s, replace %s, stop %s", (status, ...expected) => {
    expect(policies.map((policy) => fate(status, policy, fateOnLoss))).toEqual(expected);
  });

  it.each<[SessionStatus, string, string, string]>([
    ["queued", "leave", "leave", "leave"],
    ["placed", "move", "move", "move"],
    ["starting", "move", "move", "move"],
    ["running", "stop", "move", "stop"],
    ["stopping", "leave", "leave", "leave"],
    ["lost", "stop", "move", "stop"],
    ["stopped", "leave", "leave", "leave"],
    ["failed", "leave", "leave", "leave"],
  ])("on a wolf that is to be empty while it is %s: keep %s, replace %s, stop %s", (status, ...expected) => {
    expect(policies.map((policy) => fate(status, policy, fateOnEviction))).toEqual(expected);
  });

  it("is always something that its status allows", () => {
    const needs = { move: "requeued", wait: "wolfLost", stop: "stopRequested" } as const;
    for (const table of [fateOnLoss, fateOnEviction])
      for (const status of statuses)
        for (const policy of policies) {
          const decided = fate(status, policy, table);
          if (decided === "leave") continue;
          const events = Object.keys(sessionTransitions[status]);
          if (decided !== "end") expect(events).toContain(needs[decided]);
          else expect(status === "stopping" || events.includes("stopRequested")).toBe(true);
        }
  });
});
