/** Streams of events of a whole control plane, with real connections, credentials and PostgreSQL; and of two of them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { EventStreamHello } from "@wolfpack/api-contract";
import pg from "pg";
import request from "supertest";
import { type Clock, systemClock } from "../src/clock.ts";
import { EVENTS_LISTENER_NAME } from "../src/database/notifications.ts";
import { POLL_MS } from "../src/events/event-feed.ts";
import { newId } from "../src/ids.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type EventReader, readEvents } from "./event-source.ts";

let api: TestControlPlane;
let wolfId = "";
beforeAll(async () => {
  api = await startControlPlane();
  wolfId = await aWolf("w");
});
afterAll(() => api.stop());

const open: EventReader[] = [];
afterEach(() => {
  for (const reader of open.splice(0)) reader.close();
});

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
async function read(query = "", headers: Record<string, string> = bearer(api.adminKey), url = api.url) {
  const reader = await readEvents(url, headers, query);
  open.push(reader);
  if (reader.status !== 200) await reader.ended;
  else await reader.until((said) => said.some(({ event }) => event === "hello"));
  return reader;
}

async function aWolf(name: string): Promise<string> {
  const { body } = await request(api.url)
    .post("/api/v1/wolf-instances/register")
    .set(bearer(api.adminKey))
    .send({ name })
    .expect(200);
  return body.id;
}
const steer = (way: "cordon" | "uncordon", url = api.url, key = api.adminKey) =>
  request(url).post(`/api/v1/wolf-instances/${wolfId}/${way}`).set(bearer(key)).expect(200);
/** Two events of the wolf. */
async function twoEvents(url?: string): Promise<void> {
  await steer("cordon", url);
  await steer("uncordon", url);
}
const lastOf = (reader: EventReader) => reader.said.findLast(({ id }) => id !== undefined)?.id ?? "";

describe("a stream of events", () => {
  it("begins with who speaks and from where on, and tells each change with its author", async () => {
    const reader = await read();
    expect(reader.headers).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    const hello = EventStreamHello.parse(JSON.parse(reader.said[0]?.data ?? ""));
    expect(hello).toMatchObject({ replica: expect.stringMatching(/^rep_/), version: "0.1.0" });
    expect(reader.said[0]).toMatchObject({ event: "hello", id: hello.cursor });
    const { headers } = await steer("cordon");
    await steer("uncordon");
    expect(await reader.kinds(2)).toEqual(["wolf.intent", "wolf.intent"]);
    expect(reader.events()[0]).toMatchObject({
      wolf_instance_id: wolfId,
      actor: { kind: "user", id: expect.stringMatching(/^usr_/) },
      cause: "requested",
      request_id: headers["x-request-id"],
      detail: { from: "active", to: "cordoned" },
    });
    expect(reader.events().map(({ id }) => id)).toEqual(
      reader.said.filter(({ event }) => event === "message").map(({ id }) => id),
    );
  });

  it("tells what is asked for, as the pages do", async () => {
    const other = await aWolf("other");
    const filters = [
      `?wolf_instance_id=${other}`,
      "?kind=wolf.removed",
      "?kind=user.*",
      `?actor_id=${wolfId}`,
      "",
    ];
    const readers = await Promise.all(filters.map((query) => read(query)));
    await steer("cordon");
    const { id } = await api.user("filtered");
    await request(api.url).delete(`/api/v1/wolf-instances/${other}`).set(bearer(api.adminKey)).expect(200);
    await steer("uncordon");
    await readers.at(-1)?.kinds(5);
    const told = readers.map((reader) => reader.events().map(({ kind }) => kind));
    expect(told.slice(0, 4)).toEqual([["wolf.removed"], ["wolf.removed"], ["user.created"], []]);
    expect(readers[2]?.events()[0]?.object_id).toBe(id);
  });

  it("shows users what happens to wolves, and not to others' sessions, users and keys", async () => {
    const [anna, bert] = await Promise.all([api.user("anna"), api.user("bert")]);
    const [hers, his] = await Promise.all([read("", bearer(anna.key)), read("", bearer(bert.key))]);
    await request(api.url)
      .post("/api/v1/sessions")
      .set(bearer(anna.key))
      .send({ wait_seconds: 0 })
      .expect(201);
    const { body } = await request(api.url)
      .post("/api/v1/api-keys")
      .set(bearer(bert.key))
      .send({ name: "x" });
    await steer("cordon");
    await steer("uncordon");
    const intents = (reader: EventReader) => reader.events().filter(({ kind }) => kind === "wolf.intent");
    await Promise.all([hers, his].map((reader) => reader.until(() => intents(reader).length === 2)));
    expect(hers.events().map(({ kind }) => kind)).toEqual([
      "session.queued",
      "queue.entered",
      "wolf.intent",
      "wolf.intent",
    ]);
    expect(his.events().map(({ kind, object_id }) => [kind, object_id])).toEqual([
      ["api-key.created", body.id],
      ["wolf.intent", null],
      ["wolf.intent", null],
    ]);
    expect(JSON.stringify(his.events())).not.toContain(body.key);
  });

  it("is a page for whoever wants no stream", async () => {
    for (const accept of ["application/json", "*/*", "text/html, application/json;q=0.9"]) {
      const answer = await request(api.url)
        .get("/api/v1/events")
        .set({ ...bearer(api.adminKey), accept });
      expect([accept, answer.status, Array.isArray(answer.body)]).toEqual([accept, 200, true]);
    }
  });

  it("of a HEAD is the head alone", async () => {
    const answer = await readEvents(api.url, bearer(api.adminKey), "", "HEAD");
    await answer.ended;
    expect([answer.status, answer.headers["content-type"], answer.said]).toEqual([
      200,
      "text/event-stream",
      [],
    ]);
  });
});

