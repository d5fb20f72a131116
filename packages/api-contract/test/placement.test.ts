/** What a user may wish of a wolf and of a session's life, and what is said to a wish that contradicts itself. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { z } from "zod";
import {
  CreateSessionRequest,
  ExtendSessionRequest,
  PlacementPreviewRequest,
  PlacementWeights,
  RegisterWolfRequest,
  wolfAttributes,
} from "../src/index.ts";

/** Places and messages of what is wrong; none: it is taken. */
const issuesOf = (schema: z.ZodType, value: unknown) =>
  (schema.safeParse(value).error?.issues ?? []).map(({ path, message }) => [path.join("."), message]);
const placesOf = (schema: z.ZodType, value: unknown) => issuesOf(schema, value).map(([path]) => path);

const wants = (attribute: string, op: string, ...values: string[]) => ({
  attribute,
  op,
  ...(values.length > 0 ? { values } : {}),
});

describe("a session request that says nothing", () => {
  it("may go to any wolf, waits for one, is kept when its wolf is lost, and lives as long as it is wanted", () => {
    expect(CreateSessionRequest.parse({})).toEqual({
      resolution: { width: 1920, height: 1080, refresh_rate: 60 },
      labels: {},
      constraints: [],
      region_required: false,
      resources: { vram_mb: 0, encoder_sessions: 1 },
      allow_degraded: true,
      disconnect_policy: "keep",
      queue: true,
      priority: 4,
      wait_seconds: 60,
    });
  });

  it("wishes the same as a preview that says nothing", () => {
    expect(CreateSessionRequest.parse({})).toMatchObject(PlacementPreviewRequest.parse({}));
  });

  it("fills in the half of the resources that is left out, and the weights", () => {
    expect(CreateSessionRequest.parse({ resources: { vram_mb: 1 } }).resources).toEqual({
      vram_mb: 1,
      encoder_sessions: 1,
    });
    expect(PlacementWeights.parse({ cost: 2 })).toEqual({
      load: 0,
      packing: 0,
      cost: 2,
      region: 0,
      image: 0,
      rtt: 0,
    });
  });
});

describe("a wish that contradicts itself", () => {
  it.each<[string, object, string[]]>([
    ["weights without their policy", { weights: { load: 1 } }, ["weights"]],
    ["weights with another policy", { policy: "cost", weights: { load: 1 } }, ["weights"]],
    ["a required region that is none", { region_required: true }, ["region_required"]],
    [
      "a label and its absence",
      { labels: { zone: "a" }, constraints: [wants("zone", "absent")] },
      ["constraints.0"],
    ],
    [
      "a label and another value of it",
      { labels: { zone: "a" }, constraints: [wants("zone", "in", "b", "c")] },
      ["constraints.0"],
    ],
    [
      "a label and all but its value",
      { labels: { zone: "a" }, constraints: [wants("zone", "not-in", "a")] },
      ["constraints.0"],
    ],
    [
      "existence and absence",
      { constraints: [wants("zone", "exists"), wants("zone", "absent")] },
      ["constraints.1"],
    ],
    [
      "values that have none in common",
      { constraints: [wants("gpu", "in", "a", "b"), wants("x", "exists"), wants("gpu", "in", "c")] },
      ["constraints.2"],
    ],
    [
      "values of which none is left, whatever comes first",
      {
        constraints: [wants("gpu", "not-in", "a"), wants("gpu", "not-in", "b"), wants("gpu", "in", "a", "b")],
      },
      ["constraints.2"],
    ],
    [
      "a required region that is forbidden",
      { region: "eu", region_required: true, constraints: [wants("wolf:region", "not-in", "eu")] },
      ["constraints.0"],
    ],
    [
      "a required region and none at all",
      { region: "eu", region_required: true, constraints: [wants("wolf:region", "absent")] },
      ["constraints.0"],
    ],
    [
      "several things at once",
      {
        weights: { load: 1 },
        region_required: true,
        labels: { a: "b" },
        constraints: [wants("a", "absent")],
      },
      ["weights", "region_required", "constraints.0"],
    ],
  ])("by %s is refused with the place of each contradiction", (_what, wish, places) => {
    expect(placesOf(CreateSessionRequest, wish)).toEqual(places);
    expect(placesOf(PlacementPreviewRequest, wish)).toEqual(places);
  });

  it("is told what it contradicts", () => {
    const wish = { labels: { zone: "a" }, constraints: [wants("zone", "absent")] };
    expect(issuesOf(CreateSessionRequest, wish)).toEqual([
      ["constraints.0", "contradicts what else is asked of zone"],
    ]);
  });

  it.each<[string, object]>([
    [
      "a region that is wished for and forbidden",
      {
        region: "eu",
        constraints: [wants("wolf:region", "not-in", "eu")],
      },
    ],
    ["a label and one of several values", { labels: { a: "b" }, constraints: [wants("a", "in", "b", "c")] }],
    ["absence and forbidden values", { constraints: [wants("a", "absent"), wants("a", "not-in", "b")] }],
    ["the same twice", { constraints: [wants("a", "in", "b"), wants("a", "in", "b")] }],
    ["a label like an attribute of a wolf", { labels: { "wolf.region": "eu", name: "x" } }],
    [
      "a label that objects have",
      {
        labels: { constructor: "a", toString: "b" },
        constraints: [wants("hasOwnProperty", "absent"), wants("valueOf", "not-in", "c")],
      },
    ],
    ["weights with their policy", { policy: "weighted", weights: { rtt: 0.5 } }],
    ["the policy `weighted` alone", { policy: "weighted" }],
  ])("is not what %s is", (_what, wish) => {
    expect(issuesOf(CreateSessionRequest, wish)).toEqual([]);
  });

  it("is found exactly when no wolf could ever fit, for labels of any kind", () => {
    const value = fc.constantFrom("a", "b", "c");
    const constraint = fc.oneof(
      fc.record({ attribute: fc.constant("zone"), op: fc.constantFrom("exists", "absent") }),
      fc.record({
        attribute: fc.constant("zone"),
        op: fc.constantFrom("in", "not-in"),
        values: fc.array(value, { minLength: 1, maxLength: 3 }),
      }),
    );
    type Constraint = { op: string; values?: string[] };
    const holds = (zone: string | undefined, { op, values = [] }: Constraint) =>
      ({
        exists: zone !== undefined,
        absent: zone === undefined,
        in: zone !== undefined && values.includes(zone),
        "not-in": zone === undefined || !values.includes(zone),
      })[op] === true;
    fc.assert(
      fc.property(fc.option(value), fc.array(constraint, { maxLength: 5 }), (label, constraints) => {
        const labels = label === null ? {} : { zone: label };
        const wolves = [undefined, "a", "b", "c", "another"];
        const fits = wolves.some(
          (zone) => (label === null || zone === label) && constraints.every((one) => holds(zone, one)),
        );
        expect(issuesOf(PlacementPreviewRequest, { labels, constraints }).length === 0).toBe(fits);
      }),
    );
  });
});

