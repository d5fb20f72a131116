/** Steering the fleet, its queue and its events; and answers of other versions, which lack what is new. */
import { describe, expect, it } from "@jest/globals";
import {
  DrainRequest,
  EventStreamHello,
  EventStreamMissed,
  FleetEvent,
  FleetState,
  fleetEventCauses,
  fleetEventKinds,
  IntentRequest,
  ListFleetEventsQuery,
  ListQueueQuery,
  PlacementExplanation,
  PlacementPreview,
  PlacementRefusal,
  QueueEntry,
  Session,
  WolfInstance,
} from "../src/index.ts";

const accepts = (schema: { safeParse(value: unknown): { success: boolean } }, value: unknown) =>
  schema.safeParse(value).success;
const ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const at = "2026-11-23T12:00:00.000Z";

describe("a drain", () => {
  it("takes an hour and ends cordoned unless told otherwise", () => {
    const drain = DrainRequest.parse({});
    expect(Object.entries(drain)).toEqual([
      ["deadline_seconds", 3600],
      ["then", "cordoned"],
    ]);
  });

  it.each([
    { deadline_seconds: -1 },
    { deadline_seconds: 604_801 },
    { deadline_seconds: 0.5 },
    { deadline_seconds: "3600" },
    JSON.parse('{"then":"active"}'),
    JSON.parse('{"then":"draining"}'),
    { reason: "" },
    { reason: "x".repeat(201) },
    { reason: "two\nlines" },
    { force: true },
  ])("refuses %j", (body) => {
    expect(accepts(DrainRequest, body)).toBe(false);
  });

  it.each(["cordoned", "maintenance", "retired"])("may end %s, at once or after a week", (then) => {
    for (const deadline_seconds of [0, 604_800])
      expect(accepts(DrainRequest, { deadline_seconds, then })).toBe(true);
  });
});

describe("an intent", () => {
  it("needs no reason, and takes one line", () => {
    expect(IntentRequest.parse({})).toEqual({});
    expect(accepts(IntentRequest, { reason: "x".repeat(200) })).toBe(true);
    for (const body of [{ reason: "" }, { reason: 1 }, { reason: "a\u0000" }, { until: at }, null])
      expect(accepts(IntentRequest, body)).toBe(false);
  });
});

describe("what is asked of events and of the queue", () => {
  it("are pages of a hundred, oldest first, unless told otherwise", () => {
    expect(ListFleetEventsQuery.parse({})).toEqual({ limit: 100 });
    expect(ListFleetEventsQuery.parse({ newest_first: "true", limit: "5" })).toEqual({
      newest_first: true,
      limit: 5,
    });
    expect(ListQueueQuery.parse({})).toEqual({ limit: 100 });
    expect(ListQueueQuery.parse({ limit: "1000", cursor: `ses_${ULID}` })).toEqual({
      limit: 1000,
      cursor: `ses_${ULID}`,
    });
  });

  it.each([
    [ListFleetEventsQuery, { cursor: `aud_${ULID}` }],
    [ListFleetEventsQuery, { cursor: "" }],
    [ListFleetEventsQuery, { kind: "k".repeat(64) }],
    [ListFleetEventsQuery, { kind: "a\u0000" }],
    [ListFleetEventsQuery, { kind: "session" }],
    [ListFleetEventsQuery, { kind: "sess*" }],
    [ListFleetEventsQuery, { kind: "*" }],
    [ListFleetEventsQuery, { kind: ".*" }],
    [ListFleetEventsQuery, { kind: "session.sleeping" }],
    [ListFleetEventsQuery, { session_id: `wlf_${ULID}` }],
    [ListFleetEventsQuery, { wolf_instance_id: `ses_${ULID}` }],
    [ListFleetEventsQuery, { newest_first: "yes" }],
    [ListFleetEventsQuery, { newest_first: true }],
    [ListFleetEventsQuery, { newest_first: ["true", "false"] }],
    [ListFleetEventsQuery, { owner_id: `usr_${ULID}` }],
    [ListFleetEventsQuery, { actor_id: "" }],
    [ListFleetEventsQuery, { actor_id: "x".repeat(65) }],
    [ListFleetEventsQuery, { last_event_id: "1" }],
    [ListFleetEventsQuery, { last_event_id: `ses_${ULID}` }],
    [ListQueueQuery, { limit: "0" }],
    [ListQueueQuery, { limit: "1001" }],
    [ListQueueQuery, { cursor: `usr_${ULID}` }],
    [ListQueueQuery, { cursor: "201" }],
  ])("refuse what does not fit (%#)", (schema, query) => {
    expect(accepts(schema, query)).toBe(false);
  });
});

