/** By whom a tunnel was opened, for as long as it lives: it ends with what it was opened with. */
import type { Principal } from "../identity/principal.ts";

export interface Opener {
  principal: Principal;
  /** Of the revocations, from before the credential was looked up. */
  mark: number;
  /** As whom the control plane was addressed: what a proof may name. */
  hosts: readonly string[];
  requestId: string;
  address: string | undefined;
}

/** Whatever the tunnel stands and falls with: ids of credential, user, wolf. */
export function objectIdsOf(principal: Principal, wolfId?: string): string[] {
  const ids = wolfId === undefined ? [] : [wolfId];
  if (principal.kind === "user") return [...ids, principal.userId, principal.credentialId];
  // A join token that is revoked ends nothing that it was good for.
  if (principal.kind === "agent") return [...ids, principal.credentialId];
  return ids;
}
