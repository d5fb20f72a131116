/** How operators steer the fleet: intents of wolves, drains, the valve against mass loss; and what happened, as events. */
import { z } from "zod";
import { SessionId, UserId, WolfId } from "./ids.ts";
import { flag, instant, Limit, line, prefixedId } from "./schema-parts.ts";

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
    owner_id: UserId,
    position: z.int().min(1).meta({ description: "1 is next." }),
    priority: z.int(),
    queued_at: instant,
    deadline: instant,
    text: z.string().meta({ description: "Why it waits." }),
  })
  .meta({ id: "QueueEntry" });
export type QueueEntry = z.infer<typeof QueueEntry>;
export const ListQueueQuery = z.strictObject({ limit: Limit });

export const FleetEventId = prefixedId("evt");
export const FleetEvent = z
  .object({
    id: FleetEventId,
    at: instant,
    kind: z
      .string()
      .meta({ description: "`session.running`, `wolf.connectivity`, …", example: "session.expiring" }),
    session_id: z.string().nullable(),
    wolf_instance_id: z.string().nullable(),
    owner_id: z.string().nullable().meta({ description: "The session's owner." }),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "FleetEvent", description: "A change of a session, a wolf or the fleet." });
export type FleetEvent = z.infer<typeof FleetEvent>;
export const ListFleetEventsQuery = z.strictObject({
  limit: Limit,
  cursor: FleetEventId.optional(),
  kind: line(63).optional(),
  session_id: SessionId.optional(),
  wolf_instance_id: WolfId.optional(),
  newest_first: flag.optional(),
});
export type ListFleetEventsQuery = z.infer<typeof ListFleetEventsQuery>;