describe("answers of an earlier version", () => {
  const spec = {
    image: "x",
    gpu_type: null,
    resolution: { width: 1920, height: 1080, refresh_rate: 60 },
  };
  const placement = {
    policy: "least-loaded",
    candidates: 1,
    removed: [{ filter: "capacity", count: 1 }],
    ranked: [{ wolf_instance_id: `wlf_${ULID}`, load: 0.5 }],
    text: "why",
  };
  const session = {
    id: `ses_${ULID}`,
    owner_id: `usr_${ULID}`,
    name: "desk",
    status: "running",
    reachable: true,
    wolf_instance_id: null,
    lobby_id: null,
    spec,
    placement,
    failure: null,
    created_at: at,
    updated_at: at,
    started_at: null,
    ended_at: null,
  };

  it("of a session are read as those of one that nobody has wished anything of", () => {
    expect(Session.parse(session)).toEqual({
      ...session,
      owner_name: null,
      spec: {
        ...spec,
        gpu_model: null,
        labels: {},
        constraints: [],
        region: null,
        region_required: false,
        resources: { vram_mb: 0, encoder_sessions: 1 },
        policy: "least-loaded",
        weights: null,
        allow_degraded: true,
        disconnect_policy: "keep",
        ttl_seconds: null,
        idle_timeout_seconds: null,
        priority: 4,
        queue: true,
        queue_deadline_seconds: 1800,
      },
      placement: {
        ...placement,
        outcome: "placed",
        ranked: [{ wolf_instance_id: `wlf_${ULID}`, load: 0.5, score: 0, parts: {} }],
        counterfactuals: [],
      },
      stop_reason: null,
      queue: null,
      attempts: 0,
      status_deadline: null,
      expires_at: null,
      idle_at: null,
      pin_required: false,
    });
  });

  it("of a wolf are read without what is new", () => {
    const wolf = {
      id: `wlf_${ULID}`,
      name: "wolf-1",
      address: "",
      status: "online",
      connectivity: "connected",
      health: "ok",
      health_reasons: [],
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
      created_at: at,
      updated_at: at,
    };
    expect(WolfInstance.parse(wolf)).toEqual(wolf);
  });

  it.each([
    ["an unknown policy", { ...session, placement: { ...placement, policy: "luck" } }],
    [
      "more than five ranked",
      { ...session, placement: { ...placement, ranked: Array(6).fill(placement.ranked[0]) } },
    ],
    [
      "an unknown tier",
      { ...session, placement: { ...placement, ranked: [{ ...placement.ranked[0], tier: "first" }] } },
    ],
    ["an unknown status", { ...session, status: "paused" }],
    ["an unknown reason to stop", { ...session, stop_reason: "bored" }],
    ["a place before the first", { ...session, queue: { position: 0, queued_at: at, deadline: at } }],
    ["a half of a queue", { ...session, queue: { position: 1 } }],
  ])("and of this one are refused with %s", (_what, answer) => {
    expect(accepts(Session, answer)).toBe(false);
  });

  it("say nothing of how an owner is called", () => {
    expect(Session.parse(session)).toHaveProperty("owner_name", null);
    expect(Session.parse({ ...session, owner_name: "anna" })).toHaveProperty("owner_name", "anna");
    expect(accepts(Session, { ...session, owner_name: 7 })).toBe(false);
  });

  it("explain at least why", () => {
    expect(accepts(PlacementExplanation, { ...placement, text: undefined })).toBe(false);
    expect(accepts(PlacementExplanation, { ...placement, removed: [{ filter: "mood", count: 1 }] })).toBe(
      false,
    );
    expect(accepts(PlacementExplanation, { ...placement, removed: [{ filter: "vram", count: 0 }] })).toBe(
      false,
    );
  });
});

