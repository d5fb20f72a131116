/** Use cases of users and keys, and the check of every credential. */
import { timingSafeEqual } from "node:crypto";
import type {
  CreateApiKeyRequest,
  CreateUserRequest,
  ListApiKeysQuery,
  ListUsersQuery,
  Scope,
  UpdateUserRequest,
} from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { because } from "../events/author.ts";
import { ApiError } from "../http/problem.ts";
import { newId } from "../ids.ts";
import type { Log } from "../logger.ts";
import type { AgentService } from "./agent-service.ts";
import { bearerOf, hashApiKey, isApiKey, newApiKey, prefixOf } from "./api-key.ts";
import type { Authentication, Authentications } from "./authentications.ts";
import type { ApiKeyRecord, IdentityStore, UserRecord } from "./identity-store.ts";
import { reachOf, requireMay } from "./policy.ts";
import type { Identity, Principal, UserPrincipal } from "./principal.ts";
import type { Revocations } from "./revocations.ts";

/** `last_used_at` is written at most this often per key. */
const LAST_USED_QUIET_MS = 60_000;
export const ADMIN_NAME = "admin";

export interface IdentityServiceOptions {
  store: IdentityStore;
  clock: Clock;
  log: Log;
  apiKeySecret: string;
  /** Undefined: there is none. */
  runnerToken: string | undefined;
  /** Who else has credentials. */
  agents?: Pick<AgentService, "agentOf" | "joinerOf">;
  /** Undefined: every call asks the database. */
  authentications?: Authentications<KnownKey>;
  /** Told of what is revoked here. */
  revocations?: Pick<Revocations, "tell">;
}

/** A valid API key, as it is remembered. */
export interface KnownKey {
  principal: UserPrincipal;
  /** Milliseconds; when its use was last written. */
  usedAt: number;
}

const noUser = () => new ApiError("user-not-found", "There is no such user.");
const noKey = () => new ApiError("api-key-not-found", "There is no such key.");

export type IdentityService = ReturnType<typeof createIdentityService>;

