/**
 * Options and arguments of the wrong type where tunnels, sets and fronts are made: each is refused with ARGUMENT before anything
 * is dialled, accepted or answered, at once where the call gives no promise. A callback that throws costs nobody but its owner.
 */
import { createServer } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { WebSocketServer } from "ws";
import { forwardTo, httpFront } from "../src/http/index.ts";
import {
  acceptTunnel,
  createHttpAcceptor,
  createTunnelSet,
  dialTunnel,
  dialTunnelSet,
  moveBack,
  type RevdialError,
  type Tunnel,
  tunnelFetch,
  webSocketServerOptions,
} from "../src/index.ts";
import { badProxy, ManualClock, tunnelPair } from "../src/testing/index.ts";
import { listen, stopServer } from "./gateway.ts";
import { type HttpGateway, httpGateway } from "./http-gateway.ts";
import { failure, get, signal } from "./support.ts";

/** What the types do not allow. */
// biome-ignore lint/suspicious/noExplicitAny: the point of this file
type Untyped = any;

const refused = expect.objectContaining({ name: "RevdialError", code: "ARGUMENT" });
const nowhere = "ws://127.0.0.1:1/";
const target = { host: "127.0.0.1", port: 1 };

describe("options of dialling", () => {
  let gateway: HttpGateway;

  beforeEach(async () => {
    gateway = await httpGateway();
  });

  afterEach(() => gateway.stop());

  const wrong: [string, Untyped][] = [
    ["a handler that is a number", { handler: 5 }],
    ["a handler that is null", { handler: null }],
    ["a signal that is none", { signal: {} }],
    ["a signal that only looks like one", { signal: new EventTarget() }],
    ["a signal that is null", { signal: null }],
    ["onFallback that is a text", { onFallback: "log" }],
    ["onHandlerError that is a number", { onHandlerError: 5 }],
    ["a clock that is a number", { clock: 5 }],
    ["insecure in a text", { insecure: "false" }],
    ["zeroMask that is a number", { zeroMask: 1 }],
    ["headers that are null", { headers: null }],
    ["headers that are a list", { headers: [["a", "b"]] }],
    ["a certificate that is a number", { ca: 5 }],
    ["a certificate that is none", { ca: "garbage" }],
    ["no certificate in an empty text", { ca: "" }],
    ["a broken certificate", { ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }],
  ];

  it.each(wrong)("are refused before the server hears of it: %s", async (_what, options) => {
    for (const transport of ["websocket", "http", "auto"] as const) {
      expect(await failure(dialTunnel(gateway.url, { transport, ...options }))).toEqual(refused);
      expect(() => dialTunnelSet(gateway.url, { connections: 1, transport, ...options })).toThrow(refused);
    }
    expect(gateway.tunnels).toEqual([]);
  });

  it.each<[string, Untyped]>([
    ["random that is a number", { random: 5 }],
    ["dial that is a number", { dial: 5 }],
    ["onMember that is a text", { onMember: "log" }],
    ["onDown that is an object", { onDown: {} }],
    ["a clock without timers", { clock: { now: () => 0 } }],
    ["a pool of growth that only looks like one", { growthPool: { bytesMax: 5, usedBytes: 0 } }],
    ["a backoff that is a text", { backoffMinMs: "1" }],
    ["a backoff without end", { backoffMaxMs: Number.POSITIVE_INFINITY }],
    ["a backoff upside down", { backoffMinMs: 2, backoffMaxMs: 1 }],
    ["no options at all", null],
  ])("of a set are refused before the server hears of it: %s", (_what, options) => {
    const given = options && { connections: 1, ...options };
    expect(() => dialTunnelSet(gateway.url, given)).toThrow(refused);
    expect(gateway.tunnels).toEqual([]);
  });
});

