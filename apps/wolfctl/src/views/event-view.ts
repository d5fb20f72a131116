/** How events look: a time, a kind, and what happened in words that go on below each other; for programs JSON or YAML. */
import type { FleetEvent } from "@wolfpack/api-contract";
import type { Output } from "../output/output.ts";
import { columnsOf, printable, printableJson, wrapped } from "../output/printable.ts";
import type { Tone } from "../output/style.ts";
import { brief } from "../output/words.ts";
import { yamlDocument } from "../output/yaml.ts";

/** Names of wolves and users by their ids. */
export type Names = ReadonlyMap<string, string>;

const bad = /(failed|lost|frozen|denied|refused|storm|quarantined?|revoked|disabled)$/;
const good = /(running|connected|readmitted|unfrozen|enrolled)$/;
const toneOf = ({ kind, detail }: FleetEvent): Tone => {
  const outcome = typeof detail.to === "string" ? detail.to : kind;
  return bad.test(outcome) ? "bad" : good.test(outcome) ? "good" : outcome === "suspect" ? "warn" : "none";
};

const INSTANT = /^\d{4}-\d{2}-\d{2}T[\d:.]+(Z|[+-]\d{2}:\d{2})$/;
const valueText = (value: unknown): string => {
  if (typeof value === "string") return INSTANT.test(value) ? brief(value, 80) : value;
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value.join(" ");
  return JSON.stringify(value);
};
/** What is so nearly always is no news, and what only programs can make use of. */
const isNews = ([name, value]: [string, unknown]) =>
  value !== false &&
  value !== null &&
  !(name === "attempts" && (value === 0 || value === 1)) &&
  !(name === "turn" || name === "epoch") &&
  !(name === "protocol" && value === "revdial");
const fieldText = (name: string) => name.replaceAll("_", " ");

/** Of a cause that says more than its event does; empty for one that does not. */
const causes: Readonly<Record<string, string>> = {
  requested: "asked for",
  connected: "",
  disconnected: "its tunnel ended",
  heartbeat: "its tunnel is alive",
  reported: "",
  silence: "nothing was heard of it",
  restart: "a control plane has just started",
  "replica-gone": "the replica with its tunnel is gone",
  "mass-loss": "most wolves left at once",
  "wolf-lost": "its wolf was lost",
  "wolf-event": "",
  reconciled: "as a look at its Wolf showed",
  started: "",
  queue: "there was room for it",
  deadline: "its time was over",
  drain: "its wolf is being emptied",
  "first-boot": "from the host's own command line",
};
const causeText = (cause: string) => (Object.hasOwn(causes, cause) ? causes[cause] : cause);

/** Of several fields each as it was. */
const isFields = (from: unknown): from is Record<string, unknown> =>
  typeof from === "object" && from !== null && !Array.isArray(from);
const isOf = (from: unknown, name: string): boolean => isFields(from) && Object.hasOwn(from, name);
const fieldChange = ([name, before]: [string, unknown], now: Record<string, unknown>) =>
  Object.hasOwn(now, name)
    ? `${fieldText(name)} ${valueText(before)} → ${valueText(now[name])}`
    : `${fieldText(name)} was ${valueText(before)}`;

function changeText({ from, to, ...rest }: Record<string, unknown>, about: string): string[] {
  const others = Object.entries(rest)
    .filter(isNews)
    .filter(([name, value]) => !(name === "name" && value === about))
    .filter(([name]) => !isOf(from, name))
    .map(([name, value]) => `${fieldText(name)} ${valueText(value)}`);
  if (isFields(from)) return [...Object.entries(from).map((field) => fieldChange(field, rest)), ...others];
  if (from !== undefined && to !== undefined) return [`${valueText(from)} → ${valueText(to)}`, ...others];
  if (from !== undefined) return [`was ${valueText(from)}`, ...others];
  return to === undefined ? others : [`now ${valueText(to)}`, ...others];
}

/** What it is about, where, what changed, why, and by whom where that says more. */
export function wordsOf(event: FleetEvent, names: Names): string {
  const { session_id: session, wolf_instance_id: wolf, object_id: object, cause, actor, detail } = event;
  const named = (id: string, said?: string | null) => said || names.get(id) || id;
  const about =
    session !== null
      ? named(session, event.session_name)
      : wolf !== null
        ? named(wolf, event.wolf_name)
        : typeof detail.name === "string"
          ? detail.name
          : (object ?? "fleet");
  const by =
    actor == null ||
    actor.kind === "system" ||
    (actor.kind === "agent" && (actor.id === wolf || actor.id === null))
      ? []
      : [`by ${actor.id === null ? actor.kind : named(actor.id, event.actor_name)}`];
  const where = session !== null && wolf !== null ? ` on ${named(wolf, event.wolf_name)}` : "";
  const why = cause == null || (cause === "requested" && by.length > 0) ? "" : causeText(cause);
  return [`${about}${where}`, ...changeText(detail, about), why, ...by].filter(Boolean).join(", ");
}

const KIND_COLUMNS = 18;
const LINES_MAX = 4;

export function eventText(event: FleetEvent, names: Names, { format, paint, width }: Output): string {
  if (format === "name") return `${printable(event.id)}\n`;
  if (format === "json") return `${printableJson(JSON.stringify(event))}\n`;
  if (format === "yaml") return yamlDocument(event);
  const at = brief(event.at, width);
  const kind = printable(event.kind);
  const indent = at.length + KIND_COLUMNS + 4;
  const words = printable(wordsOf(event, names));
  const room = width === undefined ? columnsOf(words) + 1 : Math.max(20, width - indent);
  const lines = wrapped(words, room);
  // Somebody's kind may be long: then the words begin below it.
  const isLong = columnsOf(kind) > KIND_COLUMNS;
  const [first = "", ...others] = isLong ? ["", ...lines] : lines;
  const shown = others.slice(0, LINES_MAX - 1);
  if (shown.length < others.length) shown.splice(-1, 1, "… (--wide shows all)");
  const title =
    isLong && width !== undefined
      ? wrapped(kind, width - at.length - 2)
          .slice(0, 2)
          .join(`\n${" ".repeat(at.length + 2)}`)
      : kind;
  const head =
    `${paint("faint", at)}  ${paint(toneOf(event), title.padEnd(KIND_COLUMNS))}  ${first}`.trimEnd();
  return `${[head, ...shown.map((line) => " ".repeat(indent) + line)].join("\n")}\n`;
}

/** Whom and what it names that has a name, where a control plane of before does not say it itself. */
export const idsOf = ({ wolf_instance_id, wolf_name, actor, actor_name }: FleetEvent): string[] =>
  [wolf_name === undefined && wolf_instance_id, actor_name === undefined && actor?.id].filter(
    (id) => typeof id === "string",
  );
