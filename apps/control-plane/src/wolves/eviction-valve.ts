/**
 * The valve before every mark "lost". While more wolves are away than can be their own fault it is shut, and unreachable is
 * not taken for absent. Its state is the fleet's row, so that another replica or the next process goes on with it.
 */
import type { Clock } from "../clock.ts";
import { because } from "../events/author.ts";
import type { Log } from "../logger.ts";
import { isMassLoss, isStillLost, type MassLossRules } from "./mass-loss.ts";
import type { ConnectivityCounts, FleetRow, WolfStore } from "./wolf-store.ts";

export interface EvictionValveOptions {
  store: Pick<WolfStore, "countConnectivity" | "fleet" | "setFleet">;
  clock: Clock;
  log: Log;
  rules: MassLossRules;
  /** For how long an operator's word keeps it open. */
  overrideMs: number;
}

export interface FleetHealth extends FleetRow {
  wolves: Pick<ConnectivityCounts, "connected" | "lost" | "suspect">;
}

export interface EvictionValve {
  /**
   * May these wolves be given up now? `overdue`: suspects whose grace has passed. `silent`: wolves that still count as
   * connected, and are as good as gone. With neither it is only looked at whether a freeze is over.
   */
  look(waiting: { overdue: number; silent: number }): Promise<"open" | "shut">;
  /** An operator says that the loss is real. */
  override(): Promise<void>;
  state(): Promise<FleetHealth>;
}

export function evictionValve({ store, clock, log, rules, overrideMs }: EvictionValveOptions): EvictionValve {
  /** Who is there and who is away, with those that are silent among the latter. */
  async function count(silent: number, now: Date) {
    const since = new Date(now.getTime() - rules.windowMs);
    const { connected, suspect, leftSince } = await store.countConnectivity(since);
    return {
      connected: Math.max(0, connected - silent),
      suspect: suspect + silent,
      leftSince: leftSince + silent,
    };
  }

  return {
    async look({ overdue, silent }) {
      const now = clock.now();
      const fleet = await store.fleet();
      if (fleet.overrideUntil !== null && fleet.overrideUntil > now) return "open";
      if (fleet.frozenSince === null && overdue + silent === 0) return "open";
      const counts = await count(silent, now);
      if (fleet.frozenSince === null) {
        if (!isMassLoss(counts, rules)) return "open";
        await because("mass-loss", () => store.setFleet({ ...fleet, frozenSince: now }));
        log.error({ ...counts, rules }, "mass loss of wolves, taken for a fault of ours: none is given up");
        return "shut";
      }
      if (isStillLost(counts, rules)) return "shut";
      await because("mass-loss", () => store.setFleet({ ...fleet, frozenSince: null }));
      log.warn(
        { ...counts, frozen_since: fleet.frozenSince },
        "mass loss is over, wolves are given up again",
      );
      return "open";
    },

    async override() {
      const overrideUntil = new Date(clock.now().getTime() + overrideMs);
      await store.setFleet({ frozenSince: null, overrideUntil });
      log.warn({ override_until: overrideUntil }, "mass loss is real, says an operator: wolves are given up");
    },

    async state() {
      const [fleet, { connected, suspect, lost }] = await Promise.all([
        store.fleet(),
        store.countConnectivity(clock.now()),
      ]);
      return { ...fleet, wolves: { connected, suspect, lost } };
    },
  };
}
