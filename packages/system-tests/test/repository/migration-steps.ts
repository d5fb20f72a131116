/** What a migration does to programs that run beside it, against what its first line says of that (ADR 0024). */

/** Written before migrations said who may run beside them. */
export const baseline: ReadonlySet<string> = new Set([
  "20261123153000_first",
  "20261126084227_host_inventory",
  "20261126090116_wolf_capabilities",
  "20261126111945_wolf_images",
  "20261126142741_identity",
  "20261126172019_placement_and_life",
  "20261126195455_tunnel_origin",
  "20261126214500_event_log",
]);

const takesAway: readonly [RegExp, string][] = [
  [/\bDROP\s+(TABLE|COLUMN|SCHEMA|TYPE|VIEW|FUNCTION)\b/i, "drops what a program of before may use"],
  [/\bRENAME\b/i, "renames what a program of before may use"],
  [/\bSET\s+NOT\s+NULL\b/i, "refuses the rows of a program of before that leaves this column out"],
  [
    /\bADD\s+COLUMN\s+(?:IF\s+NOT\s+EXISTS\s+)?"\w+"\s+(?:(?!\bDEFAULT\b)[^,;])*\bNOT\s+NULL\b(?:(?!\bDEFAULT\b)[^,;])*(?=[,;])/i,
    "adds a column that a program of before leaves out",
  ],
  [/\bALTER\s+COLUMN\s+"\w+"\s+(?:SET\s+DATA\s+)?TYPE\b/i, "changes a column under a program of before"],
  [/\bTRUNCATE\b/i, "empties a table"],
];

/** What is wrong with it; empty: nothing. */
export function faultsOf(name: string, sql: string, earlier: readonly string[]): string[] {
  if (baseline.has(name)) return [];
  const [first = ""] = sql.split("\n", 1);
  const [, since] = /^-- contract since (\S+)$/.exec(first) ?? [];
  if (since !== undefined)
    return earlier.includes(since) ? [] : [`${name}: there is no earlier step ${since}`];
  const said = sql.replaceAll(/--[^\n]*/g, "").replaceAll(/'(?:[^']|'')*'/g, "''");
  return takesAway.filter(([form]) => form.test(said)).map(([, what]) => `${name}: ${what}`);
}
