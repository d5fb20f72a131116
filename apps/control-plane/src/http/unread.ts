/**
 * Requests that are refused before the API sees them: no HTTP, too slow, too large a head, a wish for a proxy. Each is counted, and has
 * a line with the id of its answer, and nothing of what it said. Anybody can send any number of them: a flood is told in sum.
 */
import type { ProblemCode } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";

export interface Unread {
  requestId: string;
  status: number;
  code: ProblemCode;
}

const WINDOW_MS = 10_000;
/** Of one window. */
export const LINES_MAX = 20;

export interface UnreadOptions {
  clock: Clock;
  log: Log;
  count: (unread: Unread) => void;
}

export function tellOfUnread({ clock, log, count }: UnreadOptions): (unread: Unread) => void {
  /** In the window that runs; none runs at 0. */
  let seen = 0;
  function windowEnds(): void {
    const untold = Math.max(0, seen - LINES_MAX);
    seen = 0;
    if (untold > 0) log.warn({ untold }, "requests refused unread, beyond those that have a line each");
  }
  return (unread) => {
    count(unread);
    if (seen === 0) clock.setTimer(WINDOW_MS, windowEnds);
    seen += 1;
    const { requestId, status, code } = unread;
    if (seen <= LINES_MAX) log.info({ request_id: requestId, res: { status }, code }, "request");
  };
}
