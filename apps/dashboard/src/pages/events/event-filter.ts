/** Which events a page shows, as functions of values: what its address says, what the API is asked, what fits of what comes live. */
import type { FleetEvent } from "@wolfpack/api-contract";
import { isSessionId } from "../../fleet/ids.ts";

export interface EventFilter {
  /** A kind, or all that begin alike: `session.*`; empty for any. */
  kind: string;
  wolf: string;
  session: string;
  actor: string;
}

const wolfName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const kindText = /^[a-z-]{1,30}(\.[a-z-]{1,30}|\.\*)$/;

/** What of it the API would refuse, in words. Wolves and actors may be given by name. */
export function filterErrors({
  kind,
  wolf,
  session,
}: EventFilter): Partial<Record<keyof EventFilter, string>> {
  const errors: Partial<Record<keyof EventFilter, string>> = {};
  if (kind !== "" && !kindText.test(kind)) errors.kind = "This is no kind of event";
  if (wolf !== "" && !wolfName.test(wolf)) errors.wolf = "This is neither a wolf's name nor its id";
  if (session !== "" && !isSessionId(session)) errors.session = "This is no id of a session: ses_…";
  return errors;
}

/** `wolf` and `actor` are ids here. */
export function filterQuery({ kind, wolf, session, actor }: EventFilter): Record<string, string> {
  const query: Record<string, string> = { newest_first: "true" };
  if (kind) query.kind = kind;
  if (wolf) query.wolf_instance_id = wolf;
  if (session) query.session_id = session;
  if (actor) query.actor_id = actor;
  return query;
}

/** The same rule as the API's: the stream of this tab tells of all events. */
export function fits(event: FleetEvent, { kind, wolf, session, actor }: EventFilter): boolean {
  if (kind.endsWith(".*") ? !event.kind.startsWith(kind.slice(0, -1)) : kind !== "" && event.kind !== kind)
    return false;
  if (wolf !== "" && event.wolf_instance_id !== wolf) return false;
  if (session !== "" && event.session_id !== session) return false;
  return actor === "" || event.actor?.id === actor;
}

/** Pairs for a choice: each group, then its kinds. */
export function kindOptions(
  kinds: readonly string[],
  chosen: string,
): readonly (readonly [string, string])[] {
  const options: [string, string][] = [["", "Any event"]];
  let group = "";
  for (const kind of kinds) {
    const what = kind.split(".", 1)[0] ?? "";
    if (what !== group) options.push([`${what}.*`, `${groupWord(what)}: all`]);
    group = what;
    options.push([kind, `\u00a0\u00a0\u00a0${kind}`]);
  }
  // What a link asks for stays chosen, also where this build does not know it.
  if (!options.some(([value]) => value === chosen)) options.push([chosen, chosen]);
  return options;
}

function groupWord(what: string): string {
  const text = what.replaceAll("-", " ");
  const word = text.charAt(0).toUpperCase() + text.slice(1);
  return word === "Api key" ? "API key" : word;
}
