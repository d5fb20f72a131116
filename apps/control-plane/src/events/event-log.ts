/** Events that no trigger writes: announcements and alarms rather than changes of a row. */
import type { Clock } from "../clock.ts";
import type { newId } from "../ids.ts";
import type { Log } from "../logger.ts";
import type { EventStore } from "./event-store.ts";

export interface FleetEventEntry {
  /** What it is about, and what happened: `session.expiring`. */
  kind: `${"session" | "wolf" | "fleet"}.${string}`;
  /** With its owner, who else would not see it. */
  session?: { readonly id: string; readonly ownerId: string };
  wolfId?: string | null | undefined;
  /** As the API shows it, to every user where there is no session; never secrets. */
  detail?: Record<string, unknown>;
}

export interface EventLogOptions {
  store: Pick<EventStore, "add">;
  clock: Clock;
  log: Log;
  newId: typeof newId;
}

export type EventLog = ReturnType<typeof createEventLog>;

export function createEventLog({ store, clock, log, newId }: EventLogOptions) {
  return {
    /** Never rejects: what is announced happens whether or not it could be written down. */
    async record({ kind, session, wolfId, detail = {} }: FleetEventEntry): Promise<void> {
      const about = { sessionId: session?.id ?? null, ownerId: session?.ownerId ?? null };
      try {
        await store.add({
          id: newId("evt"),
          at: clock.now(),
          kind,
          wolfId: wolfId ?? null,
          ...about,
          detail,
        });
      } catch (err) {
        log.warn({ err, kind, session_id: about.sessionId, wolf_instance_id: wolfId }, "event not written");
      }
    },
  };
}
