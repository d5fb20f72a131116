/** The changes of a session that others must hear of: whoever waits for it, its own tunnel, and those that wait for its slot. */
import type { SessionStatus } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { Tunnels } from "../tunnels/tunnels.ts";
import type {
  EndOptions,
  Ran,
  RequeueOptions,
  Session,
  SessionOutcome,
  SessionStore,
} from "./session-store.ts";
import type { Waiters } from "./waiters.ts";

export interface SessionChangesOptions {
  store: SessionStore;
  tunnels: Pick<Tunnels, "dropSandbox">;
  waiters: Waiters;
  clock: Clock;
  log: Log;
  /** There may be room. */
  onRoom: () => void;
  /** A session has left this wolf, and its lobby may still be there. */
  onLobbyLeft: (wolfId: string) => void;
}

/** One that did not want to wait and has to move gets so long to find another wolf. */
const NO_QUEUE_MS = 10_000;

export class SessionChanges {
  private readonly options: SessionChangesOptions;

  constructor(options: SessionChangesOptions) {
    this.options = options;
  }

  /** The one way a session ends here. False: it had ended, or the options forbid it. */
  async finish(
    { id, wolfId }: Pick<Session, "id" | "wolfId">,
    outcome: SessionOutcome,
    options: EndOptions = {},
  ): Promise<boolean> {
    const { store, clock, log, tunnels, waiters, onRoom, onLobbyLeft } = this.options;
    const ended = await store.end(id, outcome, clock.now(), options);
    if (ended) {
      log.info({ session_id: id, ...outcome }, "session ended");
      tunnels.dropSandbox(id);
      onRoom();
      if (wolfId !== null && options.lobbyGone !== true) onLobbyLeft(wolfId);
    }
    waiters.changed(id);
    return ended;
  }

  /** Gives up its wolf for another one; what may still run there is stopped by the reconciler. */
  async requeue(
    { id, wolfId, spec }: Pick<Session, "id" | "wolfId" | "spec">,
    from: readonly SessionStatus[],
    options: Omit<RequeueOptions, "deadline">,
  ): Promise<boolean> {
    const { store, clock, log, tunnels, waiters, onRoom, onLobbyLeft } = this.options;
    if (wolfId === null) return false;
    const now = clock.now();
    const waitMs = spec.queue ? spec.queue_deadline_seconds * 1000 : NO_QUEUE_MS;
    const deadline = new Date(now.getTime() + waitMs);
    const requeued = await store.requeue(id, wolfId, from, { ...options, deadline }, now);
    if (requeued) {
      log.info({ session_id: id, wolf_id: wolfId, ...options }, "session looks for another wolf");
      tunnels.dropSandbox(id);
      onRoom();
      if (options.lobbyGone !== true) onLobbyLeft(wolfId);
    }
    waiters.changed(id);
    return requeued;
  }

  /** With this lobby. */
  async ran(id: string, lobbyId: string): Promise<Ran | undefined> {
    const { store, clock, log, waiters } = this.options;
    const ran = await store.running(id, lobbyId, clock.now());
    if (ran) log.info({ session_id: id }, "session runs");
    waiters.changed(id);
    return ran;
  }

  changed(id: string): void {
    this.options.waiters.changed(id);
  }
}