export function createIdentityService({
  store,
  clock,
  log,
  apiKeySecret,
  runnerToken,
  agents,
  authentications,
  revocations,
}: IdentityServiceOptions) {
  const runnerHash = runnerToken === undefined ? undefined : hashApiKey(runnerToken, apiKeySecret);

  async function addKey(
    userId: string,
    name: string,
    scopes: readonly Scope[] | null,
    expiresAt: Date | null,
    keep: (key: string) => void = () => undefined,
  ): Promise<{ record: ApiKeyRecord; key: string }> {
    const key = newApiKey();
    keep(key);
    const record = await store.addApiKey(
      {
        id: newId("key"),
        userId,
        name,
        prefix: prefixOf(key),
        scopes,
        hash: hashApiKey(key, apiKeySecret),
        expiresAt,
      },
      clock.now(),
    );
    return { record, key };
  }

  /** Repeated while others change the user at the same moment: each time somebody gets on. `check` throws to refuse. */
  async function changeUser(
    id: string,
    changes: UpdateUserRequest,
    check: (before: UserRecord) => void = () => undefined,
  ): Promise<UserRecord> {
    for (;;) {
      const before = await store.user(id);
      if (before === undefined) throw noUser();
      check(before);
      const {
        role = before.role,
        disabled = before.disabled,
        sessions_max: sessionsMax = before.sessionsMax,
        creates_per_minute: createsPerMinute = before.createsPerMinute,
      } = changes;
      const changed = await store.changeUser(
        before,
        { role, disabled, sessionsMax, createsPerMinute },
        clock.now(),
      );
      if (changed === "last-admin")
        throw new ApiError("last-admin", "Nobody could manage users any more: make another admin first.");
      if (changed === "changed-meanwhile") continue;
      // Others hear of it from the database; here the next call already knows.
      if (disabled || role !== before.role) revocations?.tell("user", id);
      return changed;
    }
  }

  async function admin(): Promise<UserRecord> {
    await store.addUser({ id: newId("usr"), name: ADMIN_NAME, role: "admin" }, clock.now());
    const user = await store.userByName(ADMIN_NAME);
    if (user === undefined) throw new Error("the admin was removed while it was made");
    return user;
  }

  async function keyOf(hash: Uint8Array<ArrayBuffer>): Promise<Authentication<KnownKey> | undefined> {
    const found = await store.findApiKey(hash, clock.now());
    if (found === undefined) return undefined;
    const { key, user } = found;
    const principal: UserPrincipal = {
      kind: "user",
      userId: user.id,
      role: user.role,
      scopes: key.scopes,
      credentialId: key.id,
      expiresAt: key.expiresAt ?? undefined,
    };
    const usedAt = key.lastUsedAt?.getTime() ?? Number.NEGATIVE_INFINITY;
    return { value: { principal, usedAt }, expiresAt: key.expiresAt, objectIds: [key.id, user.id] };
  }

  /** Bookkeeping only: the caller's request does not wait for it and does not fail with it. */
  function markUsed(known: KnownKey): void {
    const now = clock.now();
    if (now.getTime() - known.usedAt < LAST_USED_QUIET_MS) return;
    known.usedAt = now.getTime();
    const { credentialId } = known.principal;
    store
      .markUsed(credentialId, now, LAST_USED_QUIET_MS)
      .catch((err: unknown) => log.warn({ err, api_key_id: credentialId }, "last use not written"));
  }

  const identity: Identity = {
    async authenticate(headers, purpose): Promise<Principal | undefined> {
      const credential = bearerOf(headers.authorization);
      if (credential === undefined) return agents?.agentOf(headers, purpose);
      const hash = hashApiKey(credential, apiKeySecret);
      if (runnerHash !== undefined && timingSafeEqual(hash, runnerHash)) return { kind: "runner" };
      if (!isApiKey(credential)) return agents?.joinerOf(credential);
      const load = () => keyOf(hash);
      const known = authentications
        ? await authentications.find(Buffer.from(hash).toString("base64"), load)
        : (await load())?.value;
      if (known === undefined) return undefined;
      markUsed(known);
      return known.principal;
    },
  };

  return {
    ...identity,

    /**
     * Makes sure that there is an admin with a key. `keep` stores a new key before it becomes valid, so that a crash in
     * between loses nothing; false when the admin had one already.
     */
    bootstrap(keep: (key: string) => void): Promise<boolean> {
      return because("first-boot", async () => {
        const { id } = await admin();
        if ((await store.apiKeys({ userId: id, limit: 1, after: undefined })).length > 0) return false;
        await addKey(id, "first boot", null, null, keep);
        return true;
      });
    },

    /** Another key for the admin, who is one again: for whoever can write the data directory. Earlier keys stay valid. */
    resetAdminKey(keep: (key: string) => void): Promise<void> {
      return because("first-boot", async () => {
        const { id, role, disabled } = await admin();
        if (role !== "admin" || disabled) await changeUser(id, { role: "admin", disabled: false });
        await addKey(id, "reset", null, null, keep);
      });
    },

    async me(principal: UserPrincipal): Promise<UserRecord> {
      const user = await store.user(principal.userId);
      if (user === undefined) throw new ApiError("unauthenticated", "This key's user is gone.");
      return user;
    },

    async createUser(request: CreateUserRequest): Promise<UserRecord> {
      const user = await store.addUser({ id: newId("usr"), ...request }, clock.now());
      if (user === undefined)
        throw new ApiError("user-exists", `There is a user named ${request.name}.`, {
          logged: "There is such a user.",
        });
      return user;
    },

    async user(id: string): Promise<UserRecord> {
      const user = await store.user(id);
      if (user === undefined) throw noUser();
      return user;
    },

    users: ({ limit, cursor, ...filter }: ListUsersQuery): Promise<UserRecord[]> =>
      store.users({ ...filter, limit: limit + 1, after: cursor }),

    changeUser,

    async createApiKey(
      principal: UserPrincipal,
      request: CreateApiKeyRequest,
    ): Promise<{ record: ApiKeyRecord; key: string }> {
      const userId = request.user_id ?? principal.userId;
      requireMay(principal, "api-key.create", userId, noUser);
      if ((await store.user(userId)) === undefined) throw noUser();
      const { expires_in_seconds: seconds, scopes = principal.scopes } = request;
      const more = scopes?.find((scope) => principal.scopes !== null && !principal.scopes.includes(scope));
      if (more !== undefined)
        throw new ApiError("forbidden", `A key without the scope ${more} makes none that has it.`);
      return addKey(
        userId,
        request.name,
        scopes,
        seconds === undefined ? null : new Date(clock.now().getTime() + seconds * 1000),
      );
    },

    async apiKeys(
      principal: UserPrincipal,
      { limit, cursor, user_id: wanted, revoked }: ListApiKeysQuery,
    ): Promise<ApiKeyRecord[]> {
      const isAny = reachOf(principal, "api-key.read") === "any";
      if (!isAny && wanted !== undefined && wanted !== principal.userId) return [];
      const userId = isAny ? wanted : principal.userId;
      return store.apiKeys({ userId, revoked, limit: limit + 1, after: cursor });
    },

    async revokeApiKey(principal: UserPrincipal, id: string): Promise<void> {
      const key = await store.apiKey(id);
      if (key === undefined) throw noKey();
      requireMay(principal, "api-key.revoke", key.userId, noKey);
      if (key.revokedAt !== null) return;
      if ((await store.revokeApiKey(id, clock.now())) === "last-admin") {
        throw new ApiError("last-admin", "Nobody could manage users any more: make another key first.");
      }
      revocations?.tell("api-key", id);
    },
  };
}
