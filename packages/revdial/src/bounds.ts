/** Numbers that somebody gives us: each has a unit in its name and bounds in a table, and is looked at before anything starts. */
import { RevdialError } from "./errors.ts";

/** Both included. Times (`…Ms`) may have fractions, everything else is a whole number. */
export type Bounds = readonly [min: number, max: number];

/** The longest time for which a timer can be set: 24 days. */
export const TIMER_MS_MAX = 0x7fff_ffff;
export const U32_MAX = 0xffff_ffff;
export const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/** Names that the table does not have are not looked at; undefined is no value. Error: ARGUMENT. */
export function checkNumbers(given: object, table: Readonly<Record<string, Bounds>>): void {
  for (const [name, [min, max]] of Object.entries(table)) {
    const value: unknown = (given as Record<string, unknown>)[name];
    if (value === undefined) continue;
    const kind = name.endsWith("Ms") ? "number" : "whole number";
    const right = typeof value === "number" && (kind === "number" || Number.isInteger(value));
    if (right && value >= min && value <= max) continue;
    const [from, to] = [min, max].map((bound) => bound.toLocaleString("en"));
    throw new RevdialError("ARGUMENT", `${name} is no ${kind} from ${from} to ${to}`);
  }
}
