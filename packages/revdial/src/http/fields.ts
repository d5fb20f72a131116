/** Header fields as `node:http` and undici give them, and which coding of a body may be undone on its way. */

/** From names and values in turn. */
export function pairs(raw: readonly string[]): [string, string][] {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i] as string, raw[i + 1] as string]);
  return list;
}

/** Names, each with its value or values. */
export type FieldObject = Record<string, string | string[]>;

export function pairsOf(fields: FieldObject): [string, string][] {
  const list: [string, string][] = [];
  for (const name in fields) {
    const value = fields[name] as string | string[];
    if (typeof value === "string") list.push([name, value]);
    else for (const one of value) list.push([name, one]);
  }
  return list;
}

/** Chunks are undone at either end. Any other coding of the transfer would be lost on the way, since its field belongs to one hop. */
export function isUndone(coding: string): boolean {
  return coding.toLowerCase() === "chunked";
}
