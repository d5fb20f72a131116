/** The guard's decision before the socket, a function of values: this request as Wolf may see it, or why it may not. */
import type { z } from "zod";
import { parseWolfJson } from "./json.ts";
import { closedBecause, defaultWolfPolicy, type WolfPolicy } from "./policy.ts";
import { pipelineFields, type Runner } from "./requests.ts";
import { type WolfRoute, wolfRoutes } from "./routes.ts";

/** Every reason for which a request does not reach Wolf, or Wolf's answer not its caller. */
export const wolfRefusalCodes = [
  "path-invalid",
  "query-invalid",
  "route-unknown",
  "method-not-allowed",
  "route-closed",
  "content-length-invalid",
  "body-too-large",
  "body-invalid",
  "body-unexpected",
  "mount-refused",
  "state-folder-refused",
  "runner-refused",
  "image-refused",
  "pipeline-refused",
  "create-queue-full",
  "queue-full",
  "upstream-unreachable",
  "upstream-reply-broken",
  "upstream-timeout",
  "cancelled",
] as const;

export interface WolfRefusal {
  status: number;
  code: (typeof wolfRefusalCodes)[number];
  title: string;
  detail: string;
}

export type WolfCheck =
  | {
      ok: true;
      route: WolfRoute;
      target: string;
      bodyText: string;
      /** The folder that a sandbox would get for its own, once. */
      home?: string | undefined;
    }
  | { ok: false; refusal: WolfRefusal };

export const WOLF_BODY_BYTES_MAX = 64 * 1024;
const TARGET_CHARACTERS_MAX = 1024;
const DETAIL_CHARACTERS_MAX = 300;

export function refusal(
  status: number,
  code: WolfRefusal["code"],
  title: string,
  detail: string,
): { ok: false; refusal: WolfRefusal } {
  return { ok: false, refusal: { status, code, title, detail: detail.slice(0, DETAIL_CHARACTERS_MAX) } };
}

/**
 * Decodes once, and only characters that need no escape (RFC 3986, 6.2.2.2: the same path written differently). What is still
 * no plain path then has another meaning somewhere on its way, and is refused: dot segments, escaped slashes, an escaped "%".
 */
export function normalisePath(path: string): string | undefined {
  const decoded = path.replaceAll(/%([0-9a-fA-F]{2})/g, (written, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9_~.-]/.test(character) ? character : written;
  });
  return /^\/[A-Za-z0-9/_-]*$/.test(decoded) && !decoded.includes("//") ? decoded : undefined;
}

/** Wolf decodes nothing and splits at "=", so the value goes on decoded, and its schema allows nothing that needs an escape. */
function readQuery(route: WolfRoute, query: string): string | undefined {
  if (route.query === undefined) return undefined;
  const { name, value } = route.query;
  if (!query.startsWith(`${name}=`)) return undefined;
  try {
    const parsed = value.safeParse(decodeURIComponent(query.slice(name.length + 1)));
    return parsed.success ? `?${name}=${parsed.data}` : undefined;
  } catch {
    return undefined;
  }
}

/** The path of a request that goes on is the table's own, and its body is written anew from what was checked. */
export function checkWolfRequest(
  { method, path, bodyText }: { method: string; path: string; bodyText: string },
  policy: WolfPolicy = defaultWolfPolicy,
): WolfCheck {
  const routed = checkWolfRoute(method, path, policy);
  return routed.ok ? checkWolfBody(routed, bodyText, policy) : routed;
}

/** The second half, for a route that is open. */
export function checkWolfBody(routed: RoutedRequest, bodyText: string, policy: WolfPolicy): WolfCheck {
  const { route } = routed;
  if (route.body === undefined) {
    return bodyText === ""
      ? { ...routed, bodyText }
      : refusal(400, "body-unexpected", "Unexpected body", "This route takes no body.");
  }
  if (isTooLarge(bodyText)) return bodyTooLarge();
  let json: unknown;
  try {
    json = parseWolfJson(bodyText);
  } catch {
    return refusal(400, "body-invalid", "Invalid body", "The body is not JSON of moderate depth.");
  }
  const shape = policy.helix_homes === null ? route.body : (route.helixBody ?? route.body);
  const parsed = shape.safeParse(json);
  if (!parsed.success) return refusal(400, "body-invalid", "Invalid body", firstIssue(parsed.error));
  const body = parsed.data as GuardedBody;
  const { runner_state_folder: folder } = body;
  // Helix gives a session's sandbox the home of before.
  const home = folder !== undefined && isHelixHome(folder) ? undefined : folder;
  return against(policy, body) ?? { ...routed, bodyText: JSON.stringify(body), home };
}

/** Bytes are counted only where three for each unit of UTF-16, the most there are, would be too many. */
const isTooLarge = (text: string) =>
  text.length * 3 > WOLF_BODY_BYTES_MAX && new TextEncoder().encode(text).byteLength > WOLF_BODY_BYTES_MAX;

export const bodyTooLarge = () =>
  refusal(413, "body-too-large", "Body too large", `More than ${WOLF_BODY_BYTES_MAX} bytes.`);

