/** What three generations of Wolf, and documents that are none, say about what a Wolf can do. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { requiredOfWolf, wolfCapabilities, wolfFeatures } from "./capabilities.ts";

const read = (name: string): { paths: Record<string, Record<string, unknown>> } =>
  JSON.parse(readFileSync(new URL(`../spec/${name}`, import.meta.url), "utf8"));
const newest = () => read("schema-generated-2026-06-23.json");
const withLobbies = ["lobbies", "lobby-join", "profiles", "events", "pause", "icons", "docker-images"];

describe("the capabilities of a Wolf", () => {
  it.each([
    ["fixtures/spec-2025-12-15.json", withLobbies],
    ["fixtures/spec-2026-06-15.json", [...withLobbies, "ids-as-strings"]],
    ["schema-generated-2026-06-23.json", [...withLobbies, "ids-as-strings", "motion-controller"]],
  ])("of %s are complete enough for sessions", (name, features) => {
    expect(wolfCapabilities(read(name))).toEqual({ features, missing: [] });
  });

  it("of a Wolf before lobbies name every route that is missing", () => {
    expect(wolfCapabilities(read("fixtures/spec-2025-07-25.json"))).toEqual({
      features: ["events", "pause"],
      missing: ["GET /api/v1/lobbies", "POST /api/v1/lobbies/create", "POST /api/v1/lobbies/stop"],
    });
  });

  it.each(requiredOfWolf)("without %s alone have no lobbies, and say why", (route) => {
    const [method = "", path = ""] = route.split(" ");
    const document = newest();
    delete document.paths[path]?.[method.toLowerCase()];
    expect(wolfCapabilities(document)).toMatchObject({ missing: [route] });
    expect(wolfCapabilities(document)?.features).not.toContain("lobbies");
  });

  it("grow with routes of later builds", () => {
    const { paths, ...rest } = newest();
    const later = Object.fromEntries(
      ["sessions/resume", "lobbies/pause", "lobbies/resume"].map((path) => [`/api/v1/${path}`, { post: {} }]),
    );
    expect(wolfCapabilities({ ...rest, paths: { ...paths, ...later } })?.features).toEqual(
      expect.arrayContaining(["resume", "lobby-pause"]),
    );
  });

  it.each([
    ["nothing", undefined],
    ["null", null],
    ["text", "openapi"],
    ["a list", []],
    ["an empty object", {}],
    ["paths that are a list", { paths: [] }],
    ["paths that lead nowhere", { paths: { "/api/v1/sessions": null } }],
    ["no paths at all", { paths: {} }],
    ["another program's API", { paths: { "/pets": { get: {} } } }],
  ])("are unknown, not missing, when the document is %s", (_name, document) => {
    expect(wolfCapabilities(document)).toBeUndefined();
  });

  it.each([
    ["no components", undefined],
    ["components without schemas", {}],
    ["schemas of another shape", { schemas: { wolf__core__events__JoinLobbyEvent: 7 } }],
    [
      "fields of another shape",
      { schemas: { wolf__core__events__JoinLobbyEvent: { properties: { moonlight_session_id: 7 } } } },
    ],
  ])("read from a document with %s lack only what its fields would say", (_name, components) => {
    expect(wolfCapabilities({ ...newest(), components })).toEqual({ features: withLobbies, missing: [] });
  });

  it("of any document are undefined or made of known names", () => {
    const method = fc.dictionary(fc.constantFrom("get", "post", "__proto__", "x"), fc.anything());
    const path = fc.constantFrom("/api/v1/sessions", "/api/v1/lobbies", "toString", "__proto__");
    const documents = fc.oneof(
      fc.anything(),
      fc.record({ paths: fc.dictionary(path, fc.oneof(method, fc.anything())), components: fc.anything() }),
    );
    fc.assert(
      fc.property(documents, (document) => {
        const known = wolfCapabilities(document);
        if (known === undefined) return;
        expect(wolfFeatures).toEqual(expect.arrayContaining(known.features));
        expect(requiredOfWolf).toEqual(expect.arrayContaining(known.missing));
      }),
    );
  });
});
