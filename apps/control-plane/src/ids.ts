/** Ids of everything we make: a prefix that says what it is, and a ULID, so that ids sort by time. */
import { randomFillSync } from "node:crypto";
import { encodeTime, monotonicFactory } from "ulid";

/** An id takes 16 random numbers, and each would be a question to OpenSSL of its own. */
const pool = new Uint8Array(4096);
let left = 0;

function random(): number {
  if (left === 0) left = randomFillSync(pool).length;
  left -= 1;
  return (pool[left] as number) / 256;
}

const next = monotonicFactory(random);

type Prefix = "wlf" | "ses" | "usr" | "key" | "dsk" | "aud" | "rep" | "jtk" | "agk" | "web" | "rvc" | "evt";

export function newId(prefix: Prefix): string {
  return `${prefix}_${next()}`;
}

/** The lowest id of this moment: ids made earlier are lower, so that an index by id finds a time. */
export function firstIdAt(prefix: Prefix, ms: number): string {
  return `${prefix}_${encodeTime(Math.max(0, ms), 10)}${"0".repeat(16)}`;
}
