import { beforeEach, describe, expect, it } from "@jest/globals";
import type { RevdialError, TunnelRequest, TunnelResponse } from "revdial";
import { type ManualClock, manualClock } from "../../../test/manual-clock.ts";
import { createGrace, type Grace, type TunnelLink } from "./grace.ts";

const request: TunnelRequest = { service: "wolf", method: "GET", path: "/" };

let clock: ManualClock;
let grace: Grace;
let live: Map<string, TunnelLink>;
/** What tunnels were asked. */
let asked: (TunnelRequest & { name: string })[];

beforeEach(() => {
  clock = manualClock();
  live = new Map();
  asked = [];
  grace = createGrace({ clock, live: (key) => live.get(key), graceMs: 30_000, waitingMax: 3 });
});

function tunnel(name: string): TunnelLink {
  return {
    async request(given) {
      asked.push({ ...given, name });
      return { status: 200 } as TunnelResponse;
    },
  };
}

/** The status, or the code of the error. */
const outcome = (key: string, given: Partial<TunnelRequest> = {}) =>
  (grace.link(key)?.request({ ...request, ...given }) ?? Promise.reject({ code: "no link" })).then(
    ({ status }) => status,
    ({ code, sent }: RevdialError) => `${code} ${sent}`,
  );

describe("a link", () => {
  it("is the live tunnel itself, waited for or not", () => {
    const one = tunnel("one");
    live.set("a", one);
    expect(grace.link("a")).toBe(one);
    grace.begin("a");
    expect(grace.link("a")).toBe(one);
  });

  it("is none where no tunnel was lost", () => {
    expect(grace.link("a")).toBeUndefined();
  });

  it("holds requests until the next tunnel comes, and lets them go in their order", async () => {
    grace.begin("a");
    const outcomes = ["/1", "/2", "/3"].map((path) => outcome("a", { path }));
    expect([grace.waiting, asked]).toEqual([3, []]);
    grace.arrived("a", tunnel("next"));
    expect(await Promise.all(outcomes)).toEqual([200, 200, 200]);
    expect(asked.map(({ name, path }) => [name, path])).toEqual([
      ["next", "/1"],
      ["next", "/2"],
      ["next", "/3"],
    ]);
    expect([grace.waiting, clock.pending]).toEqual([0, 0]);
  });

  it("that was taken while the tunnel was away goes through the one that is live when it is used", async () => {
    grace.begin("a");
    const link = grace.link("a");
    grace.arrived("a", tunnel("next"));
    live.set("a", tunnel("live"));
    expect((await link?.request(request))?.status).toBe(200);
    expect(asked[0]?.name).toBe("live");
  });

  it("gives a request the time that is left of its own", async () => {
    grace.begin("a");
    const waiting = outcome("a", { deadlineMs: 10_000 });
    clock.advance(4000);
    grace.arrived("a", tunnel("next"));
    expect(await waiting).toBe(200);
    expect(asked[0]?.deadlineMs).toBe(6000);
  });

  it("gives no more time than there was, though the wall clock stepped back", async () => {
    const now = clock.now;
    grace.begin("a");
    const waiting = outcome("a", { deadlineMs: 10_000 });
    clock.now = () => new Date(now().getTime() - 3_600_000);
    grace.arrived("a", tunnel("next"));
    await waiting;
    expect(asked[0]?.deadlineMs).toBe(10_000);
  });
});

describe("a request that waits", () => {
  beforeEach(() => grace.begin("a"));

  it("fails when no tunnel came within the grace, and may be made again", async () => {
    const waiting = outcome("a");
    clock.advance(29_999);
    expect(grace.waiting).toBe(1);
    clock.advance(1);
    expect(await waiting).toBe("CLOSED not-sent");
    expect(grace.link("a")).toBeUndefined();
  });

  it("fails at its own deadline when that is earlier", async () => {
    const waiting = outcome("a", { deadlineMs: 1000 });
    clock.advance(1000);
    expect(await waiting).toBe("DEADLINE not-sent");
    grace.arrived("a", tunnel("next"));
    expect(asked).toEqual([]);
  });

  it("fails when its caller gives up, before or meanwhile", async () => {
    const abort = new AbortController();
    const waiting = outcome("a", { signal: abort.signal, deadlineMs: 1000 });
    abort.abort();
    expect(await waiting).toBe("CANCELLED not-sent");
    expect(await outcome("a", { signal: AbortSignal.abort(), deadlineMs: 1000 })).toBe("CANCELLED not-sent");
    expect([grace.waiting, clock.pending]).toEqual([0, 1]);
  });

  it("is refused when as many wait already as may, of its own key only", async () => {
    grace.begin("b");
    const waiting = ["a", "a", "a", "b"].map((key) => outcome(key));
    expect(await outcome("a")).toBe("REFUSED not-sent");
    grace.close();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(["CLOSED not-sent"]));
  });

  it("fails at once when none will come any more", async () => {
    const waiting = outcome("a");
    grace.end("b");
    grace.end("a");
    expect(await waiting).toBe("CLOSED not-sent");
    expect(clock.pending).toBe(0);
  });

  it("hears what the tunnel says that came", async () => {
    const waiting = outcome("a");
    grace.arrived("a", { request: () => Promise.reject({ code: "TRANSPORT_LOST", sent: "may-have-run" }) });
    expect(await waiting).toBe("TRANSPORT_LOST may-have-run");
  });
});

describe("the grace", () => {
  it("is counted from the first loss, also when a tunnel is lost again before the end", () => {
    grace.begin("a");
    clock.advance(20_000);
    grace.begin("a");
    clock.advance(10_000);
    expect(grace.link("a")).toBeUndefined();
  });

  it("begins anew after a tunnel was there", () => {
    grace.begin("a");
    clock.advance(20_000);
    grace.arrived("a", tunnel("next"));
    grace.begin("a");
    clock.advance(10_000);
    expect(grace.link("a")).toBeDefined();
  });

  it("begins no more once it is closed, and leaves no timer", () => {
    grace.begin("a");
    grace.close();
    grace.begin("b");
    expect([grace.link("a"), grace.link("b"), clock.pending]).toEqual([undefined, undefined, 0]);
  });
});
