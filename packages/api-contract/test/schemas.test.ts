import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  AgentHeartbeat,
  AgentInventory,
  AgentWolfEvent,
  ClipboardContent,
  CreateApiKeyRequest,
  CreateSessionRequest,
  CreateUserRequest,
  ForceQuery,
  HeartbeatRequest,
  ListApiKeysQuery,
  ListSessionsQuery,
  ListUsersQuery,
  ListWolvesQuery,
  Problem,
  RegisterWolfRequest,
  SessionId,
  WolfInstance,
  WolfName,
} from "../src/index.ts";

const accepts = (schema: { safeParse(value: unknown): { success: boolean } }, value: unknown) =>
  schema.safeParse(value).success;

describe("a registration", () => {
  it("fills in what is left out", () => {
    expect(RegisterWolfRequest.parse({ name: "wolf-1" })).toEqual({
      name: "wolf-1",
      address: "",
      gpu_type: "none",
      max_sandboxes: 12,
      labels: {},
    });
  });

  it.each([
    ["no name", {}],
    ["an empty name", { name: "" }],
    ["a name with a slash", { name: "a/b" }],
    ["a name with a line break", { name: "a\n" }],
    ["a name that starts with a dot", { name: ".a" }],
    ["a name of 64 characters", { name: "a".repeat(64) }],
    ["an unknown GPU", { name: "a", gpu_type: "voodoo" }],
    ["no capacity", { name: "a", max_sandboxes: 0 }],
    ["1,001 sandboxes", { name: "a", max_sandboxes: 1001 }],
    ["a fraction of a sandbox", { name: "a", max_sandboxes: 1.5 }],
    ["a number as text", { name: "a", max_sandboxes: "4" }],
    [
      "33 labels",
      { name: "a", labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, "v"])) },
    ],
    ["a label that is a number", { name: "a", labels: { zone: 1 } }],
    ["an address with control characters", { name: "a", address: "a\u0000b" }],
    ["a negative cost", { name: "a", cost_per_hour: -1 }],
    ["an unknown field", { name: "a", admin: true }],
    ["an array", []],
    ["null", null],
  ])("with %s is refused", (_name, body) => {
    expect(accepts(RegisterWolfRequest, body)).toBe(false);
  });

  it("takes a name at the limit, and labels at theirs", () => {
    expect(
      accepts(RegisterWolfRequest, {
        name: "a".repeat(63),
        labels: Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`k${i}`, "v"])),
      }),
    ).toBe(true);
  });
});

describe("a label named __proto__", () => {
  it("becomes neither a label nor a prototype", () => {
    const labels: unknown = JSON.parse('{"__proto__":"v","a":"b"}');
    const parsed = RegisterWolfRequest.parse({ name: "a", labels }).labels;
    expect(Object.entries(parsed)).toEqual([["a", "b"]]);
    expect([Object.prototype, null]).toContain(Object.getPrototypeOf(parsed));
  });
});

describe("a session request", () => {
  it("asks for 1920x1080 at 60 Hz and waits a minute unless told otherwise", () => {
    expect(CreateSessionRequest.parse({})).toMatchObject({
      resolution: { width: 1920, height: 1080, refresh_rate: 60 },
      wait_seconds: 60,
    });
  });

  it.each([
    ["an image with a space", { image: "a b" }],
    ["an image with a shell character", { image: "a;b" }],
    ["an image that starts with a dash", { image: "-v" }],
    ["an image with dot segments", { image: "a/../../containers/b" }],
    ["a width of 0", { resolution: { width: 0, height: 1080, refresh_rate: 60 } }],
    ["half a resolution", { resolution: { width: 1920 } }],
    ["121 seconds", { wait_seconds: 121 }],
    ["a negative wait", { wait_seconds: -1 }],
    ["an empty name", { name: "" }],
    ["an owner", { owner_id: "usr_1" }],
    ["mounts", { mounts: ["/:/host"] }],
  ])("with %s is refused", (_name, body) => {
    expect(accepts(CreateSessionRequest, body)).toBe(false);
  });
});

