/** Ids of everything we make: a prefix that says what it is, and a ULID, so that ids sort by time. */
import { encodeTime, monotonicFactory } from "ulid";

const next = monotonicFactory();

type Prefix = "wlf" | "ses" | "usr" | "key" | "dsk" | "aud" | "rep" | "jtk" | "agk" | "web" | "rvc" | "evt";

export function newId(prefix: Prefix): string {
  return `${prefix}_${next()}`;
}

/** The lowest id of this moment: ids made earlier are lower, so that an index by id finds a time. */
export function firstIdAt(prefix: Prefix, ms: number): string {
  return `${prefix}_${encodeTime(Math.max(0, ms), 10)}${"0".repeat(16)}`;
}
