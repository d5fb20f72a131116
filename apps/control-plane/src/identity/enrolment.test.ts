import { describe, expect, it } from "@jest/globals";
import type { AgentKeyStatus } from "@wolfpack/api-contract";
import { enrolmentStep } from "./enrolment.ts";

const known = (status: AgentKeyStatus, expired = false, sameWolf = true) => ({ status, expired, sameWolf });
/** What is done, with a star where it uses the token, or why not. */
const said = (key: ReturnType<typeof known> | undefined, bound: boolean) => {
  const todo = enrolmentStep(key, bound);
  return todo.step === "refuse" ? todo.code : `${todo.step}${todo.use ? "*" : ""}`;
};

describe("an enrolment", () => {
  it.each<[string, ReturnType<typeof known> | undefined, any_: string, bound: string]>([
    ["a key that is new", undefined, "add*", "add*"],
    ["an active key", known("active"), "answer", "answer"],
    ["an active key that has expired", known("active", true), "extend*", "extend*"],
    ["a key that waits", known("pending"), "answer", "activate*"],
    ["a key that has waited too long", known("pending", true), "extend", "activate*"],
    ["a revoked key", known("revoked"), "agent-key-revoked", "agent-key-revoked"],
    ["a revoked key that has expired", known("revoked", true), "agent-key-revoked", "agent-key-revoked"],
  ])("of %s", (_what, key, byAnyToken, byTokenOfItsName) => {
    expect([said(key, false), said(key, true)]).toEqual([byAnyToken, byTokenOfItsName]);
  });

  it("of another wolf's key is refused, whatever its state and the token", () => {
    for (const status of ["active", "pending", "revoked"] as const)
      for (const expired of [false, true])
        for (const bound of [false, true])
          expect(said(known(status, expired, false), bound)).toBe("agent-key-in-use");
  });
});