export interface RoutedRequest {
  ok: true;
  route: WolfRoute;
  /** Path and query as they go on. */
  target: string;
}

const routesByPath = new Map(
  wolfRoutes.map(({ path }) => [path, wolfRoutes.filter((route) => route.path === path)]),
);

/** What can be decided before a body is read: nothing of a refused request need be kept. */
export function checkWolfRoute(
  method: string,
  path: string,
  policy: WolfPolicy,
): RoutedRequest | { ok: false; refusal: WolfRefusal } {
  const question = path.indexOf("?");
  const query = question < 0 ? undefined : path.slice(question + 1);
  const plain =
    path.length > TARGET_CHARACTERS_MAX
      ? undefined
      : normalisePath(question < 0 ? path : path.slice(0, question));
  if (plain === undefined)
    return refusal(400, "path-invalid", "Path not allowed", "Only plain paths are taken.");
  const atPath = routesByPath.get(plain);
  if (atPath === undefined) return refusal(404, "route-unknown", "Unknown route", "Wolf has no such route.");
  const route = atPath.find((candidate) => candidate.method === method);
  if (route === undefined) {
    const methods = atPath.map((candidate) => candidate.method).join(", ");
    return refusal(405, "method-not-allowed", "Method not allowed", `This route takes ${methods}.`);
  }
  const because = closedBecause(route, policy);
  if (because !== undefined)
    return refusal(403, "route-closed", "Route closed", `This route is closed: ${because}.`);
  if (route.query === undefined && query === undefined) return { ok: true, route, target: route.path };
  const checked = readQuery(route, query ?? "");
  if (checked !== undefined) return { ok: true, route, target: `${route.path}${checked}` };
  const takes = route.query === undefined ? "no query" : `exactly ${route.query.name}=… with a plain value`;
  return refusal(400, "query-invalid", "Query not allowed", `This route takes ${takes}.`);
}

/** Where the parts lie that a policy speaks about. */
interface GuardedBody {
  runner?: Runner;
  apps?: GuardedBody[];
  image_name?: string;
  runner_state_folder?: string;
  app_state_folder?: string;
  [pipeline: string]: unknown;
}

function against(policy: WolfPolicy, body: GuardedBody): WolfCheck | undefined {
  const apps = [body, ...(body.apps ?? [])];
  for (const app of apps) {
    if (!policy.pipelines && pipelineFields.some((name) => (app[name] ?? "") !== ""))
      return refusal(403, "pipeline-refused", "Pipeline refused", "Pipelines are off on this host.");
    const refused = app.runner && runnerAgainst(policy, app.runner);
    if (refused) return refused;
  }
  const { runner_state_folder: mounted, app_state_folder: parent } = body;
  // Of a client's folder Wolf mounts what the app's title names in it.
  if (parent !== undefined && !policy.state_folders.includes(parent)) return stateFolderRefused();
  if (mounted !== undefined && !homeAllowed(policy, mounted)) return stateFolderRefused();
  return body.image_name === undefined || imageAllowed(policy, body.image_name) ? undefined : imageRefused();
}

const isHelixHome = (home: string) => home.startsWith("/");

function homeAllowed({ state_folders: folders, helix_homes: helixHomes }: WolfPolicy, home: string): boolean {
  const parent = home.slice(0, home.lastIndexOf("/"));
  return isHelixHome(home) ? parent === helixHomes : folders.includes(parent);
}

function runnerAgainst(policy: WolfPolicy, runner: Runner): WolfCheck | undefined {
  if (runner.type === "process")
    return policy.process_runners
      ? undefined
      : refusal(403, "runner-refused", "Runner refused", "Process runners are off on this host.");
  if (runner.base_create_json !== undefined && !policy.base_create_json)
    return refusal(403, "runner-refused", "Runner refused", "base_create_json is off on this host.");
  if (!imageAllowed(policy, runner.image)) return imageRefused();
  return runner.mounts.every((mount) => mountAllowed(mount, policy.mount_folders))
    ? undefined
    : refusal(
        403,
        "mount-refused",
        "Mount refused",
        "The host folder of a mount is not among the allowed ones, or Wolf would put its socket there.",
      );
}

const imageAllowed = ({ image_prefixes: prefixes }: WolfPolicy, image: string) =>
  prefixes === null || prefixes.some((prefix) => image.startsWith(prefix));
const imageRefused = () =>
  refusal(403, "image-refused", "Image refused", "The image is not among those this host allows.");

const stateFolderRefused = () =>
  refusal(
    403,
    "state-folder-refused",
    "State folder refused",
    "What a sandbox mounts lies exactly one name below a state folder that this host allows.",
  );

function mountAllowed(entry: string, folders: readonly string[]): boolean {
  const colon = entry.indexOf(":");
  // Whatever is to be mounted at such a path, Wolf may mount the socket of its API there instead.
  if (entry.includes("wolf.sock", colon)) return false;
  const host = `${entry.slice(0, colon)}/`;
  return folders.some((folder) => host.startsWith(folder.endsWith("/") ? folder : `${folder}/`));
}

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  return `${issue?.path.map(String).join(".") || "body"}: ${issue?.message ?? "invalid"}`;
}
