/** The query of an address as plain strings, both ways. */

export type Search = Record<string, string | undefined>;

/** Characters; as many as all labels have that a session may ask for. Node takes no longer address than 16 KiB. */
const VALUE_MAX = 12_000;
const FIELDS_MAX = 20;

export function parseSearch(text: string): Search {
  const search: Search = {};
  // What is cut looks whole, and means something else.
  for (const [name, value] of [...new URLSearchParams(text)].slice(0, FIELDS_MAX))
    if (value.length <= VALUE_MAX) search[name] = value;
  return search;
}

export function stringifySearch(search: Record<string, unknown>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(search))
    if (typeof value === "string" && value !== "") params.set(name, value);
  return params.size === 0 ? "" : `?${params}`;
}