describe("going on with a stream", () => {
  it("tells what came meanwhile, nothing of it twice and nothing not", async () => {
    const first = await read();
    await twoEvents();
    await first.kinds(2);
    first.close();
    await twoEvents();
    const header = await read("", { ...bearer(api.adminKey), "last-event-id": lastOf(first) });
    await twoEvents();
    await header.kinds(4);
    const query = await read(`?last_event_id=${lastOf(first)}`);
    await query.kinds(4);
    expect(query.events()).toEqual(header.events());
    expect(query.events()).toHaveLength(4);
    expect(new Set([...first.events(), ...query.events()].map(({ id }) => id)).size).toBe(6);
  });

  it("from a stream that has told nothing yet goes on from its beginning", async () => {
    const first = await read();
    first.close();
    await twoEvents();
    const second = await read("", { ...bearer(api.adminKey), "last-event-id": lastOf(first) });
    expect(await second.kinds(2)).toEqual(["wolf.intent", "wolf.intent"]);
  });

  it("misses nothing of transactions that end in another order than their events were written in", async () => {
    const reader = await read("?kind=wolf.*");
    const slow = new pg.Client({ connectionString: api.database.url });
    await slow.connect();
    try {
      await slow.query("BEGIN");
      await slow.query("INSERT INTO wolf_instance (id, name) VALUES ($1, 'late')", [newId("wlf")]);
      await steer("cordon");
      const page = () =>
        request(api.url)
          .get(`/api/v1/events?kind=wolf.*&cursor=${lastOf(reader)}`)
          .set(bearer(api.adminKey));
      // Neither a reader of pages nor one of the stream has gone past what is still to come.
      expect((await page()).body).toEqual([]);
      expect(reader.events()).toEqual([]);
      // Nor does who begins with the newest of them.
      const newest = await request(api.url)
        .get("/api/v1/events?newest_first=true&limit=1")
        .set(bearer(api.adminKey));
      expect(newest.body[0].id).toBe(lastOf(reader));
      await slow.query("COMMIT");
      expect(await reader.kinds(2)).toEqual(["wolf.registered", "wolf.intent"]);
      await slow.query("BEGIN");
      await slow.query("DELETE FROM wolf_instance WHERE name = 'late'");
      await steer("uncordon");
      await slow.query("ROLLBACK");
      expect((await reader.kinds(3)).at(-1)).toBe("wolf.intent");
    } finally {
      await slow.end();
    }
  });

  it.each([
    ["an event that is no more", newId("evt")],
    ["one of another time", "evt_00000000000000000000000001"],
  ])("with %s says that events are missing", async (_what, id) => {
    const reader = await read("", { ...bearer(api.adminKey), "last-event-id": id });
    await reader.until((said) => said.length >= 2);
    expect(reader.said[1]).toMatchObject({
      event: "missed",
      data: JSON.stringify({ after: id, reason: "too-late" }),
    });
    await twoEvents();
    expect(await reader.kinds(2)).toEqual(["wolf.intent", "wolf.intent"]);
  });

  it("with more than a thousand events to come says so, and tells none of them", async () => {
    const first = await read();
    first.close();
    await api.database.prisma.$executeRaw`
      INSERT INTO fleet_event (id, at, kind) SELECT 'evt_' || n, now(), 'fleet.many' FROM generate_series(1, 1001) AS n`;
    const asked = { ...bearer(api.adminKey), "last-event-id": lastOf(first) };
    const second = await read("", asked);
    await second.until((said) => said.some(({ event }) => event === "missed"));
    expect(second.events()).toEqual([]);
    expect(await (await read("?kind=wolf.*", asked)).events()).toEqual([]);
    await api.database.prisma.fleetEvent.deleteMany({ where: { kind: "fleet.many" } });
  });

  it.each(["1", "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV", "evt_", "'", "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV "])(
    "with %j is refused",
    async (id) => {
      if (id.trim() === id) {
        const header = await read("", { ...bearer(api.adminKey), "last-event-id": id });
        expect([header.status, header.body()]).toEqual([400, expect.stringContaining("last-event-id")]);
      }
      const query = await read(`?last_event_id=${encodeURIComponent(id)}`);
      expect(query.status).toBe(400);
    },
  );

  it("with an empty Last-Event-ID is a first time", async () => {
    const reader = await read("", { ...bearer(api.adminKey), "last-event-id": "" });
    expect(reader.said.map(({ event }) => event)).toEqual(["hello"]);
  });
});

