/** A browser's session: an API key shown once, a cookie since then. */
import { z } from "zod";
import { instant } from "./schema-parts.ts";
import { User } from "./schemas.ts";

export const CreateWebSessionRequest = z
  .strictObject({ key: z.string().min(1).max(512).meta({ description: "An API key, `wpk_…`" }) })
  .meta({ id: "CreateWebSessionRequest" });
export type CreateWebSessionRequest = z.infer<typeof CreateWebSessionRequest>;

export const WebSession = z.object({ user: User, expires_at: instant }).meta({ id: "WebSession" });
export type WebSession = z.infer<typeof WebSession>;

export const WEB_SESSION_COOKIE = "__Host-wolfpack";
/** What a page sends with each call that changes something; a page of another origin cannot. */
export const CSRF_HEADER = "X-Wolfpack-Csrf";
