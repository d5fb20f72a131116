/**
 * The guard's table: which of Wolf's routes may be called at all, and what their bodies must look like. Wolf has no
 * authentication and dies of malformed input, so whatever is not listed as allowed never reaches its socket.
 */
import type { z } from "zod";
import { parseWolfJson } from "./json.ts";
import { CreateLobbyRequest, StopLobbyRequest } from "./schemas.ts";

export interface WolfRoute {
  method: "GET" | "POST";
  path: string;
  body?: z.ZodType;
  /** How the reply looks. */
  reply: "json" | "events" | "bytes";
  /** Why it is closed: not needed by a control plane, or dangerous. Absent: open. */
  closed?: string;
}

const open = (method: WolfRoute["method"], path: string, body?: z.ZodType): WolfRoute => ({
  method,
  path: `/api/v1${path}`,
  reply: "json",
  ...(body ? { body } : {}),
});
const closed = (
  method: WolfRoute["method"],
  path: string,
  why: string,
  reply: WolfRoute["reply"] = "json",
): WolfRoute => ({ method, path: `/api/v1${path}`, reply, closed: why });

const unneeded = "the control plane does not need it";
const code = "it runs commands or containers of the caller's choice";
const secrets = "its reply carries stream keys";
const fatal = "malformed input ends the Wolf process";

export const wolfRoutes: readonly WolfRoute[] = [
  open("GET", "/lobbies"),
  open("POST", "/lobbies/create", CreateLobbyRequest),
  open("POST", "/lobbies/stop", StopLobbyRequest),
  open("GET", "/openapi-schema"),
  closed("GET", "/events", "the agent keeps the one subscription", "events"),
  closed("GET", "/pair/pending", unneeded),
  closed("POST", "/pair/client", unneeded),
  closed("POST", "/unpair/client", unneeded),
  closed("GET", "/clients", unneeded),
  closed("POST", "/clients/settings", fatal),
  closed("GET", "/apps", unneeded),
  closed("POST", "/apps/add", code),
  closed("POST", "/apps/delete", unneeded),
  closed("GET", "/profiles", unneeded),
  closed("POST", "/profiles/add", code),
  closed("POST", "/profiles/remove", unneeded),
  closed("GET", "/sessions", secrets),
  closed("POST", "/sessions/add", unneeded),
  closed("POST", "/sessions/start", fatal),
  closed("POST", "/sessions/pause", fatal),
  closed("POST", "/sessions/stop", fatal),
  closed("POST", "/sessions/input", fatal),
  closed("POST", "/runners/start", code),
  closed("POST", "/lobbies/join", unneeded),
  closed("POST", "/lobbies/leave", unneeded),
  closed("GET", "/utils/get-icon", "it reads any file of the host", "bytes"),
  closed("GET", "/docker/images/inspect", unneeded),
  closed("POST", "/docker/images/pull", "it pulls images of the caller's choice", "bytes"),
];

export interface WolfRefusal {
  status: 400 | 403 | 404 | 405 | 413;
  code:
    | "path-invalid"
    | "route-unknown"
    | "method-not-allowed"
    | "route-closed"
    | "body-too-large"
    | "body-invalid"
    | "body-unexpected"
    | "mount-refused";
  title: string;
  detail: string;
}

export type WolfCheck =
  | { ok: true; route: WolfRoute; bodyText: string }
  | { ok: false; refusal: WolfRefusal };

export const WOLF_BODY_BYTES_MAX = 64 * 1024;
const DETAIL_CHARACTERS_MAX = 300;

function refuse(
  status: WolfRefusal["status"],
  code: WolfRefusal["code"],
  title: string,
  detail: string,
): WolfCheck {
  return { ok: false, refusal: { status, code, title, detail: detail.slice(0, DETAIL_CHARACTERS_MAX) } };
}

export interface WolfGuardPolicy {
  /** Host folders that a sandbox may mount something from, absolute. Default: none, so that no mount passes. */
  mountFolders?: readonly string[];
}

/**
 * Decides before the socket. The body that goes on is made from what was checked: a second key of the same name, an
 * unknown field or odd spacing cannot reach Wolf.
 */
export function checkWolfRequest(
  { method, path, bodyText }: { method: string; path: string; bodyText: string },
  policy: WolfGuardPolicy = {},
): WolfCheck {
  // Exact bytes only: no query, no encodings, no dot segments, no second way to write a path.
  if (!/^\/[A-Za-z0-9/_-]*$/.test(path) || path.includes("//"))
    return refuse(
      400,
      "path-invalid",
      "Path not allowed",
      "Only plain paths without query or escapes are taken.",
    );
  const atPath = wolfRoutes.filter((route) => route.path === path);
  if (atPath.length === 0) return refuse(404, "route-unknown", "Unknown route", "Wolf has no such route.");
  const route = atPath.find((candidate) => candidate.method === method);
  if (route === undefined)
    return refuse(
      405,
      "method-not-allowed",
      "Method not allowed",
      `This route takes ${atPath.map((r) => r.method).join(", ")}.`,
    );
  if (route.closed !== undefined)
    return refuse(403, "route-closed", "Route closed", `This route is closed: ${route.closed}.`);
  if (new TextEncoder().encode(bodyText).byteLength > WOLF_BODY_BYTES_MAX)
    return refuse(413, "body-too-large", "Body too large", `More than ${WOLF_BODY_BYTES_MAX} bytes.`);
  if (route.body === undefined) {
    return bodyText === ""
      ? { ok: true, route, bodyText }
      : refuse(400, "body-unexpected", "Unexpected body", "This route takes no body.");
  }
  let json: unknown;
  try {
    json = parseWolfJson(bodyText);
  } catch {
    return refuse(400, "body-invalid", "Invalid body", "The body is not JSON of moderate depth.");
  }
  const parsed = route.body.safeParse(json);
  if (!parsed.success) return refuse(400, "body-invalid", "Invalid body", firstIssue(parsed.error));
  const mount = mountsOf(parsed.data).find((entry) => !mountAllowed(entry, policy.mountFolders ?? []));
  if (mount !== undefined)
    return refuse(
      403,
      "mount-refused",
      "Mount refused",
      "The host folder of a mount is not among the allowed ones.",
    );
  return { ok: true, route, bodyText: JSON.stringify(parsed.data) };
}

function mountsOf(body: unknown): readonly string[] {
  return (body as { runner?: { mounts?: string[] } }).runner?.mounts ?? [];
}

function mountAllowed(entry: string, folders: readonly string[]): boolean {
  const host = `${entry.slice(0, entry.indexOf(":"))}/`;
  return folders.some((folder) => host.startsWith(folder.endsWith("/") ? folder : `${folder}/`));
}

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  return `${issue?.path.map(String).join(".") || "body"}: ${issue?.message ?? "invalid"}`;
}
