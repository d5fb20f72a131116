/**
 * How an agent proves its key: it signs a challenge of this control plane together with what it is for. No part of it is a secret,
 * and none of it is worth anything a second time.
 */
import { z } from "zod";
import { line, prefixedId } from "./schema-parts.ts";

/** The scheme of `Authorization` that carries a proof. */
export const AGENT_PROOF_SCHEME = "Wolfpack";
/** Seconds for which a challenge may be answered. */
export const CHALLENGE_SECONDS = 60;
/** Minutes that the agent's clock may differ from the control plane's. */
export const CLOCK_SKEW_MINUTES_MAX = 5;
/** Seconds of the same from which people are warned: long before the agent is refused. */
export const CLOCK_WARNING_SECONDS = 30;

const base64url = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^[A-Za-z0-9_-]{${Math.ceil((bytes * 4) / 3)}}$`), "is not base64url of its length");

/** The 32 bytes of an Ed25519 public key (RFC 8032 §5.1.5), base64url. */
export const PublicKey = base64url(32);
/** 64 bytes (RFC 8032 §5.1.6), base64url. */
export const Signature = base64url(64);
/** A challenge: 48 bytes, base64url. */
export const Nonce = base64url(48);
/** Whom the agent believes to speak to: host and port of the URL it was given, in lower case. */
export const ProofHost = line(255).min(1);

export type ProofPurpose = "enroll" | "connect" | "diagnose" | "renew";

export interface ProofParts {
  purpose: ProofPurpose;
  host: string;
  /** The wolf's id; while it has none, its name. */
  wolf: string;
  /** base64url. With `renew` it is the new key. */
  publicKey: string;
  nonce: string;
  /** ISO 8601, by the agent's clock. */
  time: string;
}

const MINUTE_SECONDS = 60;
const HOUR_SECONDS = 60 * MINUTE_SECONDS;
const DAY_SECONDS = 24 * HOUR_SECONDS;

/** `2 min ahead`, `45 s behind`: the agent's time minus the server's, for people. */
export function clockWords(offsetMs: number): string {
  const seconds = Math.floor(Math.abs(offsetMs) / 1000);
  if (seconds === 0) return "less than 1 s off";
  const way = offsetMs > 0 ? "ahead" : "behind";
  if (seconds < 2 * MINUTE_SECONDS) return `${seconds} s ${way}`;
  // Near the limit a minute is too coarse: 5 min is allowed, 5 min 1 s is not.
  const rest = seconds < 10 * MINUTE_SECONDS ? seconds % MINUTE_SECONDS : 0;
  const minutes = `${Math.floor(seconds / MINUTE_SECONDS)} min`;
  if (seconds < 2 * HOUR_SECONDS) return `${minutes}${rest > 0 ? ` ${rest} s` : ""} ${way}`;
  return seconds < 2 * DAY_SECONDS
    ? `${Math.floor(seconds / HOUR_SECONDS)} h ${way}`
    : `${Math.floor(seconds / DAY_SECONDS)} days ${way}`;
}

/** The bytes to sign, in UTF-8. No part can hold a line break, so that no two sets of parts give the same text. */
export function proofText({ purpose, host, wolf, publicKey, nonce, time }: ProofParts): string {
  return ["wolfpack-agent-proof-v1", purpose, host, wolf, publicKey, nonce, time].join("\n");
}

/** What `Authorization: Wolfpack <base64url of this as JSON>` says: a proof for `connect` or `diagnose`. */
export const AgentProof = z.strictObject({
  key_id: prefixedId("agk"),
  host: ProofHost,
  nonce: Nonce,
  time: z.iso.datetime(),
  signature: Signature,
});
export type AgentProof = z.infer<typeof AgentProof>;
