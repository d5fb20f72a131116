/** What happened, one sentence for each kind of event. Names and reasons are others' text and come in plain; a detail may hold anything. */
import type { FleetEvent, FleetEventKind } from "@wolfpack/api-contract";
import { duration, millis, moment, plain, sentence, withArticle } from "../ui/text.ts";
import { isAnyId } from "./ids.ts";
import { policyOf } from "./placement-words.ts";
import { failureInShort, stopReasonOf } from "./session-words.ts";
import { quarantineReason } from "./wolf-words.ts";

/** An event with what its sentence is made of. A capital begins a sentence where there is no name. */
interface Told {
  event: FleetEvent;
  detail: FleetEvent["detail"];
  session: string;
  Session: string;
  wolf: string;
  Wolf: string;
  /** The user who did it, if the reader may know; empty for anybody else. */
  by: string;
}

export function toldOf(event: FleetEvent): Told {
  const { detail } = event;
  const wolfName = event.wolf_name ?? (event.kind.startsWith("wolf.") ? detail.name : undefined);
  return {
    event,
    detail,
    session: named(event.session_name, "a session"),
    Session: named(event.session_name, "A session"),
    wolf: named(wolfName, "a wolf"),
    Wolf: named(wolfName, "A wolf"),
    by: event.actor?.kind === "user" ? named(event.actor_name, "") : "",
  };
}

/** A session that nobody has named is called by its id: that says nothing to people. */
const named = (name: unknown, otherwise: string): string =>
  isWord(name) && !isAnyId(name) ? plain(name, NAME_MAX) : otherwise;
const NAME_MAX = 80;
const isWord = (value: unknown): value is string => typeof value === "string" && value.trim() !== "";
const wordOf = (value: unknown): string => (isWord(value) ? value : "");

/** `ops cordoned gpu-2`; without anybody to name, `gpu-2 was cordoned`. */
const did = (by: string, verb: string, what: string, after = ""): string =>
  by === "" ? `${capital(what)} was ${verb}${after}` : `${by} ${verb} ${what}${after}`;
/** Of an article only: a name stays as it is. */
const capital = (text: string): string => text.replace(/^(an?|the) (?=\S)/, (word) => sentence(word));

/** `: kernel update`; empty for nothing. */
const because = (reason: unknown): string => (isWord(reason) ? `: ${plain(reason)}` : "");
/** ` until Nov 27, 1:49 PM`: the row says of which year the event is. */
const until = (time: unknown, { at }: FleetEvent): string =>
  isWord(time) ? ` until ${moment(time, at)}` : "";
const afterWaiting = ({ waited_ms: ms }: FleetEvent["detail"]): string =>
  typeof ms === "number" && Number.isFinite(ms) ? ` after ${ms < 60_000 ? millis(ms) : duration(ms)}` : "";
/** `labels, images and region`. */
const listed = (words: readonly string[]): string =>
  words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;

const whyWaits: Record<string, string> = {
  "wolf-lost": "its wolf was lost",
  drain: "its wolf is being emptied",
  started: "it did not start where it was",
};
const whyEnds: Record<string, string> = {
  expired: "its time is over then",
  idle: "nobody uses it",
  drained: "its wolf is being emptied",
};
const whyConnectivity: Record<string, string> = {
  disconnected: "its tunnel ended",
  silence: "nothing was heard of it for too long",
  restart: "the control plane has just started",
  "replica-gone": "the replica that held its tunnel is gone",
  "mass-loss": "most wolves left at once",
};
const connectivities: Record<string, string> = {
  connected: "is connected",
  suspect: "has lost its tunnel",
  lost: "is lost",
};
const healths: Record<string, string> = {
  ok: "is well again",
  degraded: "is degraded",
  failed: "is failing",
};

