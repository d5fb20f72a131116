/** Every kind of event that the contract knows is a sentence for people: names and reasons, and nothing that is only for programs. */
import { describe, expect, it } from "@jest/globals";
import {
  type FleetEvent,
  type FleetEventKind,
  fleetEventCauses,
  fleetEventKinds,
} from "@wolfpack/api-contract";
import fc from "fast-check";
import { eventWords } from "../src/fleet/event-words.ts";
import { anEvent, WOLF_ID } from "./a-wolf.ts";

const kinds = Object.keys(fleetEventKinds) as FleetEventKind[];
const id = (prefix: string) => `${prefix}_01KB000000000000000000000A`;
const until = "2026-11-26T12:30:00.000Z";

/** As the database tells of each. */
const details: Record<FleetEventKind, FleetEvent["detail"]> = {
  "session.queued": { attempts: 0 },
  "session.placed": { from: "queued", attempts: 1 },
  "session.starting": { from: "placed", attempts: 1 },
  "session.running": { from: "starting", attempts: 1 },
  "session.stopping": { from: "running", stop_reason: "requested", attempts: 1 },
  "session.lost": { from: "running", attempts: 1 },
  "session.stopped": { from: "stopping", stop_reason: "idle", attempts: 1 },
  "session.failed": { from: "starting", failure_code: "start-timeout", attempts: 2 },
  "session.extended": { expires_at: until },
  "session.expiring": { at: until, reason: "idle" },
  "queue.entered": { priority: 4, turn: 1, deadline: until },
  "queue.left": { to: "placed", waited_ms: 3200 },
  "placement.made": { policy: "least-loaded", attempts: 1 },
  "placement.released": { status: "stopping" },
  "wolf.registered": { name: "gpu-2" },
  "wolf.removed": { name: "gpu-2" },
  "wolf.tunnel": { epoch: 12, protocol: "revdial", legacy_credential: false },
  "wolf.connectivity": { from: "connected", to: "suspect", epoch: 12 },
  "wolf.health": {
    from: "ok",
    to: "degraded",
    reasons: [{ code: "disk-critical", detail: "/ has 1 GiB left" }, { code: "wolf-slow" }],
  },
  "wolf.intent": { from: "active", to: "cordoned", reason: "kernel update" },
  "wolf.changed": { fields: ["gpu_model", "images", "max_sandboxes"] },
  "wolf.lobbies": { from: 0, to: 2 },
  "wolf.quarantined": { reason: "creates-failed", times: 2, until },
  "wolf.readmitted": {},
  "fleet.frozen": {},
  "fleet.thawed": {},
  "fleet.override": { until },
  "user.created": { name: "mara", role: "operator", disabled: false },
  "user.changed": {
    name: "mara",
    role: "admin",
    disabled: true,
    from: { role: "operator", disabled: false },
  },
  "api-key.created": { name: "ci", scopes: ["read"], expires_at: until },
  "api-key.revoked": { name: "ci" },
  "web-session.opened": { api_key_id: id("key"), expires_at: until },
  "web-session.ended": { api_key_id: id("key"), expires_at: until },
  "join-token.created": { wolf_name: "gpu-2", uses: 0, uses_max: 1 },
  "join-token.used": { wolf_name: "gpu-2", uses: 2, uses_max: 5 },
  "join-token.revoked": { wolf_name: "gpu-2", uses: 0, uses_max: 1 },
  "agent-key.enrolled": { status: "pending", enrolled_by: id("jtk") },
  "agent-key.approved": { status: "active" },
  "agent-key.shortened": { status: "active", expires_at: until, from: { expires_at: until } },
  "agent-key.revoked": { status: "revoked" },
};
const what = (kind: string) => kind.slice(0, kind.indexOf("."));
const isOfSession = (kind: string) => ["session", "queue", "placement"].includes(what(kind));
const hasWolf = (kind: string) => isOfSession(kind) || ["wolf", "agent-key"].includes(what(kind));

