/** Every operation of the API in one table: the OpenAPI document, the typed client and the tests of the routes come from it. */
import { z } from "zod";
import { type Action, actionKind } from "./access.ts";
import { agentOperations } from "./agent-operations.ts";
import { fleetOperations } from "./fleet-operations.ts";
import { HelixDiskHistory } from "./helix.ts";
import { identityOperations } from "./identity-operations.ts";
import { SessionId } from "./ids.ts";
import type { ProblemCode } from "./problems.ts";
import * as s from "./schemas.ts";
import { seeingOperations } from "./seeing-operations.ts";
import * as sessions from "./sessions.ts";

export interface Operation {
  method: "GET" | "POST" | "PATCH" | "DELETE";
  /** OpenAPI path template. */
  path: string;
  summary: string;
  /** Who may: see access.ts. `public` asks for no credential. A tunnel's depends on whose it is. */
  action: Action | "public" | "tunnel";
  params?: z.ZodObject;
  query?: z.ZodType;
  body?: z.ZodType;
  /** The body may be left out. */
  bodyOptional?: true;
  /** Success statuses; `null` has no body, `"image"` is image bytes, `"html"` a page, `"text"` plain text, `"json"` any JSON, `"ndjson"` a line of JSON for each item. */
  responses: Record<number, z.ZodType | null | "image" | "html" | "text" | "json" | "ndjson">;
  /** Whoever accepts `text/event-stream` gets a stream of the items instead, which goes on. */
  streams?: true;
  /** Headers of a success, by name. */
  headers?: Record<string, string>;
  problems: readonly ProblemCode[];
}

/** By its id, or by its name: all that a daemon of Helix knows. */
const wolf = z.object({ id: s.WolfIdOrName });
const session = z.object({ id: SessionId });
const externalAgent = z.object({ session_id: SessionId });
const tunnel = {
  path: "/api/v1/revdial",
  action: "tunnel",
  query: z.strictObject({
    runnerid: z.string().meta({
      description:
        "`wolf-<name>` with a proof by that wolf's key, or the RUNNER_TOKEN where that is allowed; `moonlight-<name>` of an agent of Helix, with the same token; `sandbox-<session id>` with the owner's API key; `doctor-<name>` with a proof or the RUNNER_TOKEN, for the agent's doctor: it serves `echo` and belongs to no wolf",
    }),
  }),
} as const satisfies Partial<Operation>;
const link = { Link: '`rel="next"` leads to the next page; absent on the last.' };

const screenProblems = [
  "session-not-found",
  "session-not-running",
  "screen-failed",
  "screen-busy",
  "wolf-unreachable",
  "wolf-timeout",
] as const;

const screenshot = {
  method: "GET",
  action: "session.look",
  responses: { 200: "image" },
  headers: { "Cache-Control": "`no-store`" },
  problems: screenProblems,
} as const satisfies Partial<Operation>;
const readClipboard = {
  method: "GET",
  action: "session.look",
  responses: { 200: s.ClipboardContent },
  problems: screenProblems,
} as const satisfies Partial<Operation>;
const writeClipboard = {
  method: "POST",
  action: "session.touch",
  body: s.ClipboardContent,
  responses: { 204: null },
  problems: screenProblems,
} as const satisfies Partial<Operation>;

const registerWolf = {
  method: "POST",
  action: "wolf.register",
  body: s.RegisterWolfBody,
  responses: { 200: s.WolfInstance },
  problems: [],
} as const satisfies Partial<Operation>;
const heartbeatWolf = {
  method: "POST",
  action: "wolf.heartbeat",
  params: wolf,
  body: s.HeartbeatRequest,
  bodyOptional: true,
  responses: { 200: s.Ok },
  problems: ["wolf-not-found"],
} as const satisfies Partial<Operation>;
const listWolves = {
  method: "GET",
  action: "wolf.read",
  query: s.ListWolvesQuery,
  responses: { 200: z.array(s.WolfInstance) },
  headers: link,
  problems: [],
} as const satisfies Partial<Operation>;
const listDiskHistory = {
  method: "GET",
  action: "wolf.read",
  params: wolf,
  query: s.DiskHistoryQuery,
  responses: { 200: z.union([z.array(s.DiskSample), HelixDiskHistory]) },
  headers: link,
  problems: ["wolf-not-found"],
} as const satisfies Partial<Operation>;
const deleteWolf = {
  method: "DELETE",
  action: "wolf.remove",
  params: wolf,
  query: s.ForceQuery,
  responses: { 200: s.Ok },
  problems: ["wolf-not-found", "wolf-has-sessions"],
} as const satisfies Partial<Operation>;

