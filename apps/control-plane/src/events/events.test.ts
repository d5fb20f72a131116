/** Events: written, listed by whoever may see them; on real PostgreSQL and through the way of every call. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { BEFORE_ALL_EVENTS, FleetEvent, type Role } from "@wolfpack/api-contract";
import express from "express";
import request from "supertest";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { API_PREFIX, apiRouter } from "../http/api.ts";
import type { Handlers } from "../http/call.ts";
import { problemHandler } from "../http/problem.ts";
import type { Principal } from "../identity/principal.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import { createEventLog, type EventLog } from "./event-log.ts";
import { eventHandlers } from "./event-routes.ts";
import { conditions, prismaEventStore } from "./event-store.prisma.ts";
import type { EventStore } from "./event-store.ts";
import type { EventView } from "./event-view.ts";

let database: TestDatabase;
let store: EventStore;
let clock: ManualClock;
let lines: string[];
let log: EventLog;
let server: Server;
let url = "";
const anna = newId("usr");
const bert = newId("usr");
const principals: Record<string, Principal> = {
  anna: user("user", anna),
  bert: user("user", bert),
  viewer: user("viewer"),
  operator: user("operator"),
  admin: user("admin"),
  sessionsKey: { ...user("admin"), scopes: ["sessions"] },
  runner: { kind: "runner" },
};
function user(role: Role, userId = newId("usr")) {
  return { kind: "user" as const, userId, role, scopes: null, credentialId: newId("key") };
}

beforeAll(async () => {
  database = await testDatabase();
  store = prismaEventStore(database.prisma);
  const authenticate = async (headers: { authorization?: string | undefined }) =>
    principals[headers.authorization ?? ""];
  const app = express();
  const streams = { open: () => Promise.reject(new Error("no page")) as never };
  const pages = { list: (...asked: Parameters<EventStore["list"]>) => store.list(...asked) };
  const handlers = eventHandlers({ store: pages, streams }) as Handlers;
  const options = { identity: { authenticate }, webSessions: { authenticate }, bodyBytesMax: 1000 };
  app.use(API_PREFIX, apiRouter(handlers, { ...options, audit: { record: async () => undefined } }));
  app.use(problemHandler(createLogger("silent")));
  server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(async () => {
  await database.prisma.fleetEvent.deleteMany();
  clock = manualClock();
  lines = [];
  log = logOf(store);
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  await database.drop();
});

const logOf = (used: Pick<EventStore, "add">) =>
  createEventLog({
    store: used,
    clock,
    newId,
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
  });

const get = (query = "", who = "admin") =>
  request(url).get(`/api/v1/events${query}`).set({ authorization: who });
const events = async (query = "", who = "admin"): Promise<FleetEvent[]> =>
  ((await get(query, who).expect(200)).body as unknown[]).map((one) => FleetEvent.parse(one));
const kinds = async (query = "", who = "admin") => (await events(query, who)).map(({ kind }) => kind);

const annas = { id: newId("ses"), ownerId: anna };
const berts = { id: newId("ses"), ownerId: bert };
const wolfId = newId("wlf");
async function six(): Promise<void> {
  await log.record({ kind: "session.expiring", session: annas, detail: { reason: "ttl", at: "soon" } });
  await log.record({ kind: "session.running", session: berts, wolfId });
  await log.record({ kind: "wolf.drain-deadline", wolfId });
  await log.record({ kind: "fleet.alarm" });
  await log.record({ kind: "session.stopped", session: annas, wolfId });
  await log.record({ kind: "wolf.connectivity", wolfId: newId("wlf") });
}

describe("an event", () => {
  it("shows all that was recorded of it, at the time of the clock", async () => {
    await log.record({ kind: "session.expiring", session: annas, wolfId, detail: { reason: "idle" } });
    clock.advance(5000);
    await log.record({ kind: "fleet.alarm" });
    expect(await events()).toEqual([
      {
        id: expect.stringMatching(/^evt_/),
        at: "2026-11-23T12:00:00.000Z",
        kind: "session.expiring",
        session_id: annas.id,
        wolf_instance_id: wolfId,
        owner_id: anna,
        object_id: null,
        actor: { kind: "system", id: null },
        cause: null,
        request_id: null,
        session_name: null,
        wolf_name: null,
        owner_name: null,
        detail: { reason: "idle" },
      },
      {
        id: expect.stringMatching(/^evt_/),
        at: "2026-11-23T12:00:05.000Z",
        kind: "fleet.alarm",
        session_id: null,
        wolf_instance_id: null,
        owner_id: null,
        object_id: null,
        actor: { kind: "system", id: null },
        cause: null,
        request_id: null,
        detail: {},
      },
    ]);
  });

  it("that cannot be written is a line of the log, and nobody's failure", async () => {
    const broken = logOf({ ...store, add: () => Promise.reject(new Error("the database is down")) });
    await broken.record({ kind: "session.expiring", session: annas });
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      msg: "event not written",
      kind: "session.expiring",
      session_id: annas.id,
      err: { message: "the database is down" },
    });
  });

  it("whose detail PostgreSQL refuses is not written, and nobody's failure either", async () => {
    await log.record({ kind: "fleet.alarm", detail: { text: "a\u0000b" } });
    expect(lines.join()).toContain("event not written");
    expect(await events()).toEqual([]);
  });

  it("keeps its words however strange they are", async () => {
    const detail = { text: "'; DROP TABLE fleet_event; --", deep: { a: [null, 1, "\u2028"] } };
    await log.record({ kind: "fleet.alarm", detail });
    expect((await events())[0]?.detail).toEqual(detail);
  });
});

describe("the names in an event", () => {
  const carl = newId("usr");
  const desk = newId("ses");
  const host = newId("wlf");
  const made = { actor: "user", actor_id: carl, request_id: "request-1" };
  const add = (kind: string, about: object) =>
    database.prisma.fleetEvent.create({ data: { id: newId("evt"), at: clock.now(), kind, ...about } });
  const namesOf = (event: FleetEvent | undefined) =>
    event && [event.session_name, event.wolf_name, event.owner_name, event.actor_name];

  beforeAll(async () => {
    const { prisma } = database;
    await prisma.user.create({ data: { id: carl, name: "carl", role: "user", created_at: new Date(0) } });
    await prisma.wolfInstance.create({ data: { id: host, name: "gpu-2" } });
    await prisma.$executeRaw`
      INSERT INTO session (id, owner_id, name, status, spec, placement, slot_held, created_at, updated_at)
      VALUES (${desk}, ${carl}, 'training-3', 'running', '{}', '{}', false, now(), now())`;
  });

  it("are those of its session, its wolf, its owner and its author, a user or a wolf's agent", async () => {
    await add("session.stopping", { session_id: desk, wolf_instance_id: host, owner_id: carl, ...made });
    await add("wolf.health", { wolf_instance_id: host, actor: "agent", actor_id: host });
    for (const order of ["", "?newest_first=true"]) {
      const all = await events(order);
      const [ofSession, ofWolf] = order === "" ? all : all.toReversed();
      expect(namesOf(ofSession)).toEqual(["training-3", "gpu-2", "carl", "carl"]);
      expect(namesOf(ofWolf)).toEqual([undefined, "gpu-2", undefined, "gpu-2"]);
    }
  });

  it("tell nobody who made it who may not know its author by id", async () => {
    await add("session.stopping", { session_id: desk, owner_id: carl, ...made, actor_id: anna });
    await add("wolf.intent", { wolf_instance_id: host, ...made });
    const [ofSession, ofWolf] = await events("", "viewer");
    expect(namesOf(ofSession)).toEqual(["training-3", undefined, "carl", undefined]);
    expect(namesOf(ofWolf)).toEqual([undefined, "gpu-2", undefined, undefined]);
    expect((await get("", "viewer")).text).not.toContain("actor_name");
  });

  it("are null of what is no more, and absent where there is nothing to name", async () => {
    await add("session.stopping", { session_id: newId("ses"), owner_id: anna, ...made, actor_id: bert });
    await add("join-token.used", { object_id: newId("jtk"), actor: "join-token", actor_id: newId("jtk") });
    await add("fleet.frozen", { actor: "system" });
    expect((await events()).map(namesOf)).toEqual([
      [null, undefined, null, null],
      [undefined, undefined, undefined, null],
      [undefined, undefined, undefined, undefined],
    ]);
  });
});

describe("GET /events", () => {
  it("goes by pages, oldest first or newest first, each event exactly once", async () => {
    for (let n = 0; n < 11; n += 1) await log.record({ kind: "fleet.alarm", detail: { n } });
    for (const order of ["", "&newest_first=true", "&newest_first=false"]) {
      const seen: unknown[] = [];
      const sizes: number[] = [];
      let next: string | undefined = `/api/v1/events?limit=4&kind=fleet.*${order}`;
      while (next !== undefined) {
        const { body, headers }: request.Response = await request(url)
          .get(next)
          .set({ authorization: "admin" })
          .expect(200);
        sizes.push(body.length);
        seen.push(...(body as FleetEvent[]).map(({ detail }) => detail.n));
        next = /<([^>]+)>; rel="next"/.exec(headers.link ?? "")?.[1];
      }
      const all = Array.from({ length: 11 }, (_, n) => n);
      expect([order, seen]).toEqual([order, order === "&newest_first=true" ? all.reverse() : all]);
      expect(sizes).toEqual([4, 4, 3]);
    }
  });

  it("after what was before the first one are all", async () => {
    await six();
    expect(await events(`?cursor=${BEFORE_ALL_EVENTS}`)).toEqual(await events());
  });

  it("newest first shows no event twice that happens while somebody pages", async () => {
    await six();
    const [first, second] = await events("?limit=2&newest_first=true");
    await log.record({ kind: "fleet.alarm" });
    const rest = await events(`?newest_first=true&cursor=${second?.id}`);
    expect([first, second, ...rest].map((event) => event?.kind)).toEqual([
      "wolf.connectivity",
      "session.stopped",
      "fleet.alarm",
      "wolf.drain-deadline",
      "session.running",
      "session.expiring",
    ]);
  });

  it.each([
    ["?kind=session.running", ["session.running"]],
    ["?kind=session.*", ["session.expiring", "session.running", "session.stopped"]],
    ["?kind=fleet.*", ["fleet.alarm"]],
    ["?actor_id=usr_nobody", []],
    [`?session_id=${annas.id}`, ["session.expiring", "session.stopped"]],
    [`?session_id=${newId("ses")}`, []],
    [`?wolf_instance_id=${wolfId}`, ["session.running", "wolf.drain-deadline", "session.stopped"]],
    [`?wolf_instance_id=${wolfId}&session_id=${annas.id}`, ["session.stopped"]],
    [`?wolf_instance_id=${wolfId}&kind=wolf.*`, ["wolf.drain-deadline"]],
  ])("filters by %s", async (query, expected) => {
    await six();
    expect(await kinds(query)).toEqual(expected);
    expect(await kinds(`${query}&newest_first=true`)).toEqual([...expected].reverse());
  });

  it("shows users what happened to their own sessions, to wolves and to the fleet", async () => {
    await six();
    expect(await kinds("", "anna")).toEqual([
      "session.expiring",
      "wolf.drain-deadline",
      "fleet.alarm",
      "session.stopped",
      "wolf.connectivity",
    ]);
    expect(await kinds("", "bert")).toEqual([
      "session.running",
      "wolf.drain-deadline",
      "fleet.alarm",
      "wolf.connectivity",
    ]);
    for (const who of ["viewer", "operator", "admin"]) expect(await kinds("", who)).toHaveLength(6);
  });

  it("of what somebody else did shows users nothing that they ask for by its author", async () => {
    const made = { at: clock.now(), kind: "wolf.intent", actor: "user", request_id: "request-1" };
    for (const actor_id of [anna, bert])
      await database.prisma.fleetEvent.create({ data: { id: newId("evt"), ...made, actor_id } });
    const authors = async (who: string, query = "") =>
      (await events(query, who)).map(({ actor, request_id }) => [actor?.id, request_id]);
    const known = (id: string) => [id, "request-1"];
    expect(await authors("anna")).toEqual([known(anna), [null, null]]);
    expect(await authors("viewer")).toEqual([
      [null, null],
      [null, null],
    ]);
    for (const who of ["operator", "admin"]) expect(await authors(who)).toEqual([known(anna), known(bert)]);
    expect(await authors("anna", `?actor_id=${anna}`)).toEqual([known(anna)]);
    expect(await authors("anna", `?actor_id=${bert}`)).toEqual([]);
    expect(await authors("operator", `?actor_id=${bert}`)).toEqual([known(bert)]);
  });

  it("hides a foreign session whatever is asked for, as if there were none of it", async () => {
    await six();
    const foreign = [`session_id=${berts.id}`, "kind=session.running", `session_id=${newId("ses")}`];
    for (const query of foreign) {
      const { text, headers } = await get(`?${query}`, "anna").expect(200);
      expect([text, headers.link]).toEqual(["[]", undefined]);
    }
    expect(await kinds(`?wolf_instance_id=${wolfId}`, "anna")).toEqual([
      "wolf.drain-deadline",
      "session.stopped",
    ]);
  });

  it("fills the pages of who sees little, and tells by no link that there is more", async () => {
    for (let n = 0; n < 5; n += 1) {
      await log.record({ kind: "session.running", session: berts });
      await log.record({ kind: "session.running", session: annas });
    }
    const { body, headers } = await get("?limit=5", "anna").expect(200);
    expect(body).toHaveLength(5);
    expect(headers.link).toBeUndefined();
  });

  it("hides an event of a session whose owner is not known", async () => {
    await store.add({
      id: newId("evt"),
      at: clock.now(),
      kind: "session.failed",
      sessionId: newId("ses"),
      wolfId: null,
      ownerId: null,
      detail: {},
    });
    expect(await kinds("", "anna")).toEqual([]);
    expect(await kinds("", "admin")).toEqual(["session.failed"]);
  });

  it.each([
    "?limit=0",
    "?limit=201",
    "?limit=x",
    "?cursor=zzz",
    "?cursor=ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "?cursor=evt_01ARZ3NDEKTSV4RRFFQ69G5FAI",
    "?cursor=%27",
    "?kind=session",
    "?kind=*",
    "?kind=.*",
    "?kind=session.r*",
    "?kind=session.%25",
    `?kind=${"k".repeat(64)}`,
    "?kind=%00",
    "?kind=a&kind=b",
    "?session_id=1",
    `?session_id=${wolfId}`,
    `?wolf_instance_id=${annas.id}`,
    "?newest_first=1",
    "?newest_first=",
    "?owner_id=usr_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "?since=2026-11-23T12:00:00.000Z",
  ])("refuses %s", async (query) => {
    expect((await get(query).expect(400)).body.code).toBe("invalid-request");
  });

  it.each([
    ["nobody", 401],
    ["runner", 403],
    ["sessionsKey", 403],
  ])("refuses %s", async (who, status) => {
    await get("", who).expect(status);
  });
});

describe("a rare event", () => {
  it("is found by an index among all others", async () => {
    const { prisma } = database;
    await prisma.$executeRaw`
      INSERT INTO fleet_event (id, at, kind, owner_id)
      SELECT 'evt_' || n, now(), CASE WHEN n % 5000 = 1 THEN 'join-token.used' ELSE 'wolf.health' END,
        CASE WHEN n % 5000 = 1 THEN ${anna} ELSE ${bert} END
      FROM generate_series(1, 20000) AS n`;
    await prisma.$executeRaw`ANALYZE fleet_event`;
    const views: EventView[] = [{ kind: { is: "join-token.used" } }, { kind: { beginsWith: "join-token." } }];
    for (const view of views) {
      const plan = await prisma.$queryRaw<{ "QUERY PLAN": string }[]>`
        EXPLAIN SELECT * FROM fleet_event WHERE seq <= 20000 AND ${conditions(view)} ORDER BY seq LIMIT 101`;
      const text = plan.map((line) => line["QUERY PLAN"]).join("\n");
      expect(text).toMatch(/fleet_event_kind_seq_idx/);
      expect(text).not.toContain("Seq Scan");
      expect(await store.between(0n, 1_000_000_000n, 100, view)).toHaveLength(4);
    }
    const plan = await prisma.$queryRaw<{ "QUERY PLAN": string }[]>`
      EXPLAIN SELECT * FROM fleet_event WHERE seq <= 20000 AND owner_id = ${anna} ORDER BY seq LIMIT 101`;
    expect(JSON.stringify(plan)).toContain("fleet_event_owner_id_seq_idx");
  });
});
