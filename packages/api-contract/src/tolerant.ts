/**
 * Replies of a newer control plane, for whoever only shows them: words that this version does not know stay as they are, and fields
 * that it does not know are left out. Everything else has to fit. What is sent is never read like this.
 */
import type { z } from "zod";

/** Each round finds what the one before hid; deeper nesting than this has no schema. */
const ROUNDS_MAX = 8;

interface Word {
  path: readonly PropertyKey[];
  word: string;
}

/** Throws what `schema.parse` throws. Only the type says that all words are known. */
export function parseTolerantly<Schema extends z.ZodType>(schema: Schema, json: unknown): z.output<Schema> {
  const first = schema.safeParse(json);
  if (first.success) return first.data;
  // In a box, since the value itself may be the word.
  const box = { value: structuredClone(json) };
  const words: Word[] = [];
  for (
    let round = 0, { issues }: { issues: readonly z.core.$ZodIssue[] } = first.error;
    round < ROUNDS_MAX;
    round += 1
  ) {
    for (const issue of issues) if (!eased(issue, box, words)) throw first.error;
    const next = schema.safeParse(box.value);
    if (next.success) return withWords(next.data, words);
    issues = next.error.issues;
  }
  throw first.error;
}

/** Makes the value fit in this place; false where it is more than a word or a field. */
function eased(issue: z.core.$ZodIssue, box: { value: unknown }, words: Word[]): boolean {
  const path = ["value", ...issue.path];
  const holder = at(box, path.slice(0, -1));
  const name = path.at(-1) as PropertyKey;
  if (holder === undefined || !Object.hasOwn(holder, name)) return false;
  const found = holder[name];
  if (issue.code === "invalid_value" && typeof found === "string") {
    words.push({ path, word: found });
    holder[name] = issue.values[0];
    return true;
  }
  const object = at(box, path);
  if (issue.code !== "unrecognized_keys" || object === undefined) return false;
  for (const key of issue.keys) delete object[key];
  return true;
}

function withWords<Value>(value: Value, words: readonly Word[]): Value {
  const box: { value: Value } = { value };
  for (const { path, word } of words) {
    const holder = at(box, path.slice(0, -1));
    const name = path.at(-1) as PropertyKey;
    if (holder !== undefined && Object.hasOwn(holder, name)) holder[name] = word;
  }
  return box.value;
}

/** Own properties only: a reply may name `__proto__`. */
function at(from: unknown, path: readonly PropertyKey[]): Record<PropertyKey, unknown> | undefined {
  let found = from;
  for (const name of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Record<PropertyKey, unknown>)[name];
  }
  return typeof found === "object" && found !== null ? (found as Record<PropertyKey, unknown>) : undefined;
}
