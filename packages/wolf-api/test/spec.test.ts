/** The schemas against what describes Wolf: our own OpenAPI text, and what three generations of Wolf publish or generate. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { parse } from "yaml";
import type { z } from "zod";
import { wolfRoutes } from "../src/routes.ts";
import {
  AudioSettings,
  ClientSettings,
  CreateLobbyReply,
  CreateLobbyRequest,
  DockerRunner,
  FailureReply,
  ListLobbiesReply,
  Lobby,
  StopLobbyRequest,
  VideoSettings,
} from "../src/schemas.ts";

interface Described {
  properties: Record<string, unknown>;
  required?: string[];
}
interface Document {
  paths: Record<string, Record<string, unknown>>;
  components: { schemas: Record<string, Described> };
}

const read = (name: string) => readFileSync(new URL(`../spec/${name}`, import.meta.url), "utf8");
const ours = parse(read("wolf-openapi.yaml")) as Document;
const generations = [
  "fixtures/spec-2025-07-25.json",
  "fixtures/spec-2025-12-15.json",
  "fixtures/spec-2026-06-15.json",
  "schema-generated-2026-06-23.json",
].map((name) => ({ name, document: JSON.parse(read(name)) as Document }));

function described(document: Document, name: string): Described {
  const found = document.components.schemas[name];
  if (found === undefined) throw new Error(`${name} is not described`);
  return found;
}
const fieldsOf = (schema: z.ZodObject) => Object.keys(schema.shape).sort();
const requiredOf = (schema: z.ZodObject) =>
  Object.entries(schema.shape)
    .filter(([, field]) => !(field as z.ZodType).safeParse(undefined).success)
    .map(([name]) => name)
    .sort();

describe("what we send", () => {
  it.each([
    ["CreateLobbyRequest", CreateLobbyRequest, []],
    ["LobbyPinRequest", StopLobbyRequest, []],
    ["VideoSettings", VideoSettings, []],
    ["AudioSettings", AudioSettings, []],
    ["PartialClientSettings", ClientSettings, []],
    // Root on the host for whoever may set it.
    ["DockerRunner", DockerRunner, ["base_create_json"]],
  ] as [string, z.ZodObject, string[]][])(
    "has the fields of %s, the same ones required, and leaves out only what is refused on purpose",
    (name, schema, refused) => {
      const { properties, required = [] } = described(ours, name);
      expect(fieldsOf(schema)).toEqual(
        Object.keys(properties)
          .filter((field) => !refused.includes(field))
          .sort(),
      );
      expect(requiredOf(schema)).toEqual([...required].sort());
    },
  );

  it.each(generations.filter(({ name }) => !name.endsWith("spec-2025-07-25.json")))(
    "is known to Wolf in every field of a lobby: $name",
    ({ document }) => {
      expect(Object.keys(described(document, "wolf__api__CreateLobbyRequest").properties).sort()).toEqual(
        fieldsOf(CreateLobbyRequest),
      );
      expect(Object.keys(document.paths)).toEqual(
        expect.arrayContaining(
          wolfRoutes.filter((route) => route.closed === undefined).map((route) => route.path),
        ),
      );
    },
  );
});

describe("what we read", () => {
  it.each([
    ["Lobby", Lobby],
    ["LobbiesResponse", ListLobbiesReply],
    ["LobbyCreateResponse", CreateLobbyReply],
    ["GenericErrorResponse", FailureReply],
  ] as [string, z.ZodObject][])("asks of %s for nothing that Wolf may leave out", (name, schema) => {
    const { properties, required = [] } = described(ours, name);
    expect(Object.keys(properties)).toEqual(expect.arrayContaining(fieldsOf(schema)));
    expect(required).toEqual(expect.arrayContaining(requiredOf(schema)));
  });
});

describe("the table of routes", () => {
  it("has every path and method that is described, and no other, those of later Wolfs aside", () => {
    const known = wolfRoutes.map((route) => `${route.method} ${route.path}`).sort();
    const written = Object.entries(ours.paths)
      .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`))
      .sort();
    expect(written).toEqual(expect.arrayContaining(known));
    const later = written.filter((route) => !known.includes(route));
    expect(later.filter((route) => !/resume|pause|udev/.test(route))).toEqual([]);
  });

  it.each(generations)("has every path of $name", ({ document }) => {
    const known = new Set(wolfRoutes.map((route) => route.path));
    expect(Object.keys(document.paths).filter((path) => !known.has(path))).toEqual([]);
  });
});
