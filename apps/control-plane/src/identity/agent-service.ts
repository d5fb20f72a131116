/** Use cases of agents' identity: join tokens, challenges, enrolment, keys, and who a proof or a join token belongs to. */
import type { IncomingHttpHeaders } from "node:http";
import {
  AGENT_PROOF_SCHEME,
  AgentProof,
  CLOCK_SKEW_MINUTES_MAX,
  type CreateJoinTokenRequest,
  type EnrollRequest,
  type ListAgentKeysQuery,
  type ProofPurpose,
} from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
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
import { isSigned } from "./agent-proof.ts";
import { hashApiKey } from "./api-key.ts";
import type { Challenge, Challenges } from "./challenge.ts";
import type { Page } from "./identity-store.ts";
import { isJoinToken, newJoinToken } from "./join-token.ts";
import type { JoinTokenRecord, JoinTokenStore } from "./join-token-store.ts";
import type { AgentPrincipal, JoinerPrincipal, Principal, RunnerPrincipal } from "./principal.ts";

const SKEW_MS_MAX = CLOCK_SKEW_MINUTES_MAX * 60_000;

export interface AgentServiceOptions {
  keys: AgentKeyStore;
  tokens: JoinTokenStore;
  challenges: Challenges;
  clock: Clock;
  log: Log;
  apiKeySecret: string;
  /** Hosts of the URLs that agents are given. None: a proof has to name the host that its request names. */
  publicHosts: readonly string[];
  /** How long a key opens tunnels. */
  keyLifeMs: number;
}

/** What has been signed, whatever it is for. */
interface Claim {
  host: string;
  nonce: string;
  time: string;
}

export interface EnrolmentResult {
  key: AgentKeyRecord;
  /** Keys that were revoked by it. */
  revoked: string[];
}

export type AgentService = ReturnType<typeof createAgentService>;

export function createAgentService(options: AgentServiceOptions) {
  const { keys, tokens, challenges, clock, log, apiKeySecret, publicHosts, keyLifeMs } = options;
  const keyExpiry = (now: Date) => new Date(now.getTime() + keyLifeMs);

  /** Everything that can be said of a proof without knowing its key, so that no answer tells which keys there are. */
  function challengeOf({ host, nonce, time }: Claim, requestHost: string | undefined, now: Date): Challenge {
    const challenge = challenges.read(nonce, now);
    if (challenge === undefined)
      throw proofRefused("It answers no challenge of this control plane, or one that is too old.");
    const hosts = publicHosts.length > 0 ? publicHosts : [requestHost?.toLowerCase()];
    if (!hosts.includes(host))
      throw proofRefused(
        "It names another host: agents have to be given a public URL of this control plane.",
      );
    if (Math.abs(Date.parse(time) - now.getTime()) > SKEW_MS_MAX) {
      const detail = `The agent's clock is more than ${CLOCK_SKEW_MINUTES_MAX} minutes off.`;
      throw new ApiError("clock-skew", detail, { extras: { server_time: now.toISOString() } }).asDenied();
    }
    return challenge;
  }

  /** The agent whose proof the header carries. */
  async function prove(
    proof: AgentProof,
    requestHost: string | undefined,
    purpose: ProofPurpose,
  ): Promise<AgentPrincipal> {
    const now = clock.now();
    const challenge = challengeOf(proof, requestHost, now);
    const key = await keys.get(proof.key_id);
    const { host, nonce, time } = proof;
    const parts = (known: AgentKeyRecord) => ({
      purpose,
      host,
      wolf: known.wolfId,
      publicKey: known.publicKey,
      nonce,
      time,
    });
    if (key === undefined || !isSigned(parts(key), proof.signature))
      throw new ApiError("unauthenticated", "There is no such key, or this is not its signature.");
    const why = unusable(key, now);
    if (why !== undefined) throw new ApiError("unauthenticated", why);
    if (!(await keys.spend(challenge, key.id, purpose === "connect", now)))
      throw proofRefused("Its challenge has been answered before.");
    return { kind: "agent", wolfId: key.wolfId, credentialId: key.id };
  }

  return {
    /** Who a header's proof belongs to. Undefined: it is none, or its caller takes none. Throws what is wrong with it. */
    async agentOf(
      { authorization, host }: IncomingHttpHeaders,
      purpose: ProofPurpose | undefined,
    ): Promise<AgentPrincipal | undefined> {
      const proof = proofOf(authorization);
      return proof === undefined || purpose === undefined ? undefined : prove(proof, host, purpose);
    },

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
      const challenge = challengeOf(request, requestHost, now);
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

    /** Never rejects. */
    async prune(): Promise<void> {
      await keys
        .prune(clock.now())
        .catch((err: unknown) => log.warn({ err }, "spent challenges not forgotten"));
    },
  };
}

const noKey = () => new ApiError("agent-key-not-found", "There is no such key.");
const proofRefused = (why: string) =>
  new ApiError("proof-refused", `The proof was refused. ${why}`).asDenied();

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

/** Why a key opens nothing; whoever hears it has shown that the key is theirs. */
function unusable({ status, expiresAt }: AgentKeyRecord, now: Date): string | undefined {
  if (status === "pending") return "This key waits for an admin's approval.";
  if (status === "revoked") return "This key was revoked.";
  return expiresAt <= now ? "This key has expired: enrol again." : undefined;
}

/** The proof of `Authorization: Wolfpack …`; undefined for anything else. */
function proofOf(header: string | undefined): AgentProof | undefined {
  const [scheme, credential, more] = (header ?? "").split(" ");
  if (scheme?.toLowerCase() !== AGENT_PROOF_SCHEME.toLowerCase() || more !== undefined) return undefined;
  if (!/^[A-Za-z0-9_-]{1,2048}$/.test(credential ?? "")) return undefined;
  try {
    const json: unknown = JSON.parse(Buffer.from(credential ?? "", "base64url").toString("utf8"));
    return AgentProof.safeParse(json).data;
  } catch {
    return undefined;
  }
}

/** What the RUNNER_TOKEN may do besides enrolling and doctors: serve agents of before, where that is allowed. */
export function createRunnerBridge(
  allowed: boolean,
  keys: Pick<AgentKeyStore, "isKeyed">,
): { check(principal: Principal | undefined, wolf: { id: string } | { name: string }): Promise<void> } {
  return {
    async check(principal, wolf) {
      if (principal?.kind !== "runner") return;
      if (!allowed)
        throw new ApiError("forbidden", "The RUNNER_TOKEN only enrols: an agent connects with its own key.");
      if (await keys.isKeyed(wolf))
        throw new ApiError("forbidden", "This wolf has a key of its own, and takes nothing else.");
    },
  };
}
