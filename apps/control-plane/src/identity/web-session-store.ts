/** Browsers' sessions as the rest of the program sees them. */
import type { Role, Scope } from "@wolfpack/api-contract";

export interface NewWebSession {
  id: string;
  userId: string;
  apiKeyId: string;
  hash: Uint8Array<ArrayBuffer>;
  createdAt: Date;
  expiresAt: Date;
}

/** A session that is valid, with what its key and its user may do now. */
export interface LiveWebSession {
  id: string;
  userId: string;
  apiKeyId: string;
  role: Role;
  scopes: readonly Scope[] | null;
  /** Of the session or its key, whichever ends first. */
  expiresAt: Date;
}

export interface WebSessionStore {
  add(session: NewWebSession): Promise<void>;
  /** None when it, its key or its user is no longer valid. */
  find(hash: Uint8Array<ArrayBuffer>, now: Date): Promise<LiveWebSession | undefined>;
  /** Whether it was valid until now; then every replica hears of it. */
  end(id: string, now: Date): Promise<boolean>;
}
