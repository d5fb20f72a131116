/** Who a credential belongs to. */
import type { IncomingHttpHeaders } from "node:http";
import type { ProofPurpose, Role, Scope } from "@wolfpack/api-contract";

export interface UserPrincipal {
  kind: "user";
  userId: string;
  role: Role;
  /** Null: all that the role may. */
  scopes: readonly Scope[] | null;
  /** The API key's id, or that of a browser's session. */
  credentialId: string;
  /** When the credential expires, if it does. */
  expiresAt?: Date | undefined;
}

/** An agent that has proved its own key. */
export interface AgentPrincipal {
  kind: "agent";
  wolfId: string;
  credentialId: string;
  expiresAt?: Date | undefined;
  /** The host's time minus ours, as its proof was checked; includes the way here. */
  clockOffsetMs?: number | undefined;
}

/** Who holds a join token, and nothing else yet. */
export interface JoinerPrincipal {
  kind: "joiner";
  credentialId: string;
  /** The only name it may enrol; null: any. */
  wolfName: string | null;
}

/** Who holds the RUNNER_TOKEN. */
export interface RunnerPrincipal {
  kind: "runner";
}

export type Principal = UserPrincipal | AgentPrincipal | JoinerPrincipal | RunnerPrincipal;

export interface Identity {
  /**
   * The principal of a request's headers, or undefined for anything missing, malformed, unknown, expired or revoked. An agent's
   * proof counts for `purpose` only; rejects with an ApiError that says what is wrong with one.
   */
  authenticate(headers: IncomingHttpHeaders, purpose?: ProofPurpose): Promise<Principal | undefined>;
}
