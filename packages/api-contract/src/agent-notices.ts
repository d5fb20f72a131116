/** What an agent says in NOTICE frames of its tunnel: JSON in UTF-8. The control plane drops and counts whatever does not fit. */
import { z } from "zod";
import { RegisterWolfRequest } from "./schemas.ts";

export const agentNoticeTypes = {
  inventory: "inventory",
  heartbeat: "heartbeat",
  wolfEvent: "wolf-event",
} as const;

/** At connect and on change: what the wolf can take. */
export const AgentInventory = RegisterWolfRequest.omit({ name: true, address: true }).required({
  agent_version: true,
});
export type AgentInventory = z.infer<typeof AgentInventory>;

/** Every ten seconds, and at once when `wolf` changes: how Wolf answers the agent's probe. */
export const AgentHeartbeat = z.strictObject({
  wolf: z.enum(["ok", "slow", "unreachable"]),
  detail: z.string().max(200).optional(),
});
export type AgentHeartbeat = z.infer<typeof AgentHeartbeat>;

/** One event of Wolf's stream, stripped of secrets. `seq` counts from 1 within an incarnation: a gap means that some were dropped. */
export const AgentWolfEvent = z.strictObject({
  seq: z.int().min(1),
  event: z.string().min(1).max(200),
  data: z.record(z.string(), z.unknown()),
});
export type AgentWolfEvent = z.infer<typeof AgentWolfEvent>;
