/** That somebody makes use of a session, written now and then: a screen that is asked for ten times a second is one write in ten seconds. */
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { Session, SessionStore } from "./session-store.ts";

export interface SessionUseOptions {
  store: Pick<SessionStore, "touch">;
  clock: Clock;
  log: Log;
}

const WRITTEN_EVERY_MS = 10_000;
const KEPT_MAX = 10_000;

export class SessionUse {
  private readonly options: SessionUseOptions;
  /** When it was last written, by session. */
  private readonly written = new Map<string, number>();

  constructor(options: SessionUseOptions) {
    this.options = options;
  }

  /** Never rejects. */
  async seen({ id, idleSeconds }: Session): Promise<void> {
    const { store, clock, log } = this.options;
    const now = clock.now();
    if (idleSeconds === null || now.getTime() - (this.written.get(id) ?? 0) < WRITTEN_EVERY_MS) return;
    this.written.delete(id);
    this.written.set(id, now.getTime());
    if (this.written.size > KEPT_MAX) this.written.delete(this.written.keys().next().value as string);
    await store
      .touch([id], now)
      .catch((err: unknown) => log.warn({ err, session_id: id }, "use not written"));
  }
}
