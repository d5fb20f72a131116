/** How events look: a time, a kind, and what happened in words that go on below each other; for programs JSON or YAML. */
import type { FleetEvent } from "@wolfpack/api-contract";
import type { Output } from "../output/output.ts";
import { columnsOf, printable, printableJson, wrapped } from "../output/printable.ts";
import type { Tone } from "../output/style.ts";
import { brief } from "../output/words.ts";
import { yamlText } from "../output/yaml.ts";

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
/** What is so nearly always is no news. */
const isNews = ([name, value]: [string, unknown]) =>
  value !== false &&
  value !== null &&
  !(name === "attempts" && value === 1) &&
  !(name === "protocol" && value === "revdial");

function changeText({ from, to, ...rest }: Record<string, unknown>): string[] {
  const others = Object.entries(rest)
    .filter(isNews)
    .map(([name, value]) => `${name} ${valueText(value)}`);
  if (from !== undefined && to !== undefined) return [`${valueText(from)} → ${valueText(to)}`, ...others];
  if (from !== undefined) return [`was ${valueText(from)}`, ...others];
  return to === undefined ? others : [`now ${valueText(to)}`, ...others];
}

/** What it is about, where, what changed, why, and by whom where that says more. */
export function wordsOf(event: FleetEvent, names: Names): string {
  const { session_id: session, wolf_instance_id: wolf, object_id: object, cause, actor, detail } = event;
  const named = (id: string) => names.get(id) ?? id;
  const about = session ?? (wolf === null ? (object ?? "fleet") : named(wolf));
  const by =
    actor == null ||
    actor.kind === "system" ||
    (actor.kind === "agent" && (actor.id === wolf || actor.id === null))
      ? []
      : [`by ${actor.id === null ? actor.kind : named(actor.id)}`];
  const where = session !== null && wolf !== null ? ` on ${named(wolf)}` : "";
  const why = cause == null || (cause === "requested" && by.length > 0) ? [] : [cause];
  return [`${about}${where}`, ...changeText(detail), ...why, ...by].join(", ");
}

const KIND_COLUMNS = 18;
const LINES_MAX = 4;

export function eventText(event: FleetEvent, names: Names, { format, paint, width }: Output): string {
  if (format === "name") return `${printable(event.id)}\n`;
  if (format === "json") return `${printableJson(JSON.stringify(event))}\n`;
  if (format === "yaml") return `---\n${yamlText(event)}`;
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

/** Whom and what it names that has a name. */
export const idsOf = ({ wolf_instance_id, actor }: FleetEvent): string[] =>
  [wolf_instance_id, actor?.id].filter((id) => typeof id === "string");
