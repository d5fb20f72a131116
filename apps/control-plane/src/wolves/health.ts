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

/** An agent of before does not describe its host; any other does within half a minute. At a heartbeat every 10 s, three minutes. */
const BEATS_WITHOUT_HOST_MAX = 18;

/**
 * Hears the heartbeats of one tunnel in their order. `before`: the reasons of the tunnel before. Those that an agent which
 * has just started cannot know yet stay until it does.
 */
export function healthJudge(before: readonly HealthReason[] = []): (beat: AgentHeartbeat) => HealthState {
  const wolf = wolfJudge(before);
  const host = hostJudge(before);

  return (beat) => {
    const reasons = wolf(beat);
    const failed = reasons.some(({ code }) => failing.has(code));
    if (beat.restarts?.recent)
      reasons.push(reason("wolf-restarted", "Wolf has restarted a short time ago: its lobbies are gone"));
    reasons.push(...host(beat.usage));
    return { health: failed ? "failed" : reasons.length === 0 ? "ok" : "degraded", reasons };
  };
}

/** With these, a session that is placed there would wait for nothing. */
const failing: ReadonlySet<HealthReasonCode> = new Set(["wolf-unreachable", "wolf-stuck"]);

/** What the way Wolf answers says: one reason, or none. */
function wolfJudge(before: readonly HealthReason[]): (beat: AgentHeartbeat) => HealthReason[] {
  let stuck = before.find(({ code }) => code === "wolf-stuck");
  let slow: { reason: HealthReason; oksLeft: number } | undefined;
  /** This agent has said that Wolf is slow or stuck: a `slow` after that is a late answer, no longer only a missing one. */
  let waited = false;
  const slowed = (what: string, detail?: string) => {
    slow = { reason: reason("wolf-slow", what, detail), oksLeft: OKS_AFTER_SLOW };
  };

  return ({ wolf, detail }) => {
    if (wolf === "unreachable") {
      [stuck, slow, waited] = [undefined, undefined, false];
      return [reason("wolf-unreachable", "Wolf does not answer its agent", detail)];
    }
    // An agent says at most once in a row that there is no answer yet, and never after `stuck`.
    if (wolf === "slow" && waited) stuck = undefined;
    waited = wolf === "slow" || wolf === "stuck";
    if (wolf === "stuck") stuck = reason("wolf-stuck", "Wolf takes requests and does not answer", detail);
    else if (wolf === "slow") slowed("Wolf answers slowly", detail);
    else if (stuck !== undefined) {
      // The first answer in time may be luck.
      stuck = undefined;
      slowed("Wolf answers again after it was stuck");
    }
    if (stuck !== undefined) return [stuck];
    if (wolf === "ok" && slow !== undefined) {
      slow.oksLeft -= 1;
      if (slow.oksLeft === 0) slow = undefined;
    }
    return slow === undefined ? [] : [slow.reason];
  };
}

/** Levels and states have their hysteresis from the agent, which sees every figure. */
function hostJudge(before: readonly HealthReason[]): (usage: HostUsage | undefined) => HealthReason[] {
  let gpus = before.filter(({ code }) => code.startsWith("gpu-"));
  let disks = before.filter(({ code }) => code.startsWith("disk-"));
  let beatsLeft = BEATS_WITHOUT_HOST_MAX;

  return (usage) => {
    if (usage === undefined) {
      if (beatsLeft === 0) [gpus, disks] = [[], []];
      else beatsLeft -= 1;
    } else {
      beatsLeft = BEATS_WITHOUT_HOST_MAX;
      disks = ofDisks(usage);
      if (usage.gpu_state !== null) gpus = ofGpus(usage);
    }
    return [...gpus, ...disks];
  };
}

function ofGpus({ gpu_state, gpu_detail }: HostUsage): HealthReason[] {
  if (gpu_state === "missing") return [reason("gpu-missing", "A GPU is not there", gpu_detail)];
  if (gpu_state === "unknown") return [reason("gpu-unknown", "The GPU's figures are unknown", gpu_detail)];
  return [];
}

function ofDisks({ disks, disk_detail }: HostUsage): HealthReason[] {
  const reasons: HealthReason[] = [];
  const full = disks.filter(({ level }) => level === "critical").map(({ mount }) => mount);
  if (full.length > 0) reasons.push(reason("disk-critical", "Almost full", full.join(", ")));
  if (disk_detail !== null) reasons.push(reason("disk-unknown", "Not every disk is known", disk_detail));
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
