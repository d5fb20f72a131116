/** Proofs of agents' keys: what has been signed, by whom, and that it has not been shown before. */
import { createPublicKey, verify } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import {
  AGENT_PROOF_SCHEME,
  AgentProof,
  CLOCK_SKEW_MINUTES_MAX,
  clockWords,
  type ProofParts,
  type ProofPurpose,
  proofText,
} from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { ApiError } from "../http/problem.ts";
import type { AgentKeyRecord, AgentKeyStore } from "./agent-key-store.ts";
import type { Challenge, Challenges } from "./challenge.ts";
import type { AgentPrincipal } from "./principal.ts";

const SKEW_MS_MAX = CLOCK_SKEW_MINUTES_MAX * 60_000;

export interface ProofsOptions {
  keys: Pick<AgentKeyStore, "get" | "spend">;
  challenges: Challenges;
  clock: Clock;
  /** Hosts of the URLs that agents are given. None: a proof has to name the host that its request names. */
  publicHosts: readonly string[];
}

/** Ed25519 (RFC 8032). A key that cannot be read has signed nothing. */
export function isSigned(parts: ProofParts, signature: string): boolean {
  try {
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: parts.publicKey }, format: "jwk" });
    return verify(null, Buffer.from(proofText(parts)), key, Buffer.from(signature, "base64url"));
  } catch {
    return false;
  }
}

export const proofRefused = (why: string): ApiError =>
  new ApiError("proof-refused", `The proof was refused. ${why}`).asDenied();

/**
 * The agent's time minus ours. It was signed before the request was sent: the way here, with whatever the connection took to set up,
 * makes a clock look that much behind; half a round trip at least. Error: clock-skew, with how far it is off and the time that it
 * is here.
 */
export function clockOffsetMs(time: string, now: Date): number {
  const offsetMs = Date.parse(time) - now.getTime();
  if (Math.abs(offsetMs) <= SKEW_MS_MAX) return offsetMs;
  const server_time = now.toISOString();
  if (Number.isNaN(offsetMs))
    throw new ApiError("clock-skew", "The agent's time is none.", { extras: { server_time } }).asDenied();
  const detail = `The agent's clock is ${clockWords(offsetMs)}; more than ${CLOCK_SKEW_MINUTES_MAX} minutes are refused.`;
  const extras = { server_time, clock_offset_ms: offsetMs };
  throw new ApiError("clock-skew", detail, { extras }).asDenied();
}

/** As whom an agent may have addressed us: by a public URL where there are any, else as its request says. */
export function hostsOf(requestHost: string | undefined, publicHosts: readonly string[]): readonly string[] {
  return publicHosts.length > 0 || requestHost === undefined ? publicHosts : [requestHost.toLowerCase()];
}

export function createProofs({ keys, challenges, clock, publicHosts }: ProofsOptions) {
  /** Everything that can be said of a proof without knowing its key, so that no answer tells which keys there are. */
  function challengeOf(
    { host, nonce, time }: Pick<AgentProof, "host" | "nonce" | "time">,
    requestHost: string | undefined,
    now: Date,
  ): Challenge {
    const challenge = challenges.read(nonce, now);
    if (challenge === undefined)
      throw proofRefused("It answers no challenge of this control plane, or one that is too old.");
    if (!hostsOf(requestHost, publicHosts).includes(host))
      throw proofRefused(
        "It names another host: agents have to be given a public URL of this control plane.",
      );
    clockOffsetMs(time, now);
    return challenge;
  }

  async function prove(
    { key_id, host, nonce, time, signature }: AgentProof,
    requestHost: string | undefined,
    purpose: ProofPurpose,
  ): Promise<AgentPrincipal> {
    const now = clock.now();
    const challenge = challengeOf({ host, nonce, time }, requestHost, now);
    const key = await keys.get(key_id);
    const parts = { purpose, host, wolf: key?.wolfId ?? "", publicKey: key?.publicKey ?? "", nonce, time };
    if (key === undefined || !isSigned(parts, signature))
      throw new ApiError("unauthenticated", "There is no such key, or this is not its signature.");
    const agent: AgentPrincipal = {
      kind: "agent",
      wolfId: key.wolfId,
      credentialId: key.id,
      expiresAt: key.expiresAt,
      clockOffsetMs: clockOffsetMs(time, now),
    };
    const why = unusable(key, now);
    if (why !== undefined) throw new ApiError("unauthenticated", why).from(agent);
    if (!(await keys.spend(challenge, key.id, purpose === "connect", now)))
      throw proofRefused("Its challenge has been answered before.").from(agent);
    return agent;
  }

  return {
    challengeOf,

    /** Undefined: the header holds no proof, or its caller takes none. Throws what is wrong with one. */
    async agentOf(
      { authorization, host }: IncomingHttpHeaders,
      purpose: ProofPurpose | undefined,
    ): Promise<AgentPrincipal | undefined> {
      const proof = proofOf(authorization);
      return proof === undefined || purpose === undefined ? undefined : prove(proof, host, purpose);
    },
  };
}

/** Why a key opens nothing; whoever hears it has shown that the key is theirs. */
function unusable({ status, expiresAt }: AgentKeyRecord, now: Date): string | undefined {
  if (status === "pending") return "This key waits for an admin's approval.";
  if (status === "revoked") return "This key was revoked.";
  return expiresAt <= now ? "This key has expired: enrol again." : undefined;
}

/** The proof of `Authorization: Wolfpack …`; undefined for anything else. */
function proofOf(header: string | undefined): AgentProof | undefined {
  const [scheme, credential = "", more] = (header ?? "").split(" ");
  if (scheme?.toLowerCase() !== AGENT_PROOF_SCHEME.toLowerCase() || more !== undefined) return undefined;
  if (!/^[A-Za-z0-9_-]{1,2048}$/.test(credential)) return undefined;
  try {
    const json: unknown = JSON.parse(Buffer.from(credential, "base64url").toString("utf8"));
    return AgentProof.safeParse(json).data;
  } catch {
    return undefined;
  }
}
