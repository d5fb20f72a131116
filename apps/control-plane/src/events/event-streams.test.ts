/** Streams of events over real connections, with a clock and a feed of the test's own: silence, slow readers, expiry, failures. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Role } from "@wolfpack/api-contract";
import express from "express";
import { type EventReader, readEvents } from "../../test/event-source.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { problemHandler } from "../http/problem.ts";
import type { UserPrincipal } from "../identity/principal.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import { createEventFeed, type EventFeed } from "./event-feed.ts";
import type { EventStore, FleetEventRecord } from "./event-store.ts";
import { createEventStreams, type EventStreams, type StreamLimits } from "./event-streams.ts";
import { sightOf } from "./event-view.ts";

const event = (seq: bigint, text = ""): FleetEventRecord => ({
  id: newId("evt"),
  seq,
  at: new Date(0),
  kind: "fleet.test",
  sessionId: null,
  wolfId: null,
  ownerId: null,
  objectId: null,
  actor: null,
  actorId: null,
  cause: null,
  requestId: null,
  detail: { text },
  names: { session: null, wolf: null, owner: null, actor: null },
});

/** Events in memory, as the database has them. */
function memory() {
  const rows: FleetEventRecord[] = [];
  const state = { waiting: false, broken: false, asked: 0 };
  const store: Pick<EventStore, "horizon" | "between" | "lastUpTo" | "seqOf"> = {
    async horizon() {
      state.asked += 1;
      if (state.broken) throw new Error("ECONNREFUSED");
      return { settled: BigInt(rows.length), waiting: state.waiting };
    },
    async between(after, upTo, limit) {
      return rows.filter(({ seq }) => seq > after && seq <= upTo).slice(0, limit);
    },
    lastUpTo: async (seq) => rows.findLast((row) => row.seq <= seq),
    seqOf: async (id) => rows.find((row) => row.id === id)?.seq,
  };
  const add = (text?: string) => rows.push(event(BigInt(rows.length + 1), text));
  return { store, state, add, rows };
}

let clock: ManualClock;
let events: ReturnType<typeof memory>;
let feed: EventFeed;
let streams: EventStreams;
let server: Server | undefined;
let url = "";
let revoke: (kind: "user", id: string) => void = () => undefined;
let principal: UserPrincipal;
const lines: string[] = [];
const readers: EventReader[] = [];

beforeEach(() => {
  clock = manualClock();
  events = memory();
  lines.length = 0;
  principal = { kind: "user", userId: "u", role: "admin", scopes: null, credentialId: "k" };
});
afterEach(async () => {
  for (const reader of readers.splice(0)) reader.close();
  await feed.stop();
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
});

