/** A line on a wolf's page while its host's clock is far off. */
import type { WolfInstance } from "@wolfpack/api-contract";
import { clockOf } from "../../fleet/clock-words.ts";
import { Mark } from "../../ui/badge.tsx";

export function ClockWarning({ wolf }: { wolf: WolfInstance }) {
  const clock = clockOf(wolf);
  if (!clock?.isOff) return null;
  return (
    <section className="card wolf-drain" aria-label="Clock">
      <div className="row-wrap">
        <Mark tone="warning" />
        <strong>Clock {clock.words}</strong>
        <span className="muted">
          when its tunnel was opened; beyond 5 min the host is refused. Synchronise it by NTP, and restart its
          agent to measure anew
        </span>
      </div>
    </section>
  );
}
