import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import {
  type Operation,
  openApiDocument,
  operations,
  Problem,
  problemCodes,
  problemKind,
  problemsOf,
} from "../src/index.ts";

type Json = { [key: string]: unknown };
interface DescribedObject {
  properties?: Json;
  required?: string[];
  additionalProperties?: unknown;
}
interface Described {
  parameters?: { name: string; schema: unknown }[];
  responses: Record<
    string,
    { headers?: Json; content?: Record<string, { examples?: Record<string, { value: unknown }> }> }
  >;
}
const document = JSON.parse(JSON.stringify(openApiDocument())) as Json & {
  paths: Record<string, Record<string, Json>>;
};
const table = Object.entries(operations) as [string, Operation][];

function describedAt(path: string, method: string): Described {
  const described = document.paths[path]?.[method];
  if (described === undefined) throw new Error(`${method} ${path} is not described`);
  return described as unknown as Described;
}

function references(value: unknown): string[] {
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "$ref" ? [String(inner)] : references(inner),
  );
}

describe("the OpenAPI document", () => {
  it("is committed as it is generated (refresh it with `pnpm --filter @wolfpack/api-contract openapi`)", () => {
    const committed = readFileSync(new URL("../openapi.json", import.meta.url), "utf8");
    expect(committed).toBe(`${JSON.stringify(openApiDocument(), null, 2)}\n`);
  });

  it("resolves every reference", () => {
    const found = references(document);
    expect(found.length).toBeGreaterThan(20);
    for (const reference of found) {
      const target = reference
        .replace(/^#\//, "")
        .split("/")
        .reduce<unknown>((node, key) => (node as Json | undefined)?.[key], document);
      expect({ reference, found: target !== undefined }).toEqual({ reference, found: true });
    }
  });

  it("describes every operation of the table once, with summary, problems and security", () => {
    const ids = Object.values(document.paths).flatMap((path) =>
      Object.values(path).map((operation) => operation.operationId),
    );
    expect(ids.sort()).toEqual(table.map(([id]) => id).sort());
    for (const [id, operation] of table) {
      const described = document.paths[operation.path]?.[operation.method.toLowerCase()] as Json;
      expect(described.summary).toBeTruthy();
      const { security } = described as { security: unknown[] };
      expect(security.length > 0).toBe(operation.action !== "public");
      expect(described["x-action"]).toBe(operation.action);
      const statuses = Object.keys(described.responses as Json);
      for (const code of problemsOf(operation))
        expect({ id, statuses }).toEqual({
          id,
          statuses: expect.arrayContaining([String(problemKind(code).status)]),
        });
    }
  });

  it("declares every path parameter of every path", () => {
    for (const [id, operation] of table) {
      const inPath = [...operation.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      expect({ id, declared: Object.keys(operation.params?.shape ?? {}) }).toEqual({ id, declared: inPath });
    }
  });

  it("uses every problem code of the table but those that belong to no operation", () => {
    const used = new Set(table.flatMap(([, operation]) => problemsOf(operation)));
    const ofNoOperation = [
      "replica-refused",
      "malformed-http",
      "not-found",
      "method-not-allowed",
      "headers-too-large",
    ];
    expect(problemCodes.filter((code) => !used.has(code)).sort()).toEqual(ofNoOperation.sort());
  });

  it("gives every code an error status, a title and a meaning", () => {
    for (const code of problemCodes) {
      const kind = problemKind(code);
      expect(kind.status).toBeGreaterThanOrEqual(400);
      expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
      expect(kind.title.length).toBeGreaterThan(3);
      expect(kind.meaning).toMatch(/\.$/);
      if (kind.retry) expect([409, 429, 503]).toContain(kind.status);
    }
  });

  it("gives each answer that is a problem an example of each of its codes, which fits the schema", () => {
    for (const [id, operation] of table) {
      const described = document.paths[operation.path]?.[
        operation.method.toLowerCase()
      ] as unknown as Described;
      const shown = Object.entries(described.responses).flatMap(([status, response]) =>
        Object.entries(response.content?.["application/problem+json"]?.examples ?? {}).map(
          ([code, { value }]) => {
            expect(Problem.parse(value)).toMatchObject({ code, status: Number(status) });
            return code;
          },
        ),
      );
      expect({ id, shown: shown.sort() }).toEqual({ id, shown: problemsOf(operation) });
    }
  });

  it("declares the headers that go with a status", () => {
    const headersOf = (path: string, method: string, status: number) =>
      Object.keys(describedAt(path, method).responses[status]?.headers ?? {});
    expect(headersOf("/api/v1/sessions", "post", 201)).toEqual(["Location", "Idempotency-Replayed"]);
    expect(headersOf("/api/v1/sessions", "post", 409)).toEqual(["Retry-After"]);
    expect(headersOf("/api/v1/sessions", "post", 429)).toEqual([
      "Retry-After",
      "RateLimit-Policy",
      "RateLimit",
    ]);
    expect(headersOf("/api/v1/sessions", "post", 503)).toEqual(["Retry-After"]);
    expect(headersOf("/api/v1/sessions", "post", 401)).toEqual(["WWW-Authenticate"]);
    expect(headersOf("/api/v1/sessions", "get", 200)).toEqual(["Link"]);
    expect(headersOf("/api/v1/revdial", "get", 426)).toEqual(["Upgrade"]);
  });

  const withHeader = (name: string) =>
    table
      .filter(([, { path, method }]) =>
        describedAt(path, method.toLowerCase()).parameters?.some((parameter) => parameter.name === name),
      )
      .map(([id]) => id);

  it("offers an Idempotency-Key wherever a user creates something, and nowhere else", () => {
    expect(withHeader("Idempotency-Key")).toEqual(
      expect.arrayContaining(["createSession", "createUser", "createApiKey"]),
    );
    for (const id of withHeader("Idempotency-Key")) expect(id).toMatch(/^create/);
    for (const id of ["registerWolf", "heartbeatWolf", "setClipboard", "createWebSession"])
      expect(withHeader("Idempotency-Key")).not.toContain(id);
  });

  it("has an ETag for every GET of one object, and If-Match for every PATCH", () => {
    expect(withHeader("If-None-Match")).toEqual(expect.arrayContaining(["getWolf", "getSession", "getMe"]));
    for (const id of ["listWolves", "getScreenshot", "getClipboard", "getLiveness"])
      expect(withHeader("If-None-Match")).not.toContain(id);
    for (const id of withHeader("If-None-Match")) {
      const { path } = operations[id as keyof typeof operations];
      expect(describedAt(path, "get").responses).toHaveProperty("304");
      expect(describedAt(path, "get").responses[200]?.headers).toHaveProperty("ETag");
    }
    expect(withHeader("If-Match").sort()).toEqual(
      table
        .filter(([, { method }]) => method === "PATCH")
        .map(([id]) => id)
        .sort(),
    );
  });

  it("describes how a tunnel is opened and how that is refused", () => {
    const { responses } = describedAt("/api/v1/revdial", "get");
    expect(Object.keys(responses)).toEqual(
      expect.arrayContaining(["101", "400", "401", "403", "404", "426", "503"]),
    );
    const overHttp = describedAt("/api/v1/revdial", "post").responses;
    expect(Object.keys(overHttp)).toEqual(
      expect.arrayContaining(["200", "204", "400", "401", "403", "404", "415", "503"]),
    );
    expect(overHttp).not.toHaveProperty("426");
  });

  const schemas = (document.components as { schemas: Record<string, DescribedObject> }).schemas;

  it("describes what an answer is given by default as always there, and what a request is as optional", () => {
    const required = (name: string) => schemas[name]?.required ?? [];
    expect(required("Session")).toEqual(Object.keys(schemas.Session?.properties ?? {}));
    expect(required("SessionSpec")).toEqual(Object.keys(schemas.SessionSpec?.properties ?? {}));
    expect(required("PlacementExplanation")).toEqual(
      Object.keys(schemas.PlacementExplanation?.properties ?? {}),
    );
    expect(required("PlacementConstraintOutput")).toEqual(["attribute", "op", "values"]);
    expect(required("PlacementConstraint")).toEqual(["attribute", "op"]);
    expect(required("CreateSessionRequest")).toEqual([]);
    expect(required("PlacementPreviewRequest")).toEqual([]);
    expect(required("DrainRequest")).toEqual([]);
  });

  it("describes requests that are checked as a whole field by field, with what their fields may be", () => {
    const { properties = {}, additionalProperties } = schemas.CreateSessionRequest ?? {};
    expect(additionalProperties).toBe(false);
    expect(Object.keys(properties)).toEqual(
      expect.arrayContaining(["labels", "constraints", "queue", "pin"]),
    );
    expect(properties).toMatchObject({
      disconnect_policy: { default: "keep" },
      priority: { type: "integer", minimum: 0, maximum: 9, default: 4 },
      queue: { type: "boolean", default: true },
    });
    expect(schemas.PlacementPolicy).toMatchObject({
      enum: ["least-loaded", "bin-pack", "random-of-best", "cost", "weighted"],
    });
  });

  it("shows examples of requests that the requests' schemas take", () => {
    const shown = table.flatMap(([id, { body }]) => {
      const example: unknown = body?.meta()?.example;
      if (body === undefined || example === undefined) return [];
      expect({ id, error: body.safeParse(example).error?.issues }).toEqual({ id, error: undefined });
      return [id];
    });
    expect(shown).toEqual(
      expect.arrayContaining(["createSession", "previewPlacement", "drainWolf", "extendSession"]),
    );
  });

  it("shows a page size as the integer it is", () => {
    const maxima = { "/api/v1/users": 200, "/api/v1/wolf-instances": 1000, "/api/v1/sessions": 1000 };
    for (const [path, maximum] of Object.entries(maxima)) {
      const { parameters } = describedAt(path, "get");
      expect(parameters?.find((parameter) => parameter.name === "limit")?.schema).toEqual({
        type: "integer",
        minimum: 1,
        maximum,
        default: 100,
      });
    }
  });
});
