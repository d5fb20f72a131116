/** The changes of a session that others must hear of: whoever waits for it, its own tunnel, and those that wait for its slot. */
import type { SessionStatus } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { Tunnels } from "../tunnels/tunnel-gateway.ts";
import type { SessionOutcome, SessionStore } from "./session-store.ts";
import type { Waiters } from "./waiters.ts";

export interface SessionChangesOptions {
  store: SessionStore;
  tunnels: Pick<Tunnels, "dropSandbox">;
  waiters: Waiters;
  clock: Clock;
  log: Log;
  /** How long it may wait for another wolf. */
  requeueMs: number;
  /** There may be room. */
  onRoom: () => void;
}

export class SessionChanges {
  private readonly options: SessionChangesOptions;

  constructor(options: SessionChangesOptions) {
    this.options = options;
  }

  /** The one way a session ends here. False: it had ended, or is in none of `from`. */
  async finish(id: string, outcome: SessionOutcome, from?: readonly SessionStatus[]): Promise<boolean> {
    const { store, clock, log, tunnels, waiters, onRoom } = this.options;
    const ended = await store.end(id, outcome, clock.now(), from);
    if (ended) {
      log.info({ session_id: id, ...outcome }, "session ended");
      tunnels.dropSandbox(id);
      onRoom();
    }
    waiters.changed(id);
    return ended;
  }

  /** Gives up its wolf for another one; what may still run there is stopped by the reconciler. */
  async requeue(
    id: string,
    wolfId: string,
    from: readonly SessionStatus[],
    options: { avoid: boolean; whileLost?: boolean },
  ): Promise<boolean> {
    const { store, clock, log, tunnels, waiters, requeueMs, onRoom } = this.options;
    const now = clock.now();
    const deadline = new Date(now.getTime() + requeueMs);
    const requeued = await store.requeue(id, wolfId, from, { ...options, deadline }, now);
    if (requeued) {
      log.info({ session_id: id, wolf_id: wolfId, avoid: options.avoid }, "session looks for another wolf");
      tunnels.dropSandbox(id);
      onRoom();
    }
    waiters.changed(id);
    return requeued;
  }

  async ran(id: string): Promise<boolean> {
    const { store, clock, log, waiters } = this.options;
    const runs = await store.running(id, clock.now());
    if (runs) log.info({ session_id: id }, "session runs");
    waiters.changed(id);
    return runs;
  }

  changed(id: string): void {
    this.options.waiters.changed(id);
  }
}
