/** The fleet in numbers of the moment: wolves and slots from placement's view in memory, the rest from PostgreSQL, seldom. */
import { Connectivity, Health, Intent, SessionStatus } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import type { Candidate } from "../placement/candidate.ts";
import { isCounted } from "../wolves/wolf-lifecycle.ts";
import type { ControlPlaneMeters } from "./metrics.ts";

export interface FleetReading {
  /** Live sessions by status. */
  countLive: () => Promise<Partial<Record<SessionStatus, number>>>;
  fleetState: () => Promise<{ frozenSince: Date | null }>;
}

/** Whoever reads more often is given what was read before. */
const READ_EVERY_MS = 5000;

export function fleetGauges(
  meters: ControlPlaneMeters,
  {
    clock,
    candidates,
    countLive,
    fleetState,
  }: FleetReading & { clock: Clock; candidates: () => readonly Candidate[] },
): void {
  let readAt = Number.NEGATIVE_INFINITY;

  meters.onRead(() => {
    const wolves = candidates();
    const counted: readonly Candidate[] = wolves.filter(isCounted);
    const count = (fits: (wolf: Candidate) => boolean, among = counted) =>
      among.reduce((sum, wolf) => sum + Number(fits(wolf)), 0);
    for (const connectivity of Connectivity.options)
      meters.set(
        "wolfpack_wolves",
        count((wolf) => wolf.connectivity === connectivity),
        { connectivity },
      );
    for (const health of Health.options)
      meters.set(
        "wolfpack_wolves_by_health",
        count((wolf) => wolf.health === health),
        { health },
      );
    for (const intent of Intent.options)
      meters.set(
        "wolfpack_wolves_by_intent",
        count((wolf) => wolf.intent === intent, wolves),
        { intent },
      );
    const nowMs = clock.now().getTime();
    meters.set(
      "wolfpack_wolves_quarantined",
      count(({ quarantinedUntilMs }) => quarantinedUntilMs !== null && quarantinedUntilMs > nowMs),
    );
    for (const [state, slots] of Object.entries(slotsOf(wolves)))
      meters.set("wolfpack_slots", slots, { state });
  });

  meters.onRead(async () => {
    const nowMs = clock.now().getTime();
    if (Math.abs(nowMs - readAt) < READ_EVERY_MS) return;
    // A database that does not answer is missing on the page, rather than shown as it was.
    meters.clear("wolfpack_sessions");
    meters.clear("wolfpack_evictions_frozen");
    const [live, { frozenSince }] = await Promise.all([countLive(), fleetState()]);
    for (const status of SessionStatus.options)
      meters.set("wolfpack_sessions", live[status] ?? 0, { status });
    meters.set("wolfpack_evictions_frozen", Number(frozenSince !== null));
    readAt = nowMs;
  });
}

/** Of wolves that may get sessions. */
export function slotsOf(
  wolves: readonly Pick<Candidate, "intent" | "connectivity" | "slots">[],
): Record<"claimed" | "other" | "free", number> {
  const sum = { claimed: 0, other: 0, free: 0 };
  for (const { intent, connectivity, slots } of wolves) {
    if (intent !== "active" || connectivity !== "connected") continue;
    sum.claimed += slots.claimed;
    sum.other += slots.other;
    sum.free += Math.max(0, slots.max - slots.claimed - slots.other);
  }
  return sum;
}
