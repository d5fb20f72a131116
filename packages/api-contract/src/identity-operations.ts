/** The operations of users, their credentials and the audit log: a part of the table in operations.ts. */
import { z } from "zod";
import { ExportAuditEventsQuery, ListAuditEventsQuery } from "./audit-events.ts";
import { ApiKeyId, UserId } from "./ids.ts";
import type { Operation } from "./operations.ts";
import * as s from "./schemas.ts";
import { Me } from "./seeing.ts";
import { UpdateUserRequest } from "./users.ts";
import { CreateWebSessionRequest, WebSession } from "./web-session.ts";

const link = { Link: '`rel="next"` leads to the next page; absent on the last.' };

const user = z.object({ id: UserId });

export const identityOperations = {
  getMe: {
    method: "GET",
    path: "/api/v1/me",
    summary: "The user this key belongs to, and what the key may do",
    action: "me.read",
    responses: { 200: Me },
    problems: [],
  },
  createUser: {
    method: "POST",
    path: "/api/v1/users",
    summary: "Create a user",
    action: "user.create",
    body: s.CreateUserRequest,
    responses: { 201: s.User },
    headers: { Location: "The user's own URL." },
    problems: ["user-exists"],
  },
  listUsers: {
    method: "GET",
    path: "/api/v1/users",
    summary: "List users",
    action: "user.read",
    query: s.ListUsersQuery,
    responses: { 200: z.array(s.User) },
    headers: link,
    problems: [],
  },
  getUser: {
    method: "GET",
    path: "/api/v1/users/{id}",
    summary: "Show a user",
    action: "user.read",
    params: user,
    responses: { 200: s.User },
    headers: { ETag: "What `If-Match` of a change names." },
    problems: ["user-not-found"],
  },
  updateUser: {
    method: "PATCH",
    path: "/api/v1/users/{id}",
    summary: "Change a user's role or quotas, or disable or enable the user",
    action: "user.change",
    params: user,
    body: UpdateUserRequest,
    responses: { 200: s.User },
    headers: { ETag: "Of the user as it is now." },
    problems: ["user-not-found", "last-admin", "precondition-failed"],
  },
  createApiKey: {
    method: "POST",
    path: "/api/v1/api-keys",
    summary: "Create an API key; it is shown once",
    action: "api-key.create",
    body: s.CreateApiKeyRequest,
    responses: { 201: s.CreatedApiKey },
    headers: { Location: "The key's own URL." },
    problems: ["user-not-found"],
  },
  listApiKeys: {
    method: "GET",
    path: "/api/v1/api-keys",
    summary: "List your API keys (admins: all)",
    action: "api-key.read",
    query: s.ListApiKeysQuery,
    responses: { 200: z.array(s.ApiKey) },
    headers: link,
    problems: [],
  },
  revokeApiKey: {
    method: "DELETE",
    path: "/api/v1/api-keys/{id}",
    summary: "Revoke an API key",
    action: "api-key.revoke",
    params: z.object({ id: ApiKeyId }),
    responses: { 204: null },
    problems: ["api-key-not-found", "last-admin"],
  },
  listAuditEvents: {
    method: "GET",
    path: "/api/v1/audit-events",
    summary: "Read the audit log, the newest event first",
    action: "audit.read",
    query: ListAuditEventsQuery,
    responses: { 200: z.array(s.AuditEvent) },
    headers: link,
    problems: [],
  },
  exportAuditEvents: {
    method: "GET",
    path: "/api/v1/audit-events/export",
    summary: "All events of the audit log that fit, one AuditEvent a line, the newest first",
    action: "audit.read",
    query: ExportAuditEventsQuery,
    responses: { 200: "ndjson" },
    problems: [],
  },
  createWebSession: {
    method: "POST",
    path: "/api/v1/web-session",
    summary: "Show an API key once and get a cookie for it, for a web page of this origin; 12 hours",
    action: "public",
    body: CreateWebSessionRequest,
    responses: { 201: WebSession },
    headers: { "Set-Cookie": "`__Host-wolfpack`: HttpOnly, Secure, SameSite=Strict." },
    problems: ["unauthenticated", "csrf-refused", "database-unavailable", "draining"],
  },
  deleteWebSession: {
    method: "DELETE",
    path: "/api/v1/web-session",
    summary: "End the cookie's session, if there is one",
    action: "public",
    responses: { 204: null },
    headers: { "Set-Cookie": "Removes the cookie." },
    problems: ["csrf-refused", "database-unavailable", "draining"],
  },
} as const satisfies Record<string, Operation>;