describe("a wish that is out of all bounds", () => {
  const many = <Item>(count: number, item: (n: number) => Item) =>
    Array.from({ length: count }, (_, n) => item(n));
  it.each<[string, object, string]>([
    ["a GPU that there is not", { gpu_type: "voodoo" }, "gpu_type"],
    ["an empty GPU model", { gpu_model: "" }, "gpu_model"],
    ["a GPU model of 64 characters", { gpu_model: "x".repeat(64) }, "gpu_model"],
    ["a GPU model of two lines", { gpu_model: "RTX\n4090" }, "gpu_model"],
    ["33 labels", { labels: Object.fromEntries(many(33, (n) => [`k${n}`, "v"])) }, "labels"],
    ["a label without a name", { labels: { "": "v" } }, "labels."],
    ["a label named like a wolf's attribute", { labels: { "wolf:id": "v" } }, "labels.wolf:id"],
    ["a label of half a character", { labels: { a: "\ud800" } }, "labels.a"],
    ["17 constraints", { constraints: many(17, (n) => wants(`k${n}`, "exists")) }, "constraints"],
    ["17 values", { constraints: [wants("a", "in", ...many(17, String))] }, "constraints.0.values"],
    ["`in` nothing", { constraints: [wants("a", "in")] }, "constraints.0.values"],
    ["`not-in` nothing", { constraints: [wants("a", "not-in")] }, "constraints.0.values"],
    ["`exists` with values", { constraints: [wants("a", "exists", "b")] }, "constraints.0.values"],
    ["`absent` with values", { constraints: [wants("a", "absent", "b")] }, "constraints.0.values"],
    ["an unknown operator", { constraints: [wants("a", "like", "b")] }, "constraints.0.op"],
    [
      "an unknown attribute of wolves",
      { constraints: [wants("wolf:cost", "exists")] },
      "constraints.0.attribute",
    ],
    ["a region without a name", { region: "" }, "region"],
    ["negative memory", { resources: { vram_mb: -1 } }, "resources.vram_mb"],
    ["more than a tebibyte of memory", { resources: { vram_mb: 1_048_577 } }, "resources.vram_mb"],
    ["half a stream", { resources: { encoder_sessions: 0.5 } }, "resources.encoder_sessions"],
    ["65 streams", { resources: { encoder_sessions: 65 } }, "resources.encoder_sessions"],
    ["memory as text", { resources: { vram_mb: "1" } }, "resources.vram_mb"],
    ["unknown resources", { resources: { cpus: 4 } }, "resources"],
    ["a weight below 0", { policy: "weighted", weights: { load: -1 } }, "weights.load"],
    ["a weight above 100", { policy: "weighted", weights: { load: 100.1 } }, "weights.load"],
    ["weights of nothing", { policy: "weighted", weights: {} }, "weights"],
    ["weights that are all 0", { policy: "weighted", weights: { load: 0 } }, "weights"],
    ["an unknown weight", { policy: "weighted", weights: { luck: 1 } }, "weights"],
    [
      "an infinite weight",
      { policy: "weighted", weights: { load: Number.POSITIVE_INFINITY } },
      "weights.load",
    ],
  ])("by %s is refused with its place first", (_what, wish, place) => {
    expect(placesOf(CreateSessionRequest, wish)[0]).toBe(place);
    expect(placesOf(PlacementPreviewRequest, wish)[0]).toBe(place);
  });

  it("by anything at all is answered with a verdict, never with an exception", () => {
    const fields = Object.keys(CreateSessionRequest.shape);
    const constraint = fc.record({ attribute: fc.jsonValue(), op: fc.jsonValue(), values: fc.jsonValue() });
    const wish = fc.dictionary(fc.constantFrom(...fields), fc.oneof(fc.jsonValue(), fc.array(constraint)));
    fc.assert(
      fc.property(wish, (body) => {
        expect(typeof CreateSessionRequest.safeParse(body).success).toBe("boolean");
      }),
    );
  });

  it.each([
    ["labels", { labels: Object.fromEntries(many(32, (n) => [`k${n}`, "v".repeat(255)])) }],
    ["constraints", { constraints: many(16, (n) => wants(`k${n}`, "in", ...many(16, String))) }],
    ["attributes of wolves", { constraints: wolfAttributes.map((one) => wants(one, "exists")) }],
    ["resources", { resources: { vram_mb: 1_048_576, encoder_sessions: 64 } }],
    ["no resources", { resources: { vram_mb: 0, encoder_sessions: 0 } }],
    ["weights", { policy: "weighted", weights: { load: 100, rtt: 0 } }],
  ])("is not what %s at their limits are", (_what, wish) => {
    expect(issuesOf(CreateSessionRequest, wish)).toEqual([]);
  });
});