describe("the other requests", () => {
  it("count clipboard text in bytes of UTF-8", () => {
    expect(accepts(ClipboardContent, { text: "a".repeat(49_152) })).toBe(true);
    expect(accepts(ClipboardContent, { text: "a".repeat(49_153) })).toBe(false);
    expect(accepts(ClipboardContent, { text: "ä".repeat(24_577) })).toBe(false);
    expect(accepts(ClipboardContent, { text: 1 })).toBe(false);
  });

  it.each([
    [ListWolvesQuery, { limit: "0" }],
    [ListWolvesQuery, { limit: "1001" }],
    [ListWolvesQuery, { limit: "01000" }],
    [ListUsersQuery, { limit: "201" }],
    [ListWolvesQuery, { limit: "x" }],
    [ListWolvesQuery, { limit: ["1", "2"] }],
    [ListWolvesQuery, { limit: ["5"] }],
    [ListWolvesQuery, { limit: " 5" }],
    [ListWolvesQuery, { limit: "1e1" }],
    [ListWolvesQuery, { limit: "0x10" }],
    [ListWolvesQuery, { limit: "" }],
    [ListWolvesQuery, { limit: "1.5" }],
    [ListWolvesQuery, { limit: null }],
    [ListWolvesQuery, { limit: true }],
    [ListWolvesQuery, { cursor: "" }],
    [ListWolvesQuery, { cursor: "a".repeat(201) }],
    [ListWolvesQuery, { name: "a b" }],
    [ListSessionsQuery, { wolf_instance_id: "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV" }],
    [ForceQuery, { force: ["true", "false"] }],
    [ForceQuery, { force: true }],
    [ClipboardContent, {}],
    [ClipboardContent, { text: "\ud800" }],
    [ClipboardContent, { text: "a", type: "html" }],
    [CreateUserRequest, { name: "a\ud800" }],
    [CreateUserRequest, { name: "a\u0000" }],
    [CreateApiKeyRequest, { name: "a", expires_in_seconds: 31_536_001 }],
    [CreateApiKeyRequest, { name: "a", expires_in_seconds: 3600.5 }],
    [RegisterWolfRequest, { name: "a", labels: { a: "\udc00" } }],
    [RegisterWolfRequest, { name: "a", labels: { "": "v" } }],
    [RegisterWolfRequest, { name: "a", labels: { a: "v".repeat(256) } }],
    [RegisterWolfRequest, { name: "a", cost_per_hour: Number.POSITIVE_INFINITY }],
    [RegisterWolfRequest, { name: "a", cost_per_hour: Number.NaN }],
    [ListWolvesQuery, { status: "up" }],
    [ListWolvesQuery, { intent: "online" }],
    [ListWolvesQuery, { intent: ["active", "cordoned"] }],
    [ListWolvesQuery, { region: "" }],
    [ListWolvesQuery, { region: "r".repeat(64) }],
    [ListWolvesQuery, { region: "eu\n" }],
    [ListWolvesQuery, { region: ["eu", "us"] }],
    [ListWolvesQuery, { offset: "1" }],
    [ListWolvesQuery, { cursor: "a b" }],
    [ListWolvesQuery, { cursor: "zzz" }],
    [ListSessionsQuery, { cursor: "wlf_01ARZ3NDEKTSV4RRFFQ69G5FAV" }],
    [ListApiKeysQuery, { cursor: "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV" }],
    [ListSessionsQuery, { status: "dead" }],
    [ListSessionsQuery, { owner_id: "1" }],
    [ForceQuery, { force: "yes" }],
    [HeartbeatRequest, { max_sandboxes: 0 }],
    [HeartbeatRequest, { status: "online" }],
    [CreateUserRequest, { name: "a", role: "root" }],
    [CreateUserRequest, { name: "" }],
    [CreateApiKeyRequest, { name: "a", expires_in_seconds: 59 }],
    [CreateApiKeyRequest, { name: "a", user_id: "usr_x" }],
    [AgentHeartbeat, { wolf: "fine" }],
    [AgentHeartbeat, { wolf: "ok", detail: "x".repeat(201) }],
    [AgentInventory, { gpu_type: "nvidia" }],
    [AgentInventory, { name: "other", agent_version: "1" }],
    [AgentWolfEvent, { seq: 0, event: "e", data: {} }],
    [AgentWolfEvent, { seq: 1, event: "e", data: [] }],
  ])("refuse what does not fit (%#)", (schema, value) => {
    expect(accepts(schema, value)).toBe(false);
  });

  it("read force as a boolean", () => {
    expect(ForceQuery.parse({ force: "true" })).toEqual({ force: true });
    expect(ForceQuery.parse({})).toEqual({ force: false });
  });

  it("never accept an id or name with anything but its own alphabet", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (accepts(SessionId, text)) expect(text).toMatch(/^ses_[0-9A-Z]{26}$/);
        if (accepts(WolfName, text)) expect(text).toMatch(/^[\w.-]+$/);
      }),
    );
    expect(accepts(SessionId, "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV")).toBe(true);
    expect(accepts(SessionId, "ses_01ARZ3NDEKTSV4RRFFQ69G5FAI")).toBe(false);
    expect(accepts(SessionId, "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV\n")).toBe(false);
  });

  it.each([
    [RegisterWolfRequest, { name: "a" }],
    [HeartbeatRequest, {}],
    [CreateSessionRequest, {}],
    [ClipboardContent, { text: "" }],
    [CreateUserRequest, { name: "a" }],
    [CreateApiKeyRequest, { name: "a" }],
    [AgentHeartbeat, { wolf: "ok" }],
  ])("name the field they do not know (%#)", (schema, body) => {
    expect(accepts(schema, body)).toBe(true);
    const result = schema.safeParse({ ...body, surplus: 1 });
    expect(result.error?.issues).toMatchObject([{ code: "unrecognized_keys", keys: ["surplus"] }]);
  });

  it("name an unknown field inside another by its place", () => {
    const resolution = { width: 1920, height: 1080, refresh_rate: 60, depth: 24 };
    expect(CreateSessionRequest.safeParse({ resolution }).error?.issues).toMatchObject([
      { code: "unrecognized_keys", keys: ["depth"], path: ["resolution"] },
    ]);
  });

  it("read a page size from text as a number and default to 100", () => {
    expect(ListWolvesQuery.parse({ limit: "200" })).toEqual({ limit: 200 });
    expect(ListWolvesQuery.parse({ limit: 7 })).toEqual({ limit: 7 });
    expect(ListWolvesQuery.parse({})).toEqual({ limit: 100 });
  });

  it("are answered with a verdict for any JSON, never with an exception", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        for (const schema of [
          RegisterWolfRequest,
          CreateSessionRequest,
          AgentInventory,
          AgentWolfEvent,
          Problem,
        ]) {
          expect(typeof accepts(schema, value)).toBe("boolean");
        }
      }),
    );
  });
});