async function serve(limits: Partial<StreamLimits> = {}): Promise<void> {
  const log = createLogger("warn", { write: (line) => void lines.push(line) });
  feed = createEventFeed({ store: events.store, clock, log });
  feed.start();
  const onRevoked = (listener: typeof revoke) => {
    revoke = listener;
  };
  const same = { feed, store: events.store, clock, random: () => 0.5, replica: "rep_1", version: "1" };
  streams = createEventStreams({ ...same, revocations: { onRevoked: onRevoked as never }, limits });
  const app = express();
  app.get("/api/v1/events", async (request, response) => {
    const lastEventId = request.headers["last-event-id"];
    await streams
      .open(
        { principal, view: { sight: sightOf(principal) }, lastEventId: lastEventId as string | undefined },
        response,
      )
      .live();
  });
  app.use(problemHandler(createLogger("silent")));
  server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server?.once("listening", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function read(lastEventId?: string): Promise<EventReader> {
  const reader = await readEvents(url, lastEventId === undefined ? {} : { "last-event-id": lastEventId });
  readers.push(reader);
  if (reader.status === 200) await reader.until((said) => said.length > 0);
  else await reader.ended;
  return reader;
}
const turns = async () => {
  for (let left = 20; left > 0; left -= 1) await new Promise((resolve) => setImmediate(resolve));
};
/** The feed has heard of it, and reads. */
async function tell(...texts: string[]): Promise<void> {
  for (const text of texts) events.add(text);
  feed.wake();
  clock.advance(20);
  await turns();
}

describe("a stream", () => {
  it("begins at the last event there is, or before all", async () => {
    await serve();
    const first = await read();
    expect(JSON.parse(first.said[0]?.data ?? "")).toEqual({
      replica: "rep_1",
      version: "1",
      cursor: "evt_00000000000000000000000000",
    });
    await tell("a");
    expect(await first.kinds(1)).toEqual(["fleet.test"]);
    const second = await read();
    expect(second.said[0]?.id).toBe(events.rows[0]?.id);
    const third = await read("evt_00000000000000000000000000");
    expect((await third.kinds(1)).length).toBe(1);
  });

  it("beats every 15 s as long as nothing happens, by a comment and by an event without an id", async () => {
    await serve();
    const reader = await read();
    for (const beats of [1, 2]) {
      clock.advance(15_000);
      await reader.until((said) => said.filter(({ event: name }) => name === ":").length === beats);
      await reader.until((said) => said.filter(({ event: name }) => name === "beat").length === beats);
    }
    const beat = reader.said.find(({ event: name }) => name === "beat");
    expect(beat).toEqual({ event: "beat", id: undefined, data: "{}" });
    expect(reader.events()).toEqual([]);
  });

  it("ends when its credential expires", async () => {
    principal = { ...principal, expiresAt: new Date(clock.now().getTime() + 60_000) };
    await serve();
    const reader = await read();
    clock.advance(59_000);
    await turns();
    await tell("still");
    await reader.kinds(1);
    clock.advance(980);
    await reader.ended;
    expect(streams.count()).toBe(0);
  });

  it("ends at once for a revoked user, also one that is just being opened", async () => {
    await serve();
    const reader = await read();
    const before = events.store.horizon;
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    events.store.horizon = async () => {
      asked.resolve();
      await held.promise;
      return before();
    };
    const refused = expect(readEvents(url, {})).rejects.toThrow("socket hang up");
    await asked.promise;
    revoke("user", "u");
    held.resolve();
    await reader.ended;
    await refused;
    expect(streams.count()).toBe(0);
  });

  it("is refused without a database, and others go on where they were once it is back", async () => {
    await serve();
    const reader = await read();
    events.state.broken = true;
    const refused = await read();
    expect([refused.status, streams.count()]).toEqual([500, 1]);
    await tell("a", "b");
    clock.advance(500);
    await turns();
    expect(reader.events()).toEqual([]);
    expect(lines.filter((line) => line.includes("events not read yet"))).toHaveLength(1);
    events.state.broken = false;
    clock.advance(500);
    await reader.kinds(2);
  });

  it("is read for all of them once, and not at all when there is none", async () => {
    await serve();
    const some = await Promise.all(Array.from({ length: 5 }, () => read()));
    const before = events.state.asked;
    await tell("a");
    await Promise.all(some.map((reader) => reader.kinds(1)));
    expect(events.state.asked - before).toBe(1);
    for (const reader of some) reader.close();
    while (streams.count() > 0) await turns();
    const after = events.state.asked;
    await tell("b");
    clock.advance(10_000);
    await turns();
    expect(events.state.asked).toBe(after);
  });

  it("is looked at again soon while somebody may still write, and says when that takes too long", async () => {
    await serve();
    await read();
    events.state.waiting = true;
    await tell();
    const before = events.state.asked;
    for (let ms = 0; ms < 1000; ms += 10) {
      clock.advance(10);
      await turns();
    }
    const looks = events.state.asked - before;
    expect(looks).toBeGreaterThanOrEqual(5);
    expect(looks).toBeLessThan(15);
    expect(lines).toEqual([]);
    for (let ms = 0; ms < 31_000; ms += 320) {
      clock.advance(320);
      await turns();
    }
    expect(lines.filter((line) => line.includes("end of a transaction"))).toHaveLength(1);
  });

  it("of a reader that stops reading holds no more than its limit, and tells it what it missed", async () => {
    await serve();
    const [slow, quick] = [await read(), await read()];
    slow.stopReading();
    const text = "x".repeat(20_000);
    // Sockets take some megabytes before anything waits here.
    const told = 1000;
    for (let before = 0; before < told; before += 10) {
      await tell(...Array<string>(10).fill(text));
      await quick.until(() => quick.events().length >= before + 10);
    }
    slow.goOn();
    await slow.until((said) => said.some(({ event: name }) => name === "missed"));
    const missed = slow.said.findLast(({ event: name }) => name === "missed");
    const before = slow.said.filter(({ event: name }) => name === "message").at(-1);
    expect(JSON.parse(missed?.data ?? "")).toEqual({ after: before?.id, reason: "slow" });
    expect(slow.events().length).toBeLessThan(told);
    await tell("the end");
    await slow.until(() => slow.events().at(-1)?.detail.text === "the end");
  });

  it("is told within half a second of what nobody has notified", async () => {
    await serve();
    const reader = await read();
    events.add("a");
    clock.advance(500);
    expect(await reader.kinds(1)).toEqual(["fleet.test"]);
  });

  it("of an idle reader misses nothing of thousands of events at once, in their order", async () => {
    await serve();
    const reader = await read();
    const texts = Array.from({ length: 3000 }, (_, n) => `${n}`.padEnd(500, "."));
    await tell(...texts);
    await reader.until((said) => said.length > 3000);
    expect(reader.said.filter(({ event: name }) => name === "missed")).toEqual([]);
    expect(reader.events().map(({ detail }) => detail.text)).toEqual(texts);
  });

  it("of a reader that takes nothing for 60 s is hung up on, and not of one that takes something", async () => {
    await serve();
    const [slow, quick] = [await read(), await read()];
    slow.stopReading();
    const text = "x".repeat(20_000);
    for (let before = 0; before < 1000; before += 50) {
      await tell(...Array<string>(50).fill(text));
      await quick.until(() => quick.events().length >= before + 50);
    }
    clock.advance(58_000);
    await turns();
    expect(streams.count()).toBe(2);
    clock.advance(2000);
    await turns();
    expect(streams.count()).toBe(1);
    slow.goOn();
    await slow.ended;
    await tell("still");
    await quick.until(() => quick.events().at(-1)?.detail.text === "still");
  });

  it("shows who made a change and by which request to whom that may know, and to no other", async () => {
    const bosss = { actor: "user", actorId: "boss", requestId: "request-1" };
    const seen = async (role: Role, userId: string) => {
      principal = { ...principal, role, userId };
      const reader = await read();
      events.rows.push({ ...event(BigInt(events.rows.length + 1)), ...bosss });
      await tell();
      await reader.kinds(1);
      const [told] = reader.events();
      return [told?.actor, told?.request_id];
    };
    await serve();
    const all = [{ kind: "user", id: "boss" }, "request-1"];
    const some = [{ kind: "user", id: null }, null];
    expect(await seen("user", "u")).toEqual(some);
    expect(await seen("viewer", "u")).toEqual(some);
    expect(await seen("user", "boss")).toEqual(all);
    expect(await seen("operator", "u")).toEqual(all);
    expect(await seen("admin", "u")).toEqual(all);
  });

  it.each([
    ["a replica", { streamsMax: 2 }],
    ["a credential", { perCredentialMax: 2 }],
    ["a user", { perUserMax: 2 }],
  ])("is refused past what %s may have", async (_what, limits) => {
    await serve(limits);
    const first = await read();
    const byAnotherKey = "perUserMax" in limits ? { ...principal, credentialId: "k2" } : principal;
    principal = byAnotherKey;
    await read();
    const refused = await read();
    expect(refused.status).toBe(429);
    expect(JSON.parse(refused.body())).toMatchObject({ code: "too-many-streams", current: 2, limit: 2 });
    first.close();
    while (streams.count() > 1) await turns();
    expect((await read()).status).toBe(200);
  });

  it("ends with a word when to come back, when the replica does", async () => {
    await serve();
    const reader = await read();
    streams.close();
    await reader.ended;
    expect(reader.said.at(-1)?.data).toBe("retry: 2750");
    expect([streams.count(), clock.pending]).toEqual([0, 1]);
  });
});
