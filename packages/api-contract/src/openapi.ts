/** The OpenAPI 3.1 document, generated from the table of operations. */
import { z } from "zod";
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject } from "zod-openapi";
import { actionKind, roles } from "./access.ts";
import { BEFORE_ALL_EVENTS, FleetEventId } from "./fleet.ts";
import {
  hasEtag,
  type Operation,
  operations,
  problemsOf,
  takesIdempotencyKey,
  takesIfMatch,
} from "./operations.ts";
import { type ProblemCode, problemKind } from "./problems.ts";
import { Problem } from "./schemas.ts";
import { CSRF_HEADER, WEB_SESSION_COOKIE } from "./web-session.ts";

const credentials = {
  user: "apiKey",
  browser: "webSession",
  agent: "agentKey",
  joiner: "joinToken",
  runner: "runnerToken",
} as const;

/** Kinds of credentials that some caller of an operation has. */
function callersOf({ action }: Operation): (keyof typeof credentials)[] {
  if (action === "public") return [];
  if (action === "tunnel") return ["agent", "user", "runner"];
  const { users, machines = [] } = actionKind(action);
  return [...(Object.keys(users).length > 0 ? (["user", "browser"] as const) : []), ...machines];
}

const machineNames = {
  agent: "An agent, for its own wolf",
  joiner: "A join token",
  runner: "The RUNNER_TOKEN",
};

/** In a sentence: "Admins and operators; users: their own." */
function whoOf({ action }: Operation): string {
  if (action === "public") return "";
  if (action === "tunnel")
    return "An agent for its own wolf; a user for a session of theirs; the RUNNER_TOKEN where it is allowed.";
  const { users, machines = [], scope } = actionKind(action);
  const who = roles.flatMap((role) =>
    users[role] ? [`${role}${users[role] === "own" ? " (own)" : ""}`] : [],
  );
  const parts = [
    ...(who.length > 0 ? [`Roles: ${who.join(", ")}`] : []),
    ...machines.map((one) => machineNames[one]),
  ];
  return `${parts.join(". ")}. Scope: \`${scope}\`.`;
}

/** Request headers that mean something to this kind of operation. */
function requestHeadersOf(operation: Operation): z.ZodObject | undefined {
  const tags = z.string().max(1024).optional();
  const shape = {
    ...(takesIdempotencyKey(operation)
      ? {
          "Idempotency-Key": z.string().min(1).max(255).optional().meta({
            description:
              "Visible ASCII without spaces. The same request with it again gets the same answer, for 24 hours, and waits for it while the first one is served; answers of status 500 and above and those with Retry-After are not kept.",
          }),
        }
      : {}),
    ...(hasEtag(operation)
      ? { "If-None-Match": tags.meta({ description: "ETags; 304 when one of them still fits." }) }
      : {}),
    ...(takesIfMatch(operation)
      ? { "If-Match": tags.meta({ description: "The ETag of what is to be changed." }) }
      : {}),
    ...(operation.streams
      ? {
          "Last-Event-ID": FleetEventId.optional().meta({
            description: `Of a stream: what came after this event, as far as it is not too much; after \`${BEFORE_ALL_EVENTS}\`: all.`,
          }),
        }
      : {}),
  };
  return Object.keys(shape).length > 0 ? z.object(shape) : undefined;
}

function successHeadersOf(operation: Operation): Record<string, string> {
  return {
    ...operation.headers,
    ...(hasEtag(operation) || takesIfMatch(operation) ? { ETag: "Strong; of this representation." } : {}),
    ...(takesIdempotencyKey(operation)
      ? { "Idempotency-Replayed": "`true` when this is the kept answer of an earlier request." }
      : {}),
  };
}

function success(operation: Operation, body: Operation["responses"][number]) {
  const headers = Object.fromEntries(
    Object.entries(successHeadersOf(operation)).map(([name, description]) => [
      name,
      { description, schema: { type: "string" as const } },
    ]),
  );
  const withHeaders = Object.keys(headers).length > 0 ? { headers } : {};
  if (body === null) return { description: "Done", ...withHeaders };
  if (body === "image")
    return { description: "An image", ...withHeaders, content: { "image/png": {}, "image/jpeg": {} } };
  if (body === "text") return { description: "Plain text", content: { "text/plain": {} } };
  if (body === "html") return { description: "A page", content: { "text/html": {} } };
  if (body === "ndjson")
    return { description: "One JSON object a line", ...withHeaders, content: { "application/x-ndjson": {} } };
  if (body === "json") return { description: "JSON", content: { "application/json": {} } };
  const content = { "application/json": { schema: body }, ...(operation.streams ? eventStream : {}) };
  return { description: "Done", ...withHeaders, content };
}

/** Server-sent events as the HTML standard has them. */
const eventStream = {
  "text/event-stream": {
    schema: {
      type: "string" as const,
      description:
        "First `event: hello` (EventStreamHello), then each FleetEvent as `data` with its `id`, `event: missed` (EventStreamMissed) where some are missing, and every 15 s a comment and `event: beat`, which says nothing more.",
    },
  },
};

