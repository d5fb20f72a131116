/** Who a credential belongs to. */

export interface UserPrincipal {
  kind: "user";
  userId: string;
  role: "admin" | "user";
  apiKeyId: string;
}

export type Principal = UserPrincipal | { kind: "runner" };

export interface Identity {
  /** The principal of an Authorization header, or undefined for anything missing, malformed, unknown, expired or revoked. */
  authenticate(authorizationHeader: string | undefined): Promise<Principal | undefined>;
}