export const operations = {
  registerWolf: {
    ...registerWolf,
    path: "/api/v1/wolf-instances/register",
    summary: "Register a wolf; the same name again resumes the same instance",
  },
  heartbeatWolf: {
    ...heartbeatWolf,
    path: "/api/v1/wolf-instances/{id}/heartbeat",
    summary: "Say that a wolf is alive (wolves with a tunnel need not)",
  },
  listWolves: { ...listWolves, path: "/api/v1/wolf-instances", summary: "List wolves" },
  getWolf: {
    method: "GET",
    path: "/api/v1/wolf-instances/{id}",
    summary: "Show a wolf",
    action: "wolf.read",
    params: wolf,
    responses: { 200: s.WolfInstance },
    problems: ["wolf-not-found"],
  },
  listDiskHistory: {
    ...listDiskHistory,
    path: "/api/v1/wolf-instances/{id}/disk-history",
    summary: "How full a wolf's mounts were, over the last 7 days; with `hours` in Helix's words",
  },
  deleteWolf: {
    ...deleteWolf,
    path: "/api/v1/wolf-instances/{id}",
    summary: "Remove a wolf; with force=true its sessions fail",
  },
  registerSandboxHost: {
    ...registerWolf,
    path: "/api/v1/sandboxes/register",
    summary: "Register a wolf (Helix's later path)",
  },
  heartbeatSandboxHost: {
    ...heartbeatWolf,
    path: "/api/v1/sandboxes/{id}/heartbeat",
    summary: "Say that a wolf is alive (Helix's later path)",
  },
  listSandboxHosts: {
    ...listWolves,
    path: "/api/v1/sandboxes",
    summary: "List wolves (Helix's later path)",
  },
  listSandboxHostDiskHistory: {
    ...listDiskHistory,
    path: "/api/v1/sandboxes/{id}/disk-history",
    summary: "How full a wolf's mounts were (Helix's later path)",
  },
  deleteSandboxHost: {
    ...deleteWolf,
    path: "/api/v1/sandboxes/{id}",
    summary: "Remove a wolf (Helix's later path)",
  },
  createSession: {
    method: "POST",
    path: "/api/v1/sessions",
    summary: "Create a sandbox and wait until it runs, or waits in the queue",
    action: "session.create",
    body: sessions.CreateSessionRequest,
    responses: { 201: sessions.Session },
    headers: { Location: "The session's own URL." },
    problems: [
      "quota-exceeded",
      "rate-limited",
      "placement-impossible",
      "no-capacity",
      "queue-full",
      "session-start-failed",
    ],
  },
  listSessions: {
    method: "GET",
    path: "/api/v1/sessions",
    summary: "List your sessions (admins: all)",
    action: "session.read",
    query: sessions.ListSessionsQuery,
    responses: { 200: z.array(sessions.Session) },
    headers: link,
    problems: [],
  },
  getSession: {
    method: "GET",
    path: "/api/v1/sessions/{id}",
    summary: "Show a session",
    action: "session.read",
    params: session,
    responses: { 200: sessions.Session },
    problems: ["session-not-found"],
  },
  stopSession: {
    method: "DELETE",
    path: "/api/v1/sessions/{id}",
    summary: "Stop a session; 202 while its wolf cannot be reached, force=true does not wait for it",
    action: "session.stop",
    params: session,
    query: s.ForceQuery,
    responses: { 204: null, 202: sessions.Session },
    problems: ["session-not-found"],
  },
  getScreenshot: {
    ...screenshot,
    path: "/api/v1/sessions/{id}/screenshot",
    summary: "Screenshot of a session",
    params: session,
  },
  getClipboard: {
    ...readClipboard,
    path: "/api/v1/sessions/{id}/clipboard",
    summary: "Read a session's clipboard",
    params: session,
  },
  setClipboard: {
    ...writeClipboard,
    path: "/api/v1/sessions/{id}/clipboard",
    summary: "Write a session's clipboard",
    params: session,
  },
  getExternalAgentScreenshot: {
    ...screenshot,
    path: "/api/v1/external-agents/{session_id}/screenshot",
    summary: "Screenshot of a session (older path)",
    params: externalAgent,
  },
  getExternalAgentClipboard: {
    ...readClipboard,
    path: "/api/v1/external-agents/{session_id}/clipboard",
    summary: "Read a session's clipboard (older path)",
    params: externalAgent,
  },
  setExternalAgentClipboard: {
    ...writeClipboard,
    path: "/api/v1/external-agents/{session_id}/clipboard",
    summary: "Write a session's clipboard (older path)",
    params: externalAgent,
  },
  openTunnel: {
    ...tunnel,
    method: "GET",
    summary:
      "WebSocket of an agent's or a sandbox's tunnel. Without a subprotocol it is a control connection as agents of Helix open it: `wolf-<name>` (a name that nobody has is registered) or `moonlight-<name>` with the RUNNER_TOKEN where that is allowed, or `sandbox-<session id>`; their data connections say `revdial.dialer` and `revdial.req` instead of `runnerid`, here or at `/revdial`",
    responses: { 101: null },
    problems: [
      "runner-id-invalid",
      "proof-refused",
      "clock-skew",
      "tunnel-protocol-unsupported",
      "origin-refused",
      "wolf-not-found",
      "session-not-found",
      "upgrade-required",
      "rate-limited",
    ],
  },
  openTunnelOverHttp: {
    ...tunnel,
    method: "POST",
    summary:
      "The same tunnel where WebSockets are blocked (`application/vnd.revdial.v3`, SPEC of revdial section 12): a POST without `Revdial-Tunnel` opens it, and its 200 ends with the tunnel; POSTs with it carry what the agent says and are answered by the tunnel library, with a status alone",
    responses: { 200: null, 204: null },
    headers: { "Revdial-Tunnel": "With 200, the key of the tunnel: a secret that the POSTs after it name." },
    problems: [
      "runner-id-invalid",
      "proof-refused",
      "clock-skew",
      "origin-refused",
      "wolf-not-found",
      "session-not-found",
      "rate-limited",
      "unsupported-media-type",
    ],
  },
  ...identityOperations,
  ...agentOperations,
  ...fleetOperations,
  ...seeingOperations,
  getLiveness: {
    method: "GET",
    path: "/healthz",
    summary: "The process lives, and its version",
    action: "public",
    responses: { 200: s.Liveness },
    problems: [],
  },
  getReadiness: {
    method: "GET",
    path: "/readyz",
    summary: "The process serves: database reachable, not draining",
    action: "public",
    responses: { 200: s.Ok },
    problems: ["draining", "database-unavailable"],
  },
  getMetrics: {
    method: "GET",
    path: "/metrics",
    summary:
      "Numbers of this replica in Prometheus' text format, for operators and admins, or with the token of WOLFPACK_METRICS_TOKEN_FILE",
    action: "metrics.read",
    responses: { 200: "text" },
    problems: [],
  },
  getOpenApi: {
    method: "GET",
    path: "/openapi.json",
    summary: "This document",
    action: "public",
    responses: { 200: "json" },
    problems: [],
  },
  getSwagger: {
    method: "GET",
    path: "/swagger/index.html",
    summary: "Swagger UI",
    action: "public",
    responses: { 200: "html" },
    problems: [],
  },
} as const satisfies Record<string, Operation>;