describe("a word that is not known", () => {
  it.each([
    ["policy", "round-robin", ["least-loaded", "bin-pack", "random-of-best", "cost", "weighted"]],
    ["disconnect_policy", "migrate", ["keep", "replace", "stop"]],
    ["gpu_type", "NVIDIA", ["nvidia", "amd", "intel", "none"]],
  ])("for %s is refused with those that are", (field, word, allowed) => {
    const [issue, ...more] = issuesOf(CreateSessionRequest, { [field]: word });
    expect(more).toEqual([]);
    expect(issue?.[0]).toBe(field);
    for (const one of allowed) expect(issue?.[1]).toContain(`"${one}"`);
  });
});

describe("the life of a session", () => {
  it.each<[object, string]>([
    [{ ttl_seconds: 59 }, "ttl_seconds"],
    [{ ttl_seconds: 31_536_001 }, "ttl_seconds"],
    [{ ttl_seconds: null }, "ttl_seconds"],
    [{ idle_timeout_seconds: 0 }, "idle_timeout_seconds"],
    [{ idle_timeout_seconds: 60.5 }, "idle_timeout_seconds"],
    [{ pin: "123" }, "pin"],
    [{ pin: "12345678901234567" }, "pin"],
    [{ pin: 1234 }, "pin"],
    [{ pin: "12a4" }, "pin"],
    [{ pin: "١٢٣٤" }, "pin"],
    [{ queue: "false" }, "queue"],
    [{ queue_deadline_seconds: 0 }, "queue_deadline_seconds"],
    [{ queue_deadline_seconds: 86_401 }, "queue_deadline_seconds"],
    [{ priority: -1 }, "priority"],
    [{ priority: 10 }, "priority"],
    [{ priority: 4.5 }, "priority"],
  ])("refuses %j with its place", (fields, place) => {
    expect(placesOf(CreateSessionRequest, fields)).toEqual([place]);
  });

  it("takes each number at its limits", () => {
    for (const fields of [
      { ttl_seconds: 60, idle_timeout_seconds: 60, queue_deadline_seconds: 1, priority: 0, pin: "0000" },
      {
        ttl_seconds: 31_536_000,
        idle_timeout_seconds: 31_536_000,
        queue_deadline_seconds: 86_400,
        priority: 9,
        pin: "1234567890123456",
      },
    ])
      expect(CreateSessionRequest.parse(fields)).toMatchObject(fields);
  });

  it.each([[{}], [{ ttl_seconds: 59 }], [{ ttl_seconds: 31_536_001 }], [{ ttl_seconds: 60, force: true }]])(
    "is not extended by %j",
    (body) => {
      expect(issuesOf(ExtendSessionRequest, body)).toHaveLength(1);
    },
  );
});

describe("a wolf that is registered", () => {
  it.each([0, 1001, 1.5, "4"])("encodes no %j streams at once", (encoder_sessions_max) => {
    expect(placesOf(RegisterWolfRequest, { name: "a", encoder_sessions_max })).toEqual([
      "encoder_sessions_max",
    ]);
  });

  it("is not limited in its streams unless it says so", () => {
    expect(RegisterWolfRequest.parse({ name: "a" })).not.toHaveProperty("encoder_sessions_max");
  });
});
