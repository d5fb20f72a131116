/** How operators steer the fleet: intents of wolves, drains, the valve against mass loss; and what happened, as events. */
import { z } from "zod";
import { isKindFilter } from "./fleet-event-kinds.ts";
import { SessionId, UserId, WolfId } from "./ids.ts";
import { flag, instant, LargeLimit, Limit, line, prefixedId } from "./schema-parts.ts";

const Reason = line(200).min(1).optional().meta({ description: "Why, for whoever looks at the wolf." });
export const IntentRequest = z
  .strictObject({ reason: Reason })
  .meta({ id: "IntentRequest", example: { reason: "a new driver" } });
export type IntentRequest = z.infer<typeof IntentRequest>;

export const DrainRequest = z
  .strictObject({
    reason: Reason,
    deadline_seconds: z.int().min(0).max(604_800).default(3600).meta({
      description: "What still runs then is moved, if its disconnect policy is `replace`, or stopped.",
    }),
    // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
    then: z.enum(["cordoned", "maintenance", "retired"]).default("cordoned").meta({
      description: "The wolf's intent once nothing is left on it.",
    }),
  })
  .meta({
    id: "DrainRequest",
    example: { reason: "a new driver", deadline_seconds: 1800 },
  });
export type DrainRequest = z.infer<typeof DrainRequest>;

export const FleetState = z
  .object({
    evictions_frozen: z.boolean().meta({
      description: "So many wolves left within a minute that the fault is taken for ours: none is given up.",
    }),
    frozen_since: instant.nullable(),
    override_until: instant.nullable().meta({ description: "An operator has lifted the freeze until then." }),
    wolves: z
      .object({ connected: z.int(), suspect: z.int(), lost: z.int() })
      .meta({ description: "Without those that are pending, retired or in maintenance." }),
    sessions: z.record(z.string(), z.int()).meta({ description: "Live sessions by status." }),
    queue_length: z.int(),
  })
  .meta({ id: "FleetState" });
export type FleetState = z.infer<typeof FleetState>;

export const WolfLobby = z
  .object({
    id: z.string(),
    name: z.string(),
    session_id: SessionId.nullable().meta({
      description:
        "The session that its name or environment tells of. Null: it is none of ours, and never touched.",
    }),
    is_live: z.boolean().meta({ description: "That session is live, and this is its lobby." }),
    viewers: z.int().min(0).meta({ description: "Moonlight sessions in it." }),
    pin_required: z.boolean(),
  })
  .meta({ id: "WolfLobby", description: "A lobby as its Wolf lists it now." });
export type WolfLobby = z.infer<typeof WolfLobby>;

export const QueueEntry = z
  .object({
    session_id: SessionId,
    // Both names are absent in the answers of earlier versions.
    name: z.string().optional().meta({ description: "The session's." }),
    owner_id: UserId,
    owner_name: z.string().nullable().optional().meta({ description: "Null: nobody knows it any more." }),
    position: z.int().min(1).meta({ description: "1 is next." }),
    priority: z.int(),
    queued_at: instant,
    deadline: instant,
    text: z.string().meta({ description: "Why it waits." }),
  })
  .meta({ id: "QueueEntry" });
export type QueueEntry = z.infer<typeof QueueEntry>;
export const ListQueueQuery = z.strictObject({
  limit: LargeLimit,
  cursor: SessionId.optional().meta({
    description: "Those behind the place of this session, also when it waits no more.",
  }),
});
export type ListQueueQuery = z.infer<typeof ListQueueQuery>;

export const FleetEventId = prefixedId("evt");
/** Before the first event of all: what comes after it is everything that is still kept. */
export const BEFORE_ALL_EVENTS = `evt_${"0".repeat(26)}`;

