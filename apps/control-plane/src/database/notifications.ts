/** PostgreSQL's notifications, on a connection of their own that comes back by itself. What is missed meanwhile is missed. */
import pg from "pg";
import { type Clock, type Timer, within } from "../clock.ts";
import type { Log } from "../logger.ts";
import { KEEP_ALIVE_MS, POOL_CONNECTIONS } from "./prisma.prisma.ts";

export interface NotificationsOptions {
  url: string;
  channel: string;
  /** As the database shows the connection. */
  name?: string;
  clock: Clock;
  log: Log;
  random: () => number;
  onNotification: (payload: string) => void;
  /** Listens, at first or again: what was said before, nobody heard. */
  onListening: () => void;
}

export interface Notifications {
  start(): void;
  /** Bounded: whoever is not there any more is not waited for. */
  stop(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5000;
const END_MS = 1000;
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 5000;
export const LISTENER_NAME = "wolfpack-listener";
export const EVENTS_LISTENER_NAME = "wolfpack-events-listener";
/** To PostgreSQL, at most: what `max_connections` and the number of replicas have to fit. */
export const CONNECTIONS_PER_REPLICA = POOL_CONNECTIONS + [LISTENER_NAME, EVENTS_LISTENER_NAME].length;

export function createNotifications(options: NotificationsOptions): Notifications {
  const { url, channel, name = LISTENER_NAME, clock, log, random, onNotification, onListening } = options;
  let client: pg.Client | undefined;
  let connecting: Promise<void> | undefined;
  let retry: Timer | undefined;
  let attempt = 0;
  let stopped = false;

  async function connect(): Promise<void> {
    const made = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
      application_name: name,
    });
    client = made;
    made.on("notification", ({ payload }) => onNotification(payload ?? ""));
    // Of a connection that breaks, both may be told.
    const lost = (err?: Error) => {
      if (client !== made) return;
      client = undefined;
      // A failed `end` of what is broken is no news.
      made.end().catch(() => undefined);
      if (stopped) return;
      const waitMs = Math.floor(random() * Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** attempt));
      attempt += 1;
      log.warn({ err, channel, wait_ms: waitMs }, "not listening to the database");
      retry = clock.setTimer(waitMs, open);
    };
    made.on("error", lost);
    made.on("end", () => lost());
    try {
      await made.connect();
      await made.query(`LISTEN ${made.escapeIdentifier(channel)}`);
      attempt = 0;
      onListening();
    } catch (err) {
      lost(err as Error);
    }
  }

  function open(): void {
    connecting = connect();
  }

  return {
    start: open,
    async stop() {
      stopped = true;
      retry?.cancel();
      const ended = async () => {
        await connecting;
        const last = client;
        client = undefined;
        await last?.end();
      };
      await within(
        clock,
        END_MS,
        ended().catch(() => undefined),
      );
    },
  };
}
