/** Why a session is not made, as whoever creates it is told; a preview says the same beforehand. */
import type { PlacementExplanation } from "@wolfpack/api-contract";
import { ApiError } from "../http/problem.ts";
import type { OverQuota, Unqueued } from "../sessions/session-store.ts";
import type { Decision } from "./placement.ts";

export type Unplaced = Exclude<Decision, { outcome: "placed" }>;

/** Of one that got no wolf; undefined: it may wait. */
export function unplacedError(decision: Unplaced, waits: boolean): ApiError | undefined {
  if (decision.outcome === "impossible") return impossible(decision);
  return waits ? undefined : noCapacity(decision.explanation);
}

function impossible({
  errors,
  allowed,
  explanation,
}: Extract<Decision, { outcome: "impossible" }>): ApiError {
  return new ApiError("placement-impossible", explanation.text, {
    extras: { errors, allowed, counterfactuals: explanation.counterfactuals, removed: explanation.removed },
    logged: "No wolf that is known could ever take it.",
  });
}

function noCapacity({ text, candidates, removed, counterfactuals }: PlacementExplanation): ApiError {
  return new ApiError("no-capacity", text, {
    extras: { candidates, removed, counterfactuals },
    logged: "No wolf has room.",
  });
}

export function unqueuedError(answer: Unqueued, { text }: PlacementExplanation, now: Date): ApiError {
  if (answer.outcome !== "full") return overQuotaError(answer, now);
  const { limit, current } = answer;
  return new ApiError("queue-full", `${text} ${current} sessions wait already.`, {
    extras: { queue_length: current, limit, current },
    logged: `No wolf has room. ${current} sessions wait already.`,
  });
}

export function overQuotaError(over: OverQuota, now: Date): ApiError {
  const { limit, current } = over;
  const extras = { limit, current };
  if (over.outcome === "too-many")
    return new ApiError("quota-exceeded", `You have ${current} live sessions and may have ${limit}.`, {
      extras,
    });
  const seconds = Math.max(1, Math.ceil((over.freeAt.getTime() - now.getTime()) / 1000));
  return new ApiError("rate-limited", `You have created ${current} sessions in a minute and may ${limit}.`, {
    extras,
    headers: { "retry-after": String(seconds) },
  });
}
