/**
 * The guard's table: Wolf's routes, what their bodies must look like, how long and how many at once, and which are open. Wolf
 * has no authentication and dies of malformed input, so whatever is not listed as open never reaches its socket.
 */
import type { z } from "zod";
import * as requests from "./requests.ts";
import { IconPath, ImageReference, StopLobbyRequest } from "./schemas.ts";

/** What a call costs Wolf: a look, a short change, one of its threads for up to 20 s, or one for minutes. */
export type RouteClass = "read" | "change" | "create" | "pull";

export interface WolfRoute {
  method: "GET" | "POST";
  path: string;
  class: RouteClass;
  body?: z.ZodType;
  /** In place of `body` where the policy names Helix's homes. */
  helixBody?: z.ZodType;
  /** The one parameter of its query. */
  query?: { name: string; value: z.ZodType<string> };
  /** How the reply looks. `lines`: JSON lines, the last of them success. `none`: on success Wolf closes without a word. */
  reply: "json" | "schema" | "lines" | "bytes" | "none";
  /** Why it is closed unless a policy opens it. Absent: open unless a policy closes it. */
  closed?: string;
  /** No policy opens it. */
  never?: true;
}

export interface ClassLimits {
  /** `per-host`: cores - 1, at least 1, since Wolf has one thread per core and at least two. */
  concurrentMax: number | "per-host";
  waitingMax: number;
  /** For a place. What waits longer would have too little time left: it is refused, and was not sent. */
  waitMs: number;
  timeoutMs: number;
  /** `call`: the timeout holds for waiting and exchange together. `place`: for the exchange. */
  timeoutFrom: "call" | "place";
}

/** Creations and pulls share the places of `create`: both hold a thread, and one has to stay free for everything else. */
export const classLimits: Readonly<Record<RouteClass, ClassLimits>> = {
  read: { concurrentMax: 8, waitingMax: 256, waitMs: 9000, timeoutMs: 10_000, timeoutFrom: "call" },
  change: { concurrentMax: 4, waitingMax: 64, waitMs: 9000, timeoutMs: 10_000, timeoutFrom: "call" },
  // Wolf answers a lobby that does not come up after 20 s; the control plane gives up after 60 s.
  create: {
    concurrentMax: "per-host",
    waitingMax: 64,
    waitMs: 30_000,
    timeoutMs: 25_000,
    timeoutFrom: "place",
  },
  pull: {
    concurrentMax: "per-host",
    waitingMax: 4,
    waitMs: 30_000,
    timeoutMs: 600_000,
    timeoutFrom: "place",
  },
};

type More = Partial<Pick<WolfRoute, "body" | "helixBody" | "query" | "reply" | "class" | "never">>;
const open = (method: WolfRoute["method"], path: string, more: More = {}): WolfRoute => ({
  method,
  path: `/api/v1${path}`,
  class: method === "GET" ? "read" : "change",
  reply: "json",
  ...more,
});
const closed = (method: WolfRoute["method"], path: string, why: string, more: More = {}): WolfRoute => ({
  ...open(method, path, more),
  closed: why,
});

const unneeded = "the control plane does not need it";
const code = "it runs commands or containers of the caller's choice";
const secrets = "its reply carries stream keys";
const fatal = "malformed input ends the Wolf process";

export const wolfRoutes: readonly WolfRoute[] = [
  open("GET", "/lobbies"),
  open("POST", "/lobbies/create", {
    body: requests.CreateLobby,
    helixBody: requests.HelixCreateLobby,
    class: "create",
  }),
  open("POST", "/lobbies/stop", { body: StopLobbyRequest }),
  open("GET", "/openapi-schema", { reply: "schema" }),
  // A second subscription that ends can end Wolf (hazard H5).
  closed("GET", "/events", "the agent keeps the one subscription", { reply: "bytes", never: true }),
  closed("GET", "/pair/pending", unneeded),
  closed("POST", "/pair/client", unneeded, { body: requests.PairClient }),
  closed("POST", "/unpair/client", unneeded, { body: requests.UnpairClient }),
  closed("GET", "/clients", unneeded),
  closed("POST", "/clients/settings", fatal, { body: requests.UpdateClientSettings }),
  closed("GET", "/apps", unneeded),
  closed("POST", "/apps/add", code, { body: requests.AddApp }),
  closed("POST", "/apps/delete", unneeded, { body: requests.ById }),
  closed("GET", "/profiles", unneeded),
  closed("POST", "/profiles/add", code, { body: requests.AddProfile }),
  closed("POST", "/profiles/remove", unneeded, { body: requests.ById }),
  closed("GET", "/sessions", secrets),
  closed("POST", "/sessions/add", unneeded, { body: requests.AddSession }),
  // An id that has just ended is an unknown one (hazard H2), and its pipelines are code: no check before can make it safe.
  closed("POST", "/sessions/start", "a session id that is not known any more ends the Wolf process", {
    never: true,
  }),
  closed("POST", "/sessions/pause", fatal, { body: requests.OneSession }),
  closed("POST", "/sessions/stop", fatal, { body: requests.OneSession }),
  closed("POST", "/sessions/input", fatal, { body: requests.SessionInput }),
  closed("POST", "/runners/start", code, { body: requests.StartRunner, class: "create", reply: "none" }),
  closed("POST", "/lobbies/join", unneeded, { body: requests.JoinLobby }),
  closed("POST", "/lobbies/leave", unneeded, { body: requests.LeaveLobby }),
  closed("GET", "/utils/get-icon", "it reads any file of the host", {
    query: { name: "icon_path", value: IconPath.min(1) },
    reply: "bytes",
  }),
  closed("GET", "/docker/images/inspect", unneeded, { query: { name: "image_name", value: ImageReference } }),
  closed("POST", "/docker/images/pull", "it pulls images of the caller's choice", {
    body: requests.PullImage,
    class: "pull",
    reply: "lines",
  }),
];

export const routeName = ({ method, path }: Pick<WolfRoute, "method" | "path">) => `${method} ${path}`;
