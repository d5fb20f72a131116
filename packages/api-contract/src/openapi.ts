/** The OpenAPI 3.1 document, generated from the table of operations. */
import type { z } from "zod";
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject } from "zod-openapi";
import { actionKind, roles } from "./access.ts";
import { type Operation, operations, problemsOf } from "./operations.ts";
import { type ProblemCode, problemKind } from "./problems.ts";
import { Problem } from "./schemas.ts";

const credentials = {
  user: "apiKey",
  agent: "agentKey",
  joiner: "joinToken",
  runner: "runnerToken",
} as const;

/** Kinds of credentials that some caller of an operation has. */
function callersOf({ action }: Operation): (keyof typeof credentials)[] {
  if (action === "public") return [];
  if (action === "tunnel") return ["agent", "user", "runner"];
  const { users, machines = [] } = actionKind(action);
  return [...(Object.keys(users).length > 0 ? (["user"] as const) : []), ...machines];
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

function success(operation: Operation, body: Operation["responses"][number]) {
  const headers = Object.fromEntries(
    Object.entries(operation.headers ?? {}).map(([name, description]) => [
      name,
      { description, schema: { type: "string" as const } },
    ]),
  );
  const withHeaders = Object.keys(headers).length > 0 ? { headers } : {};
  if (body === null) return { description: "Done", ...withHeaders };
  if (body === "image")
    return { description: "An image", ...withHeaders, content: { "image/png": {}, "image/jpeg": {} } };
  if (body === "html") return { description: "A page", content: { "text/html": {} } };
  if (body === "ndjson")
    return { description: "One JSON object a line", ...withHeaders, content: { "application/x-ndjson": {} } };
  if (body === "json") return { description: "JSON", content: { "application/json": {} } };
  return { description: "Done", ...withHeaders, content: { "application/json": { schema: body } } };
}

function headersOf(codes: readonly ProblemCode[]) {
  const text = { type: "string" as const };
  return {
    ...(codes.some((code) => problemKind(code).retry)
      ? { "Retry-After": { description: "Seconds", schema: { type: "integer" as const } } }
      : {}),
    ...(codes.includes("unauthenticated")
      ? { "WWW-Authenticate": { description: "`Bearer`", schema: text } }
      : {}),
    ...(codes.includes("upgrade-required") ? { Upgrade: { description: "`websocket`", schema: text } } : {}),
  };
}

function problemExample(code: ProblemCode) {
  const { title, status, meaning } = problemKind(code);
  return {
    type: `/problems/${code}`,
    title,
    status,
    detail: meaning,
    instance: "req_01KB0000000000000000000000",
    code,
    ...(code === "invalid-request" ? { errors: [{ path: "body.name", message: "Required" }] } : {}),
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
  return {
    operationId,
    tags: [tagOf(operation.path)],
    summary: operation.summary,
    ...(operation.action === "public" ? {} : { description: whoOf(operation) }),
    security: callersOf(operation).map((caller) => ({ [credentials[caller]]: [] })),
    "x-action": operation.action,
    ...(params || query
      ? {
          requestParams: {
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
      description: "One fleet out of many Wolf hosts. Errors are RFC 9457 problems whose `code` is stable.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    components: {
      securitySchemes: {
        apiKey: { type: "http", scheme: "bearer", description: "A user's API key, `wpk_…`" },
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
