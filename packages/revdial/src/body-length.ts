/** Lengths that heads announce, and what is still to come of them (SPEC §6.6). */
import type { Channel } from "./channel.ts";
import { RevdialError } from "./errors.ts";

/** What an answer's length binds: nothing where it is that of a body which does not come (SPEC §6.2). */
export function bodyLength(channel: Channel, status: number, length: number | undefined): number | undefined {
  return channel.headOnly || status === 304 ? undefined : length;
}

/** What is still to come after so many bytes. Error: BODY_LENGTH when they are too many. */
export function less(left: number | undefined, bytes: number): number | undefined {
  if (left === undefined || bytes <= left) return left === undefined ? undefined : left - bytes;
  throw new RevdialError("BODY_LENGTH", `${bytes - left} bytes more than announced`);
}

/** Error: BODY_LENGTH when bytes that were announced have not come. */
export function ended(left: number | undefined): void {
  if (left !== undefined && left > 0)
    throw new RevdialError("BODY_LENGTH", `${left} bytes less than announced`);
}