describe("an event", () => {
  const earlier = {
    id: `evt_${ULID}`,
    at,
    kind: "wolf.connectivity",
    session_id: null,
    wolf_instance_id: `wlf_${ULID}`,
    owner_id: null,
    detail: {},
  };

  it("of an earlier version is read without its author", () => {
    expect(FleetEvent.parse(earlier)).toEqual(earlier);
  });

  it("is read with its author, of whatever kind later versions know", () => {
    const author = { actor: { kind: "robot", id: null }, cause: "bored", request_id: "r", object_id: null };
    expect(FleetEvent.parse({ ...earlier, ...author })).toEqual({ ...earlier, ...author });
    expect(accepts(FleetEvent, { ...earlier, actor: { kind: "user" } })).toBe(false);
  });

  it("is read with the names of its ids, and with none for what is no more", () => {
    const names = { session_name: "desk", wolf_name: null, owner_name: "anna", actor_name: null };
    expect(FleetEvent.parse({ ...earlier, ...names })).toEqual({ ...earlier, ...names });
    expect(accepts(FleetEvent, { ...earlier, actor_name: 7 })).toBe(false);
  });

  it("has a kind of two words, each explained", () => {
    for (const [kind, meaning] of [...Object.entries(fleetEventKinds)]) {
      expect(kind).toMatch(/^[a-z-]+\.[a-z-]+$/);
      expect(meaning).toMatch(/^[A-Z][^|]+\.$/);
    }
    for (const [cause, meaning] of Object.entries(fleetEventCauses))
      expect([cause, meaning]).toEqual([expect.stringMatching(/^[a-z-]+$/), expect.stringMatching(/\.$/)]);
  });
});

describe("a stream's own words", () => {
  it("are read to the letter, and refused without any of their fields", () => {
    const hello = { replica: "rep_1", version: "1", cursor: `evt_${ULID}` };
    const missed = { after: null, reason: "slow" };
    for (const [schema, said] of [
      [EventStreamHello, hello],
      [EventStreamMissed, missed],
    ] as const) {
      expect(schema.parse(said)).toEqual(said);
      for (const field of Object.keys(said))
        expect([field, accepts(schema, { ...said, [field]: undefined })]).toEqual([field, false]);
    }
  });
});

describe("what the fleet answers", () => {
  const explanation = {
    policy: "cost",
    outcome: "not-now",
    candidates: 0,
    removed: [],
    ranked: [],
    counterfactuals: [{ change: "gpu_type", value: "amd", wolf_instance_id: null, text: "amd would fit" }],
    text: "none",
  };
  const answers = {
    FleetState: [
      FleetState,
      {
        evictions_frozen: false,
        frozen_since: null,
        override_until: null,
        wolves: { connected: 1, suspect: 0, lost: 0 },
        sessions: { running: 2 },
        queue_length: 0,
      },
    ],
    QueueEntry: [
      QueueEntry,
      {
        session_id: `ses_${ULID}`,
        owner_id: `usr_${ULID}`,
        position: 1,
        priority: 4,
        queued_at: at,
        deadline: at,
        text: "full",
      },
    ],
    FleetEvent: [
      FleetEvent,
      {
        id: `evt_${ULID}`,
        at,
        kind: "wolf.connectivity",
        session_id: null,
        wolf_instance_id: `wlf_${ULID}`,
        owner_id: null,
        detail: { from: "connected", to: "suspect" },
      },
    ],
    PlacementPreview: [
      PlacementPreview,
      { outcome: "queued", wolf_instance_id: null, queue_position: 3, refusal: null, explanation },
    ],
    PlacementRefusal: [
      PlacementRefusal,
      { code: "quota-exceeded", text: "You have 20.", current: 20, limit: 20 },
    ],
  } as const;
  const whole = Object.entries(answers).map(([name, [schema, answer]]) => ({ name, schema, answer }));

  it.each(whole)("as $name is read to the letter", ({ schema, answer }) => {
    expect(schema.parse(answer)).toEqual(answer);
  });

  it("of an earlier version have no names, and nobody's name is null", () => {
    const entry = answers.QueueEntry[1];
    expect(QueueEntry.parse({ ...entry, name: "desk", owner_name: null })).toMatchObject({
      name: "desk",
      owner_name: null,
    });
    expect(accepts(QueueEntry, { ...entry, name: null })).toBe(false);
  });

  it.each(whole)("as $name is refused without any of its fields", ({ schema, answer }) => {
    for (const field of Object.keys(answer))
      expect([field, accepts(schema, { ...answer, [field]: undefined })]).toEqual([field, false]);
  });

  it("may say more in later versions", () => {
    for (const { schema, answer } of whole) expect(accepts(schema, { ...answer, later: 1 })).toBe(true);
  });
});
