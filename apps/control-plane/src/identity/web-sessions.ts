/** A browser's session: opened with an API key, valid for as long as the key is and at most 12 hours. */
import { randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Clock } from "../clock.ts";
import { onBehalfOf } from "../events/author.ts";
import { tokenOf } from "../http/web-cookie.ts";
import { newId } from "../ids.ts";
import { hashApiKey, isApiKey } from "./api-key.ts";
import type { Authentication, Authentications } from "./authentications.ts";
import type { Identity, UserPrincipal } from "./principal.ts";
import type { Revocations } from "./revocations.ts";
import type { WebSessionStore } from "./web-session-store.ts";

export interface WebSessionsOptions {
  store: WebSessionStore;
  clock: Clock;
  /** For the API key that opens one. */
  identity: Identity;
  apiKeySecret: string;
  /** Undefined: every call asks the database. */
  authentications?: Authentications<UserPrincipal>;
  /** Told of what ends here. */
  revocations?: Pick<Revocations, "tell">;
}

export const WEB_SESSION_MS = 12 * 3_600_000;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

export interface OpenedWebSession {
  id: string;
  /** The cookie's value; only an HMAC of it is kept. */
  token: string;
  /** Who opened it, by the key. */
  principal: UserPrincipal;
  expiresAt: Date;
}

export interface WebSessions {
  /** The user of a request's cookie, or undefined for anything missing, malformed, unknown, expired or ended. */
  authenticate(headers: IncomingHttpHeaders): Promise<UserPrincipal | undefined>;
  /** Undefined when the key opens nothing. */
  open(key: string, requestId: string): Promise<OpenedWebSession | undefined>;
  /** Whose session it was, if there was one. */
  end(headers: IncomingHttpHeaders, requestId: string): Promise<UserPrincipal | undefined>;
}

export function createWebSessions(options: WebSessionsOptions): WebSessions {
  const { store, clock, identity, apiKeySecret, authentications, revocations } = options;
  const hashOf = (token: string) => hashApiKey(`web-session ${token}`, apiKeySecret);

  async function authenticate(headers: IncomingHttpHeaders): Promise<UserPrincipal | undefined> {
    const token = tokenOf(headers);
    if (token === undefined || !TOKEN.test(token)) return undefined;
    const hash = hashOf(token);
    const load = () => sessionOf(hash);
    if (authentications === undefined) return (await load())?.value;
    return authentications.find(Buffer.from(hash).toString("base64"), load);
  }

  async function sessionOf(
    hash: Uint8Array<ArrayBuffer>,
  ): Promise<Authentication<UserPrincipal> | undefined> {
    const found = await store.find(hash, clock.now());
    if (found === undefined) return undefined;
    const { id, userId, apiKeyId, role, scopes, expiresAt } = found;
    const value: UserPrincipal = { kind: "user", userId, role, scopes, credentialId: id, expiresAt };
    return { value, expiresAt, objectIds: [id, apiKeyId, userId] };
  }

  return {
    authenticate,

    async open(key, requestId) {
      if (!isApiKey(key)) return undefined;
      const principal = await identity.authenticate({ authorization: `Bearer ${key}` });
      if (principal?.kind !== "user") return undefined;
      const token = randomBytes(32).toString("base64url");
      const id = newId("web");
      const createdAt = clock.now();
      const expiresAt = new Date(createdAt.getTime() + WEB_SESSION_MS);
      const { userId, credentialId: apiKeyId } = principal;
      const session = { id, userId, apiKeyId, hash: hashOf(token), createdAt, expiresAt };
      // The call itself is nobody's: it asks for no credential.
      await onBehalfOf({ principal, requestId }, () => store.add(session));
      return { id, token, principal, expiresAt };
    },

    async end(headers, requestId) {
      const principal = await authenticate(headers);
      if (principal === undefined) return undefined;
      const ending = () => store.end(principal.credentialId, clock.now());
      if (!(await onBehalfOf({ principal, requestId }, ending))) return undefined;
      revocations?.tell("web-session", principal.credentialId);
      return principal;
    },
  };
}
