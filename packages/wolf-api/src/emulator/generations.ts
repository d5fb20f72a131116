/** The generations of Wolf's API: each serves the routes that its own description lists, and no others. */
import { readFileSync } from "node:fs";
import { type Handler, routes } from "./handlers.ts";

const documents = {
  "2025-07-25": "fixtures/spec-2025-07-25.json",
  "2025-12-15": "fixtures/spec-2025-12-15.json",
  "2026-06-15": "fixtures/spec-2026-06-15.json",
  "2026-06-23": "schema-generated-2026-06-23.json",
} as const;

export type WolfGeneration = keyof typeof documents;
export const wolfGenerations = Object.keys(documents) as WolfGeneration[];

const SCHEMA_ROUTE = "GET /api/v1/openapi-schema";

/** The description as that generation of Wolf gives it. */
export function wolfSchemaText(generation: WolfGeneration): string {
  return readFileSync(new URL(`../../spec/${documents[generation]}`, import.meta.url), "utf8");
}

/** All routes but /events. `tell` sends an event whose name has no prefix. "none" is the newest without its description. */
export function routesOfGeneration(
  tell: (event: string, data: object) => void,
  generation: WolfGeneration | "none",
): Record<string, Handler> {
  const schema = wolfSchemaText(generation === "none" ? "2026-06-23" : generation);
  const { paths } = JSON.parse(schema) as { paths: Record<string, Record<string, unknown>> };
  return Object.fromEntries(
    Object.entries(routes(tell, schema)).filter(([route]) => {
      const [method = "", path = ""] = route.split(" ");
      if (route === SCHEMA_ROUTE) return generation !== "none";
      return paths[path]?.[method.toLowerCase()] !== undefined;
    }),
  );
}
