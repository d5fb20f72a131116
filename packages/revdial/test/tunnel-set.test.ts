/** A tunnel set over memory: balance, loss, retry, waiting. */
import { once } from "node:events";
import { describe, expect, it } from "@jest/globals";
import { RevdialError } from "../src/errors.ts";
import { ManualClock, seededRandom, type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import type { IncomingRequest, RequestHandler } from "../src/tunnel.ts";
import { createTunnelSet, type TunnelSet } from "../src/tunnel-set.ts";
import { collect, failure, get, signal, text, untilAborted } from "./support.ts";

const fine: RequestHandler = () => ({ status: 200 });

async function join(set: TunnelSet, clock: ManualClock, handler: RequestHandler = fine): Promise<TunnelPair> {
  const pair = tunnelPair({ both: { clock, onHandlerError: () => undefined } });
  pair.left.serve(handler);
  set.add(pair.right);
  await pair.ready;
  return pair;
}

async function leave(set: TunnelSet, clock: ManualClock): Promise<void> {
  set.destroy();
  await set.closed;
  await clock.advance(2000);
  expect(clock.pending).toBe(0);
}

describe("a tunnel set", () => {
  it("spreads 1,000 requests evenly over three members", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const counts = [0, 0, 0];
    for (const index of [0, 1, 2])
      await join(set, clock, () => {
        counts[index] = (counts[index] ?? 0) + 1;
        return { status: 200 };
      });
    const answers = await Promise.all(Array.from({ length: 1000 }, () => set.request(get("/"))));
    await Promise.all(answers.map(({ body }) => collect(body)));
    expect(counts.reduce((sum, count) => sum + count)).toBe(1000);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThan(3);
    await leave(set, clock);
  });

  it("asks the member with fewer channels in use until both have the same", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const held: RequestHandler = ({ signal: abort }) => untilAborted(abort);
    const busy = await join(set, clock, held);
    const idle = await join(set, clock, held);
    const calls = [1, 2, 3, 4].map(() => failure(busy.right.request(get("/"))));
    calls.push(...[1, 2, 3, 4].map(() => failure(set.request(get("/")))));
    expect([busy.right.load, idle.right.load]).toEqual([4, 4]);
    await leave(set, clock);
    await Promise.all(calls);
  });

  it("loses with a cut member only the calls that were on it", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const begun = signal();
    const lost = await join(set, clock, ({ signal: abort }) => {
      begun.give();
      return untilAborted(abort);
    });
    const onLost = failure(set.request(get("/")));
    await begun.seen;
    await join(set, clock);
    lost.link.cut();
    expect(await onLost).toMatchObject({ code: "TRANSPORT_LOST", sent: "may-have-run" });
    expect((await set.request(get("/"))).status).toBe(200);
    expect(set.members).toHaveLength(1);
    await leave(set, clock);
  });

  it("hands over from a draining member without one failed call out of 2,000", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const old = await join(set, clock);
    await join(set, clock);
    const calls: Promise<number>[] = [];
    for (let call = 0; call < 2000; call += 1) {
      if (call === 1000) void old.left.close();
      calls.push(
        set.request(get("/")).then(async ({ status, body }) => {
          await collect(body);
          return status;
        }),
      );
      // In flight at most 100: what one member alone has channels for.
      if (call % 100 === 50) await Promise.all(calls);
    }
    expect((await Promise.all(calls)).every((status) => status === 200)).toBe(true);
    await leave(set, clock);
  });

  it("never runs a request twice, whenever a member is cut (100 seeds)", async () => {
    for (let seed = 1; seed <= 100; seed += 1) {
      const clock = new ManualClock();
      const random = seededRandom(seed);
      const set = createTunnelSet({ clock });
      const runs = new Map<string, number>();
      const count: RequestHandler = ({ path }) => {
        runs.set(path, (runs.get(path) ?? 0) + 1);
        return { status: 200 };
      };
      const pairs = [
        await join(set, clock, count),
        await join(set, clock, count),
        await join(set, clock, count),
      ];
      const calls: Promise<string>[] = [];
      for (let call = 0; call < 40; call += 1) {
        calls.push(
          set.request(get(`/${call}`)).then(
            () => "answered",
            ({ sent }) => sent,
          ),
        );
        if (random() < 0.05) pairs.pop()?.link.cut();
        if (random() < 0.3) await new Promise<void>((resolve) => setImmediate(resolve));
      }
      const outcomes = await Promise.all(calls);
      const wrong = outcomes.filter((outcome, call) => {
        const ran = runs.get(`/${call}`) ?? 0;
        return ran > 1 || (outcome === "answered" && ran !== 1) || (outcome === "not-sent" && ran !== 0);
      });
      expect({ seed, wrong }).toEqual({ seed, wrong: [] });
      await leave(set, clock);
    }
  });

  it.each([
    ["bytes again", () => text.encode("x"), 200],
    [
      "an iterable never again",
      () =>
        (async function* () {
          yield text.encode("x");
        })(),
      "REFUSED",
    ],
  ])("sends %s when a member could not send it", async (_name, body, outcome) => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    // The one with the smaller load has no channel left, and says so before anything is sent.
    const busy: RequestHandler = ({ path, signal: abort }) =>
      path === "/busy" ? untilAborted(abort) : { status: 200 };
    const full = tunnelPair({ both: { clock }, left: { limits: { channelsMax: 1 } } });
    full.left.serve(busy);
    set.add(full.right);
    await full.ready;
    const free = await join(set, clock, busy);
    const held = [full, free, free].map(({ right }) => failure(right.request(get("/busy"))));
    const call = set.request({ ...get("/"), method: "POST", body: body() });
    expect(
      await call.then(
        ({ status }) => status,
        ({ code }) => code,
      ),
    ).toBe(outcome);
    await leave(set, clock);
    await Promise.all(held);
  });
});

