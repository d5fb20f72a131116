/** An agent's next key, asked for through the tunnel that its present one has opened. */
import type { Renewal, RenewRequest } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { ApiError } from "../http/problem.ts";
import { newId } from "../ids.ts";
import { clockOffsetMs, isSigned } from "./agent-proof.ts";
import type { AgentRenewalStore } from "./agent-renewal-store.ts";
import type { AgentPrincipal } from "./principal.ts";

export interface AgentRenewals {
  /** `hosts`: as whom the agent may have addressed us. Rejects with the problem to answer. */
  renew(principal: AgentPrincipal, hosts: readonly string[], request: RenewRequest): Promise<Renewal>;
  /** The key has opened a tunnel: older ones of its wolf end soon. */
  connected(keyId: string): Promise<void>;
}

/** For what is still under way with an older key, such as an upgrade of the agent. */
const OLDER_KEYS_MS = 3_600_000;

export function createAgentRenewals(options: {
  store: AgentRenewalStore;
  clock: Clock;
  keyLifeMs: number;
}): AgentRenewals {
  const { store, clock, keyLifeMs } = options;
  const later = (now: Date, ms: number) => new Date(now.getTime() + ms);

  return {
    async renew({ wolfId, credentialId }, hosts, { public_key, host, time, signature }) {
      const now = clock.now();
      clockOffsetMs(time, now);
      const publicKey = new Uint8Array(Buffer.from(public_key, "base64url"));
      const parts = { wolf: wolfId, publicKey: public_key, nonce: credentialId, host, time };
      // That it was asked for in this tunnel proves the old key; this proves the new one.
      if (!hosts.includes(host) || !isSigned({ purpose: "renew", ...parts }, signature))
        throw new ApiError("forbidden", "The signature is not by the new key, or for another control plane.");
      const key = {
        id: newId("agk"),
        wolfId,
        publicKey,
        expiresAt: later(now, keyLifeMs),
      };
      const renewal = await store.renew(credentialId, key, now);
      if (renewal.outcome === "renewed")
        return { key_id: renewal.id, expires_at: renewal.expiresAt.toISOString() };
      throw new ApiError("forbidden", refusals[renewal.outcome]);
    },

    connected(keyId) {
      const now = clock.now();
      return store.connected(keyId, now, later(now, OLDER_KEYS_MS));
    },
  };
}

const refusals = {
  ended: "The key that opened this tunnel is not valid any more.",
  superseded: "A key that renews this one is in use already.",
  taken: "The new key was shown before: make another.",
} as const;