describe("dice of a set", () => {
  it.each<[string, () => number, number]>([
    ["give no number", () => Number.NaN, 500],
    ["give a text", () => "x" as Untyped, 500],
    ["are above their range", () => 1e9, 500],
    ["are below their range", () => -1e9, 250],
    [
      "throw",
      () => {
        throw new Error("no dice");
      },
      500,
    ],
  ])("that %s neither end the dialling nor hurry it", async (_what, random, pauseMs) => {
    const clock = new ManualClock();
    const errors: unknown[] = [];
    let dials = 0;
    const dial = () => {
      dials += 1;
      return Promise.reject(new Error("down"));
    };
    const onHandlerError = (error: unknown) => void errors.push(error);
    const set = dialTunnelSet(nowhere, { connections: 1, clock, dial, random, onHandlerError });
    await clock.advance(0);
    await clock.advance(pauseMs - 1);
    expect(dials).toBe(1);
    await clock.advance(1);
    expect(dials).toBe(2);
    expect(errors).toHaveLength(_what === "throw" ? 2 : 0);
    set.destroy();
    await set.closed;
    await clock.advance(0);
    expect(clock.pending).toBe(0);
  });
});

describe("onFallback that throws", () => {
  it("is reported, and the dialling goes on over HTTP", async () => {
    const gateway = await httpGateway();
    const proxy = await badProxy(gateway.url, { upgrade: { status: 502 } });
    const errors: unknown[] = [];
    const thrown = new TypeError("boom");
    const tunnel = await dialTunnel(proxy.url, {
      transport: "auto",
      onFallback: () => {
        throw thrown;
      },
      onHandlerError: (error) => void errors.push(error),
    });
    expect(tunnel.transport).toBe("http");
    expect(errors).toEqual([thrown]);
    tunnel.destroy();
    await tunnel.closed;
    await proxy.stop();
    await gateway.stop();
  });
});

describe("a WebSocket that carries a tunnel", () => {
  it("is not accepted a second time, and the tunnel goes on", async () => {
    const server = createServer();
    const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
    const accepted = signal<{ tunnel: Tunnel; second: RevdialError | undefined }>();
    server.on("upgrade", (request, socket, head) =>
      upgrades.handleUpgrade(request, socket, head, (webSocket) => {
        // One that was refused for its options has accepted nothing.
        expect(() => acceptTunnel(webSocket, { pingIntervalMs: 0 })).toThrow(refused);
        const tunnel = acceptTunnel(webSocket);
        let second: RevdialError | undefined;
        try {
          acceptTunnel(webSocket);
        } catch (error) {
          second = error as RevdialError;
        }
        accepted.give({ tunnel, second });
      }),
    );
    const dialled = await dialTunnel(await listen(server), { handler: () => ({ status: 204 }) });
    const { tunnel, second } = await accepted.seen;
    expect(second).toEqual(refused);
    expect((await tunnel.request(get("/"))).status).toBe(204);
    dialled.destroy();
    await tunnel.closed;
    await stopServer(server);
  });
});

