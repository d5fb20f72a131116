/** A tunnel set over memory: balance, loss, retry, waiting. */
import { describe, expect, it } from "@jest/globals";
import { ManualClock, seededRandom, type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import type { RequestHandler } from "../src/tunnel.ts";
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
