/** How a host becomes a wolf and stays one: join tokens, challenges, enrolment, keys of agents. */
import { z } from "zod";
import { Nonce, ProofHost, PublicKey, Signature } from "./agent-proof.ts";
import { WolfId } from "./ids.ts";
import { Labels } from "./placement.ts";
import { instant, Limit, line, prefixedId } from "./schema-parts.ts";
import { RegisterWolfRequest, WolfName } from "./schemas.ts";

export const JoinTokenId = prefixedId("jtk");
export const AgentKeyId = prefixedId("agk");

export const JoinToken = z
  .object({
    id: JoinTokenId,
    wolf_name: WolfName.nullable().meta({
      description: "The only name it may enrol; null: any that is free.",
    }),
    labels: z.record(z.string(), z.string()).meta({ description: "What the wolf is labelled with." }),
    uses: z.int().min(0),
    uses_max: z.int().min(1),
    created_by: z.string(),
    created_at: instant,
    expires_at: instant,
    revoked_at: instant.nullable(),
  })
  .meta({ id: "JoinToken", description: "What a host shows once to become a wolf." });
export type JoinToken = z.infer<typeof JoinToken>;
export const CreateJoinTokenRequest = z
  .strictObject({
    wolf_name: WolfName.optional(),
    labels: Labels.default({}),
    uses_max: z.int().min(1).max(1000).default(1),
    expires_in_seconds: z.int().min(60).max(2_592_000).default(3600),
  })
  .refine(({ wolf_name, uses_max }) => wolf_name === undefined || uses_max === 1, {
    path: ["uses_max"],
    message: "a token for one name has one use",
  })
  .meta({ id: "CreateJoinTokenRequest" });
export type CreateJoinTokenRequest = z.infer<typeof CreateJoinTokenRequest>;
export const CreatedJoinToken = JoinToken.extend({
  token: z.string().meta({ description: "The token itself, `wjt_…`; shown this once." }),
}).meta({ id: "CreatedJoinToken" });
export type CreatedJoinToken = z.infer<typeof CreatedJoinToken>;
export const ListJoinTokensQuery = z.strictObject({ limit: Limit, cursor: JoinTokenId.optional() });

export const AgentChallenge = z
  .object({ nonce: Nonce, expires_at: instant, server_time: instant })
  .meta({ id: "AgentChallenge", description: "To be signed once, within a minute." });
export type AgentChallenge = z.infer<typeof AgentChallenge>;

/** With a join token, or the RUNNER_TOKEN, as bearer credential. The signature is over `proofText` with purpose `enroll` and the name. */
export const EnrollRequest = z
  .strictObject({
    ...RegisterWolfRequest.shape,
    public_key: PublicKey,
    host: ProofHost,
    nonce: Nonce,
    time: instant,
    signature: Signature,
  })
  .meta({ id: "EnrollRequest" });
export type EnrollRequest = z.infer<typeof EnrollRequest>;
export const AgentKeyStatus = z.enum(["pending", "active", "revoked"]).meta({
  id: "AgentKeyStatus",
  description: "`pending`: its name has another key, and an admin has not approved this one.",
});
export type AgentKeyStatus = z.infer<typeof AgentKeyStatus>;
/** The same key may enrol again, with the same answer: whoever has not heard the first answer asks once more. */
export const Enrollment = z
  .object({
    wolf_id: WolfId,
    name: WolfName,
    key_id: AgentKeyId,
    status: AgentKeyStatus,
    expires_at: instant,
  })
  .meta({ id: "Enrollment" });
export type Enrollment = z.infer<typeof Enrollment>;

export const AgentKey = z
  .object({
    id: AgentKeyId,
    wolf_instance_id: WolfId,
    wolf_name: WolfName,
    public_key: PublicKey,
    status: AgentKeyStatus,
    enrolled_by: line(63).meta({
      description: "A join token's id, `runner-token`, or the key that it renews.",
    }),
    created_at: instant,
    expires_at: instant,
    last_used_at: instant.nullable(),
    revoked_at: instant.nullable(),
  })
  .meta({ id: "AgentKey", description: "Of an Ed25519 pair whose private half never leaves its host." });
export type AgentKey = z.infer<typeof AgentKey>;
export const ListAgentKeysQuery = z.strictObject({
  limit: Limit,
  cursor: AgentKeyId.optional(),
  wolf_instance_id: WolfId.optional(),
  status: AgentKeyStatus.optional(),
});
export type ListAgentKeysQuery = z.infer<typeof ListAgentKeysQuery>;

/**
 * Through the agent's own tunnel, to the control plane's service `control`: `POST /renew`. The signature is by the new key, over
 * `proofText` with purpose `renew`, the wolf's id, the new public key, and the old key's id in place of a nonce.
 */
export const RenewRequest = z.strictObject({
  public_key: PublicKey,
  host: ProofHost,
  time: instant,
  signature: Signature,
});
export type RenewRequest = z.infer<typeof RenewRequest>;
export const Renewal = z.object({ key_id: AgentKeyId, expires_at: instant });
export type Renewal = z.infer<typeof Renewal>;
/** What agents ask their control plane through their tunnel. */
export const CONTROL_SERVICE = "control";
export const RENEW_PATH = "/renew";