describe("a call throws ARGUMENT at once:", () => {
  const { left } = tunnelPair();
  const dispatcher = left.dispatcher("web");
  afterEach(() => left.destroy());

  it.each<[string, () => unknown]>([
    [
      "acceptTunnel with options that are null",
      () => acceptTunnel({ on() {}, send() {} } as Untyped, null as Untyped),
    ],
    ["createHttpAcceptor with null", () => createHttpAcceptor(null as Untyped)],
    [
      "open of an acceptor with null",
      () => createHttpAcceptor().open({} as Untyped, {} as Untyped, null as Untyped),
    ],
    ["createTunnelSet with null", () => createTunnelSet(null as Untyped)],
    ["createTunnelSet with a clock that is none", () => createTunnelSet({ clock: 5 } as Untyped)],
    ["add of a set with null", () => createTunnelSet().add(left, null as Untyped)],
    ["dispatcher for a service that is a number", () => left.dispatcher(5 as Untyped)],
    ["dispatcher of a set for no service", () => createTunnelSet().dispatcher(undefined as Untyped)],
    ["dispatch without a handler", () => dispatcher.dispatch({} as Untyped, null as Untyped)],
    ["tunnelFetch of no tunnel", () => tunnelFetch(undefined as Untyped, "web")],
    ["tunnelFetch of a service that is a number", () => tunnelFetch(left, 5 as Untyped)],
    ["httpFront of nothing", () => httpFront(undefined as Untyped)],
    ["httpFront of a tunnel", () => httpFront(left as Untyped)],
    ["httpFront with null", () => httpFront(dispatcher, null as Untyped)],
    ["httpFront with a deadline that is a text", () => httpFront(dispatcher, { deadlineMs: "x" } as Untyped)],
    ["httpFront with a deadline of 0", () => httpFront(dispatcher, { deadlineMs: 0 })],
    ["forwardTo nothing", () => forwardTo(undefined as Untyped)],
    ["forwardTo an object that is no target", () => forwardTo({} as Untyped)],
    ["forwardTo an empty path", () => forwardTo({ socketPath: "" })],
    ["forwardTo a path with a NUL", () => forwardTo({ socketPath: "/run/web\0.sock" })],
    ["forwardTo a host without a port", () => forwardTo({ host: "localhost" } as Untyped)],
    ["forwardTo a port that is a text", () => forwardTo({ host: "localhost", port: "80" } as Untyped)],
    ["forwardTo a port above the last", () => forwardTo({ ...target, port: 65_536 })],
    ["forwardTo with null", () => forwardTo(target, null as Untyped)],
    ["forwardTo with a time that is no number", () => forwardTo(target, { connectTimeoutMs: Number.NaN })],
    ["forwardTo with a half connection", () => forwardTo(target, { idleConnectionsMax: 0.5 })],
    ["httpFront with a listener that is none", () => httpFront(dispatcher, { onError: "log" } as Untyped)],
  ])("%s", (_what, call) => {
    expect(call).toThrow(refused);
  });

  it("and what can be no service's name is HEAD_INVALID", () => {
    for (const service of ["", "Bad Name", "-a", "a".repeat(64)]) {
      for (const make of [left, createTunnelSet()])
        expect(() => make.dispatcher(service)).toThrow(expect.objectContaining({ code: "HEAD_INVALID" }));
      expect(() => tunnelFetch(left, service)).toThrow(expect.objectContaining({ code: "HEAD_INVALID" }));
    }
  });
});

describe("a call rejects with ARGUMENT:", () => {
  const pair = tunnelPair();
  const { left } = pair;
  const set = createTunnelSet();
  afterEach(() => left.destroy());

  const dial = () => Promise.reject(new Error("not to be dialled"));
  it.each<[string, () => Promise<unknown>]>([
    ["connect with null", () => left.connect("x", null as Untyped)],
    ["connect of a set with null", () => set.connect("x", null as Untyped)],
    ["dialTunnel with null", () => dialTunnel(nowhere, null as Untyped)],
    ["moveBack with nothing", () => moveBack(undefined as Untyped)],
    ["moveBack without dial", () => moveBack({ tunnel: left } as Untyped)],
    ["moveBack with dial that is a number", () => moveBack({ tunnel: left, dial: 5 } as Untyped)],
    [
      "moveBack with a wait that is a number",
      () => moveBack({ tunnel: left, dial, afterFailureMs: 5 } as Untyped),
    ],
    ["moveBack without a tunnel", () => moveBack({ dial } as Untyped)],
    ["moveBack with a signal that is none", () => moveBack({ tunnel: left, dial, signal: {} } as Untyped)],
    ["moveBack with a clock that is none", () => moveBack({ tunnel: left, dial, clock: {} } as Untyped)],
    ["a fetch with options that are a text", () => tunnelFetch(left, "web")("/", "GET" as Untyped)],
    ["a fetch with a method that is a number", () => tunnelFetch(left, "web")("/", { method: 5 } as Untyped)],
    ["a fetch of a number", () => tunnelFetch(left, "web")(5 as Untyped)],
  ])("%s", async (_what, call) => {
    expect(await failure(call())).toEqual(refused);
  });

  it.each([null, undefined, 5, "GET /"])("dispatch of %p, by a tunnel and by a set", async (options) => {
    for (const asked of [left, set]) {
      const told = signal<unknown>();
      const handler = { onResponseError: (_: unknown, error: Error) => told.give(error) };
      asked.dispatcher("web").dispatch(options as Untyped, handler);
      expect(await told.seen).toEqual(refused);
    }
  });

  it("but a fetch takes null for no options, as fetch does", async () => {
    const { left: asked, right } = tunnelPair();
    right.serve(() => ({ status: 204 }));
    expect((await tunnelFetch(asked, "web")("/", null as Untyped)).status).toBe(204);
    asked.destroy();
    await right.closed;
  });
});
