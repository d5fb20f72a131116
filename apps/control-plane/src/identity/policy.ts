/**
 * The one place that decides who may do what: a pure function over the contract's table of actions. What is not in the table is
 * refused.
 */
import { type Action, actionKind, actions, type Reach } from "@wolfpack/api-contract";
import { ApiError } from "../http/problem.ts";
import type { Principal, UserPrincipal } from "./principal.ts";

/** `hidden`: an object of somebody else, which is to read like one that does not exist. */
export type Decision = "allowed" | "forbidden" | "hidden";

/**
 * Without `owner` it says whether the caller may do this to any object at all. `owner` is the user whose object it is, or the wolf
 * for machines.
 */
export function decide(principal: Principal, action: Action, owner?: string): Decision {
  const { scope, users, machines = [] } = actionKind(action);
  if (principal.kind !== "user") {
    if (!machines.includes(principal.kind)) return "forbidden";
    const foreign = principal.kind === "agent" && owner !== undefined && owner !== principal.wolfId;
    return foreign ? "forbidden" : "allowed";
  }
  if (principal.scopes !== null && !principal.scopes.includes(scope)) return "forbidden";
  const reach = users[principal.role];
  if (reach === undefined) return "forbidden";
  return reach === "any" || owner === undefined || owner === principal.userId ? "allowed" : "hidden";
}

/** Throws when the caller may not: `missing` makes the problem of an object that does not exist. */
export function requireMay(
  principal: Principal,
  action: Action,
  owner: string | undefined,
  missing: () => ApiError,
): void {
  const decision = decide(principal, action, owner);
  if (decision === "forbidden") throw new ApiError("forbidden", "This credential may not do that.");
  if (decision === "hidden") throw missing().asDenied();
}

/** Whose objects a user may act on that may act at all. */
export function reachOf(principal: UserPrincipal, action: Action): Reach {
  return actionKind(action).users[principal.role] ?? "own";
}

/** What this credential may do, at least to what is its own: for screens that show no button in vain. */
export const actionsOf = (principal: Principal): Action[] =>
  (Object.keys(actions) as Action[]).filter((action) => decide(principal, action) === "allowed");
