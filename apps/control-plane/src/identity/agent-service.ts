/** Use cases of agents' identity: join tokens, challenges, enrolment, keys, and who a proof or a join token belongs to. */
import type { CreateJoinTokenRequest, EnrollRequest, ListAgentKeysQuery } from "@wolfpack/api-contract";
import { ApiError } from "../http/problem.ts";
import { newId } from "../ids.ts";
import type { Log } from "../logger.ts";
import { reportOf } from "../wolves/wolf-service.ts";
import {
  type AgentKeyRecord,
  type AgentKeyStore,
  type EnrolmentRefusal,
  RUNNER_TOKEN_ENROLS,
} from "./agent-key-store.ts";
import { createProofs, isSigned, type ProofsOptions, proofRefused } from "./agent-proof.ts";
import { hashApiKey } from "./api-key.ts";
import type { Challenge } from "./challenge.ts";
import type { Page } from "./identity-store.ts";
import { isJoinToken, newJoinToken } from "./join-token.ts";
import type { JoinTokenRecord, JoinTokenStore } from "./join-token-store.ts";
import type { JoinerPrincipal, RunnerPrincipal } from "./principal.ts";

export interface AgentServiceOptions extends ProofsOptions {
  keys: AgentKeyStore;
  tokens: JoinTokenStore;
  log: Log;
  apiKeySecret: string;
  /** How long a key opens tunnels. */
  keyLifeMs: number;
}

export interface EnrolmentResult {
  key: AgentKeyRecord;
  /** Keys that were revoked by it. */
  revoked: string[];
}

export type AgentService = ReturnType<typeof createAgentService>;

export function createAgentService(options: AgentServiceOptions) {
  const { keys, tokens, challenges, clock, log, apiKeySecret, keyLifeMs } = options;
  const proofs = createProofs(options);
  const keyExpiry = (now: Date) => new Date(now.getTime() + keyLifeMs);

  return {
    /** Who a header's proof belongs to. Undefined: it is none, or its caller takes none. Throws what is wrong with it. */
    agentOf: proofs.agentOf,

    /** Who a bearer credential belongs to, if it is a join token. */
    async joinerOf(credential: string): Promise<JoinerPrincipal | undefined> {
      if (!isJoinToken(credential)) return undefined;
      const token = await tokens.find(hashApiKey(credential, apiKeySecret));
      if (token === undefined) return undefined;
      return { kind: "joiner", credentialId: token.id, wolfName: token.wolfName };
    },

    challenge(): Challenge & { now: Date } {
      const now = clock.now();
      return { ...challenges.issue(now), now };
    },

    async enroll(
      principal: JoinerPrincipal | RunnerPrincipal,
      request: EnrollRequest,
      requestHost: string | undefined,
    ): Promise<EnrolmentResult> {
      const now = clock.now();
      const { name, address, public_key: publicKey, host, nonce, time, signature } = request;
      const challenge = proofs.challengeOf(request, requestHost, now);
      const parts = { purpose: "enroll", host, wolf: name, publicKey, nonce, time } as const;
      if (!isSigned(parts, signature)) throw proofRefused("It is not signed by the key that it shows.");
      const boundTo = principal.kind === "joiner" ? principal.wolfName : null;
      if (boundTo !== null && boundTo !== name)
        throw refusal("join-token-refused", "This join token was made for another name.");
      const outcome = await keys.enroll(
        {
          wolf: { id: newId("wlf"), name, address, ...reportOf(request) },
          keyId: newId("agk"),
          publicKey,
          challenge,
          enrolledBy: principal.kind === "joiner" ? principal.credentialId : RUNNER_TOKEN_ENROLS,
          bound: boundTo !== null,
          expiresAt: keyExpiry(now),
        },
        now,
      );
      if ("refused" in outcome) throw refusal(outcome.refused);
      const { key, revoked } = outcome;
      log.info({ wolf_id: key.wolfId, name, agent_key_id: key.id, status: key.status }, "agent enrolled");
      return { key, revoked };
    },

    async createToken(
      createdBy: string,
      request: CreateJoinTokenRequest,
    ): Promise<{ record: JoinTokenRecord; token: string }> {
      const id = newId("jtk");
      const token = newJoinToken(id);
      const now = clock.now();
      const record = await tokens.add({
        id,
        hash: hashApiKey(token, apiKeySecret),
        wolfName: request.wolf_name ?? null,
        labels: request.labels,
        usesMax: request.uses_max,
        createdBy,
        createdAt: now,
        expiresAt: new Date(now.getTime() + request.expires_in_seconds * 1000),
      });
      return { record, token };
    },

    tokens: (page: Page): Promise<JoinTokenRecord[]> => tokens.list(page),

    async revokeToken(id: string): Promise<void> {
      if (!(await tokens.revoke(id, clock.now())))
        throw new ApiError("join-token-not-found", "There is no such join token.");
    },

    /** One more than asked for, so that the caller sees whether there is a next page. */
    keys: ({ limit, cursor, ...filter }: ListAgentKeysQuery): Promise<AgentKeyRecord[]> =>
      keys.list({ limit: limit + 1, cursor, ...filter }),

    async approveKey(id: string): Promise<EnrolmentResult> {
      const now = clock.now();
      const outcome = await keys.approve(id, keyExpiry(now), now);
      if (outcome === "unknown") throw noKey();
      if (outcome === "revoked")
        throw new ApiError("agent-key-revoked", "This key was revoked; the host has to make a new one.");
      return outcome;
    },

    async revokeKey(id: string): Promise<void> {
      if (!(await keys.revoke(id, clock.now()))) throw noKey();
    },
  };
}

const noKey = () => new ApiError("agent-key-not-found", "There is no such key.");
const refusals: Record<EnrolmentRefusal, string> = {
  "challenge-spent": "Its challenge has been answered before.",
  "join-token-refused": "This join token is used up or has expired.",
  "agent-key-in-use": "This key belongs to a wolf of another name.",
  "agent-key-revoked": "This key was revoked; the host has to make a new one.",
  "agent-keys-waiting": "Too many keys wait for approval as this wolf.",
};

function refusal(code: EnrolmentRefusal, detail = refusals[code]): ApiError {
  if (code === "challenge-spent") return proofRefused(detail);
  const error = new ApiError(code, detail);
  return code === "join-token-refused" ? error.asDenied() : error;
}
