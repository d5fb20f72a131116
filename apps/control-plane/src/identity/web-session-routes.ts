/** HTTP in, one service call, HTTP out: the dashboard's session. Both calls ask for no credential, so they audit themselves. */
import type { Action, ProblemCode } from "@wolfpack/api-contract";
import type { Call, Handlers } from "../http/call.ts";
import type { Limits } from "../http/limits.ts";
import { ApiError } from "../http/problem.ts";
import { cookieOf, refuseForeignPages, tokenOf } from "../http/web-cookie.ts";
import type { AuditLog } from "./audit.ts";
import { toUserResponse } from "./identity-routes.ts";
import type { IdentityService } from "./identity-service.ts";
import type { UserPrincipal } from "./principal.ts";
import { WEB_SESSION_MS, type WebSessions } from "./web-sessions.ts";

type Handled = "createWebSession" | "deleteWebSession";
type AnyCall = Pick<Call, "request" | "requestId">;

export interface WebSessionHandlersOptions {
  webSessions: WebSessions;
  identity: Pick<IdentityService, "me">;
  audit: AuditLog;
  limits: Pick<Limits, "unknown">;
}

export function webSessionHandlers(options: WebSessionHandlersOptions): Pick<Handlers, Handled> {
  const { webSessions, identity, limits } = options;
  const record = (
    { request, requestId }: AnyCall,
    action: Action,
    principal: UserPrincipal,
    object: string,
  ) => options.audit.record({ principal, action, object, result: "allowed", requestId, address: request.ip });

  /** What refuses it, once it is in the audit log. */
  async function denied({ request, requestId }: AnyCall, action: Action, error: ApiError): Promise<ApiError> {
    const code: ProblemCode = error.code;
    const event = { principal: undefined, action, result: "denied", code, requestId } as const;
    await options.audit.record({ ...event, address: request.ip });
    return error;
  }

  async function fromOwnPage(call: AnyCall, action: Action): Promise<void> {
    const { method, headers, host } = call.request;
    try {
      refuseForeignPages(method, headers, host);
    } catch (error) {
      throw error instanceof ApiError ? await denied(call, action, error) : error;
    }
  }

  return {
    async createWebSession(call) {
      const action = "web-session.create";
      // Or a page could have its visitor go on as somebody else.
      await fromOwnPage(call, action);
      const opened = await webSessions.open(call.body.key, call.requestId);
      if (opened === undefined) {
        limits.unknown(call.request);
        throw await denied(call, action, new ApiError("unauthenticated", "This is no valid API key."));
      }
      const { id, token, principal, expiresAt } = opened;
      const user = toUserResponse(await identity.me(principal));
      await record(call, action, principal, id);
      const headers = { "set-cookie": cookieOf(token, WEB_SESSION_MS / 1000) };
      return { status: 201, body: { user, expires_at: expiresAt.toISOString() }, headers };
    },

    async deleteWebSession(call) {
      const action = "web-session.end";
      if (tokenOf(call.request.headers) !== undefined) await fromOwnPage(call, action);
      const ended = await webSessions.end(call.request.headers, call.requestId);
      if (ended !== undefined) await record(call, action, ended, ended.credentialId);
      return { status: 204, body: undefined, headers: { "set-cookie": cookieOf("", 0) } };
    },
  };
}