/** Who made a change, in the words of the audit log. */
export const FleetEventActor = z
  .object({
    kind: z.string().meta({ description: "`user`, `agent`, `join-token`, `runner-token` or `system`." }),
    id: z.string().nullable().meta({
      description: "Of the user, the agent's wolf or the join token; to users and viewers only their own.",
    }),
  })
  .meta({ id: "FleetEventActor" });
export type FleetEventActor = z.infer<typeof FleetEventActor>;

/** As it is now. Absent: there is no id to name, or not for this reader. */
const name = z.string().nullable().optional();

/** What is new in an event is optional: clients read what earlier control planes answer, too. */
export const FleetEvent = z
  .object({
    id: FleetEventId,
    at: instant,
    kind: z.string().meta({
      description: "`<what>.<happened>`: `session.running`, `wolf.connectivity`, …",
      example: "session.expiring",
    }),
    session_id: z.string().nullable(),
    wolf_instance_id: z.string().nullable(),
    owner_id: z.string().nullable().meta({ description: "The session's owner, or the API key's user." }),
    object_id: z.string().nullable().optional().meta({
      description: "What it is about where that is neither session nor wolf: a user, a key, a join token.",
    }),
    actor: FleetEventActor.nullable().optional().meta({ description: "Null: not known." }),
    cause: z.string().nullable().optional().meta({
      description: "Why, as a stable word: `requested`, `reconciled`, `drain`, `wolf-lost`, …",
      example: "requested",
    }),
    request_id: z.string().nullable().optional().meta({
      description:
        "Of the request that made the change, as its answer and the audit log name it; to users and viewers only of their own.",
    }),
    session_name: name.meta({ description: "Of `session_id`. Null: nobody knows it any more." }),
    wolf_name: name.meta({ description: "Of `wolf_instance_id`. Null: that wolf is no more." }),
    owner_name: name.meta({ description: "Of `owner_id`. Null: nobody knows it any more." }),
    actor_name: name.meta({
      description: "Of `actor.id`: a user's, or of an agent's wolf. Null: it has none, or none any more.",
    }),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "FleetEvent", description: "A change of a session, a wolf, the fleet or who may use it." });
export type FleetEvent = z.infer<typeof FleetEvent>;

const eventFilters = {
  kind: line(63)
    .refine(isKindFilter, "is no kind of event, nor the beginning of some before a *")
    .optional()
    .meta({ description: "A kind, or all that begin alike: `session.*`.", example: "session.*" }),
  session_id: SessionId.optional(),
  wolf_instance_id: WolfId.optional(),
  actor_id: line(64)
    .min(1)
    .optional()
    .meta({ description: "Of whoever made the change: for users and viewers, themselves." }),
};
export const ListFleetEventsQuery = z.strictObject({
  limit: Limit,
  cursor: FleetEventId.optional(),
  newest_first: flag.optional(),
  ...eventFilters,
  last_event_id: FleetEventId.optional().meta({
    description: `For a stream, where the client cannot send \`Last-Event-ID\`: what came after this event; after \`${BEFORE_ALL_EVENTS}\`: all.`,
  }),
});
export type ListFleetEventsQuery = z.infer<typeof ListFleetEventsQuery>;

/** The first thing a stream says, as `event: hello`. */
export const EventStreamHello = z
  .object({
    replica: z.string(),
    version: z.string().meta({ description: "Of the control plane." }),
    cursor: FleetEventId.meta({ description: "The stream tells what came after it." }),
  })
  .meta({ id: "EventStreamHello" });
export type EventStreamHello = z.infer<typeof EventStreamHello>;

/** Events are missing here: what was made of them has to be read anew. As `event: missed`. */
export const EventStreamMissed = z
  .object({
    after: FleetEventId.nullable().meta({ description: "The last event that was sent; null: none was." }),
    reason: z
      .string()
      .meta({ description: "`slow`: they were not read. `too-late`: they are too many, or gone." }),
  })
  .meta({ id: "EventStreamMissed" });
export type EventStreamMissed = z.infer<typeof EventStreamMissed>;
