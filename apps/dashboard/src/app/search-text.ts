/** The query of an address as plain strings, both ways. */

export type Search = Record<string, string | undefined>;

const VALUE_MAX = 200;
const FIELDS_MAX = 20;

export function parseSearch(text: string): Search {
  const search: Search = {};
  for (const [name, value] of [...new URLSearchParams(text)].slice(0, FIELDS_MAX))
    search[name] = value.slice(0, VALUE_MAX);
  return search;
}

export function stringifySearch(search: Record<string, unknown>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(search))
    if (typeof value === "string" && value !== "") params.set(name, value);
  return params.size === 0 ? "" : `?${params}`;
}
