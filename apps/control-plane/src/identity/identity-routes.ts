/** HTTP in, one service call, HTTP out: me, users, API keys. */
import {
  type ApiKey,
  ApiKeyId,
  CreateApiKeyRequest,
  CreateUserRequest,
  ListApiKeysQuery,
  ListUsersQuery,
  type User,
} from "@wolfpack/api-contract";
import { Router } from "express";
import { requireAdmin, requireUser, userOf } from "../http/authenticate.ts";
import { sendPage } from "../http/page.ts";
import { ApiError } from "../http/problem.ts";
import { parseBody, parseId, parseQuery } from "../http/validate.ts";
import type { IdentityService } from "./identity-service.ts";
import type { ApiKeyRecord, UserRecord } from "./identity-store.ts";

const toUserResponse = (user: UserRecord): User => ({
  id: user.id,
  name: user.name,
  role: user.role,
  created_at: user.createdAt.toISOString(),
});

const toKeyResponse = (key: ApiKeyRecord): ApiKey => ({
  id: key.id,
  user_id: key.userId,
  name: key.name,
  prefix: key.prefix,
  created_at: key.createdAt.toISOString(),
  expires_at: key.expiresAt?.toISOString() ?? null,
  last_used_at: key.lastUsedAt?.toISOString() ?? null,
  revoked_at: key.revokedAt?.toISOString() ?? null,
});

export function identityRoutes(identity: IdentityService): Router {
  const router = Router();
  const admin = requireAdmin(identity);
  const user = requireUser(identity);

  router.get("/me", user, async (_req, res) => {
    res.json(toUserResponse(await identity.me(userOf(res))));
  });

  router.post("/users", admin, async (req, res) => {
    const created = await identity.createUser(parseBody(CreateUserRequest, req));
    res.status(201).location("/api/v1/users").json(toUserResponse(created));
  });

  router.get("/users", admin, async (req, res) => {
    const { limit, cursor } = parseQuery(ListUsersQuery, req);
    const users = await identity.users({ limit: limit + 1, after: cursor });
    sendPage(req, res, users.map(toUserResponse), limit);
  });

  router.post("/api-keys", user, async (req, res) => {
    const { record, key } = await identity.createApiKey(userOf(res), parseBody(CreateApiKeyRequest, req));
    res
      .status(201)
      .location(`/api/v1/api-keys/${record.id}`)
      .set("cache-control", "no-store")
      .json({ ...toKeyResponse(record), key });
  });

  router.get("/api-keys", user, async (req, res) => {
    const { limit, cursor } = parseQuery(ListApiKeysQuery, req);
    const keys = await identity.apiKeys(userOf(res), { limit: limit + 1, after: cursor });
    sendPage(req, res, keys.map(toKeyResponse), limit);
  });

  router.delete("/api-keys/:id", user, async (req, res) => {
    const id = parseId(
      ApiKeyId,
      req.params.id,
      () => new ApiError("api-key-not-found", "There is no such key."),
    );
    await identity.revokeApiKey(userOf(res), id);
    res.status(204).end();
  });

  return router;
}
