/** Which entries of the audit log a page shows, as functions of values. */

export interface AuditFilter {
  actor: string;
  action: string;
  object: string;
  result: string;
  /** ISO 8601, UTC; empty for none. */
  since: string;
  until: string;
}

const alike = ["action", "object", "result", "since", "until"] as const;

/** As the API takes it, without what is empty. */
export function auditQuery(filter: AuditFilter): Record<string, string> {
  const query: Record<string, string> = {};
  if (filter.actor) query.actor_id = filter.actor;
  for (const name of alike) if (filter[name]) query[name] = filter[name];
  return query;
}

/** What the API would refuse or what nothing can fit, in words. */
export function auditErrors({ since, until }: AuditFilter): { since?: string; until?: string } {
  if (since !== "" && !isInstant(since)) return { since: "This is no time" };
  if (until !== "" && !isInstant(until)) return { until: "This is no time" };
  if (since !== "" && until !== "" && since >= until) return { until: "It ends before it begins" };
  return {};
}

const isInstant = (text: string): boolean =>
  /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?Z$/.test(text) && !Number.isNaN(Date.parse(text));

/** Everything that fits, as a file: a way of this origin, whatever the filter holds. */
export function exportPath(path: string, filter: AuditFilter): string {
  const query = new URLSearchParams(auditQuery(filter));
  return query.size === 0 ? path : `${path}?${query}`;
}

/** `2026-11-26T22:05`, what a field for local time gives, as an instant; empty where it is none. */
export function instantOf(local: string): string {
  const at = local === "" ? Number.NaN : new Date(local).getTime();
  return Number.isNaN(at) ? "" : new Date(at).toISOString();
}

/** The other way, for the field. */
export function localOf(instant: string): string {
  const at = new Date(instant);
  if (instant === "" || Number.isNaN(at.getTime())) return "";
  const two = (number: number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}`;
}
