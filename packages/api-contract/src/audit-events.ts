/** What to show of the audit log. */
import { z } from "zod";
import { type Action, actions } from "./access.ts";
import { instant, Limit, line } from "./schema-parts.ts";
import { AuditEventId, AuditResult } from "./schemas.ts";

/** What the log tells of: every action of a call, and what no call is. */
export const auditActions = [...(Object.keys(actions) as Action[]), "agent.takeover"] as const;
export type AuditAction = (typeof auditActions)[number];

const filters = {
  actor_id: line(64).min(1).optional().meta({ description: "A user, or the wolf of an agent." }),
  action: z.enum(auditActions).optional(),
  object: line(64).min(1).optional(),
  result: AuditResult.optional(),
  since: instant.optional().meta({ description: "At this moment or later." }),
  until: instant.optional().meta({ description: "Before this moment." }),
};

export const ListAuditEventsQuery = z.strictObject({
  limit: Limit,
  cursor: AuditEventId.optional(),
  ...filters,
});
export type ListAuditEventsQuery = z.infer<typeof ListAuditEventsQuery>;
export const ExportAuditEventsQuery = z.strictObject(filters);
export type ExportAuditEventsQuery = z.infer<typeof ExportAuditEventsQuery>;
