/** What sessions and placement tell: times, outcomes, and their spans. */
import { type Tracing, traced } from "@wolfpack/telemetry";
import type { Candidate } from "../placement/candidate.ts";
import type { SessionWatch } from "../sessions/session-watch.ts";
import type { ControlPlaneMeters } from "./metrics.ts";

export function sessionWatchOf(
  meters: ControlPlaneMeters,
  tracing: Tracing,
  now = () => performance.now(),
): { watch: SessionWatch; candidates: () => readonly Candidate[] } {
  let fleet: { readonly candidates: readonly Candidate[] } | undefined;

  /** `run` and its time, by how it ended. */
  async function timed<Result>(
    name: "wolfpack_placement_duration_seconds" | "wolfpack_lobby_create_duration_seconds",
    run: () => Promise<Result>,
    outcomeOf: (result: Result) => string,
  ): Promise<Result> {
    const begunAt = now();
    const ended = (outcome: string) => meters.observe(name, (now() - begunAt) / 1000, { outcome });
    try {
      const result = await run();
      ended(outcomeOf(result));
      return result;
    } catch (error) {
      ended(String((error as { code?: unknown } | null)?.code));
      throw error;
    }
  }

  const watch: SessionWatch = {
    fleet(known) {
      fleet = known;
    },
    placing: (run) =>
      timed(
        "wolfpack_placement_duration_seconds",
        () =>
          traced(tracing, "placement", { kind: "internal" }, async (span) => {
            const placed = await run();
            span.set({ "wolfpack.placement": placed.outcome });
            return placed;
          }),
        ({ outcome }) => outcome,
      ),
    waited: (ms) => meters.observe("wolfpack_queue_wait_duration_seconds", Math.max(0, ms) / 1000),
    starting: (run) => traced(tracing, "session start", { kind: "internal" }, run),
    creating: (run) => timed("wolfpack_lobby_create_duration_seconds", run, () => "created"),
    started: (outcome, ms) =>
      meters.observe("wolfpack_session_start_duration_seconds", Math.max(0, ms) / 1000, { outcome }),
  };
  return { watch, candidates: () => fleet?.candidates ?? [] };
}
