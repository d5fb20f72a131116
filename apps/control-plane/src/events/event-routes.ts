/** HTTP in, pages of the store or a stream out: what happened to sessions, wolves, the fleet and who may use it. */
import { FleetEventId } from "@wolfpack/api-contract";
import type { Request } from "express";
import { z } from "zod";
import type { Handlers } from "../http/call.ts";
import { page } from "../http/page.ts";
import { parse } from "../http/validate.ts";
import { userOf } from "../identity/identity-routes.ts";
import { toEventResponse } from "./event-response.ts";
import type { EventStore } from "./event-store.ts";
import type { EventStreams } from "./event-streams.ts";
import { filterOf, sightOf } from "./event-view.ts";

const STREAM = "text/event-stream";
/** Some clients send the field without a value before they have seen an event. */
const LastEventId = z.union([z.literal("").transform(() => undefined), FleetEventId.optional()]);

export interface EventHandlersOptions {
  store: Pick<EventStore, "list">;
  streams: Pick<EventStreams, "open">;
}

export function eventHandlers({ store, streams }: EventHandlersOptions): Pick<Handlers, "listEvents"> {
  return {
    async listEvents(call) {
      const { query, url, request, response } = call;
      const principal = userOf(call);
      const view = { ...filterOf(query), sight: sightOf(principal) };
      if (request.accepts("application/json", STREAM) === STREAM) {
        const lastEventId = lastEventIdOf(request) ?? query.last_event_id;
        return { status: 200, body: streams.open({ principal, view, lastEventId }, response) };
      }
      response.vary("Accept");
      const events = await store.list(
        { limit: query.limit + 1, after: query.cursor, newestFirst: query.newest_first ?? false },
        view,
      );
      return page(
        url,
        events.map((event) => toEventResponse(event, view.sight)),
        query.limit,
      );
    },
  };
}

function lastEventIdOf({ headers }: Request): string | undefined {
  return parse(LastEventId, headers["last-event-id"], "header.last-event-id");
}
