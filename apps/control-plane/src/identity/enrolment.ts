/**
 * What an enrolment does: a pure table over what is known of the key. The first key of a name becomes active; another one waits for
 * approval, unless the token was made for this very name.
 */
import type { AgentKeyStatus } from "@wolfpack/api-contract";
import type { EnrolmentRefusal } from "./agent-key-store.ts";

/** The row with this public key. */
export interface KnownKey {
  status: AgentKeyStatus;
  expired: boolean;
  /** It is this wolf's. */
  sameWolf: boolean;
}

/** `use`: the step needs the join token to be usable, and uses it. The RUNNER_TOKEN always is. */
export type EnrolmentStep =
  | { step: "add" | "activate" | "extend"; use: true }
  | { step: "extend" | "answer"; use: false }
  | { step: "refuse"; code: EnrolmentRefusal };

export function enrolmentStep(known: KnownKey | undefined, bound: boolean): EnrolmentStep {
  if (known === undefined) return { step: "add", use: true };
  if (!known.sameWolf) return { step: "refuse", code: "agent-key-in-use" };
  if (known.status === "revoked") return { step: "refuse", code: "agent-key-revoked" };
  if (known.status === "pending" && bound) return { step: "activate", use: true };
  if (!known.expired) return { step: "answer", use: false };
  // A key that has expired is as good as a new one of this wolf; one that waits needs approval all the same.
  return known.status === "active" ? { step: "extend", use: true } : { step: "extend", use: false };
}
