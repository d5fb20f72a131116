import { describe, expect, it } from "@jest/globals";
import type { Session } from "@wolfpack/api-contract";
import { aSession } from "../../test/a-session.ts";
import {
  disconnectOf,
  failureMeaning,
  filterSessions,
  isLive,
  nameOf,
  ownerOf,
  stateOfSession,
  stopReasonOf,
  wishOf,
} from "./session-words.ts";

const wolfOf = (id: string | null) => id ?? "";

describe("the state of a session", () => {
  it("is a word, and a reason where there is something to say", () => {
    expect(stateOfSession(aSession())).toEqual({ word: "Running", tone: "ok", reason: "" });
    const queue = { position: 3, queued_at: "", deadline: "" };
    expect(stateOfSession(aSession({ status: "queued", queue })).reason).toBe("place 3 in the queue");
    expect(stateOfSession(aSession({ status: "queued", queue: { ...queue, position: null } })).reason).toBe(
      "waits for a wolf",
    );
  });

  it("warns of one that runs where nobody can reach it", () => {
    const { tone, reason } = stateOfSession(aSession({ reachable: false }));
    expect([tone, reason]).toEqual(["warning", "cannot be reached now"]);
  });

  it("says why one has failed, in the reason's words or else its code's", () => {
    const failed = (reason: string) =>
      stateOfSession(aSession({ status: "failed", failure: { code: "wolf-refused", reason } })).reason;
    expect(failed("No such image.")).toBe("No such image.");
    expect(failed("")).toBe("wolf-refused");
  });

  it("says why one was stopped, also for a reason that is not known here", () => {
    expect(stateOfSession(aSession({ status: "stopped", stop_reason: "idle" })).reason).toBe(
      "nobody used it",
    );
    expect(stopReasonOf("on-a-whim")).toBe("on-a-whim");
    expect(stopReasonOf(null)).toBe("");
  });

  it("bears a status that is not known here", () => {
    const state = stateOfSession(aSession({ status: "dreaming" as Session["status"] }));
    expect(state).toEqual({ word: "Dreaming", tone: "neutral", reason: "" });
    expect(isLive({ status: "dreaming" as Session["status"] })).toBe(false);
  });
});

describe("the words of a session", () => {
  it("make its name harmless and never empty", () => {
    expect(nameOf({ name: "\u202egnp\u0007", id: "ses_1" })).toBe("\\u202egnp␇");
    expect(nameOf({ name: "", id: "ses_01M8CX2CGYS14KCXMKHHE247CJ" })).toBe("ses_01M8C…47CJ");
  });

  it("say what was asked of its wolf, and nothing for what was not", () => {
    expect(wishOf(aSession())).toEqual([]);
    const spec = {
      ...aSession().spec,
      gpu_type: "nvidia" as const,
      region: "eu",
      region_required: true,
      labels: { zone: "a" },
      constraints: [
        { attribute: "disk", op: "not-in" as const, values: ["slow", "full"] },
        { attribute: "lab", op: "absent" as const, values: [] },
      ],
      allow_degraded: false,
    };
    expect(wishOf({ spec })).toEqual([
      "NVIDIA",
      "region eu, no other",
      "zone=a",
      "disk is not slow or full",
      "has no lab",
      "healthy",
    ]);
  });

  it("know nothing of a failure that is new, and repeat a policy that is", () => {
    expect(failureMeaning("queue-timeout")).toContain("wait longer");
    expect(failureMeaning("moon-phase")).toBe("");
    expect(disconnectOf("pray")).toBe("pray");
  });
});

describe("names", () => {
  const id = "ses_01KB000000000000000000000A";
  const owner_id = "usr_01KB000000000000000000000A";

  it("are ids cut short where nobody has given one, or who had it is no more", () => {
    expect(nameOf({ id, name: "desk" })).toBe("desk");
    expect([nameOf({ id, name: id }), nameOf({ id, name: "" })]).toEqual([
      "ses_01KB0…000A",
      "ses_01KB0…000A",
    ]);
    expect(ownerOf({ owner_id, owner_name: "mara" })).toBe("mara");
    for (const owner_name of [null, undefined, ""])
      expect(ownerOf({ owner_id, owner_name })).toBe("usr_01KB0…000A");
    expect(ownerOf({ owner_id, owner_name: "\u202eamar" })).toBe("\\u202eamar");
  });
});

describe("a search among sessions", () => {
  const rows = [
    aSession({ id: "ses_1", name: "Design Review", owner_name: "mara" }),
    aSession({ id: "ses_2", owner_id: "usr_2", owner_name: "otto" }),
  ];

  it("finds words in any order, of names of owners too", () => {
    expect(filterSessions(rows, "review design", wolfOf).map(({ id }) => id)).toEqual(["ses_1"]);
    expect(filterSessions(rows, "mara running", wolfOf).map(({ id }) => id)).toEqual(["ses_1"]);
  });

  it("gives the same rows for blanks, and none for what nobody says", () => {
    expect(filterSessions(rows, "  ", wolfOf)).toBe(rows);
    expect(filterSessions(rows, "(.*", wolfOf)).toEqual([]);
  });
});
