/** HTTP in, one service call, HTTP out: me, users, API keys. */
import type { ApiKey, User } from "@wolfpack/api-contract";
import type { Call, HandledId, Handlers } from "../http/call.ts";
import { etagOf, requireIfMatch } from "../http/etag.ts";
import { page } from "../http/page.ts";
import { ApiError } from "../http/problem.ts";
import type { IdentityService } from "./identity-service.ts";
import type { ApiKeyRecord, UserRecord } from "./identity-store.ts";
import { actionsOf } from "./policy.ts";
import type { UserPrincipal } from "./principal.ts";

export const toUserResponse = (user: UserRecord): User => ({
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

type UserHandled = "getMe" | "createUser" | "listUsers" | "getUser" | "updateUser";
type Handled = UserHandled | "createApiKey" | "listApiKeys" | "revokeApiKey";

export function identityHandlers(identity: IdentityService): Pick<Handlers, Handled> {
  return {
    async getMe(call) {
      const user = toUserResponse(await identity.me(userOf(call)));
      return { status: 200, body: { ...user, actions: actionsOf(call.principal) } };
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
      return { status: 200, body: toUserResponse(await identity.user(params.id)) };
    },

    async updateUser({ params, body, request }) {
      const check = (before: UserRecord) => requireIfMatch(request.headers, toUserResponse(before));
      const user = toUserResponse(await identity.changeUser(params.id, body, check));
      return { status: 200, body: user, headers: { etag: etagOf(user) } };
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
