/**
 * Keeps tunnels spread over the replicas. Load balancers choose for new connections only: after a rolling restart the replica that came
 * last would have none until agents reconnect by themselves. So one that has many more than its share asks some agents to move.
 */
import { type Clock, repeat, type Timer } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { ReplicaRow } from "./replica-store.ts";

export interface BalanceOptions {
  self: string;
  /** All that live, as they last said. Rejects without a database. */
  list: () => Promise<readonly ReplicaRow[]>;
  /** Live tunnels of wolves here, now. */
  tunnels: () => number;
  /**
   * Asks so many agents to open theirs anew, through the load balancer. Resolves to how many took the wish, and how many wolves are
   * elsewhere then. Never rejects.
   */
  move: (count: number) => Promise<{ asked: number; moved: number }>;
  /** Between two looks; 0: never. */
  everyMs: number;
  clock: Clock;
  log: Log;
}

/** So many more than the share are left as they are: a move costs more than they do. */
const SLACK_SHARE = 0.2;
const SLACK_MIN = 4;
/** In one look: some seconds of what another replica takes in. */
export const MOVES_MAX = 500;
/** A load balancer that brings fewer of them elsewhere is not one that balances. */
const HELPED_SHARE_MIN = 0.25;
/** Looks that are left out after moves that did not help, twice as many each time. */
const LOOKS_LEFT_OUT_MAX = 63;

/**
 * How many of this replica's `own` tunnels are to move: half of what is too much. All replicas together move half of what others lack,
 * so that with a load balancer that counts connections nobody gets too many.
 */
export function tunnelsToMove(self: string, own: number, rows: readonly ReplicaRow[]): number {
  const others = rows.filter(({ id, url, draining }) => id !== self && url !== null && !draining);
  if (others.length === 0) return 0;
  const all = others.reduce((sum, { tunnels }) => sum + tunnels, own);
  const share = all / (others.length + 1);
  const over = own - share;
  if (over <= Math.max(SLACK_MIN, share * SLACK_SHARE)) return 0;
  return Math.min(MOVES_MAX, Math.ceil(over / 2));
}

/** Looks again and again until it is cancelled. */
export function keepBalance(options: BalanceOptions): Timer {
  const { self, list, tunnels, move, everyMs, clock, log } = options;
  /** Looks that are left out, and how many it were to be after the last move. */
  let leftOut = 0;
  let pauseLooks = 0;
  let replicas = "";

  async function look(): Promise<void> {
    const rows = await list();
    const now = rows.map(({ id }) => id).join();
    // What did not help with those of before may help with these.
    if (now !== replicas) [leftOut, pauseLooks] = [0, 0];
    replicas = now;
    if (leftOut > 0) {
      leftOut -= 1;
      return;
    }
    const count = tunnelsToMove(self, tunnels(), rows);
    if (count === 0) {
      pauseLooks = 0;
      return;
    }
    const { asked, moved } = await move(count);
    const hasHelped = asked > 0 && moved >= asked * HELPED_SHARE_MIN;
    pauseLooks = hasHelped ? 0 : Math.min(LOOKS_LEFT_OUT_MAX, pauseLooks * 2 + 1);
    leftOut = pauseLooks;
    // Agents of Helix's protocol, and those of before, cannot be asked: nothing to tell.
    if (asked === 0) return;
    const outcome = { asked, moved, tunnels: tunnels() };
    if (hasHelped) log.info(outcome, "tunnels moved: this replica had more than its share");
    else
      log.warn(
        outcome,
        "agents that were asked to move came back: does the load balancer count connections?",
      );
  }

  if (everyMs === 0) return { cancel: () => undefined };
  return repeat(clock, everyMs, () =>
    look().catch((err: unknown) =>
      log.debug({ err }, "tunnels were not compared with those of other replicas"),
    ),
  );
}
