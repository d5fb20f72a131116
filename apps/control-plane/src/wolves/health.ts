/** What an agent's heartbeats say about a wolf's health, with reasons. Pure; a reason at its threshold does not flap. */
import type {
  AgentHeartbeat,
  Health,
  HealthReason,
  HealthReasonCode,
  HostUsage,
} from "@wolfpack/api-contract";

export interface HealthState {
  health: Health;
  reasons: HealthReason[];
}

/** A Wolf that was slow has to answer in time this often in a row; a heartbeat comes every ten seconds. */
const OKS_AFTER_SLOW = 2;
const DETAIL_CHARACTERS_MAX = 300;

/** Hears the heartbeats of one tunnel in their order. */
export function healthJudge(): (beat: AgentHeartbeat) => HealthState {
  let slow: { reason: HealthReason; oksLeft: number } | undefined;

  return ({ wolf, detail, usage, restarts }) => {
    const reasons: HealthReason[] = [];
    if (wolf === "unreachable") {
      slow = undefined;
      reasons.push(reason("wolf-unreachable", "Wolf does not answer its agent", detail));
    } else if (wolf === "slow") {
      slow = { reason: reason("wolf-slow", "Wolf answers slowly", detail), oksLeft: OKS_AFTER_SLOW };
    } else if (slow !== undefined) {
      slow.oksLeft -= 1;
      if (slow.oksLeft === 0) slow = undefined;
    }
    if (slow !== undefined) reasons.push(slow.reason);
    if (restarts?.recent)
      reasons.push(reason("wolf-restarted", "Wolf has restarted a short time ago: its lobbies are gone"));
    if (usage !== undefined) reasons.push(...ofHost(usage));
    if (wolf === "unreachable") return { health: "failed", reasons };
    return { health: reasons.length === 0 ? "ok" : "degraded", reasons };
  };
}

/** Levels and states have their hysteresis from the agent, which sees every figure. */
function ofHost({ gpu_state, gpu_detail, disks }: HostUsage): HealthReason[] {
  const reasons: HealthReason[] = [];
  if (gpu_state === "missing")
    reasons.push(reason("gpu-missing", "A GPU that was there is gone", gpu_detail));
  if (gpu_state === "unknown")
    reasons.push(reason("gpu-unknown", "The GPU's figures are unknown", gpu_detail));
  const full = disks.filter(({ level }) => level === "critical").map(({ mount }) => mount);
  if (full.length > 0) reasons.push(reason("disk-critical", "Almost full", full.join(", ")));
  return reasons;
}

function reason(code: HealthReasonCode, what: string, detail?: string | null): HealthReason {
  // PostgreSQL takes no NUL and no half of a surrogate pair, and nobody wants the other control characters in a list.
  const said = detail
    ?.replace(/\p{Cc}+/gu, " ")
    .trim()
    .toWellFormed();
  const text = said ? `${what}: ${said}` : what;
  return { code, detail: text.slice(0, DETAIL_CHARACTERS_MAX).toWellFormed() };
}
