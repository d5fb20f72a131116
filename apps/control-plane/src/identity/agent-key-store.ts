/** Agents' keys, and what enrols them, as the rest of the program sees them. */
import type { AgentKeyStatus, ListAgentKeysQuery } from "@wolfpack/api-contract";
import type { WolfReport } from "../wolves/wolf-store.ts";
import type { Challenge } from "./challenge.ts";

/** In `enrolledBy`, where no join token has enrolled a key. */
export const RUNNER_TOKEN_ENROLS = "runner-token";

export interface AgentKeyRecord {
  id: string;
  wolfId: string;
  wolfName: string;
  /** base64url */
  publicKey: string;
  status: AgentKeyStatus;
  /** A join token's id, `RUNNER_TOKEN_ENROLS`, or the key that it renews. */
  enrolledBy: string;
  createdAt: Date;
  expiresAt: Date;
  lastUsedAt: Date | null;
  revokedAt: Date | null;
}

export interface EnrolmentRequest {
  /** `id` is for a wolf that does not exist yet. */
  wolf: { id: string; name: string; address: string } & WolfReport;
  keyId: string;
  publicKey: string;
  challenge: Challenge;
  /** A join token's id, or `RUNNER_TOKEN_ENROLS`. */
  enrolledBy: string;
  /** The token was made for this very wolf. */
  bound: boolean;
  /** Of a key that becomes active, or waits. */
  expiresAt: Date;
}

export type EnrolmentRefusal =
  | "challenge-spent"
  | "join-token-refused"
  | "agent-key-in-use"
  | "agent-key-revoked"
  | "agent-keys-waiting";

export type EnrolmentOutcome =
  | { key: AgentKeyRecord /** Keys that it replaces. */; revoked: string[] }
  | { refused: EnrolmentRefusal };

export interface AgentKeyStore {
  /**
   * In one transaction: the challenge is spent, the token is used as often as needed, wolf and key are made or changed. Refused:
   * nothing has changed.
   */
  enroll(request: EnrolmentRequest, now: Date): Promise<EnrolmentOutcome>;
  get(id: string): Promise<AgentKeyRecord | undefined>;
  list(
    filter: Omit<ListAgentKeysQuery, "cursor"> & { cursor: string | undefined },
  ): Promise<AgentKeyRecord[]>;
  /** One more than before has been answered with this key. False: the challenge was spent already, or the key is not valid any more. */
  spend(challenge: Challenge, keyId: string, connects: boolean, now: Date): Promise<boolean>;
  /** The wolf's other active keys are revoked. Active ones stay as they are. */
  approve(
    id: string,
    expiresAt: Date,
    now: Date,
  ): Promise<{ key: AgentKeyRecord; revoked: string[] } | "unknown" | "revoked">;
  /** False when there is none; true also for one that was revoked before. */
  revoke(id: string, now: Date): Promise<boolean>;
  /** Whether this wolf has or had a key of its own. */
  isKeyed(wolf: { id: string } | { name: string }): Promise<boolean>;
}
