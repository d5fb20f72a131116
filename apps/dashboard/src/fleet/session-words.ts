/** What is said of a session on every page that shows one, as functions of values. */
import type { Session } from "@wolfpack/api-contract";
import type { Tone } from "../ui/badge.tsx";
import { plain, sentence, shortId } from "../ui/text.ts";
import { vendorOf } from "./wolf-words.ts";

export interface SessionState {
  word: string;
  tone: Tone;
  /** Why, as short as it gets; empty where nothing is to be said. */
  reason: string;
}

export const liveStatuses = ["queued", "placed", "starting", "running", "stopping", "lost"] as const;
export const endedStatuses = ["stopped", "failed"] as const;

export function isLive({ status }: Pick<Session, "status">): boolean {
  return (liveStatuses as readonly string[]).includes(status);
}

const tones: Record<string, Tone> = {
  queued: "info",
  placed: "info",
  starting: "info",
  running: "ok",
  stopping: "warning",
  lost: "danger",
  stopped: "neutral",
  failed: "danger",
};
export const toneOfStatus = (status: string): Tone => tones[status] ?? "neutral";

const stopWords: Record<string, string> = {
  requested: "as asked for",
  forced: "by force",
  expired: "its time was over",
  idle: "nobody used it",
  drained: "its wolf was drained",
  "wolf-lost": "its wolf was lost",
  cancelled: "cancelled while it waited",
};
export const stopReasonOf = (reason: string | null): string =>
  reason === null ? "" : (stopWords[reason] ?? plain(reason));

export function stateOfSession(session: Session): SessionState {
  const { status, failure, reachable, queue, stop_reason } = session;
  return {
    word: sentence(status),
    tone: status === "running" && !reachable ? "warning" : toneOfStatus(status),
    reason: reasonOf(),
  };

  function reasonOf(): string {
    switch (status) {
      case "queued":
        return queue?.position ? `place ${queue.position} in the queue` : "waits for a wolf";
      case "placed":
        return "its desktop is being made";
      case "starting":
        return "its desktop starts";
      case "running":
        return reachable ? "" : "cannot be reached now";
      case "lost":
        return "its wolf is lost; waits for it";
      case "stopping":
      case "stopped":
        return stopReasonOf(stop_reason);
      case "failed":
        return plain(failure?.reason) || plain(failure?.code);
      default:
        return "";
    }
  }
}

/** A name that may be pressed: never empty. One that nobody has named is called by its id. */
export const nameOf = ({ name, id }: Pick<Session, "name" | "id">): string =>
  name === id ? shortId(id) : plain(name) || shortId(id);

interface Owned {
  owner_id: string;
  owner_name?: string | null | undefined;
}

/** By name; who is no more has only an id, and so has everybody where a control plane of before does not say. */
export const ownerOf = ({ owner_name, owner_id }: Owned): string => plain(owner_name) || shortId(owner_id);

const failureWords: Record<string, string> = {
  "wolf-refused": "Its Wolf refused to make the desktop. The reason is in Wolf's own words.",
  "wolf-reply-broken": "Its Wolf answered with something that is no answer.",
  "wolf-timeout": "Its Wolf did not answer in time.",
  "wolf-unreachable": "Its wolf could not be reached.",
  "wolf-lost": "Its wolf was lost, and there was nowhere else to go.",
  "wolf-removed": "Its wolf was removed from the fleet.",
  "start-timeout": "The desktop was begun, but was not seen to run in time.",
  "start-interrupted": "The start was interrupted, and nobody can say whether the desktop was made.",
  "lobby-vanished": "Its Wolf no longer has the desktop: it was restarted, or somebody else ended it.",
  "lobby-stopped": "Its Wolf stopped the desktop.",
  "lobby-failed": "Its Wolf could not keep the desktop.",
  "container-ended": "The desktop's container ended by itself. The image may be at fault.",
  "queue-timeout": "Let it wait longer, ask for less, or make room.",
  "placement-impossible": "What it asks for has to change: see what would help.",
  internal: "Something unexpected happened in the control plane; its log says more.",
};
/** What a failure's code means; empty for one that is not known here. */
export const failureMeaning = (code: string): string => failureWords[code] ?? "";

const failuresInShort: Record<string, string> = {
  "wolf-refused": "its Wolf refused to make the desktop",
  "wolf-reply-broken": "its Wolf gave no proper answer",
  "wolf-timeout": "its Wolf did not answer in time",
  "wolf-unreachable": "its wolf could not be reached",
  "wolf-lost": "its wolf was lost",
  "wolf-removed": "its wolf was removed from the fleet",
  "start-timeout": "it was not seen to run in time",
  "start-interrupted": "its start was interrupted",
  "lobby-vanished": "its Wolf no longer has the desktop",
  "lobby-stopped": "its Wolf stopped the desktop",
  "lobby-failed": "its Wolf could not keep the desktop",
  "container-ended": "its container ended by itself",
  "queue-timeout": "no wolf had room for it in time",
  "placement-impossible": "no wolf could ever take it",
  internal: "something unexpected happened in the control plane",
};
/** What a failure's code means, within a sentence; the code in words where it is not known here. */
export const failureInShort = (code: string): string => failuresInShort[code] ?? sentence(code).toLowerCase();

const disconnectWords: Record<string, string> = {
  keep: "waits for it",
  replace: "starts anew elsewhere",
  stop: "ends",
};
/** What becomes of it when its wolf is lost. */
export const disconnectOf = (policy: string): string => disconnectWords[policy] ?? plain(policy);

/** `nvidia, RTX 4090, zone=a`: what was asked of its wolf; empty for nothing. */
export function wishOf({ spec }: Pick<Session, "spec">): string[] {
  const asked: string[] = [];
  if (spec.gpu_type) asked.push(spec.gpu_type === "none" ? "no GPU" : vendorOf({ gpu_type: spec.gpu_type }));
  if (spec.gpu_model) asked.push(`model ${plain(spec.gpu_model)}`);
  if (spec.region) asked.push(`region ${plain(spec.region)}${spec.region_required ? ", no other" : ""}`);
  for (const [name, value] of Object.entries(spec.labels)) asked.push(`${plain(name)}=${plain(value)}`);
  for (const one of spec.constraints) asked.push(constraintWords(one));
  if (spec.resources.vram_mb > 0) asked.push(`${spec.resources.vram_mb} MiB of video memory`);
  if (spec.resources.encoder_sessions !== 1) asked.push(`${spec.resources.encoder_sessions} video streams`);
  if (!spec.allow_degraded) asked.push("healthy");
  return asked;
}

function constraintWords({ attribute, op, values }: Session["spec"]["constraints"][number]): string {
  const name = plain(attribute);
  const listed = values.map((value) => plain(value)).join(" or ");
  if (op === "exists") return `has ${name}`;
  if (op === "absent") return `has no ${name}`;
  return op === "in" ? `${name} is ${listed}` : `${name} is not ${listed}`;
}

/** Words in any order, each somewhere in what a row says. */
export function filterSessions(
  rows: readonly Session[],
  text: string,
  wolfOf: (id: string | null) => string,
): readonly Session[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return rows;
  return rows.filter((row) => {
    const { word, reason } = stateOfSession(row);
    const wolf = wolfOf(row.wolf_instance_id);
    const parts = [row.name, row.id, row.spec.image, word, reason, row.failure?.code, row.spec.gpu_type];
    const said = [...parts, ownerOf(row), wolf, row.wolf_instance_id].join(" ").toLowerCase();
    return words.every((one) => said.includes(one));
  });
}
