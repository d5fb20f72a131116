/** By whom a tunnel was opened, for as long as it lives: it ends with what it was opened with. */
import type { TunnelProtocol } from "@wolfpack/api-contract";
import type { Principal } from "../identity/principal.ts";
import type { TunnelOrigin } from "../wolves/wolf-store.ts";

export interface Opener {
  principal: Principal;
  /** Of the revocations, from before the credential was looked up. */
  mark: number;
  /** As whom the control plane was addressed: what a proof may name. */
  hosts: readonly string[];
  protocol: TunnelProtocol;
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

/** How far its host's clock is off. Undefined: not known, since only an agent of ours with its own key signs its time. */
export function clockOffsetOf({ principal, protocol }: Opener): number | undefined {
  return protocol === "revdial" && principal.kind === "agent" ? principal.clockOffsetMs : undefined;
}

/** How a wolf's tunnel was opened, as it is shown. */
export function originOf({ principal, protocol }: Opener): TunnelOrigin {
  return { protocol, legacyCredential: principal.kind === "runner" };
}
