/** A part of the composition root: what happened, as pages and as streams. */
import type { Base } from "./compose-access.ts";
import { createNotifications, EVENTS_LISTENER_NAME } from "./database/notifications.ts";
import { createEventFeed } from "./events/event-feed.ts";
import { createEventLog } from "./events/event-log.ts";
import { eventHandlers } from "./events/event-routes.ts";
import { EVENTS_CHANNEL, prismaEventStore } from "./events/event-store.prisma.ts";
import { createEventStreams } from "./events/event-streams.ts";
import type { Revocations } from "./identity/revocations.ts";
import { newId } from "./ids.ts";
import { version } from "./version.ts";

export function composeEvents(
  { databaseUrl, prisma, log, clock }: Base,
  { revocations, replica }: { revocations: Revocations; replica: string },
) {
  const store = prismaEventStore(prisma);
  const feed = createEventFeed({ store, clock, log });
  const streams = createEventStreams({
    feed,
    store,
    revocations,
    clock,
    random: Math.random,
    replica,
    version,
  });
  const notifications = createNotifications({
    url: databaseUrl,
    channel: EVENTS_CHANNEL,
    name: EVENTS_LISTENER_NAME,
    clock,
    log,
    random: Math.random,
    onNotification: feed.wake,
    onListening: feed.wake,
  });
  return {
    log: createEventLog({ store, clock, log, newId }),
    handlers: eventHandlers({ store, streams }),
    streams,
    feed,
    start() {
      feed.start();
      notifications.start();
    },
    async stop() {
      streams.close();
      await feed.stop();
      await notifications.stop();
    },
  };
}
