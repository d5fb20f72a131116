/** What became of a session, step by step, as a function of its events. */
import type { FleetEvent, Session } from "@wolfpack/api-contract";
import { policyOf } from "../../fleet/placement-words.ts";
import { stopReasonOf, toneOfStatus } from "../../fleet/session-words.ts";
import type { Tone } from "../../ui/badge.tsx";
import { millis, moment, plain, sentence, shortId } from "../../ui/text.ts";

export interface Step {
  id: string;
  at: string;
  tone: Tone;
  title: string;
  /** Lines below it. */
  details: string[];
  wolf: string | null;
  /** How long it lasted, in ms; null for the last one, which still lasts or is the end. */
  lastedMs: number | null;
  /** A state of the session, not something that happened within one. */
  isState: boolean;
}

const titles: Record<string, string> = {
  "session.queued": "Waits for a wolf",
  "session.placed": "Placed",
  "session.starting": "Starts",
  "session.running": "Runs",
  "session.stopping": "Is being stopped",
  "session.lost": "Its wolf is lost",
  "session.stopped": "Has ended",
  "session.failed": "Has failed",
  "session.extended": "Lives longer",
  "session.expiring": "Will end soon",
  "placement.released": "Gave its slot back",
};

const causes: Record<string, string> = {
  reconciled: "found when what its Wolf runs was compared with what it should",
  deadline: "its time was over",
  drain: "its wolf is being emptied",
  "wolf-lost": "its wolf was lost",
  "wolf-event": "its Wolf said so",
  queue: "there was room for it",
  silence: "nothing was heard of its wolf",
};

/** What is said by the step it belongs to needs none of its own. */
const within = new Set(["queue.entered", "queue.left", "placement.made"]);

/**
 * Oldest first. `events` are the newest first, as they are listed: in the order in which they were written, which their times
 * follow only nearly. Without events, what the session says of itself.
 */
export function timelineOf(session: Session, events: readonly FleetEvent[]): Step[] {
  const steps: Step[] = [];
  const states: Step[] = [];
  for (const event of events.toReversed()) {
    if (within.has(event.kind)) {
      const line = lineOf(event);
      if (line !== "") states.at(-1)?.details.push(line);
      continue;
    }
    const step = stepOf(event);
    steps.push(step);
    if (step.isState) states.push(step);
  }
  if (states.length === 0) return bare(session);
  states.forEach((step, index) => {
    const next = states[index + 1];
    if (next) step.lastedMs = Math.max(0, Date.parse(next.at) - Date.parse(step.at)) || 0;
  });
  return steps;
}

function stepOf(event: FleetEvent): Step {
  const { id, at, kind, wolf_instance_id: wolf, detail } = event;
  const status = kind.startsWith("session.") ? kind.slice("session.".length) : "";
  const isState = status !== "" && status !== "extended" && status !== "expiring";
  return {
    id,
    at,
    tone: status === "expiring" ? "warning" : isState ? toneOfStatus(status) : "neutral",
    title: titles[kind] ?? sentence(kind),
    details: [...detailsOf(kind, detail), ...becauseOf(event)],
    wolf: kind === "session.placed" || kind === "session.lost" ? wolf : null,
    lastedMs: null,
    isState,
  };
}

function detailsOf(kind: string, detail: FleetEvent["detail"]): string[] {
  const { stop_reason, failure_code, attempts, expires_at, at, reason } = detail;
  if (kind === "session.extended")
    return [expires_at ? `until ${moment(expires_at)}` : "without an end of its own"];
  if (kind === "session.expiring")
    return [`at ${moment(at)}: ${stopReasonOf(word(reason)) || "no reason said"}`];
  const lines: string[] = [];
  if (stop_reason) lines.push(stopReasonOf(word(stop_reason)));
  if (failure_code) lines.push(sentence(word(failure_code)));
  if (kind === "session.placed" && Number(attempts) > 1) lines.push(`attempt ${plain(attempts)}`);
  return lines;
}

function becauseOf({ cause, actor, actor_name, owner_id }: FleetEvent): string[] {
  const lines: string[] = [];
  if (cause && causes[cause]) lines.push(causes[cause]);
  if (actor?.kind === "user" && actor.id)
    lines.push(
      `asked for by ${actor.id === owner_id ? "its owner" : plain(actor_name) || shortId(actor.id)}`,
    );
  return lines;
}

function lineOf({ kind, detail }: FleetEvent): string {
  const { waited_ms, policy, deadline } = detail;
  if (kind === "queue.left")
    return Number.isFinite(waited_ms) ? `after ${millis(Number(waited_ms))} of waiting` : "";
  if (kind === "queue.entered") return deadline ? `until ${moment(deadline)} at the latest` : "";
  return policy ? `found by ${policyOf(word(policy))}` : "";
}

/** Events are kept for 30 days; a session may be older. */
function bare({ id, created_at, started_at, ended_at, status, failure, stop_reason }: Session): Step[] {
  const step = (at: string | null, title: string, tone: Tone, details: string[] = []): Step[] =>
    at === null
      ? []
      : [{ id: `${id} ${title}`, at, tone, title, details, wolf: null, lastedMs: null, isState: true }];
  const why = failure ? [sentence(failure.code)] : [stopReasonOf(stop_reason)].filter(Boolean);
  return [
    ...step(created_at, "Was asked for", "info"),
    ...step(started_at, "Runs", "ok"),
    ...step(ended_at, status === "failed" ? "Has failed" : "Has ended", toneOfStatus(status), why),
  ];
}

const word = (value: unknown): string => (typeof value === "string" ? value : "");
