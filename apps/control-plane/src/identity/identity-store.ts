/** Users and their keys as the rest of the program sees them. */
import type { Role, Scope } from "@wolfpack/api-contract";

export interface UserRecord {
  id: string;
  name: string;
  role: Role;
  createdAt: Date;
}

export interface ApiKeyRecord {
  id: string;
  userId: string;
  name: string;
  prefix: string;
  /** Null: all that its user may do. */
  scopes: readonly Scope[] | null;
  createdAt: Date;
  expiresAt: Date | null;
  lastUsedAt: Date | null;
  revokedAt: Date | null;
}

export interface NewApiKey {
  id: string;
  userId: string;
  name: string;
  prefix: string;
  scopes: readonly Scope[] | null;
  hash: Uint8Array<ArrayBuffer>;
  expiresAt: Date | null;
}

export interface Page {
  /** Rows to return at most. */
  limit: number;
  /** Only rows after this id. */
  after: string | undefined;
}

export interface IdentityStore {
  /** False when the name is taken. */
  addUser(user: Omit<UserRecord, "createdAt">, now: Date): Promise<boolean>;
  user(id: string): Promise<UserRecord | undefined>;
  userByName(name: string): Promise<UserRecord | undefined>;
  users(page: Page): Promise<UserRecord[]>;
  addApiKey(key: NewApiKey, now: Date): Promise<ApiKeyRecord>;
  /** The usable key with this hash and its user; none when revoked or expired. */
  findApiKey(
    hash: Uint8Array<ArrayBuffer>,
    now: Date,
  ): Promise<{ key: ApiKeyRecord; user: UserRecord } | undefined>;
  apiKeys(userId: string | undefined, page: Page): Promise<ApiKeyRecord[]>;
  apiKey(id: string): Promise<ApiKeyRecord | undefined>;
  /** One guarded statement: `last-admin` when it would leave no admin a usable key. */
  revokeApiKey(id: string, now: Date): Promise<"revoked" | "last-admin">;
  /** Writes at most once per `quietMs`. */
  markUsed(id: string, now: Date, quietMs: number): Promise<void>;
}