const names = { session_name: "training-3", wolf_name: "gpu-2", owner_name: "mara", actor_name: "ops" };
const ofKind = (kind: string, given: Partial<FleetEvent> = {}): FleetEvent =>
  anEvent({
    kind,
    session_id: isOfSession(kind) ? id("ses") : null,
    wolf_instance_id: hasWolf(kind) ? WOLF_ID : null,
    owner_id: id("usr"),
    object_id: hasWolf(kind) ? null : id("key"),
    actor: { kind: "user", id: "usr_01KB000000000000000000000B" },
    request_id: "request-1",
    detail: details[kind as FleetEventKind] ?? {},
    ...names,
    ...given,
  });
const said = (kind: FleetEventKind, given?: Partial<FleetEvent>) => eventWords(ofKind(kind, given)).text;
const bySystem = { actor: { kind: "system", id: null }, actor_name: undefined };
const nameless = { session_name: null, wolf_name: null, owner_name: null, actor_name: null };

function expectSentence(text: string): void {
  expect(text).toMatch(/^\S.*\S$/);
  expect(text).not.toMatch(/\b(ses|usr|key|jtk|wlf|evt|web)_[0-9A-Z]/);
  expect(text).not.toMatch(/undefined|null|\[object|NaN|function/);
  expect(text).not.toMatch(/[a-z]_[a-z]|attempts|turn:|epoch|because of/);
  expect(text).not.toMatch(/ {2}| [,:;]|[,:;]$/);
}

describe("an event of every kind", () => {
  it.each(kinds)("%s is a sentence without ids, whoever did it and why", (kind) => {
    for (const by of [{}, bySystem, { actor: { kind: "agent", id: WOLF_ID }, actor_name: "gpu-2" }])
      for (const cause of [null, ...Object.keys(fleetEventCauses)])
        expectSentence(said(kind, { ...by, cause }));
  });

  it.each(kinds)("%s is one also where nobody has a name and nothing more is said", (kind) => {
    for (const detail of [details[kind], {}]) {
      expectSentence(said(kind, { ...nameless, detail }));
      expectSentence(said(kind, { ...bySystem, ...nameless, detail }));
    }
  });

  it.each(kinds)(
    "%s is one where a control plane of before says no names, or a session has its id for one",
    (kind) => {
      const absent = {
        session_name: undefined,
        wolf_name: undefined,
        owner_name: undefined,
        actor_name: undefined,
      };
      expectSentence(said(kind, absent));
      expectSentence(said(kind, { session_name: id("ses") }));
    },
  );

  it.each(kinds)("%s bears any detail, and shows no control character of it", (kind) => {
    // What looks like an object's own ways to become text is data like all else.
    const trap = fc.constantFrom({ toString: "" }, { toJSON: 1, valueOf: null }, [{ toString: 0 }]);
    const values = fc.oneof(fc.jsonValue(), fc.string({ unit: "binary" }), trap);
    const keys = fc.oneof(
      fc.constantFrom(...Object.keys(details[kind]), "from", "to", "reason"),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.dictionary(keys, values), fc.string({ unit: "binary" }), (detail, name) => {
        const { text } = eventWords(
          ofKind(kind, { detail, session_name: name, wolf_name: name, actor_name: name }),
        );
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
        expect(text).not.toMatch(/[\u0000-\u001f\u202e]/);
      }),
      { numRuns: 50 },
    );
  });

  it("that is not known here is its own words, with what it is about", () => {
    expect(eventWords(ofKind("wolf.has-dreamt", { wolf_instance_id: WOLF_ID })).text).toBe(
      "Wolf has dreamt: gpu-2",
    );
    expect(eventWords(ofKind("toString")).text).toBe("ToString");
  });
});

