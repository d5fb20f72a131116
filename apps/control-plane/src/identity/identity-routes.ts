/** HTTP in, one service call, HTTP out: me, users, API keys. */
import { createHash } from "node:crypto";
import type { ApiKey, User } from "@wolfpack/api-contract";
import type { Call, HandledId, Handlers } from "../http/call.ts";
import { page } from "../http/page.ts";
import { ApiError } from "../http/problem.ts";
import type { IdentityService } from "./identity-service.ts";
import type { ApiKeyRecord, UserRecord } from "./identity-store.ts";
import type { UserPrincipal } from "./principal.ts";

const toUserResponse = (user: UserRecord): User => ({
  id: user.id,
  name: user.name,
  role: user.role,
  disabled: user.disabled,
  sessions_max: user.sessionsMax,
  creates_per_minute: user.createsPerMinute,
  revision: user.revision,
  created_at: user.createdAt.toISOString(),
});

const toKeyResponse = (key: ApiKeyRecord): ApiKey => ({
  id: key.id,
  user_id: key.userId,
  name: key.name,
  prefix: key.prefix,
  scopes: key.scopes === null ? null : [...key.scopes],
  created_at: key.createdAt.toISOString(),
  expires_at: key.expiresAt?.toISOString() ?? null,
  last_used_at: key.lastUsedAt?.toISOString() ?? null,
  revoked_at: key.revokedAt?.toISOString() ?? null,
});

/** The user of a call that the policy opens to users only. */
export function userOf({ principal }: Pick<Call<HandledId>, "principal">): UserPrincipal {
  if (principal?.kind !== "user") throw new ApiError("forbidden", "This credential belongs to no user.");
  return principal;
}

/** Strong (RFC 9110 §8.8.1): the same bytes are answered for as long as it is the same. */
const tagOf = (user: UserRecord): string => {
  const shown = JSON.stringify(toUserResponse(user));
  return `"${createHash("sha256").update(shown).digest("base64url").slice(0, 22)}"`;
};

/** RFC 9110 §13.1.1. A weak tag matches nothing. */
function requireMatch(condition: string | undefined, user: UserRecord): void {
  if (condition === undefined || condition.trim() === "*") return;
  if (condition.split(",").some((tag) => tag.trim() === tagOf(user))) return;
  throw new ApiError("precondition-failed", "The user has been changed since it was read.");
}

type UserHandled = "getMe" | "createUser" | "listUsers" | "getUser" | "updateUser";
type Handled = UserHandled | "createApiKey" | "listApiKeys" | "revokeApiKey";

export function identityHandlers(identity: IdentityService): Pick<Handlers, Handled> {
  return {
    async getMe(call) {
      return { status: 200, body: toUserResponse(await identity.me(userOf(call))) };
    },

    async createUser({ body }) {
      const created = await identity.createUser(body);
      const headers = { location: `/api/v1/users/${created.id}` };
      return { status: 201, body: toUserResponse(created), headers, object: created.id };
    },

    async listUsers({ query, url }) {
      return page(url, (await identity.users(query)).map(toUserResponse), query.limit);
    },

    async getUser({ params }) {
      const user = await identity.user(params.id);
      return { status: 200, body: toUserResponse(user), headers: { etag: tagOf(user) } };
    },

    async updateUser({ params, body, request }) {
      const check = (before: UserRecord) => requireMatch(request.headers["if-match"], before);
      const user = await identity.changeUser(params.id, body, check);
      return { status: 200, body: toUserResponse(user), headers: { etag: tagOf(user) } };
    },

    async createApiKey(call) {
      const { record, key } = await identity.createApiKey(userOf(call), call.body);
      const headers = { location: `/api/v1/api-keys/${record.id}` };
      return { status: 201, body: { ...toKeyResponse(record), key }, headers, object: record.id };
    },

    async listApiKeys(call) {
      const keys = await identity.apiKeys(userOf(call), call.query);
      return page(call.url, keys.map(toKeyResponse), call.query.limit);
    },

    async revokeApiKey(call) {
      await identity.revokeApiKey(userOf(call), call.params.id);
      return { status: 204, body: undefined };
    },
  };
}
