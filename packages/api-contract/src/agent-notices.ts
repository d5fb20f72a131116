/** What an agent says in NOTICE frames of its tunnel: JSON in UTF-8. The control plane drops and counts whatever does not fit. */
import { z } from "zod";
import { HostFacts, HostUsage, WolfImages } from "./host.ts";
import { RegisterWolfRequest } from "./schemas.ts";

export const agentNoticeTypes = {
  inventory: "inventory",
  heartbeat: "heartbeat",
  wolfEvent: "wolf-event",
  capabilities: "capabilities",
  images: "images",
  relist: "relist",
} as const;

/** At connect and on change: what the wolf can take, and what its host consists of. */
export const AgentInventory = RegisterWolfRequest.omit({ name: true, address: true })
  .required({ agent_version: true })
  .extend({ host: HostFacts.optional() });
export type AgentInventory = z.infer<typeof AgentInventory>;

/**
 * Every ten seconds, more rarely while Wolf does not answer, and at once when `wolf` changes: how Wolf answers the agent's
 * probe, and how the host does.
 */
export const AgentHeartbeat = z.strictObject({
  /** `slow`: no answer for 3 s. `stuck`: none for 25 s. */
  wolf: z.enum(["ok", "slow", "stuck", "unreachable"]),
  detail: z.string().max(200).optional(),
  usage: HostUsage.optional(),
  /** Restarts of Wolf since the agent started, and whether the last is so recent that it may not be over. */
  restarts: z.strictObject({ count: z.int().min(0).max(1_000_000), recent: z.boolean() }).optional(),
});
export type AgentHeartbeat = z.infer<typeof AgentHeartbeat>;

/** One event of Wolf's stream, stripped of secrets. `seq` counts from 1 within an incarnation: a gap means that some were dropped. */
export const AgentWolfEvent = z.strictObject({
  seq: z.int().min(1),
  event: z.string().min(1).max(200),
  data: z.record(z.string(), z.unknown()),
});
export type AgentWolfEvent = z.infer<typeof AgentWolfEvent>;

/** At connect, and after Wolf was seen to start again: what its own description says. All empty and no hash: unknown. */
export const AgentCapabilities = z.strictObject({
  /** SHA-256 of the description as Wolf sent it: equal hashes are equal builds. */
  schema_hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  features: z.array(z.string().regex(/^[a-z][a-z0-9-]{0,40}$/)).max(64),
  /** Routes a control plane cannot do without, as "METHOD path". */
  missing: z.array(z.string().regex(/^[A-Z]{1,10} \/[A-Za-z0-9/_-]{1,100}$/)).max(16),
});
export type AgentCapabilities = z.infer<typeof AgentCapabilities>;

/** At connect and on change: the images of Wolf's lobbies and apps. Null: Wolf does not say which it has. */
export const AgentImages = z.strictObject({ images: WolfImages.nullable() });
export type AgentImages = z.infer<typeof AgentImages>;

/** Events were lost, by Wolf's stream or on their way up: what Wolf runs has to be asked for. */
export const AgentRelist = z.strictObject({ reason: z.enum(["stream-was-down", "events-dropped"]) });
export type AgentRelist = z.infer<typeof AgentRelist>;
