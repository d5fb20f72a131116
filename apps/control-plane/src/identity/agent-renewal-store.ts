/** Keys of agents that renew themselves. */

export interface NewAgentKey {
  id: string;
  wolfId: string;
  /** The 32 bytes. */
  publicKey: Uint8Array<ArrayBuffer>;
  expiresAt: Date;
}

export type RenewalOutcome =
  | { outcome: "renewed"; id: string; expiresAt: Date }
  /** `ended`: the old key is not valid any more. `superseded`: another key that renews it is in use. `taken`: the new key is known. */
  | { outcome: "ended" | "superseded" | "taken" };

export interface AgentRenewalStore {
  /**
   * Adds an active key in place of `oldKeyId`, which stays valid. The same public key again gives the same answer; another one
   * takes the place of one that was never used.
   */
  renew(oldKeyId: string, key: NewAgentKey, now: Date): Promise<RenewalOutcome>;
  /** The key is in use: older ones of its wolf end at `endAt` at the latest. */
  connected(keyId: string, now: Date, endAt: Date): Promise<void>;
}