const fieldWords: Record<string, string> = {
  agent_version: "agent version",
  cost_per_hour: "cost",
  drain: "drain plan",
  encoder_sessions_max: "limit of video streams",
  gpu_model: "GPU model",
  gpu_type: "GPU vendor",
  max_sandboxes: "number of slots",
  wolf_capabilities: "abilities",
};
const FIELDS_MAX = 4;

function changedFields(fields: unknown): string {
  const words = (Array.isArray(fields) ? fields : [])
    .filter(isWord)
    .map((field) => fieldWords[field] ?? plain(field, NAME_MAX).replaceAll("_", " "));
  const more = words.length > FIELDS_MAX ? ["more"] : [];
  return listed([...words.slice(0, FIELDS_MAX), ...more]) || "description";
}

function healthReasons(reasons: unknown): string {
  const [first, ...others] = Array.isArray(reasons) ? (reasons as unknown[]) : [];
  if (typeof first !== "object" || first === null) return "";
  const { detail, code } = first as Record<string, unknown>;
  const words = isWord(detail) ? plain(detail) : sentence(wordOf(code)).toLowerCase();
  if (words === "") return "";
  return `: ${words}${others.length > 0 ? `, and ${others.length} more` : ""}`;
}

/** Where there was an operator, and where a drain has come to its end. */
function intentSentence({ detail, event, wolf, Wolf, by }: Told): string {
  const { from, to, reason } = detail;
  const why = because(reason);
  const isDrained = from === "draining" && event.actor?.kind !== "user";
  switch (to) {
    case "active":
      if (by === "") return `${Wolf} takes sessions${from === "pending" ? "" : " again"}${why}`;
      return `${by} let ${wolf} take sessions${from === "pending" ? "" : " again"}${why}`;
    case "draining":
      return by === "" ? `${Wolf} is being drained${why}` : `${by} began to drain ${wolf}${why}`;
    case "cordoned":
    case "retired":
      return isDrained ? `${Wolf} is empty, and ${to} now${why}` : did(by, to, wolf, why);
    case "maintenance":
      if (isDrained) return `${Wolf} is empty, and in maintenance now${why}`;
      return did(by, "put", wolf, ` into maintenance${why}`);
    default:
      return `${Wolf} is ${plain(to) || "wanted otherwise"}${why}`;
  }
}

function connectivitySentence({ detail: { from, to }, event, Wolf }: Told): string {
  if (to === "connected" && from === "lost") return `${Wolf} is back`;
  if (to === "connected" && from === "suspect") return `${Wolf} is connected again`;
  const state = connectivities[wordOf(to)] ?? `is ${plain(to) || "connected otherwise"}`;
  const why = to === "suspect" && event.cause === "disconnected" ? "" : whyConnectivity[event.cause ?? ""];
  return `${Wolf} ${state}${because(to === "connected" ? "" : why)}`;
}

function userChanged({ detail, by }: Told): string {
  const user = named(detail.name, "a user");
  const from = (detail.from ?? {}) as Record<string, unknown>;
  const parts: string[] = [];
  const role = plain(detail.role, NAME_MAX) || "user";
  if (from.role !== undefined)
    parts.push(
      by === "" ? `${capital(user)} is ${withArticle(role)} now` : `made ${user} ${withArticle(role)}`,
    );
  if (from.disabled !== undefined) {
    const verb = detail.disabled === true ? "disabled" : "enabled";
    parts.push(by === "" ? `${capital(user)} was ${verb}` : `${verb} ${user}`);
  }
  if (parts.length === 0)
    return by === "" ? `The limits of ${user} were changed` : `${by} changed the limits of ${user}`;
  return by === "" ? listed(parts) : `${by} ${listed(parts)}`;
}

/** A key of one's own, or of somebody else. */
function apiKey({ event, detail, by }: Told, verb: "created" | "revoked"): string {
  const key = isWord(detail.name) ? `the API key ${named(detail.name, "")}`.trim() : "an API key";
  const owner = named(event.owner_name, "");
  const isOwn = event.actor?.id != null && event.actor.id === event.owner_id;
  const whose = owner === "" || (isOwn && by !== "") ? "" : ` ${verb === "created" ? "for" : "of"} ${owner}`;
  return by === "" ? `${capital(`${key}${whose}`)} was ${verb}` : `${by} ${verb} ${key}${whose}`;
}