describe("whose stream it is", () => {
  it("is asked of everybody", async () => {
    expect((await read("", {})).status).toBe(401);
    expect((await read("", bearer("wpk_nobody"))).status).toBe(401);
    const limited = await request(api.url)
      .post("/api/v1/api-keys")
      .set(bearer(api.adminKey))
      .send({ name: "no reader", scopes: ["sessions"] });
    expect((await read("", bearer(limited.body.key))).status).toBe(403);
  });

  it("ends it when its key is revoked, its user disabled or given another role", async () => {
    const anna = await api.user("anna-2");
    const { body } = await request(api.url)
      .post("/api/v1/api-keys")
      .set(bearer(anna.key))
      .send({ name: "2" });
    const [kept, revoked] = await Promise.all([read("", bearer(anna.key)), read("", bearer(body.key))]);
    const as = { ...bearer(api.adminKey) };
    await request(api.url).delete(`/api/v1/api-keys/${body.id}`).set(as).expect(204);
    await revoked.ended;
    await twoEvents();
    await kept.until(() => kept.events().some(({ kind }) => kind === "wolf.intent"));
    await request(api.url).patch(`/api/v1/users/${anna.id}`).set(as).send({ role: "viewer" }).expect(200);
    await kept.ended;
    // The database tells of the change once more, which may end what is being opened: clients come back.
    const comeBack = (): Promise<EventReader> => read("", bearer(anna.key)).catch(comeBack);
    const again = await comeBack();
    await request(api.url).patch(`/api/v1/users/${anna.id}`).set(as).send({ disabled: true }).expect(200);
    await again.ended;
  });

  it("may be a browser's, which ends when it signs out", async () => {
    const { headers } = await request(api.url)
      .post("/api/v1/web-session")
      .set({ "x-wolfpack-csrf": "1" })
      .send({ key: api.adminKey })
      .expect(201);
    const cookie = String(headers["set-cookie"]).split(";")[0] ?? "";
    const reader = await read("", { cookie });
    await twoEvents();
    await reader.kinds(2);
    await request(api.url).delete("/api/v1/web-session").set({ cookie, "x-wolfpack-csrf": "1" }).expect(204);
    await reader.ended;
  });

  it("has twenty of them at most, and another when one has ended", async () => {
    const { key } = await api.user("many");
    const readers = await Promise.all(Array.from({ length: 20 }, () => read("", bearer(key))));
    const refused = await read("", bearer(key));
    expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "5"]);
    expect(JSON.parse(refused.body())).toMatchObject({ code: "too-many-streams", current: 20, limit: 20 });
    expect((await read()).status).toBe(200);
    readers[0]?.close();
    const again = async (): Promise<number> => {
      const { status } = await read("", bearer(key));
      return status === 200 ? status : again();
    };
    expect(await again()).toBe(200);
  });
});

