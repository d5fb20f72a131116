import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import {
  type Operation,
  openApiDocument,
  operations,
  problemCodes,
  problemKind,
  problemsOf,
} from "../src/index.ts";

type Json = { [key: string]: unknown };
const document = JSON.parse(JSON.stringify(openApiDocument())) as Json & {
  paths: Record<string, Record<string, Json>>;
};
const table = Object.entries(operations) as [string, Operation][];

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
      expect(described.security).toHaveLength(
        operation.auth === "public" ? 0 : operation.auth === "user" || operation.auth === "admin" ? 1 : 2,
      );
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
      "malformed-http",
      "not-found",
      "method-not-allowed",
      "headers-too-large",
      "wolf-refused",
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
      if (kind.retry) expect(kind.status).toBe(503);
    }
  });
});