const tokenOf = ({ wolf_name: wolf }: FleetEvent["detail"], article: string): string =>
  `${article} join token for ${named(wolf, "any host")}`;

function tokenUsed({ detail }: Told): string {
  const { uses, uses_max: max } = detail;
  const many =
    typeof max === "number" && max > 1 && typeof uses === "number" ? `, use ${uses} of ${max}` : "";
  return `A host enrolled with ${tokenOf(detail, "the")}${many}`;
}

function browserEnded({ event, by }: Told): string {
  const owner = named(event.owner_name, "somebody");
  if (event.actor?.id != null && event.actor.id === event.owner_id) return `${by || "Somebody"} signed out`;
  return did(by, "signed out", `a browser of ${owner}`);
}

export const sentences: Record<FleetEventKind, (told: Told) => string> = {
  "session.queued": ({ Session, detail, event }) =>
    `${Session} waits for ${detail.from === undefined ? "a" : "another"} wolf${because(whyWaits[event.cause ?? ""])}`,
  "session.placed": ({ Session, wolf, detail: { attempts } }) =>
    `${Session} goes to ${wolf}${typeof attempts === "number" && attempts > 1 ? `, its attempt number ${attempts}` : ""}`,
  "session.starting": ({ Session, wolf }) => `${Session} starts on ${wolf}`,
  "session.running": ({ Session, wolf, detail }) =>
    `${Session} runs on ${wolf}${detail.from === "lost" ? " again" : ""}`,
  "session.stopping": ({ session, Session, by, detail: { stop_reason: reason } }) =>
    by !== "" && (reason === "requested" || reason === "forced")
      ? `${by} stops ${session}${reason === "forced" ? " by force" : ""}`
      : `${Session} is being stopped${because(stopReasonOf(wordOf(reason)))}`,
  "session.lost": ({ Session, wolf }) => `${Session} has lost its wolf, ${wolf}, and waits for it`,
  "session.stopped": ({ Session, detail }) =>
    `${Session} has ended${because(stopReasonOf(wordOf(detail.stop_reason)))}`,
  "session.failed": ({ Session, detail }) =>
    `${Session} has failed${because(failureInShort(wordOf(detail.failure_code)))}`,
  "session.extended": ({ event, session, by, Session, detail: { expires_at: end } }) =>
    by === ""
      ? `${Session} lives on${until(end, event) || " without an end of its own"}`
      : `${by} extended ${session}${until(end, event)}`,
  "session.expiring": ({ event, Session, detail: { at, reason } }) =>
    `${Session} will be stopped${reason === "drained" ? " or moved" : ""}${isWord(at) ? ` at ${moment(at, event.at)}` : ""}${because(whyEnds[wordOf(reason)] ?? reason)}`,
  "queue.entered": ({ event, Session, detail }) =>
    `${Session} waits in the queue${isWord(detail.deadline) ? `${until(detail.deadline, event)} at the latest` : ""}`,
  "queue.left": ({ Session, wolf, detail }) => {
    if (detail.to === "placed") return `${Session} left the queue for ${wolf}${afterWaiting(detail)}`;
    if (detail.to === "failed") return `${Session} found no wolf${afterWaiting(detail)} in the queue`;
    return `${Session} left the queue${afterWaiting(detail)}, without a wolf`;
  },
  "placement.made": ({ Session, wolf, detail: { policy } }) =>
    `${Session} has a slot of ${wolf}${isWord(policy) ? `, found by ${policyOf(policy)}` : ""}`,
  "placement.released": ({ Session, wolf }) => `${Session} gave back its slot of ${wolf}`,
  "wolf.registered": ({ Wolf }) => `${Wolf} is new in the fleet`,
  "wolf.removed": ({ wolf, by }) => did(by, "removed", wolf, " from the fleet"),
  "wolf.tunnel": ({ Wolf, detail }) =>
    `${Wolf} has a new tunnel${detail.legacy_credential === true ? ", opened with the token that all hosts share" : ""}`,
  "wolf.connectivity": connectivitySentence,
  "wolf.health": ({ Wolf, detail: { to, from, reasons } }) =>
    to === from
      ? `${Wolf} ${to === "ok" ? "is well" : (healths[wordOf(to)] ?? "is ill")} for other reasons${healthReasons(reasons)}`
      : `${Wolf} ${healths[wordOf(to)] ?? `is ${plain(to) || "in another state"}`}${healthReasons(reasons)}`,
  "wolf.intent": intentSentence,
  "wolf.changed": ({ wolf, by, detail }) =>
    by === ""
      ? `The ${changedFields(detail.fields)} of ${wolf} changed`
      : `${by} changed the ${changedFields(detail.fields)} of ${wolf}`,
  "wolf.lobbies": ({ Wolf, detail: { to } }) =>
    to === 0
      ? `${Wolf} runs no lobbies any more that no session has`
      : `${Wolf} runs ${to === 1 ? "a lobby" : `${plain(to) || "some"} lobbies`} that no session has`,
  "wolf.quarantined": ({ event, Wolf, detail: { until: end, reason, times } }) =>
    `${Wolf} is in quarantine${until(end, event)}${typeof times === "number" && times > 1 ? `, ${times} times in a row now` : ""}${because(isWord(reason) ? quarantineReason(reason) : "")}`,
  "wolf.readmitted": ({ wolf, by }) =>
    by === "" ? `The quarantine of ${wolf} is over` : `${by} ended the quarantine of ${wolf}`,
  "fleet.frozen": () => "Most wolves left at once: none is given up for now",
  "fleet.thawed": () => "Wolves that are lost are given up again",
  "fleet.override": ({ event, by, detail }) =>
    by === ""
      ? `The freeze is lifted${until(detail.until, event)}`
      : `${by} lifted the freeze${until(detail.until, event)}`,
  "user.created": ({ by, detail }) =>
    did(
      by,
      "added",
      named(detail.name, "a user"),
      isWord(detail.role) ? `, ${withArticle(plain(detail.role, NAME_MAX))}` : "",
    ),
  "user.changed": userChanged,
  "api-key.created": (told) => apiKey(told, "created"),
  "api-key.revoked": (told) => apiKey(told, "revoked"),
  "web-session.opened": ({ event }) => `${named(event.owner_name, "Somebody")} signed in with a browser`,
  "web-session.ended": browserEnded,
  "join-token.created": ({ by, detail }) => did(by, "created", tokenOf(detail, "a")),
  "join-token.used": tokenUsed,
  "join-token.revoked": ({ by, detail }) => did(by, "revoked", tokenOf(detail, "the")),
  "agent-key.enrolled": ({ Wolf, detail }) =>
    detail.status === "pending"
      ? `${Wolf} has shown a new key, which waits for an admin's word`
      : `${Wolf} has a new key`,
  "agent-key.approved": ({ wolf, by }) => did(by, "approved", `the key of ${wolf}`),
  "agent-key.shortened": ({ event, wolf, detail: { expires_at: end } }) =>
    `A newer key of ${wolf} is in use: the older one ends${isWord(end) ? ` ${moment(end, event.at)}` : ""}`,
  "agent-key.revoked": ({ wolf, by }) => did(by, "revoked", `a key of ${wolf}`),
};

/** Of a kind that a later control plane tells of: its words, and what it is about. */
export const unknownSentence = ({ event, session, wolf }: Told): string => {
  const about = event.session_id ? session : event.wolf_instance_id ? wolf : "";
  return `${sentence(event.kind)}${because(about)}`;
};
