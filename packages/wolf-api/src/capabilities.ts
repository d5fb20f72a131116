/**
 * What a Wolf can do, read from its own description of its API: it has no version, and three generations differ. Pure:
 * a description that cannot be read says nothing, which is not the same as a Wolf that cannot do something.
 */
import { z } from "zod";

/** The document behind GET /openapi-schema, as far as it is read here. */
const WolfSchema = z.looseObject({
  paths: z.record(z.string(), z.record(z.string(), z.unknown())),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()).optional() }).optional(),
});
type WolfSchema = z.infer<typeof WolfSchema>;

export interface WolfCapabilities {
  /** Names of what this build can do, in the order of `wolfFeatures`. */
  features: WolfFeature[];
  /** What a control plane cannot do without and this build lacks, as "METHOD path". */
  missing: string[];
}

const apiV1 = (method: string, path: string) => `${method} /api/v1${path}`;

/** Without these there is nothing to put a session into. */
export const requiredOfWolf: readonly string[] = [
  apiV1("GET", "/lobbies"),
  apiV1("POST", "/lobbies/create"),
  apiV1("POST", "/lobbies/stop"),
];

const routesOf = {
  lobbies: requiredOfWolf,
  "lobby-join": [apiV1("POST", "/lobbies/join"), apiV1("POST", "/lobbies/leave")],
  "lobby-pause": [apiV1("POST", "/lobbies/pause"), apiV1("POST", "/lobbies/resume")],
  profiles: [apiV1("GET", "/profiles")],
  events: [apiV1("GET", "/events")],
  pause: [apiV1("POST", "/sessions/pause")],
  resume: [apiV1("POST", "/sessions/resume")],
  icons: [apiV1("GET", "/utils/get-icon")],
  "docker-images": [apiV1("GET", "/docker/images/inspect"), apiV1("POST", "/docker/images/pull")],
} as const satisfies Record<string, readonly string[]>;

/** What the fields of the document say beyond its routes. */
const fieldsOf = {
  /** Ids of Moonlight sessions are written as strings: 64 bits do not survive as JSON numbers. */
  "ids-as-strings": (schema: WolfSchema) =>
    fieldType(schema, "wolf__core__events__JoinLobbyEvent", "moonlight_session_id") === "string",
  /** A full ClientSettings without this field is refused by the builds that know it. */
  "motion-controller": (schema: WolfSchema) =>
    fieldType(schema, "wolf__config__ClientSettings", "motion_controller_override") !== undefined,
} as const;

export type WolfFeature = keyof typeof routesOf | keyof typeof fieldsOf;
export const wolfFeatures = [...Object.keys(routesOf), ...Object.keys(fieldsOf)] as WolfFeature[];

/** Undefined when `document` is no description of Wolf's API: then nothing is known, and nothing is refused. */
export function wolfCapabilities(document: unknown): WolfCapabilities | undefined {
  const { success, data: schema } = WolfSchema.safeParse(document);
  if (!success) return undefined;
  const routes = new Set(
    Object.entries(schema.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    ),
  );
  // An empty or foreign document describes no Wolf: every generation lists its sessions.
  if (!routes.has(apiV1("GET", "/sessions"))) return undefined;
  return {
    features: wolfFeatures.filter((feature) =>
      feature in routesOf
        ? routesOf[feature as keyof typeof routesOf].every((route) => routes.has(route))
        : fieldsOf[feature as keyof typeof fieldsOf](schema),
    ),
    missing: requiredOfWolf.filter((route) => !routes.has(route)),
  };
}

const Described = z.looseObject({ properties: z.record(z.string(), z.looseObject({})) });

function fieldType(schema: WolfSchema, name: string, field: string): unknown {
  const schemas = schema.components?.schemas ?? {};
  const described = Described.safeParse(Object.hasOwn(schemas, name) ? schemas[name] : undefined);
  if (!described.success || !Object.hasOwn(described.data.properties, field)) return undefined;
  return described.data.properties[field]?.type ?? "any";
}
