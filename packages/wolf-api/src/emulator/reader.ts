/**
 * Reads request bodies as Wolf's C++ reader does, with its error texts: unknown fields are ignored, missing and ill-typed ones
 * are collected. A reader of our own, because the texts and their order are what is being imitated.
 */

export type Read<T> = { ok: true; value: T } | { ok: false; error: string };
export type Reader<T> = (json: unknown) => Read<T>;

const good = <T>(value: T): Read<T> => ({ ok: true, value });
const bad = (error: string): Read<never> => ({ ok: false, error });

export const text: Reader<string> = (json) =>
  typeof json === "string" ? good(json) : bad("Could not cast to string.");
export const flag: Reader<boolean> = (json) =>
  typeof json === "boolean" ? good(json) : bad("Could not cast to boolean.");
export const integer: Reader<number> = (json) =>
  Number.isInteger(json) ? good(json as number) : bad("Could not cast to int.");
export const decimal: Reader<number> = (json) =>
  typeof json === "number" ? good(json) : bad("Could not cast to double.");
/** Anything at all: parts of a body that no behaviour depends on. */
export const anything: Reader<unknown> = (json) => good(json);

export const oneOf =
  (...names: readonly string[]): Reader<string> =>
  (json) =>
    typeof json === "string" && names.includes(json)
      ? good(json)
      : bad(`Invalid enum value. Must be one of [${names.join(", ")}].`);

export const list =
  <T>(item: Reader<T>): Reader<T[]> =>
  (json) => {
    if (!Array.isArray(json)) return bad("Could not cast to array.");
    const values: T[] = [];
    for (const [index, element] of json.entries()) {
      const read = item(element);
      if (!read.ok) return bad(`Failed to parse element ${index}: ${read.error}`);
      values.push(read.value);
    }
    return good(values);
  };

type Fields = Record<string, Reader<unknown>>;
type Values<F extends Fields> = { [Name in keyof F]: F[Name] extends Reader<infer T> ? T : never };

/** Required fields in order, then optional ones; null counts as absent in optional ones. */
export function object<R extends Fields, O extends Fields>(
  required: R,
  optional: O,
): Reader<Values<R> & Partial<Values<O>>> {
  return (json) => {
    if (typeof json !== "object" || json === null || Array.isArray(json))
      return bad("Could not cast to object.");
    const fields = json as Record<string, unknown>;
    const errors: string[] = [];
    const values: Record<string, unknown> = {};
    const readField = (name: string, reader: Reader<unknown>) => {
      const read = reader(fields[name]);
      if (read.ok) values[name] = read.value;
      else errors.push(`Failed to parse field '${name}': ${read.error}`);
    };
    for (const [name, reader] of Object.entries(required)) {
      if (Object.hasOwn(fields, name)) readField(name, reader);
      else errors.push(`Field named '${name}' not found.`);
    }
    for (const [name, reader] of Object.entries(optional)) {
      if (Object.hasOwn(fields, name) && fields[name] !== null) readField(name, reader);
    }
    if (errors.length === 0) return good(values as Values<R> & Partial<Values<O>>);
    if (errors.length === 1) return bad(errors[0] as string);
    return bad(
      `Found ${errors.length} errors:\n${errors.map((error, index) => `${index + 1}) ${error}`).join("\n")}`,
    );
  };
}

/** A union told apart by its `type`. */
export function tagged<T>(variants: Record<string, Reader<T>>): Reader<T> {
  return (json) => {
    if (typeof json !== "object" || json === null || Array.isArray(json))
      return bad("Could not cast to object.");
    const { type } = json as { type?: unknown };
    if (typeof type !== "string")
      return bad(
        "Could not parse tagged union: Could not find field 'type' or type of field was not a string.",
      );
    const variant = Object.hasOwn(variants, type) ? variants[type] : undefined;
    if (variant === undefined) {
      return bad(
        `Could not parse tagged union, could not match type '${type}'. The following tags are allowed: ${Object.keys(variants).join(", ")}`,
      );
    }
    const read = variant(json);
    return read.ok
      ? read
      : bad(`Could not parse tagged union with discrimininator type '${type}': ${read.error}`);
  };
}

/** A body's text through a reader. */
export function readBody<T>(body: string, reader: Reader<T>): Read<T> {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return bad("Could not parse document: unexpected end of data");
  }
  return reader(json);
}
