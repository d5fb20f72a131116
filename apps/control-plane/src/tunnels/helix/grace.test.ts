import { beforeEach, describe, expect, it } from "@jest/globals";
import { refusedHeader } from "@wolfpack/wolf-api";
import { RevdialError, type TunnelEnd, type TunnelRequest, type TunnelResponse } from "revdial";
import { type ManualClock, manualClock } from "../../../test/manual-clock.ts";
import { createGrace, type Grace, type Live } from "./grace.ts";

const request: TunnelRequest = { service: "wolf", method: "GET", path: "/" };

let clock: ManualClock;
let grace: Grace;
let live: Map<string, Live>;
/** What tunnels were asked. */
let asked: (TunnelRequest & { name: string })[];

beforeEach(() => {
  clock = manualClock();
  live = new Map();
  asked = [];
  const isOfHelix = ({ transport }: Live) => transport === "helix";
  grace = createGrace({ clock, isOfHelix, live: (key) => live.get(key), graceMs: 30_000, waitingMax: 3 });
});

function tunnel(name: string): Live {
  return {
    transport: "websocket",
    draining: false,
    closed: new Promise(() => undefined),
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

describe("a request whose tunnel is lost before any of it has left", () => {
  const end: TunnelEnd = { code: "TRANSPORT_LOST", reason: "gone" };
  /** It answers like that once it is lost, as the stand-in does; then it is gone, and its loss is known. */
  function losing(answer: () => Promise<TunnelResponse>): Live & { lose: () => void; read: string[] } {
    const closed = Promise.withResolvers<TunnelEnd>();
    const lost = Promise.withResolvers<void>();
    const one = {
      transport: "helix",
      draining: false,
      closed: closed.promise,
      read: [] as string[],
      async request({ path }: TunnelRequest) {
        one.read.push(path);
        await lost.promise;
        return answer();
      },
      lose() {
        one.draining = true;
        live.delete("a");
        lost.resolve();
        setImmediate(() => {
          grace.begin("a");
          closed.resolve(end);
        });
      },
    };
    live.set("a", one);
    return one;
  }
  const refused = (code: string) => async (): Promise<TunnelResponse> => ({
    status: 502,
    headers: [[refusedHeader, code]],
    body: (async function* () {})(),
    trailers: Promise.resolve([]),
  });
  const failed = (sent: "not-sent" | "may-have-run") => () =>
    Promise.reject(new RevdialError("TRANSPORT_LOST", "gone", { sent }));

  it.each([
    ["the stand-in found no way to the agent", refused("upstream-unreachable")],
    ["it never left", failed("not-sent")],
  ])("waits for the next one: %s", async (_, answer) => {
    const one = losing(answer);
    const found = outcome("a", { path: "/1", deadlineMs: 5000 });
    clock.advance(1000);
    one.lose();
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    clock.advance(1000);
    grace.arrived("a", tunnel("next"));
    expect(await found).toBe(200);
    expect(asked).toMatchObject([{ name: "next", path: "/1", deadlineMs: 3000 }]);
  });

  it.each([
    ["it may have been heard", failed("may-have-run"), {}, "TRANSPORT_LOST may-have-run"],
    ["Wolf did not answer in time", refused("upstream-timeout"), {}, 502],
    [
      "its body cannot be sent twice",
      failed("not-sent"),
      { body: (async function* () {})() },
      "TRANSPORT_LOST not-sent",
    ],
    ["its caller has gone", failed("not-sent"), { signal: AbortSignal.abort() }, "TRANSPORT_LOST not-sent"],
  ])("is not repeated where %s", async (_, answer, given, expected) => {
    const one = losing(answer);
    const found = outcome("a", given);
    one.lose();
    expect(await found).toBe(expected);
    expect(grace.waiting).toBe(0);
  });

  it("is not repeated while its tunnel stays", async () => {
    const one = losing(refused("upstream-unreachable"));
    const found = outcome("a");
    one.lose();
    (one as { draining: boolean }).draining = false;
    expect(await found).toBe(502);
  });

  it("fails at the end of the grace where no other comes", async () => {
    const one = losing(failed("not-sent"));
    const found = outcome("a");
    one.lose();
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    clock.advance(30_000);
    expect(await found).toBe("CLOSED not-sent");
  });
});

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
