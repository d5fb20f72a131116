/** Users and their keys as the rest of the program sees them. */
import type { Role, Scope } from "@wolfpack/api-contract";

export interface UserRecord extends UserSettings {
  id: string;
  name: string;
  /** One more with every change. */
  revision: number;
  createdAt: Date;
}

/** What an admin may change. */
export interface UserSettings {
  role: Role;
  disabled: boolean;
  /** Null: what the configuration says. */
  sessionsMax: number | null;
  createsPerMinute: number | null;
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

export interface UserFilter extends Page {
  name?: string | undefined;
  role?: Role | undefined;
  disabled?: boolean | undefined;
}

export interface ApiKeyFilter extends Page {
  userId?: string | undefined;
  revoked?: boolean | undefined;
}

export interface IdentityStore {
  /** Undefined when the name is taken. */
  addUser(user: { id: string; name: string; role: Role }, now: Date): Promise<UserRecord | undefined>;
  user(id: string): Promise<UserRecord | undefined>;
  userByName(name: string): Promise<UserRecord | undefined>;
  users(filter: UserFilter): Promise<UserRecord[]>;
  /** Of those of these ids that there are, in any order. */
  userNames(ids: readonly string[]): Promise<Pick<UserRecord, "id" | "name">[]>;
  /**
   * Changes the user that is still as it was read. `changed-meanwhile`: it is not, read it again. `last-admin`: nobody could
   * manage users any more. Who is disabled, or gets another role, loses what was granted before, on every replica.
   */
  changeUser(
    before: UserRecord,
    settings: UserSettings,
    now: Date,
  ): Promise<UserRecord | "changed-meanwhile" | "last-admin">;
  addApiKey(key: NewApiKey, now: Date): Promise<ApiKeyRecord>;
  /** The usable key with this hash and its user; none when revoked or expired, or when the user is disabled. */
  findApiKey(
    hash: Uint8Array<ArrayBuffer>,
    now: Date,
  ): Promise<{ key: ApiKeyRecord; user: UserRecord } | undefined>;
  apiKeys(filter: ApiKeyFilter): Promise<ApiKeyRecord[]>;
  apiKey(id: string): Promise<ApiKeyRecord | undefined>;
  /** With the browsers' sessions that it opened. `last-admin`: nobody could manage users any more. */
  revokeApiKey(id: string, now: Date): Promise<"revoked" | "last-admin">;
  /** Writes at most once per `quietMs`. */
  markUsed(id: string, now: Date, quietMs: number): Promise<void>;
}
