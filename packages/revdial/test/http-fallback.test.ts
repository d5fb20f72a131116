/** Dialling through intermediaries that are in the way of a WebSocket. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { type DialOptions, dialTunnel, moveBack, type RevdialError, type Tunnel } from "../src/index.ts";
import { type BadProxy, type BadProxyModes, badProxy, ManualClock } from "../src/testing/index.ts";
import { type HttpGateway, httpGateway } from "./http-gateway.ts";
import { collect, failure, get, signal, until } from "./support.ts";

let current: HttpGateway | undefined;
let proxy: BadProxy | undefined;
const dialled: Tunnel[] = [];

afterEach(async () => {
  for (const tunnel of dialled) tunnel.destroy();
  await Promise.all(dialled.map((tunnel) => tunnel.closed));
  dialled.length = 0;
  await proxy?.stop();
  await current?.stop();
  proxy = undefined;
  current = undefined;
});

async function behind(modes: BadProxyModes): Promise<BadProxy> {
  current = await httpGateway();
  proxy = await badProxy(current.url, modes);
  return proxy;
}

async function dial(through: BadProxy, options: DialOptions = {}): Promise<Tunnel> {
  const tunnel = await dialTunnel(through.url, { transport: "auto", ...options });
  dialled.push(tunnel);
  return tunnel;
}

const problem = (status: number) =>
  JSON.stringify({ type: "/problems/session-not-found", title: "No", status });
const accepted = () => current?.tunnels.at(-1) as Tunnel;
const big = Buffer.alloc(3 * 1024 * 1024, "0123456789abcdef!");

async function echoes(asker: Tunnel, server: Tunnel, body: Buffer): Promise<void> {
  server.serve((request) => ({ status: 200, body: request.body }));
  const answer = await asker.request({ service: "wolf", method: "POST", path: "/", body });
  expect(Buffer.compare(await collect(answer.body), body)).toBe(0);
}

describe("dialling with the fallback", () => {
  it("makes its headers anew for the second way: the first may have used them up", async () => {
    const through = await behind({ upgrade: { status: 502 } });
    let made = 0;
    const tunnel = await dial(through, { headers: () => ({ "x-proof": `${++made}` }) });
    expect([tunnel.transport, made]).toEqual(["http", 2]);
    await echoes(accepted(), tunnel, Buffer.from("up"));
    expect(made).toBe(2);
  });

  it.each<[string, BadProxyModes["upgrade"], string]>([
    ["refuses the upgrade with 400", { status: 400 }, "DIAL_REFUSED"],
    ["refuses the upgrade with 403, as filters do", { status: 403 }, "DIAL_REFUSED"],
    ["refuses the upgrade with 404", { status: 404 }, "DIAL_REFUSED"],
    ["refuses the upgrade with 404 and a page", { status: 404, body: "<title>404</title>" }, "DIAL_REFUSED"],
    ["refuses the upgrade with 403 and JSON", { status: 403, body: '{"status":403}' }, "DIAL_REFUSED"],
    ["refuses the upgrade with 404 and null", { status: 404, body: "null" }, "DIAL_REFUSED"],
    ["passes on a problem as 403", { status: 403, body: problem(404) }, "DIAL_REFUSED"],
    ["lets a server refuse what is no upgrade", { status: 426, body: problem(426) }, "DIAL_REFUSED"],
    ["refuses the upgrade with 426", { status: 426 }, "DIAL_REFUSED"],
    ["refuses the upgrade with 502", { status: 502 }, "DIAL_REFUSED"],
    ["strips the upgrade", "strip", "DIAL_REFUSED"],
    ["cuts the connection during the upgrade", "cut", "DIAL_FAILED"],
    ["never answers the upgrade", "hang", "DIAL_TIMEOUT"],
    ["answers the upgrade and swallows every byte after", "swallow", "DIAL_TIMEOUT"],
    ["answers the upgrade and lets nothing down after", "up-only", "DIAL_TIMEOUT"],
    ["answers the upgrade and lets nothing up after", "down-only", "DIAL_TIMEOUT"],
  ])("goes on over HTTP when a proxy %s", async (_name, upgrade, code) => {
    const reasons: RevdialError[] = [];
    const tunnel = await dial(await behind({ upgrade: upgrade ?? "pass" }), {
      ...(code === "DIAL_TIMEOUT" ? { upgradeTimeoutMs: 50 } : {}),
      onFallback: (error) => void reasons.push(error),
    });
    expect(reasons).toMatchObject([{ code }]);
    await echoes(accepted(), tunnel, big);
    await echoes(tunnel, accepted(), big);
  });

  it("stays with the WebSocket where one gets through", async () => {
    const through = await behind({});
    const tunnel = await dial(through, {
      onFallback: () => {
        throw new Error("unwanted");
      },
    });
    await echoes(accepted(), tunnel, big);
    expect(through.posts).toBe(0);
  });

  it("does not use HTTP unless it is told to", async () => {
    const through = await behind({ upgrade: { status: 502 } });
    expect(await failure(dialTunnel(through.url))).toMatchObject({ code: "DIAL_REFUSED", status: 502 });
    expect(current?.tunnels).toEqual([]);
  });

  it.each([401, 409, 429, 503])(
    "takes an upgrade refused with %i for an answer of the server",
    async (status) => {
      const through = await behind({ upgrade: { status } });
      const error = await failure(dial(through));
      expect(error).toMatchObject({ code: "DIAL_REFUSED", status });
      expect(current?.tunnels).toEqual([]);
    },
  );

  it.each([403, 404])(
    "takes an upgrade refused with %i for an answer of the server when its body is a problem",
    async (status) => {
      const through = await behind({ upgrade: { status, body: problem(status) } });
      const error = await failure(dial(through));
      expect(error).toMatchObject({ code: "DIAL_REFUSED", status, detail: problem(status) });
      expect(through.posts).toBe(0);
    },
  );

  it("rejects at once when nobody listens", async () => {
    const through = await behind({});
    const { url } = through;
    await through.stop();
    proxy = undefined;
    const reasons: RevdialError[] = [];
    const error = await failure(
      dialTunnel(url, { transport: "auto", onFallback: (reason) => void reasons.push(reason) }),
    );
    expect(error.code).toBe("DIAL_FAILED");
    expect(reasons).toEqual([]);
  });

  it("rejects with the WebSocket's error, and that of HTTP as its cause, when neither gets through", async () => {
    const through = await behind({ upgrade: { status: 426 }, buffers: true });
    const clock = new ManualClock();
    const fell = signal();
    const dialling = failure(dial(through, { clock, onFallback: () => fell.give() }));
    await fell.seen;
    await clock.advance(10_000);
    const error = await dialling;
    expect(error).toMatchObject({ code: "DIAL_REFUSED", status: 426, cause: { code: "DIAL_TIMEOUT" } });
  });

  it.each([401, 403, 404, 503])(
    "rejects with the server's refusal over HTTP with %i, and the WebSocket's error as its cause",
    async (status) => {
      const through = await behind({ upgrade: { status: 426 } });
      through.modes.open = { status, headers: { "retry-after": "7" } };
      const error = await failure(dial(through));
      expect(error).toMatchObject({
        code: "DIAL_REFUSED",
        status,
        retryAfterMs: 7000,
        cause: { status: 426 },
      });
    },
  );

  it("does not take an intermediary's word over HTTP for the server's", async () => {
    const through = await behind({ upgrade: "strip" });
    through.modes.open = { status: 502 };
    const error = await failure(dial(through));
    expect(error).toMatchObject({ code: "DIAL_REFUSED", status: 200, cause: { status: 502 } });
  });

  it("gives up when its caller does", async () => {
    const through = await behind({ upgrade: { status: 426 }, buffers: true });
    const abort = new AbortController();
    const outcome = failure(dial(through, { signal: abort.signal, onFallback: () => abort.abort() }));
    expect((await outcome).code).toBe("CANCELLED");
  });
});

describe("a tunnel over HTTP", () => {
  it.each([1, 2, 3, 7, 1000])("does not mind streams cut into pieces of %i bytes", async (pieceBytes) => {
    const tunnel = await dial(await behind({ pieceBytes }), { transport: "http" });
    const body = big.subarray(0, 2000 * Math.min(pieceBytes, 100));
    await echoes(accepted(), tunnel, body);
    await echoes(tunnel, accepted(), body);
  });

  it("does not mind connections that are closed after every POST", async () => {
    const tunnel = await dial(await behind({ closeAfterPost: true }), { transport: "http" });
    await echoes(accepted(), tunnel, big);
    await echoes(tunnel, accepted(), big);
  });

  it.each([1, 3])("takes every POST once when %i answers in a row are lost", async (answersDropped) => {
    const through = await behind({});
    const tunnel = await dial(through, { transport: "http" });
    const paths: string[] = [];
    accepted().serve((request) => {
      paths.push(request.path);
      return { status: 204 };
    });
    through.modes.answersDropped = answersDropped;
    for (const path of ["/1", "/2", "/3"]) expect((await tunnel.request(get(path))).status).toBe(204);
    expect(paths).toEqual(["/1", "/2", "/3"]);
  });

  it("ends when a POST fails for good", async () => {
    const through = await behind({});
    const tunnel = await dial(through, { transport: "http" });
    through.modes.answersDropped = 100;
    tunnel.notify("a", Buffer.from("x"));
    expect((await tunnel.closed).code).toBe("TRANSPORT_LOST");
    expect((await accepted().closed).code).toBe("TRANSPORT_LOST");
  });

  it("ends on both sides when its connections are cut", async () => {
    const through = await behind({});
    const tunnel = await dial(through, { transport: "http" });
    through.cut();
    expect((await tunnel.closed).code).toBe("TRANSPORT_LOST");
    expect((await accepted().closed).code).toBe("TRANSPORT_LOST");
  });

  it("carries 200 requests at once each way", async () => {
    const tunnel = await dial(await behind({ upgrade: { status: 400 } }));
    const right = accepted();
    for (const side of [tunnel, right]) {
      side.serve((request) => ({ status: 200, body: Buffer.from(request.path) }));
    }
    const ask = async (side: Tunnel, path: string) =>
      (await collect((await side.request(get(path))).body)).toString();
    const paths = Array.from({ length: 200 }, (_, n) => `/${n}`);
    expect(await Promise.all(paths.map((path) => ask(tunnel, path)))).toEqual(paths);
    expect(await Promise.all(paths.map((path) => ask(right, path)))).toEqual(paths);
  });
});

describe("moving back", () => {
  async function overHttp(): Promise<{ through: BadProxy; old: Tunnel; clock: ManualClock }> {
    const through = await behind({ upgrade: { status: 502 } });
    return { through, old: await dial(through), clock: new ManualClock() };
  }
  const redial = (through: BadProxy) => (abort: AbortSignal) =>
    dial(through, { transport: "websocket", signal: abort });

  it("tries until a WebSocket gets through, and finishes what is in flight over the old tunnel", async () => {
    const { through, old, clock } = await overHttp();
    const finish = signal();
    accepted().serve(async () => {
      await finish.seen;
      return { status: 204 };
    });
    const inFlight = old.request(get("/"));
    const moved = moveBack({ dial: redial(through), tunnel: old, clock });
    await clock.advance(60_000);
    await until(() => through.upgrades === 2 && clock.pending === 1);
    through.modes.upgrade = "pass";
    await clock.advance(60_000);
    const tunnel = await moved;
    expect(tunnel?.transport).toBe("websocket");
    await clock.advance(10_000);
    expect(old.draining).toBe(true);
    finish.give();
    expect((await inFlight).status).toBe(204);
    await old.closed;
    await echoes(accepted(), tunnel as Tunnel, big);
    expect(clock.pending).toBe(0);
  });

  it("waits for the next try as long as it is told, knowing how many have failed and why", async () => {
    const { old, clock } = await overHttp();
    const told: [number, unknown][] = [];
    let dials = 0;
    const gone = new AbortController();
    const moved = moveBack({
      tunnel: old,
      clock,
      signal: gone.signal,
      everyMs: 100,
      afterFailureMs(failures, error) {
        told.push([failures, error]);
        return failures * 1000;
      },
      async dial() {
        dials += 1;
        throw new Error(`no way ${dials}`);
      },
    });
    for (const [at, ms] of [100, 1000, 2000, 3000].entries()) {
      await clock.advance(ms - 1);
      expect(dials).toBe(at);
      await clock.advance(1);
      await until(() => told.length === at + 1);
    }
    expect(told.map(([failures, error]) => [failures, (error as Error).message])).toEqual(
      [1, 2, 3, 4].map((at) => [at, `no way ${at}`]),
    );
    gone.abort();
    expect(await moved).toBeUndefined();
  });

  it("leaves the end of the old tunnel to an acceptor that takes over in its own time: no request finds neither", async () => {
    const { through, old, clock } = await overHttp();
    const answer = () => ({ status: 204 });
    old.serve(answer);
    const first = accepted();
    const moved = moveBack({ dial: redial(through), tunnel: old, clock });
    through.modes.upgrade = "pass";
    await clock.advance(60_000);
    const tunnel = await moved;
    tunnel?.serve(answer);
    // Here the acceptor issues an epoch, and still asks over the tunnel it knows.
    await clock.advance(9999);
    expect((await first.request(get("/"))).status).toBe(204);
    void first.close({ code: "REPLACED" });
    expect((await accepted().request(get("/"))).status).toBe(204);
    expect((await old.closed).code).toBe("REPLACED");
    expect(clock.pending).toBe(0);
  });

  it("leaves the old tunnel alone when the acceptor ends the new one instead of taking it over", async () => {
    const { through, old, clock } = await overHttp();
    old.serve(() => ({ status: 204 }));
    const first = accepted();
    const moved = moveBack({ dial: redial(through), tunnel: old, clock });
    through.modes.upgrade = "pass";
    await clock.advance(60_000);
    await moved;
    accepted().destroy();
    await (await moved)?.closed;
    await until(() => clock.pending === 0);
    expect((await first.request(get("/"))).status).toBe(204);
  });

  it.each([false, true])(
    "leaves the old tunnel alone when the acceptor sends the new one away with a stream in flight; ended the old: %s",
    async (oldEnded) => {
      const { through, old, clock } = await overHttp();
      const hold = () => new Promise<never>(() => undefined);
      const [first, path] = [accepted(), { service: "a", method: "GET", path: "/" }];
      old.serve(hold);
      const moved = moveBack({ dial: redial(through), tunnel: old, clock });
      through.modes.upgrade = "pass";
      await clock.advance(60_000);
      const young = (await moved) as Tunnel;
      young.serve(hold);
      const held = [first, accepted()].map((tunnel) => failure(tunnel.request(path)));
      await until(() => old.load === 1 && young.load === 1);
      if (oldEnded) void first.close({ code: "REPLACED" });
      await until(() => old.draining === oldEnded);
      void accepted().close();
      await young.goingAway;
      await clock.advance(0);
      // What the acceptor has ended is still given a bound.
      expect(clock.pending).toBe(oldEnded ? 1 : 0);
      await clock.advance(10_000);
      expect([old.draining, young.draining, clock.pending]).toEqual([oldEnded, true, 0]);
      for (const tunnel of [old, young]) tunnel.destroy();
      await Promise.all(held);
    },
  );

  it("takes over when the acceptor has ended the old tunnel before the new one is known to be up", async () => {
    const { through, old, clock } = await overHttp();
    const late = signal();
    const moved = moveBack({
      tunnel: old,
      clock,
      dial: async (abort) => {
        const tunnel = await redial(through)(abort);
        await late.seen;
        return tunnel;
      },
    });
    through.modes.upgrade = "pass";
    const first = accepted();
    await clock.advance(60_000);
    await until(() => accepted() !== first);
    await first.close({ code: "REPLACED" });
    await old.closed;
    late.give();
    const tunnel = await moved;
    await echoes(accepted(), tunnel as Tunnel, big);
  });

  it("is over when another dialler has taken the old tunnel's place, during a try that fails too", async () => {
    const { through, old, clock } = await overHttp();
    const outcome = Promise.withResolvers<Tunnel>();
    const moved = moveBack({ dial: () => outcome.promise, tunnel: old, clock });
    await clock.advance(60_000);
    await accepted().close({ code: "REPLACED" });
    await old.closed;
    outcome.reject(new Error("no way through"));
    expect(await moved).toBeUndefined();
    expect(clock.pending).toBe(0);
    expect(through.upgrades).toBe(1);
  });

  it("does not take a WebSocket that nothing comes up through for one that works", async () => {
    const { through, old, clock } = await overHttp();
    const deaf: Tunnel[] = [];
    const moved = moveBack({
      tunnel: old,
      clock,
      dial: async (abort) => {
        const tunnel = await redial(through)(abort);
        deaf.push(tunnel);
        return tunnel;
      },
    });
    through.modes.upgrade = "down-only";
    await clock.advance(60_000);
    await until(() => deaf.length === 1);
    old.serve(() => ({ status: 204 }));
    const [first] = (current as HttpGateway).tunnels;
    expect((await (first as Tunnel).request(get("/"))).status).toBe(204);
    through.modes.upgrade = "pass";
    deaf[0]?.destroy();
    await until(() => clock.pending === 1);
    await clock.advance(60_000);
    expect(await moved).not.toBe(deaf[0]);
    expect((await moved)?.transport).toBe("websocket");
  });

  it.each<[string, (old: Tunnel, abort: AbortController) => void]>([
    ["the old tunnel is lost", (old) => old.destroy()],
    ["its caller gives up", (_old, abort) => abort.abort()],
  ])("is over when %s, and keeps no tunnel that comes too late", async (_name, happen) => {
    const through = await behind({});
    const old = await dial(through, { transport: "http" });
    const clock = new ManualClock();
    const late = Promise.withResolvers<Tunnel>();
    const abort = new AbortController();
    const signals: AbortSignal[] = [];
    const moved = moveBack({
      tunnel: old,
      clock,
      signal: abort.signal,
      dial: (wanted) => {
        signals.push(wanted);
        return late.promise;
      },
    });
    await clock.advance(60_000);
    happen(old, abort);
    await until(() => signals[0]?.aborted === true);
    const tunnel = await dial(through, { transport: "websocket" });
    late.resolve(tunnel);
    expect(await moved).toBeUndefined();
    expect((await tunnel.closed).code).toBe("DESTROYED");
    expect(clock.pending).toBe(0);
  });

  it("does not begin when the old tunnel takes no new requests", async () => {
    const { through, old, clock } = await overHttp();
    old.serve(() => new Promise(() => undefined));
    const stuck = accepted().request(get("/"));
    stuck.catch(() => undefined);
    await until(() => old.load === 1);
    const moved = moveBack({ dial: redial(through), tunnel: old, clock });
    void accepted().close({ code: "REPLACED" });
    await until(() => old.draining);
    await clock.advance(60_000);
    expect(await moved).toBeUndefined();
    expect(through.upgrades).toBe(1);
  });
});
