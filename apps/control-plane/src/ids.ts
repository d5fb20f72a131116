/** Ids of everything we make: a prefix that says what it is, and a ULID, so that ids sort by time. */
import { monotonicFactory } from "ulid";

const next = monotonicFactory();

export function newId(
  prefix: "wlf" | "ses" | "usr" | "key" | "dsk" | "aud" | "rep" | "jtk" | "agk" | "web" | "rvc",
): string {
  return `${prefix}_${next()}`;
}