function headersOf(codes: readonly ProblemCode[]) {
  const text = { type: "string" as const };
  return {
    ...(codes.some((code) => problemKind(code).retry)
      ? { "Retry-After": { description: "Seconds", schema: { type: "integer" as const } } }
      : {}),
    ...(codes.includes("unauthenticated")
      ? { "WWW-Authenticate": { description: "`Bearer`", schema: text } }
      : {}),
    ...(codes.includes("rate-limited")
      ? {
          "RateLimit-Policy": { description: "Each limit: requests `q` in `w` seconds", schema: text },
          RateLimit: {
            description: "Of each limit: `r` requests left, all of them in `t` seconds",
            schema: text,
          },
        }
      : {}),
    ...(codes.includes("upgrade-required") ? { Upgrade: { description: "`websocket`", schema: text } } : {}),
  };
}

/** What some problems carry besides. */
const exampleExtras: Partial<Record<ProblemCode, Record<string, unknown>>> = {
  "invalid-request": { errors: [{ path: "body.name", message: "Required" }] },
  "placement-impossible": {
    errors: [{ path: "gpu_type", message: "No wolf has the GPU type amd." }],
    allowed: { gpu_type: ["intel", "nvidia"] },
    counterfactuals: [],
  },
  "intent-refused": { intent: "retired", allowed: ["uncordon"] },
  "no-capacity": { candidates: 2, removed: [{ filter: "capacity", count: 2 }] },
};

function problemExample(code: ProblemCode) {
  const { title, status, meaning } = problemKind(code);
  return {
    type: `/problems/${code}`,
    title,
    status,
    detail: meaning,
    instance: "req_01KB0000000000000000000000",
    code,
    ...exampleExtras[code],
  };
}

function failures(operation: Operation) {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of problemsOf(operation)) {
    const { status } = problemKind(code);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return [...byStatus].map(([status, codes]) => {
    return [
      status,
      {
        description: codes.map((code) => `\`${code}\`: ${problemKind(code).meaning}`).join("\n\n"),
        ...(Object.keys(headersOf(codes)).length > 0 ? { headers: headersOf(codes) } : {}),
        content: {
          "application/problem+json": {
            schema: Problem,
            examples: Object.fromEntries(codes.map((code) => [code, { value: problemExample(code) }])),
          },
        },
      },
    ] as const;
  });
}

/** Operations are grouped by resource: the path's first segment below the API's version. */
function tagOf(path: string): string {
  return /^\/api\/v1\/([^/]+)/.exec(path)?.[1] ?? "system";
}

function operationObject(operationId: string, operation: Operation): ZodOpenApiOperationObject {
  const { params, query, body, bodyOptional } = operation;
  const header = requestHeadersOf(operation);
  return {
    operationId,
    tags: [tagOf(operation.path)],
    summary: operation.summary,
    ...(operation.action === "public" ? {} : { description: whoOf(operation) }),
    security: callersOf(operation).map((caller) => ({ [credentials[caller]]: [] })),
    "x-action": operation.action,
    ...(params || query || header
      ? {
          requestParams: {
            ...(header ? { header } : {}),
            ...(params ? { path: params } : {}),
            ...(query ? { query: query as z.ZodObject } : {}),
          },
        }
      : {}),
    ...(body
      ? { requestBody: { required: !bodyOptional, content: { "application/json": { schema: body } } } }
      : {}),
    responses: Object.fromEntries([
      ...Object.entries(operation.responses).map(
        ([status, response]) => [status, success(operation, response)] as const,
      ),
      ...(hasEtag(operation) ? [[304, { description: "Not modified" }] as const] : []),
      ...failures(operation),
    ]),
  };
}

/** Deterministic: the same schemas give the same document. */
export function openApiDocument(): ReturnType<typeof createDocument> {
  const paths: ZodOpenApiPathsObject = {};
  for (const [id, operation] of Object.entries(operations) as [string, Operation][]) {
    paths[operation.path] = {
      ...paths[operation.path],
      [operation.method.toLowerCase()]: operationObject(id, operation),
    };
  }
  return createDocument({
    openapi: "3.1.1",
    info: {
      title: "Wolfpack",
      version: "1",
      description:
        "One fleet out of many Wolf hosts. Errors are RFC 9457 problems whose `code` is stable. Every answer below `/api` says in `RateLimit` and `RateLimit-Policy` how many requests are left.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    components: {
      securitySchemes: {
        apiKey: { type: "http", scheme: "bearer", description: "A user's API key, `wpk_…`" },
        webSession: {
          type: "apiKey",
          in: "cookie",
          name: WEB_SESSION_COOKIE,
          description: `A browser's session. Calls that change something also need the header \`${CSRF_HEADER}: 1\``,
        },
        agentKey: {
          type: "http",
          scheme: "Wolfpack",
          description: "A proof by an agent's own key, over a challenge of this control plane",
        },
        joinToken: { type: "http", scheme: "bearer", description: "A join token, `wjt_…`" },
        runnerToken: { type: "http", scheme: "bearer", description: "The agents' RUNNER_TOKEN" },
      },
    },
    paths,
  });
}