describe("the sentence of an event", () => {
  it("names who did it, and is told without them where the reader may not know", () => {
    expect(said("wolf.intent")).toBe("ops cordoned gpu-2: kernel update");
    expect(said("wolf.intent", { actor: { kind: "user", id: null }, actor_name: undefined })).toBe(
      "gpu-2 was cordoned: kernel update",
    );
    expect(said("wolf.removed", { wolf_name: null })).toBe("ops removed gpu-2 from the fleet");
  });

  it("tells the life of a session", () => {
    expect(said("session.queued")).toBe("training-3 waits for a wolf");
    expect(said("session.queued", { detail: { from: "lost" }, cause: "wolf-lost" })).toBe(
      "training-3 waits for another wolf: its wolf was lost",
    );
    expect(said("session.running", { cause: "wolf-event" })).toBe("training-3 runs on gpu-2");
    expect(said("session.placed", { detail: { attempts: 2 } })).toBe(
      "training-3 goes to gpu-2, its attempt number 2",
    );
    expect(said("queue.left")).toBe("training-3 left the queue for gpu-2 after 3.2 s");
    expect(said("session.stopping")).toBe("ops stops training-3");
    expect(said("session.stopping", { ...bySystem, detail: { stop_reason: "idle" } })).toBe(
      "training-3 is being stopped: nobody used it",
    );
    expect(said("session.failed")).toBe("training-3 has failed: it was not seen to run in time");
    expect(said("session.running", nameless)).toBe("A session runs on a wolf");
  });

  it("tells how a wolf does", () => {
    const connectivity = (from: string, to: string, cause: string) =>
      said("wolf.connectivity", { ...bySystem, cause, detail: { from, to, epoch: 3 } });
    expect(connectivity("connected", "suspect", "disconnected")).toBe("gpu-2 has lost its tunnel");
    expect(connectivity("suspect", "lost", "silence")).toBe(
      "gpu-2 is lost: nothing was heard of it for too long",
    );
    expect(connectivity("lost", "connected", "connected")).toBe("gpu-2 is back");
    expect(said("wolf.health")).toBe("gpu-2 is degraded: / has 1 GiB left, and 1 more");
    expect(said("wolf.health", { detail: { from: "failed", to: "ok", reasons: [] } })).toBe(
      "gpu-2 is well again",
    );
    expect(said("wolf.changed", bySystem)).toBe("The GPU model, images and number of slots of gpu-2 changed");
    expect(said("wolf.lobbies")).toBe("gpu-2 runs 2 lobbies that no session has");
    expect(said("wolf.lobbies", { detail: { from: 2, to: 1 } })).toBe(
      "gpu-2 runs a lobby that no session has",
    );
    expect(said("wolf.lobbies", { detail: { from: 1, to: 0 } })).toBe(
      "gpu-2 runs no lobbies any more that no session has",
    );
    expect(said("wolf.lobbies", { detail: {} })).toBe("gpu-2 runs some lobbies that no session has");
    expect(said("wolf.intent", { ...bySystem, detail: { from: "draining", to: "maintenance" } })).toBe(
      "gpu-2 is empty, and in maintenance now",
    );
  });

  it("tells what became of people and keys, of one's own and of others", () => {
    const own = { actor: { kind: "user", id: id("usr") }, actor_name: "mara" };
    expect(said("user.changed")).toBe("ops made mara an admin and disabled mara");
    expect(said("user.changed", { detail: { name: "mara", role: "user", from: {} } })).toBe(
      "ops changed the limits of mara",
    );
    expect(said("api-key.created")).toBe("ops created the API key ci for mara");
    expect(said("api-key.created", own)).toBe("mara created the API key ci");
    expect(said("api-key.revoked", bySystem)).toBe("The API key ci of mara was revoked");
    expect(said("web-session.opened")).toBe("mara signed in with a browser");
    expect(said("web-session.ended", own)).toBe("mara signed out");
    expect(said("join-token.used")).toBe("A host enrolled with the join token for gpu-2, use 2 of 5");
  });
});