describe("a request without a usable member", () => {
  it("fails at once without a deadline, and with one waits until a member comes", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    expect(await failure(set.request(get("/")))).toMatchObject({ code: "CLOSED", sent: "not-sent" });
    const waiting = set.request({ ...get("/"), deadlineMs: 5000 });
    await join(set, clock, ({ deadlineMs }) => ({ status: deadlineMs === 5000 ? 200 : 500 }));
    expect((await waiting).status).toBe(200);
    await leave(set, clock);
  });

  it("ends waiting at the deadline, by the signal, by the bound and by the set's end", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock, waitersMax: 2 });
    const stop = new AbortController();
    const late = failure(set.request({ ...get("/"), deadlineMs: 100 }));
    const cancelled = failure(set.request({ ...get("/"), deadlineMs: 500, signal: stop.signal }));
    expect(await failure(set.request({ ...get("/"), deadlineMs: 500 }))).toMatchObject({ code: "REFUSED" });
    stop.abort();
    expect(await cancelled).toMatchObject({ code: "CANCELLED", sent: "not-sent" });
    await clock.advance(100);
    expect(await late).toMatchObject({ code: "DEADLINE", sent: "not-sent" });
    const closed = failure(set.request({ ...get("/"), deadlineMs: 500 }));
    await set.close();
    expect(await closed).toMatchObject({ code: "CLOSED", sent: "not-sent" });
    expect(clock.pending).toBe(0);
  });
});

describe("connect over a set", () => {
  const echo: RequestHandler = async (_request, reply) => {
    const socket = reply.accept();
    socket.pipe(socket);
    await once(socket, "close");
  };

  it("opens its byte stream on the least loaded member, and loses it with that member alone", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const first = await join(set, clock, echo);
    const second = await join(set, clock, echo);
    const sockets = await Promise.all([set.connect("shell"), set.connect("shell")]);
    expect([first.right.load, second.right.load]).toEqual([1, 1]);
    const broken = once(sockets[0], "error");
    first.link.cut();
    expect(await broken).toMatchObject([{ code: "TRANSPORT_LOST" }]);
    sockets[1].end("still here");
    expect(String(await collect(sockets[1]))).toBe("still here");
    await leave(set, clock);
  });

  it("tries another member where nothing was sent, and keeps its options", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    await join(set, clock, () => {
      throw new RevdialError("REFUSED", "full");
    });
    const seen = signal<IncomingRequest>();
    await join(set, clock, async (request, reply) => {
      seen.give(request);
      await echo(request, reply);
    });
    const socket = await set.connect("shell", { path: "/tty", protocol: "x", headers: [["x-a", "1"]] });
    expect(await seen.seen).toMatchObject({
      service: "shell",
      method: "GET",
      path: "/tty",
      upgrade: "x",
      headers: [["x-a", "1"]],
    });
    socket.end();
    await collect(socket);
    await leave(set, clock);
  });

  it("takes an ordinary answer for the answer of all", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    let calls = 0;
    const refuse: RequestHandler = () => {
      calls += 1;
      return { status: 403, body: text.encode("not you") };
    };
    await join(set, clock, refuse);
    await join(set, clock, refuse);
    const error = await failure(set.connect("shell"));
    expect(error).toMatchObject({ code: "SOCKET_REFUSED", status: 403, detail: "not you" });
    expect(calls).toBe(1);
    await leave(set, clock);
  });

  it("waits for a member within its deadline", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    expect(await failure(set.connect("shell"))).toMatchObject({ code: "CLOSED", sent: "not-sent" });
    const late = failure(set.connect("shell", { deadlineMs: 100 }));
    await clock.advance(100);
    expect(await late).toMatchObject({ code: "DEADLINE", sent: "not-sent" });
    const connecting = set.connect("shell", { deadlineMs: 100 });
    await join(set, clock, echo);
    (await connecting).destroy();
    await leave(set, clock);
  });
});

