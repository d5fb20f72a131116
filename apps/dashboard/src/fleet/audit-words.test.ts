/** Every action that the contract knows is a sentence for people, however it went. */
import { describe, expect, it } from "@jest/globals";
import { type AuditEvent, auditActions } from "@wolfpack/api-contract";
import fc from "fast-check";
import { actionWords, auditWords } from "./audit-words.ts";

const id = (prefix: string) => `${prefix}_01KB000000000000000000000A`;
const anEntry = (given: Partial<AuditEvent> = {}): AuditEvent => ({
  id: id("aud"),
  at: "2026-11-26T12:00:00.000Z",
  actor: "user",
  actor_id: id("usr"),
  actor_name: "ops",
  credential_id: id("key"),
  action: "session.create",
  object: id("ses"),
  object_name: "training-3",
  result: "allowed",
  code: null,
  request_id: "request-1",
  replica: id("rep"),
  address: null,
  detail: {},
  ...given,
});

const results = ["allowed", "denied", "failed"] as const;
const actors = ["user", "agent", "join-token", "runner-token", "system", "anonymous"] as const;

describe("an entry of the audit log", () => {
  it.each(auditActions)("of %s is a sentence without ids", (action) => {
    for (const result of results)
      for (const actor of actors)
        for (const names of [
          {},
          { actor_name: null, object_name: null },
          { object: null, object_name: null },
        ]) {
          const text = auditWords(anEntry({ action, result, actor, ...names }));
          expect(text).toMatch(/^\S.*\S$/);
          expect(text).not.toMatch(/\b(ses|usr|key|jtk|wlf)_[0-9A-Z]|undefined|null| {2}/);
          expect(text).not.toContain(action);
        }
    expect(actionWords(action)).toMatch(/^[A-Z][A-Za-z ]+$/);
  });

  it("says who did what, could not, or was not allowed to", () => {
    expect(auditWords(anEntry())).toBe("ops created the session training-3");
    expect(auditWords(anEntry({ result: "failed" }))).toBe("ops could not create the session training-3");
    const steer = { action: "wolf.steer", object_name: "gpu-2" };
    expect(auditWords(anEntry({ ...steer, result: "denied" }))).toBe(
      "ops was not allowed to steer the wolf gpu-2",
    );
    const steered = (steering: unknown) => auditWords(anEntry({ ...steer, detail: { steering } }));
    expect(steered("cordon")).toBe("ops cordoned the wolf gpu-2");
    expect(steered("uncordon")).toBe("ops let the wolf gpu-2 take sessions again");
    expect(steered("maintenance")).toBe("ops put the wolf gpu-2 into maintenance");
    for (const odd of [undefined, "toString", { a: 1 }])
      expect(steered(odd)).toBe("ops steered the wolf gpu-2");
    const fleet = { ...steer, object: null, object_name: null, detail: { steering: "unfreeze" } };
    expect(auditWords(anEntry(fleet))).toBe("ops lifted the freeze of the fleet");
    expect(auditWords(anEntry({ action: "agent.connect", actor: "agent", actor_name: "gpu-2" }))).toBe(
      "The agent of gpu-2 opened a tunnel of the wolf training-3",
    );
    expect(actionWords("session.create")).toBe("Create a session");
  });

  it("names a wolf that was called by its name, and nothing that is gone or was never there", () => {
    const removed = { action: "wolf.remove", object_name: null };
    expect(auditWords(anEntry({ ...removed, object: "gpu-2" }))).toBe("ops removed the wolf gpu-2");
    for (const object of [id("wlf"), "wlf_x", "", null])
      expect(auditWords(anEntry({ ...removed, object }))).toBe("ops removed a wolf");
    expect(auditWords(anEntry({ object_name: id("ses") }))).toBe("ops created a session");
  });

  it("of an action that is not known here, or where a control plane of before says no names, is one too", () => {
    expect(auditWords(anEntry({ action: "wolf.paint" }))).toBe("ops did “wolf paint”");
    expect(auditWords(anEntry({ action: "toString", result: "denied" }))).toBe(
      "ops was not allowed to do “tostring”",
    );
    expect(auditWords(anEntry({ actor_name: undefined, object_name: undefined }))).toBe(
      "A user created a session",
    );
    expect(actionWords("wolf.paint")).toBe("Wolf paint");
  });

  it("shows no control character of what somebody has named", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (one, other) => {
        const text = auditWords(
          anEntry({ actor_name: one, object_name: null, object: other, action: other }),
        );
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
        expect(text).not.toMatch(/[\u0000-\u001f\u202e]/);
      }),
    );
  });
});