describe("two replicas", () => {
  /** A replica that never looks by itself, for as long as the test lasts. */
  const neverLooking: Clock = {
    ...systemClock,
    setTimer: (ms, run) => (ms === POLL_MS ? { cancel: () => undefined } : systemClock.setTimer(ms, run)),
  };
  /** While this is held, PostgreSQL takes another transaction for the one that tells (tell_of_events). */
  const TELLER_LOCK = 7_301_990_415;
  let other: TestControlPlane;
  let teller: pg.Client;
  beforeEach(async () => {
    other = await startControlPlane({}, api.database, { clock: neverLooking });
    teller = new pg.Client({ connectionString: api.database.url });
    await teller.connect();
  });
  afterEach(async () => {
    await teller.end();
    await other.plane.stop();
  });
  const listeners = async () => {
    const [found] = await api.database.prisma.$queryRaw<[{ count: number }]>`
      SELECT count(*)::int FROM pg_stat_activity
      WHERE application_name = ${EVENTS_LISTENER_NAME} AND datname = current_database()`;
    return found.count;
  };

  it("tell each other's readers of every change by a notification, and by a look of their own where there was none", async () => {
    const told = await read("", bearer(api.adminKey), other.url);
    const looks = await read();
    // Nothing but the database's word brings it there.
    await twoEvents();
    await Promise.all([told.kinds(2), looks.kinds(2)]);
    await twoEvents(other.url);
    await Promise.all([told.kinds(4), looks.kinds(4)]);
    await teller.query("SELECT pg_advisory_lock($1)", [TELLER_LOCK]);
    // Nothing but its own look does from here on: each of these, so that none comes along with what was told before.
    for (const count of [6, 8, 10]) {
      await twoEvents();
      await looks.kinds(count);
    }
    await teller.query("SELECT pg_advisory_unlock($1)", [TELLER_LOCK]);
    await twoEvents();
    await Promise.all([told.kinds(12), looks.kinds(12)]);
    expect(told.events()).toEqual(looks.events());
  });

  it("look at what came while nobody listened as soon as they listen again", async () => {
    const told = await read("", bearer(api.adminKey), other.url);
    expect(await listeners()).toBe(2);
    await teller.query("SELECT pg_advisory_lock($1)", [TELLER_LOCK]);
    await twoEvents();
    await api.database.prisma.$queryRaw`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = ${EVENTS_LISTENER_NAME} AND datname = current_database()`;
    expect(await told.kinds(2)).toEqual(["wolf.intent", "wolf.intent"]);
  });

  it("send their readers to the other as they stop", async () => {
    const reader = await read("", bearer(api.adminKey), other.url);
    const stopped = other.plane.stop();
    await reader.until((said) => said.at(-1)?.event === "" && /^retry: \d+$/.test(said.at(-1)?.data ?? ""));
    await reader.ended;
    await stopped;
  });
});