describe("notices of a set", () => {
  it("are heard from every member, present and to come, by every listener until it stops", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const heard: string[] = [];
    const listen = (type: string, payload: Uint8Array) => void heard.push(`${type} ${Buffer.from(payload)}`);
    const before = await join(set, clock);
    const stops = [set.onNotice(listen), set.onNotice(listen)];
    const after = await join(set, clock);
    before.left.notify("from", text.encode("before"));
    await clock.advance(0);
    after.left.notify("from", text.encode("after"));
    await clock.advance(0);
    expect(heard).toEqual(["from before", "from before", "from after", "from after"]);
    stops[0]?.();
    after.left.notify("from", text.encode("one"));
    await clock.advance(0);
    stops[1]?.();
    stops[1]?.();
    for (const { left } of [before, after, await join(set, clock)]) left.notify("from", text.encode("none"));
    await clock.advance(0);
    expect(heard.slice(4)).toEqual(["from one"]);
    await leave(set, clock);
  });

  it("go to a member that is up and takes requests, and are dropped without one", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const heard: string[] = [];
    expect(set.notify("early", new Uint8Array())).toBe(false);
    const members = [await join(set, clock), await join(set, clock)];
    for (const [index, { left }] of members.entries())
      left.onNotice((type) => heard.push(`${type} ${index}`));
    for (let n = 0; n < 4; n += 1) expect(set.notify("both", new Uint8Array())).toBe(true);
    await clock.advance(0);
    expect(heard.sort()).toEqual(["both 0", "both 0", "both 1", "both 1"]);
    // One drains behind a call in flight, the other is cut.
    const held = failure((members[0] as TunnelPair).left.request(get("/")));
    void members[0]?.left.close();
    await clock.advance(0);
    for (let n = 0; n < 2; n += 1) expect(set.notify("one", new Uint8Array())).toBe(true);
    await clock.advance(0);
    members[1]?.link.cut();
    await clock.advance(0);
    expect(set.notify("late", new Uint8Array())).toBe(false);
    expect(heard.slice(4)).toEqual(["one 1", "one 1"]);
    await leave(set, clock);
    await held;
  });

  it("of a member that has left are forgotten with it", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const heard: string[] = [];
    const stop = set.onNotice((type) => heard.push(type));
    const gone = await join(set, clock);
    const stays = await join(set, clock);
    gone.link.cut();
    await clock.advance(0);
    stays.left.notify("here", new Uint8Array());
    await clock.advance(0);
    expect(heard).toEqual(["here"]);
    stop();
    await leave(set, clock);
    expect(() => set.onNotice(() => undefined)).not.toThrow();
  });
});

describe("the readiness of a set", () => {
  it("comes with the first member that is up", async () => {
    const clock = new ManualClock();
    const set = createTunnelSet({ clock });
    const lost = tunnelPair({ both: { clock } });
    lost.link.cut();
    set.add(lost.right);
    let ready = false;
    void set.ready.then(() => {
      ready = true;
    });
    await clock.advance(0);
    expect(ready).toBe(false);
    await join(set, clock);
    await set.ready;
    await leave(set, clock);
    await set.ready; // It was.
  });

  it.each(["close", "destroy"] as const)("never comes after %s", async (how) => {
    const set = createTunnelSet();
    void set[how]();
    expect(await failure(set.ready)).toMatchObject({ code: "CLOSED" });
    expect((await set.closed).code).toBe(how === "close" ? "CLOSED" : "DESTROYED");
  });
});