describe("what the API answers", () => {
  const wolf = {
    id: "wlf_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    name: "wolf-1",
    address: "",
    status: "online",
    connectivity: "connected",
    health: "ok",
    health_reasons: [],
    host: null,
    usage: null,
    wolf_restarts: 0,
    intent: "active",
    gpu_type: "none",
    connected_sandboxes: 0,
    max_sandboxes: 12,
    last_heartbeat: null,
    labels: {},
    region: null,
    cost_per_hour: null,
    agent_version: null,
    tunnel: null,
    created_at: "2026-11-23T12:00:00.000Z",
    updated_at: "2026-11-23T12:00:00.000Z",
  };

  it.each([
    ["a time in another zone", { created_at: "2026-11-23T13:00:00+01:00" }],
    ["a time without zone", { created_at: "2026-11-23T13:00:00" }],
    ["a day that does not exist", { created_at: "2026-02-30T00:00:00Z" }],
    ["seconds since 1970", { created_at: 1_795_000_000 }],
    ["an id of another kind", { id: "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV" }],
    ["a negative count", { connected_sandboxes: -1 }],
    ["a field left out instead of null", { region: undefined }],
    ["an unknown status", { status: "up" }],
  ])("is refused with %s", (_name, fields) => {
    expect(accepts(WolfInstance, wolf)).toBe(true);
    expect(accepts(WolfInstance, { ...wolf, ...fields })).toBe(false);
  });

  it("may gain fields in later versions", () => {
    expect(accepts(WolfInstance, { ...wolf, later: 1 })).toBe(true);
  });

  it("is a problem only with a known code and an error status", () => {
    const problem = {
      type: "/problems/internal",
      title: "t",
      status: 500,
      detail: "d",
      instance: "r",
      code: "internal",
    };
    expect(accepts(Problem, problem)).toBe(true);
    expect(Problem.parse({ ...problem, session_id: "ses_1" })).toMatchObject({ session_id: "ses_1" });
    expect(accepts(Problem, { ...problem, status: 200 })).toBe(false);
    expect(accepts(Problem, { ...problem, code: "teapot" })).toBe(false);
    expect(accepts(Problem, { ...problem, errors: ["a"] })).toBe(false);
  });
});
