/** What sessions tell those who count, without knowing them. */
import { type PlacementWatch, unwatchedPlacement } from "../placement/placement-watch.ts";

export interface SessionWatch extends PlacementWatch {
  /** Around the work between a session's slot and its lobby. */
  starting<Result>(run: () => Promise<Result>): Promise<Result>;
  /** Around the creation of its lobby. Rejects as `run` does. */
  creating<Result>(run: () => Promise<Result>): Promise<Result>;
  /** A start has come to its end, `ms` after the slot. */
  started(outcome: "running" | "failed" | "moved", ms: number): void;
}

export const unwatchedSessions: SessionWatch = {
  ...unwatchedPlacement,
  starting: (run) => run(),
  creating: (run) => run(),
  started: () => undefined,
};