export type OperationId = keyof typeof operations;

const answers = ({ responses }: Operation, status: number) => responses[status];

/** Every POST by which a user creates something: the same request under the same key creates it once. */
export function takesIdempotencyKey(operation: Operation): boolean {
  const { method, action } = operation;
  if (method !== "POST" || action === "public" || action === "tunnel") return false;
  return answers(operation, 201) !== undefined && Object.keys(actionKind(action).users).length > 0;
}

/** Every GET of one object of ours, which has an id: its answer has an ETag, and `If-None-Match` spares it. */
export function hasEtag(operation: Operation): boolean {
  const shown = answers(operation, 200);
  return operation.method === "GET" && shown instanceof z.ZodObject && "id" in shown.shape;
}

/** Every PATCH: with `If-Match` it changes only what its caller has seen. */
export const takesIfMatch = ({ method }: Operation): boolean => method === "PATCH";

/** What says whether the process lives and serves is asked for by machines that must get an answer. */
const unlimited = new Set(["/healthz", "/readyz"]);
export const isRateLimited = ({ path }: Pick<Operation, "path">): boolean => !unlimited.has(path);

/** What any operation of a kind may answer besides its own problems. */
export function problemsOf(operation: Operation): ProblemCode[] {
  const { action } = operation;
  const codes = new Set<ProblemCode>(operation.problems);
  codes.add("internal");
  if (isRateLimited(operation)) codes.add("rate-limited");
  if (action !== "public")
    codes.add("unauthenticated").add("forbidden").add("database-unavailable").add("draining");
  if (action !== "public" && action !== "tunnel") codes.add("csrf-refused");
  if (takesIdempotencyKey(operation)) codes.add("idempotency-key-reused").add("idempotency-key-in-use");
  if (takesIfMatch(operation)) codes.add("precondition-failed");
  if (operation.params || operation.query || operation.body) codes.add("invalid-request");
  if (operation.body)
    codes.add("malformed-json").add("payload-too-large").add("unsupported-media-type").add("request-timeout");
  return [...codes].sort();
}
