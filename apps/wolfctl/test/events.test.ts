/** Events that are followed: the stream's grammar, resuming where it broke, what is missing, pages where there is no stream. */
import type { ServerResponse } from "node:http";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { BEFORE_ALL_EVENTS, type FleetEvent } from "@wolfpack/api-contract";
import fc from "fast-check";
import { targetOf } from "../src/config/target.ts";
import { connect } from "../src/connection.ts";
import { Interrupted } from "../src/errors.ts";
import { follow, retryDelay } from "../src/events/follow.ts";
import { createSseParser, type ServerSentEvent, SseTooLarge } from "../src/events/sse.ts";
import { KEY, machine, type Options, testEdges } from "./edges.ts";
import { anEvent, aWolf, eventId, HOSTILE, sessionId, userId, wolfId } from "./objects.ts";
import { type Answer, type Asked, problem, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

describe("a stream of server-sent events", () => {
  const read = (...pieces: string[]): ServerSentEvent[] => {
    const parser = createSseParser();
    return pieces.flatMap((piece) => parser.push(piece));
  };

  it("is read by its grammar: fields, comments, ids that stay, data of several lines", () => {
    expect(
      read("\ufeff: beat\n\nid: 1\ndata: a\ndata:b\n\nevent: hello\ndata\n\nnonsense\ndata: c\n\n"),
    ).toEqual([
      { event: "message", data: "a\nb", id: "1" },
      { event: "hello", data: "", id: "1" },
      { event: "message", data: "c", id: "1" },
    ]);
  });

  it("is the same however it is cut into pieces and whatever its line breaks are", () => {
    const text = "id: 1\ndata: a\n\n: beat\nevent: x\ndata: b\ndata: c\n\nid: 2\ndata: d\n\n";
    fc.assert(
      fc.property(
        fc.constantFrom("\n", "\r", "\r\n"),
        fc.array(fc.integer({ min: 0, max: 80 })),
        (lineBreak, cuts) => {
          const whole = text.replaceAll("\n", lineBreak);
          const at = [0, ...cuts.filter((cut) => cut < whole.length).sort((a, b) => a - b), whole.length];
          const pieces = at.slice(1).map((to, index) => whole.slice(at[index], to));
          // The last line break may be half of one: what follows tells.
          expect(read(...pieces, `${lineBreak}: end`)).toEqual(read(text));
        },
      ),
    );
  });

  it("says when to come back, and is not led astray by ids and delays that are none", () => {
    const parser = createSseParser();
    parser.push("retry: 1500\nretry: soon\nretry: -1\nid: a\0b\ndata: x\n");
    expect([parser.retryMs(), parser.push("\n")]).toEqual([1500, [{ event: "message", data: "x", id: "" }]]);
  });

  it("that does not end a line or an event is given up", () => {
    expect(() => createSseParser(100).push(`data: ${"x".repeat(200)}`)).toThrow(SseTooLarge);
    const parser = createSseParser(100);
    expect(() => {
      for (let lines = 0; lines < 20; lines += 1) parser.push("data: 0123456789\n");
    }).toThrow(SseTooLarge);
  });
});

describe("the way back", () => {
  it("gets longer up to a bound, with jitter, and never shorter than half of what the server wishes", () => {
    expect([1, 2, 3, 20].map((failures) => retryDelay(failures, undefined, 1))).toEqual([
      500, 1000, 2000, 30_000,
    ]);
    fc.assert(
      fc.property(
        fc.nat(50),
        fc.nat(100_000),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (failures, told, random) => {
          const delay = retryDelay(failures + 1, told, random);
          expect(delay).toBeGreaterThanOrEqual(Math.floor(Math.min(30_000, told) / 2));
          expect(delay).toBeLessThanOrEqual(30_000);
        },
      ),
    );
  });
});

describe("wolfctl events --follow", () => {
  let server: ScriptedServer;
  let here: ReturnType<typeof machine>;
  /** What a stream says, one after the other; after the last one there is silence. */
  let streams: ((response: ServerResponse, asked: Asked) => void)[];
  let past: FleetEvent[];

  beforeAll(async () => {
    server = await scriptedServer();
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    server.asked.length = 0;
    here = machine(server.url);
    streams = [];
    past = [];
    server.on(`GET /api/v1/wolf-instances/${wolfId(1)}`, { body: aWolf(1) });
    server.on("GET /api/v1/events", (asked, response) => {
      if (!asked.headers.accept?.includes("text/event-stream"))
        return { body: asked.query.get("newest_first") === "true" ? past.toReversed() : past };
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(`event: hello\ndata: {"replica":"r","version":"0.1.0","cursor":"${eventId(0)}"}\n\n`);
      streams.shift()?.(response, asked);
      return undefined;
    });
  });
  afterEach(() => here.remove());

  const say = (response: ServerResponse, event: FleetEvent) =>
    response.write(`id: ${event.id}\ndata: ${JSON.stringify(event)}\n\n`);
  /** Follows until it has printed this. */
  const until = (text: string, words: string[] = [], options: Partial<Options> = {}) =>
    here.run(["events", "--follow", ...words], {
      onOutput: (all, edges) => {
        if (all.includes(text)) edges.stop.abort();
      },
      ...options,
    });
  const asksForStream = () => server.asked.filter(({ headers }) => headers.accept === "text/event-stream");

  it("shows the newest of the past, then what happens, and ends with 130", async () => {
    past = [anEvent(1, { kind: "session.placed" })];
    streams = [(response) => void say(response, anEvent(2))];
    const { code, out } = await until("session.running");
    expect(code).toBe(130);
    expect(out.split("\n").slice(0, 2)).toEqual([
      expect.stringMatching(/^11-26 21:29:00 {2}session\.placed +ses_0+1 on gpu-1$/),
      expect.stringMatching(/^11-26 21:29:00 {2}session\.running +ses_0+2 on gpu-1$/),
    ]);
    expect(asksForStream()[0]?.headers["last-event-id"]).toBe(eventId(1));
  });

  it("is of names where the control plane says them, and asks for none of them", async () => {
    const names = { session_name: "training-3", wolf_name: "ams-amd-1", actor_name: "ops" };
    const by = { actor: { kind: "user", id: userId(1) }, cause: "requested" };
    past = [
      anEvent(1, { ...names, kind: "session.placed", cause: "wolf-event", detail: { attempts: 1 } }),
      anEvent(2, { ...names, ...by, kind: "wolf.intent", session_id: null, detail: { from: "a", to: "b" } }),
      anEvent(3, { ...names, ...by, kind: "queue.entered", detail: { turn: 1, priority: 4, waited_ms: 7 } }),
      anEvent(4, { session_id: null, wolf_instance_id: null, object_id: userId(2), detail: { name: "eve" } }),
      anEvent(5, { ...names, kind: "session.lost", cause: "silence" }),
    ];
    const { out } = await here.run(["events", "--wide"]);
    expect(out.split("\n").map((text) => text.split(/ {2,}/).at(-1))).toEqual([
      "training-3 on ams-amd-1",
      "ams-amd-1, a → b, by ops",
      "training-3 on ams-amd-1, priority 4, waited ms 7, by ops",
      "eve",
      "training-3 on ams-amd-1, nothing was heard of it",
      "",
    ]);
    expect(server.asked.map(({ path }) => path)).toEqual(["/api/v1/events"]);
  });

  it("says field by field what was changed of a user, in words and not as JSON", async () => {
    const changed = (detail: FleetEvent["detail"]) =>
      anEvent(1, { kind: "user.changed", session_id: null, wolf_instance_id: null, detail });
    past = [
      changed({ from: {}, name: "ada", role: "user", disabled: false, sessions_max: 3 }),
      changed({ from: { role: "user", sessions_max: 3 }, name: "ada", role: "operator", disabled: false }),
      changed({ from: { disabled: true, [HOSTILE]: [1] }, name: "ada", role: "operator", disabled: false }),
    ];
    const { out } = await here.run(["events", "--wide"]);
    expect(out.split("\n").map((text) => text.split(/ {2,}/).at(-1))).toEqual([
      "ada, role user, sessions max 3",
      "ada, role user → operator, sessions max was 3",
      expect.stringMatching(/^ada, disabled true → false, \\x1b.* was \[1\], role operator$/),
      "",
    ]);
  });

  it("falls back to ids of what has no name any more, whatever else is said of it", async () => {
    const gone = { session_name: null, wolf_name: null, actor_name: null };
    past = [anEvent(1, { ...gone, actor: { kind: "user", id: userId(1) }, cause: "toString" })];
    const { out } = await here.run(["events", "--wide"]);
    expect(out).toContain(`${sessionId(1)} on ${wolfId(1)}, toString, by ${userId(1)}`);
  });

  it("resumes after the last event that it has printed, prints none twice, and says once that it broke", async () => {
    streams = [
      (response) => {
        say(response, anEvent(1));
        setImmediate(() => response.destroy());
      },
      (response) => {
        say(response, anEvent(1));
        say(response, anEvent(2, { kind: "session.stopped" }));
      },
    ];
    const { out, err } = await until("session.stopped");
    expect(asksForStream().map(({ headers }) => headers["last-event-id"])).toEqual([
      BEFORE_ALL_EVENTS,
      eventId(1),
    ]);
    expect(out.match(/session\.running/g)).toHaveLength(1);
    expect(err.match(/it is resumed/g)).toHaveLength(1);
  });

  it("misses nothing that happens after it has found no past, and before its stream has begun", async () => {
    streams = [(response) => void say(response, anEvent(1))];
    await until("session.running", ["--session", anEvent(1).session_id ?? ""]);
    expect(asksForStream()[0]?.headers["last-event-id"]).toBe(BEFORE_ALL_EVENTS);
  });

  it("resumes from where the stream began when nothing had happened yet", async () => {
    streams = [
      (response) => setImmediate(() => response.end()),
      (response) => void say(response, anEvent(2)),
    ];
    await until("session.running");
    expect(asksForStream()[1]?.headers["last-event-id"]).toBe(eventId(0));
  });

  it("takes a stream that says nothing any more for broken, and resumes it", async () => {
    const edges = testEdges({ home: here.home });
    const target = targetOf(
      { url: server.url, keyFile: here.keyFile },
      {},
      { format: 1, current: null, profiles: {} },
    );
    // The first one is silent after its first words.
    streams = [() => undefined, (response) => void say(response, anEvent(1))];
    const notes: string[] = [];
    const following = follow(
      {
        connection: connect(target, KEY, edges),
        edges,
        filter: {},
        after: BEFORE_ALL_EVENTS,
        silenceMaxMs: 50,
      },
      { event: async () => edges.stop.abort(), note: async (sentence) => void notes.push(sentence) },
    );
    await expect(following).rejects.toThrow(Interrupted);
    expect(notes).toEqual(["The stream has broken off (nothing heard for 0.05 s); it is resumed."]);
  });

  it("says what is missing, and what it does not understand, and goes on", async () => {
    streams = [
      (response) => {
        response.write(`event: missed\ndata: {"after":"${eventId(1)}","reason":"slow"}\n\n`);
        response.write('data: {"kind":5}\n\ndata: no json\n\nevent: later\ndata: {}\n\n');
        say(response, anEvent(3));
      },
    ];
    const { err } = await until("session.running");
    expect(err).toContain(`Events are missing after ${eventId(1)} (slow)`);
    expect(err.match(/does not understand/g)).toHaveLength(2);
  });

  it("passes its filters on, with a wolf's id for its name", async () => {
    server.on("GET /api/v1/wolf-instances/gpu-1", { body: aWolf(1) });
    streams = [(response) => void say(response, anEvent(1))];
    await until("session.running", ["--kind", "session.*", "--wolf", "gpu-1", "--actor", userId(1)]);
    expect(Object.fromEntries(asksForStream()[0]?.query ?? [])).toEqual({
      kind: "session.*",
      wolf_instance_id: wolfId(1),
      actor_id: userId(1),
    });
  });

  it("is a line of JSON for each event, harmless whatever is in it", async () => {
    const event = anEvent(1, { kind: HOSTILE, detail: { x: HOSTILE } });
    streams = [(response) => void say(response, event)];
    const { out } = await until("evt_", ["-o", "json"]);
    expect(out.trim().split("\n")).toHaveLength(1);
    expect(JSON.parse(out)).toEqual(event);
    expect(/[\p{Cc}\p{Cf}]/u.test(out.trimEnd())).toBe(false);
  });

  it("asks for pages where there is no stream, from the last event on", async () => {
    const pages = [[], [anEvent(2)], [anEvent(3, { kind: "session.stopped" })]];
    past = [anEvent(1)];
    server.on("GET /api/v1/events", ({ query }) => ({
      body: query.get("newest_first") === "true" ? past : query.has("cursor") ? (pages.shift() ?? []) : past,
    }));
    const { err, edges } = await until("session.stopped");
    expect(err).toContain("has no stream of events: it is asked every 2 s");
    expect(edges.pauses.slice(0, 2)).toEqual([2000, 2000]);
    const cursors = server.asked.map(({ query }) => query.get("cursor")).filter((cursor) => cursor !== null);
    expect(cursors.slice(0, 3)).toEqual([eventId(1), eventId(1), eventId(2)]);
  });

  it("asks for pages where too many streams are open", async () => {
    past = [anEvent(1)];
    server.on("GET /api/v1/events", ({ headers, query }) =>
      headers.accept === "text/event-stream"
        ? problem(429, "too-many-streams", "20 streams are open.")
        : { body: query.has("cursor") ? [anEvent(2, { kind: "session.stopped" })] : past },
    );
    expect((await until("session.stopped")).err).toContain("20 streams are open: it is asked every 2 s");
  });

  describe("by pages", () => {
    /** What it is asked page after page: an answer each, and then one event more. */
    function pages(...answers: (Answer | "cut off")[]) {
      server.on("GET /api/v1/events", ({ headers, query }, response) => {
        if (headers.accept === "text/event-stream" || !query.has("cursor")) return { body: past };
        const answer = answers.shift() ?? { body: [anEvent(9, { kind: "session.stopped" })] };
        if (answer !== "cut off") return answer;
        response.destroy();
        return undefined;
      });
    }
    const draining = problem(503, "draining", "Shuts down.");
    const gateway = { status: 502, body: "<html>", headers: { "content-type": "text/html" } };
    beforeEach(() => {
      past = [anEvent(1)];
    });

    it("waits for a control plane that restarts, says so once, and goes on after the last event", async () => {
      const down = [gateway, draining, draining, draining, gateway, problem(500, "internal", "No.")];
      pages({ body: [anEvent(2)] }, ...down, "cut off", "cut off", "cut off", { body: [] });
      const { code, err, edges } = await until("session.stopped");
      expect(code).toBe(130);
      expect(err.match(/It is waited for/g)).toHaveLength(1);
      expect(err).toContain("answered 502 in words that are not Wolfpack's");
      const cursors = server.asked.map(({ query }) => query.get("cursor")).filter((one) => one !== null);
      expect(new Set(cursors.slice(1))).toEqual(new Set([eventId(2)]));
      // Those of the connection's own tries besides.
      expect(edges.pauses.filter((ms) => ms !== 1000).slice(0, 7)).toEqual([
        2000, 2000, 2000, 2000, 2000, 4000, 2000,
      ]);
    });

    it("says a second outage again, and waits half a minute at most", async () => {
      const long = Array.from({ length: 12 }, () => gateway);
      pages(...long, { body: [] }, gateway);
      const { err, edges } = await until("session.stopped");
      expect(err.match(/It is waited for/g)).toHaveLength(2);
      expect(Math.max(...edges.pauses)).toBe(15_000);
    });

    it.each([
      [401, "unauthenticated", 3],
      [403, "forbidden", 3],
      [400, "invalid-request", 2],
    ])("ends at once where no wait mends it: %i %s", async (status, code, exitCode) => {
      pages({ body: [] }, problem(status, code, "No."), { body: [] });
      const ran = await here.run(["events", "-f"]);
      expect([ran.code, ran.edges.pauses]).toEqual([exitCode, [2000]]);
      expect(ran.err).toContain(`wolfctl: No. (${code}, request req-1)`);
    });

    it("ends with 5 where there is nobody from the beginning", async () => {
      server.on("GET /api/v1/events", draining);
      expect((await here.run(["events", "-f"])).code).toBe(5);
    });

    it("tries the stream again from time to time, and is streamed as soon as there is one to spare", async () => {
      let tries = 0;
      server.on("GET /api/v1/events", ({ headers, query }, response) => {
        if (headers.accept !== "text/event-stream")
          return { body: query.has("cursor") ? [anEvent(2 + tries)] : past };
        tries += 1;
        if (tries < 4) return problem(429, "too-many-streams", "20 streams are open.");
        response.writeHead(200, { "content-type": "text/event-stream" });
        say(response, anEvent(9, { kind: "session.stopped" }));
        return undefined;
      });
      const { code, out, err, edges } = await until("session.stopped");
      expect([code, tries]).toEqual([130, 4]);
      expect(err.match(/20 streams are open: it is asked every 2 s/g)).toHaveLength(1);
      // Three times for 45 s: 60 s, of which up to a half is left out by chance.
      expect(edges.pauses).toEqual(Array.from({ length: 69 }, () => 2000));
      expect(asksForStream().map(({ headers }) => headers["last-event-id"])).toEqual(
        [1, 3, 4, 5].map(eventId),
      );
      expect(out.match(/session\./g)).toHaveLength(5);
    });
  });

  it("ends where its key is revoked, and waits where the control plane restarts", async () => {
    let asked = 0;
    server.on("GET /api/v1/events", ({ headers }) => {
      if (headers.accept !== "text/event-stream") return { body: [] };
      asked += 1;
      return asked < 4
        ? problem(503, "draining", "Shuts down.")
        : problem(401, "unauthenticated", "Revoked.");
    });
    const { code, err, edges } = await here.run(["events", "-f"]);
    expect([code, asked, edges.pauses.length]).toEqual([3, 4, 3]);
    expect(err).toContain("wolfctl: Revoked. (unauthenticated, request req-1)");
  });

  it("refuses a past that is too long, and a session that is none", async () => {
    expect((await here.run(["events", "-f", "--limit", "all"])).code).toBe(2);
    expect((await here.run(["events", "--session", "desk"])).code).toBe(2);
  });
});
