/** How sessions look: a row each, or one with its life and why it is where it is. */
import type { PlacementExplanation, Session } from "@wolfpack/api-contract";
import { fact, factsText, type Section } from "../output/facts.ts";
import type { ListView, OneView } from "../output/output.ts";
import type { Tone } from "../output/style.ts";
import type { Cell, Column } from "../output/table.ts";
import { age, count, duration, labelsText, momentAnd } from "../output/words.ts";
import { explanationSections } from "./placement-view.ts";

const tones: Record<Session["status"], Tone> = {
  queued: "warn",
  placed: "warn",
  starting: "warn",
  running: "good",
  stopping: "warn",
  lost: "bad",
  stopped: "faint",
  failed: "bad",
};

/** Names of wolves by their ids. */
export type WolfNames = ReadonlyMap<string, string>;
export const wolfNamed = (id: string | null, names: WolfNames): string =>
  id === null ? "–" : (names.get(id) ?? id);

export function sessionState(session: Session): Cell {
  const { status, reachable, queue, failure, stop_reason } = session;
  const tone = tones[status];
  if (status === "queued")
    return { text: queue?.position == null ? status : `${status}, number ${queue.position}`, tone };
  if (status === "failed") return { text: `${status}: ${failure?.code ?? "unknown"}`, tone };
  if (status === "stopped")
    return { text: stop_reason === null ? status : `${status}: ${stop_reason}`, tone };
  return !reachable && (status === "running" || status === "stopping")
    ? { text: `${status}, unreachable`, tone: "warn" }
    : { text: status, tone };
}

export function sessionColumns(nowMs: number, names: WolfNames): Column<Session>[] {
  return [
    { title: "ID", of: ({ id }) => id },
    { title: "NAME", of: ({ name }) => name, shrinkTo: 6, spare: 1 },
    { title: "STATUS", of: sessionState, shrinkTo: 11 },
    { title: "WOLF", of: ({ wolf_instance_id: id }) => wolfNamed(id, names), shrinkTo: 10 },
    { title: "AGE", of: ({ created_at }) => age(created_at, nowMs), align: "right" },
  ];
}

export function sessionList(nowMs: number, names: WolfNames): ListView<Session> {
  return {
    none: "There are no sessions that fit.",
    name: ({ id }) => id,
    columns: sessionColumns(nowMs, names),
  };
}

export function sessionOne(nowMs: number, names: WolfNames): OneView<Session> {
  return {
    name: ({ id }) => id,
    text: (session, options) =>
      factsText(
        [life(session, nowMs, names), wish(session), ...why(session.placement, names, session)].map(
          (section) => (typeof section === "function" ? section(options) : section),
        ),
        options,
      ),
  };
}

function life(session: Session, nowMs: number, names: WolfNames): Section {
  const { queue, failure, started_at, ended_at } = session;
  const state = sessionState(session);
  const ran =
    started_at === null
      ? undefined
      : duration((ended_at === null ? nowMs : Date.parse(ended_at)) - Date.parse(started_at));
  return {
    title: session.name,
    facts: [
      fact("id", session.id),
      fact(
        "status",
        typeof state === "string" ? state : state.text,
        typeof state === "string" ? "none" : state.tone,
      ),
      fact("failure", failure?.reason, "bad"),
      fact(
        "wolf",
        session.wolf_instance_id === null ? undefined : wolfNamed(session.wolf_instance_id, names),
      ),
      fact("lobby", session.lobby_id),
      fact(
        "queue",
        queue &&
          `${queue.position === null ? "waits" : `number ${queue.position}`} since ${momentAnd(queue.queued_at, nowMs)}, at most until ${momentAnd(queue.deadline, nowMs)}`,
      ),
      fact("owner", session.owner_name || session.owner_id),
      fact("created", momentAnd(session.created_at, nowMs)),
      fact("started", momentAnd(started_at, nowMs)),
      fact("ended", momentAnd(ended_at, nowMs)),
      fact("ran", ended_at === null ? undefined : ran),
      fact("expires", momentAnd(session.expires_at, nowMs)),
      fact("idle end", momentAnd(session.idle_at, nowMs)),
      fact("attempts", session.attempts > 1 ? String(session.attempts) : undefined),
      fact("pin", session.pin_required ? "asked of whoever joins" : undefined),
    ],
  };
}

const whenLost: Record<Session["spec"]["disconnect_policy"], string> = {
  keep: "waits for it",
  replace: "a new sandbox elsewhere",
  stop: "ends",
};

function wish({ spec }: Session): Section {
  const { width, height, refresh_rate: rate } = spec.resolution;
  return {
    title: "Wish",
    facts: [
      fact("image", spec.image),
      fact("screen", `${width}x${height} at ${rate} Hz`),
      fact("gpu", [spec.gpu_type, spec.gpu_model].filter((one) => one !== null).join(" ") || "any"),
      fact("labels", labelsText(spec.labels)),
      fact(
        "region",
        spec.region && `${spec.region}${spec.region_required ? ", no other" : ", if there is room"}`,
      ),
      fact(
        "constraints",
        spec.constraints
          .map(({ attribute, op, values }) => `${attribute} ${op} ${values.join(" ")}`.trim())
          .join("; "),
      ),
      fact("video memory", spec.resources.vram_mb > 0 ? `${spec.resources.vram_mb} MiB` : undefined),
      fact("policy", spec.policy),
      fact("priority", String(spec.priority)),
      fact("wolf lost", whenLost[spec.disconnect_policy] ?? spec.disconnect_policy),
      fact(
        "lives",
        spec.ttl_seconds === null ? undefined : `${duration(spec.ttl_seconds * 1000)} after it began`,
      ),
      fact(
        "idle",
        spec.idle_timeout_seconds === null
          ? undefined
          : `ends ${duration(spec.idle_timeout_seconds * 1000)} after nobody looked`,
      ),
    ],
  };
}

function why(placement: PlacementExplanation, names: WolfNames, { wolf_instance_id: taken }: Session) {
  return explanationSections(placement, names, taken);
}

export const queuedText = (many: number): string => count(many, "session");
