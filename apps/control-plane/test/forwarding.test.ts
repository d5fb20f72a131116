/** A request on its way from one replica to another: forwarding and door against each other, over real sockets. The tunnel is a function. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Server } from "node:http";
import net, { type AddressInfo, type Socket } from "node:net";
import { Duplex, PassThrough, Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { RevdialError, TunnelRequest, TunnelResponse } from "revdial";
import { RevdialError as TunnelError } from "revdial";
import { systemClock } from "../src/clock.ts";
import { createHttpServer } from "../src/http/server.ts";
import { createLogger } from "../src/logger.ts";
import { createDoor, type Door, type DoorOptions } from "../src/replicas/door.ts";
import { createForwarding, type Forwarding, type ForwardingOptions } from "../src/replicas/forwarding.ts";
import { tunnelPrefix } from "../src/replicas/internal-wire.ts";
import { createReplicaCredentials } from "../src/replicas/replica-credential.ts";
import type { Owner } from "../src/replicas/replica-store.ts";
import { eventually } from "./host.ts";
import { manualClock } from "./manual-clock.ts";

const SECRET = "a secret of at least thirty-two characters";
const [A, B] = ["rep_01KB00000000000000000000A0", "rep_01KB00000000000000000000B0"];
const WOLF = "wlf_01KB00000000000000000000W0";
const PREFIX = tunnelPrefix("wolf", WOLF, "wolf");
const MIB = 1024 * 1024;

let server: Server;
let owner: Owner;
let door: Door;
let forwarding: Forwarding;
let tunnel: (request: TunnelRequest) => Promise<TunnelResponse>;
const sockets = new Set<Socket>();
const raw: net.Server[] = [];

function makeDoor(changes: Partial<DoorOptions> = {}): Door {
  const nobody = () => undefined;
  return createDoor({
    credentials: createReplicaCredentials(SECRET, B),
    membership: { lives: async (id) => id === A, knows: async (id) => id === A, expired: () => false },
    links: {
      wolf: (id) => (id === WOLF ? { request: (request) => tunnel(request) } : undefined),
      sandbox: nobody,
    },
    look: nobody,
    calls: { request: nobody, upgrade: nobody },
    clock: systemClock,
    log: createLogger("fatal", { write: nobody }),
    ...changes,
  });
}

const makeForwarding = (changes: Partial<ForwardingOptions> = {}) =>
  createForwarding({ credentials: createReplicaCredentials(SECRET, A), clock: systemClock, ...changes });

beforeEach(async () => {
  door = makeDoor();
  forwarding = makeForwarding();
  server = createHttpServer((request, response) => door.request(request, response));
  server.on("upgrade", (request, socket, head) => door.upgrade(request, socket, head));
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  owner = { id: B, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
});

afterEach(async () => {
  forwarding.close();
  for (const socket of sockets) socket.destroy();
  for (const one of [server, ...raw.splice(0)]) {
    one.close();
    if (one.listening) await once(one, "close");
  }
});

const ask = (request: Partial<TunnelRequest> = {}) =>
  forwarding.ask(owner, PREFIX, { service: "wolf", method: "GET", path: "/", ...request });

const answered = (answer: Partial<TunnelResponse> = {}): TunnelResponse => ({
  status: 200,
  headers: [],
  body: Readable.from([]),
  trailers: Promise.resolve([]),
  ...answer,
});

async function read(body: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body ?? []) pieces.push(piece);
  return Buffer.concat(pieces);
}

const failure = (promise: Promise<unknown>): Promise<RevdialError> =>
  promise.then(
    () => {
      throw new Error("it went well");
    },
    (error: RevdialError) => error,
  );

const ended = (error: RevdialError) => [error.code, error.sent];

/** A replica that answers so, whatever it is asked. */
async function saying(answer: string | ((socket: Socket) => void)): Promise<Owner> {
  const one = net.createServer((socket) => {
    sockets.add(socket);
    socket
      .on("error", () => undefined)
      .once("data", () => {
        if (typeof answer === "string") socket.end(answer);
        else answer(socket);
      });
  });
  one.listen(0, "127.0.0.1");
  await once(one, "listening");
  raw.push(one);
  return { id: B, url: `http://127.0.0.1:${(one.address() as AddressInfo).port}` };
}

describe("a request to another replica", () => {
  it("arrives with method, path, fields, deadline and trace, without those of one hop and ours", async () => {
    let seen: TunnelRequest | undefined;
    tunnel = async (request) => {
      seen = request;
      await read(request.body as AsyncIterable<Uint8Array>);
      return answered({
        status: 207,
        headers: [
          ["x-wolf", "1"],
          ["connection", "x-hop"],
          ["x-hop", "2"],
        ],
      });
    };
    const reply = await ask({
      method: "PUT",
      path: "/api/v1/x?y=%2F",
      headers: [
        ["X-One", "1"],
        ["x-one", "2"],
        ["keep-alive", "9"],
        ["wolfpack-fate", "CLOSED not-sent"],
      ],
      body: Buffer.from("word"),
      deadlineMs: 5000,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    expect(seen).toMatchObject({
      service: "wolf",
      method: "PUT",
      path: "/api/v1/x?y=%2F",
      deadlineMs: 5000,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    expect(Array.from(seen?.headers ?? [])).toEqual([
      ["x-one", "1"],
      ["x-one", "2"],
      ["content-length", "4"],
    ]);
    expect([reply.status, reply.headers]).toEqual([207, [["x-wolf", "1"]]]);
  });

  it("streams 32 MiB up and down at once, byte for byte", async () => {
    const sent = randomBytes(32 * MIB);
    tunnel = async ({ body }) => answered({ body: Readable.from(body as AsyncIterable<Uint8Array>) });
    async function* pieces() {
      for (let at = 0; at < sent.length; at += 65_536) yield sent.subarray(at, at + 65_536);
    }
    const reply = await ask({ method: "POST", body: pieces() });
    expect((await read(reply.body)).equals(sent)).toBe(true);
    await eventually(
      () => forwarding.inFlight,
      (count) => count === 0,
    );
  });

  it("holds back whoever sends while nobody reads", async () => {
    let taken = 0;
    tunnel = async ({ body }) => {
      const [first] = [(body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]()];
      await first.next();
      return answered({ body: new PassThrough() });
    };
    const gone = new AbortController();
    async function* endless() {
      for (;;) {
        taken += MIB;
        yield Buffer.alloc(MIB);
      }
    }
    await ask({ method: "POST", body: endless(), signal: gone.signal });
    // What sockets and streams hold, and no more: it stays the same once they are full.
    let before = -1;
    await eventually(
      () => new Promise<number>((resolve) => setTimeout(() => resolve(taken), 50)),
      (now) => {
        const isFull = now === before;
        before = now;
        return isFull;
      },
    );
    expect(taken).toBeLessThan(64 * MIB);
    gone.abort();
    await eventually(
      () => forwarding.inFlight,
      (count) => count === 0,
    );
  });

  it("brings early hints, trailers both ways, and bodies without a length", async () => {
    let said: unknown;
    tunnel = async (request) => {
      request.onInterim?.(103, [["link", "</a>; rel=preload"]]);
      await read(request.body as AsyncIterable<Uint8Array>);
      said = request.trailers?.();
      return answered({
        body: Readable.from([Buffer.from("x")]),
        trailers: Promise.resolve([["x-sum", "1"]]),
      });
    };
    const hints: unknown[] = [];
    const reply = await ask({
      method: "POST",
      body: Readable.from([Buffer.from("up")]),
      trailers: () => [["x-up", "2"]],
      headers: [["te", "trailers"]],
      onInterim: (status, headers) => hints.push([status, Array.from(headers)]),
    });
    expect((await read(reply.body)).toString()).toBe("x");
    expect(await reply.trailers).toEqual([["x-sum", "1"]]);
    expect(said).toEqual([["x-up", "2"]]);
    expect(hints).toEqual([[103, [["link", "</a>; rel=preload"]]]]);
  });

  it.each([
    ["HEAD", 200, [["content-length", "1234"]]],
    ["GET", 204, []],
    ["GET", 304, [["etag", '"x"']]],
  ] as const)("has no body where HTTP has none: %s %d", async (method, status, headers) => {
    tunnel = async () => answered({ status, headers });
    const reply = await ask({ method });
    expect([reply.status, reply.headers]).toEqual([status, headers]);
    expect(await read(reply.body)).toHaveLength(0);
    expect(await reply.trailers).toEqual([]);
  });
});

describe("an upgrade through another replica", () => {
  it("is a stream in both directions, of which each side ends by itself", async () => {
    tunnel = async ({ upgrade }) => {
      expect(upgrade).toBe("websocket");
      const [up, down] = [new PassThrough(), new PassThrough()];
      const socket = Duplex.from({ writable: up, readable: down });
      void read(up).then((bytes) => down.end(Buffer.concat([Buffer.from("said: "), bytes])));
      return answered({ status: 101, headers: [["x-a", "1"]], socket });
    };
    const reply = await ask({ upgrade: "websocket" });
    expect([reply.status, reply.headers]).toEqual([101, [["x-a", "1"]]]);
    const { socket } = reply;
    if (socket === undefined) throw new Error("no socket");
    socket.write("one ");
    // Half-closed: the other side still speaks.
    socket.end("two");
    expect((await read(socket)).toString()).toBe("said: one two");
  });

  it("that is refused is the wolf's answer", async () => {
    tunnel = async () =>
      answered({
        status: 403,
        headers: [["content-type", "text/plain"]],
        body: Readable.from([Buffer.from("no")]),
      });
    const reply = await ask({ upgrade: "" });
    expect([reply.status, reply.socket]).toEqual([403, undefined]);
    expect((await read(reply.body)).toString()).toBe("no");
  });

  it("ends for both when either is cut", async () => {
    const far = new PassThrough();
    tunnel = async () => answered({ status: 101, socket: far });
    const reply = await ask({ upgrade: "" });
    reply.socket?.destroy();
    await eventually(
      () => far.destroyed,
      (gone) => gone,
    );
    const second = new PassThrough();
    tunnel = async () => answered({ status: 101, socket: second });
    const { socket } = await ask({ upgrade: "" });
    second.destroy(new Error("the tunnel is gone"));
    await eventually(
      () => socket?.destroyed || socket?.readableEnded,
      (gone) => gone === true,
    );
  });
});

describe("what becomes of a request", () => {
  it.each(["not-sent", "may-have-run"] as const)("is what its tunnel says: %s", async (sent) => {
    tunnel = async () => {
      throw new TunnelError("TRANSPORT_LOST", "the tunnel is gone", { sent });
    };
    expect(ended(await failure(ask()))).toEqual(["TRANSPORT_LOST", sent]);
    expect(ended(await failure(ask({ upgrade: "" })))).toEqual(["TRANSPORT_LOST", sent]);
  });

  it("is not-sent when the tunnel does not end there", async () => {
    const other = tunnelPrefix("sandbox", "ses_01KB00000000000000000000S0", "screen");
    const lost = forwarding.ask(owner, other, { service: "screen", method: "GET", path: "/" });
    expect(ended(await failure(lost))).toEqual(["CLOSED", "not-sent"]);
  });

  it.each([
    ["its credential is for somebody else", { credentials: createReplicaCredentials(SECRET, A) }],
    ["its credential is of another secret", { credentials: createReplicaCredentials(`${SECRET}!`, B) }],
    [
      "it has no lease",
      { membership: { lives: async () => false, knows: async () => true, expired: () => false } },
    ],
    [
      "the lease of the other one has ended",
      { membership: { lives: async () => true, knows: async () => true, expired: () => true } },
    ],
  ])("is not-sent when it is refused because %s", async (_, changes) => {
    let reached = false;
    tunnel = async () => {
      reached = true;
      return answered();
    };
    door = makeDoor(changes);
    expect(ended(await failure(ask({ method: "POST", body: Buffer.alloc(MIB) })))).toEqual([
      "REFUSED",
      "not-sent",
    ]);
    expect(reached).toBe(false);
  });

  it("is not-sent when nobody listens, and when nobody answers the connection in time", async () => {
    const port = (server.address() as AddressInfo).port;
    server.close();
    await once(server, "close");
    owner = { id: B, url: `http://127.0.0.1:${port}` };
    expect(ended(await failure(ask()))).toEqual(["CLOSED", "not-sent"]);
    // RFC 5737: nobody is there, and whether somebody says so depends on the network.
    const clock = manualClock();
    forwarding.close();
    forwarding = makeForwarding({ clock, connectMs: 3000 });
    const lost = failure(
      forwarding.ask({ id: B, url: "http://192.0.2.1:9" }, PREFIX, {
        service: "wolf",
        method: "GET",
        path: "/",
      }),
    );
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(3000);
    expect(ended(await lost)).toEqual(["CLOSED", "not-sent"]);
    await eventually(
      () => forwarding.inFlight,
      (count) => count === 0,
    );
  });

  it("is may-have-run when the other replica dies before its answer, and in the middle of it", async () => {
    const asked = Promise.withResolvers<void>();
    tunnel = () => {
      asked.resolve();
      return new Promise(() => undefined);
    };
    const early = failure(ask());
    await asked.promise;
    for (const socket of sockets) socket.destroy();
    expect(ended(await early)).toEqual(["TRANSPORT_LOST", "may-have-run"]);

    const body = new PassThrough();
    tunnel = async () => answered({ body });
    const reply = await ask();
    body.write("half");
    const reading = failure(read(reply.body));
    await eventually(
      () => sockets.size,
      (size) => size > 0,
    );
    for (const socket of sockets) socket.destroy();
    expect(ended(await reading)).toEqual(["TRANSPORT_LOST", "may-have-run"]);
    await eventually(
      () => forwarding.inFlight,
      (count) => count === 0,
    );
  });

  it("is may-have-run when the wolf's answer breaks off there", async () => {
    const body = new PassThrough();
    tunnel = async () => answered({ body });
    const reply = await ask();
    body.write("half");
    const reading = failure(read(reply.body));
    body.destroy(new TunnelError("TRANSPORT_LOST", "gone", { sent: "may-have-run" }));
    expect(ended(await reading)).toEqual(["TRANSPORT_LOST", "may-have-run"]);
  });

  it("is that its caller gave up, which the wolf hears", async () => {
    const heard = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    tunnel = ({ signal }) => {
      signal?.addEventListener("abort", () => heard.resolve(), { once: true });
      asked.resolve();
      return new Promise(() => undefined);
    };
    const gone = new AbortController();
    const lost = failure(ask({ signal: gone.signal }));
    await asked.promise;
    gone.abort();
    expect(ended(await lost)).toEqual(["CANCELLED", "may-have-run"]);
    await heard.promise;
    const never = new AbortController();
    never.abort();
    expect(ended(await failure(ask({ signal: never.signal })))).toEqual(["CANCELLED", "not-sent"]);
  });

  it("is that its body failed, which the wolf sees as a body that breaks off", async () => {
    const seen = Promise.withResolvers<unknown>();
    const asked = Promise.withResolvers<void>();
    tunnel = async ({ body }) => {
      asked.resolve();
      await read(body as AsyncIterable<Uint8Array>).catch(seen.resolve);
      return answered();
    };
    async function* broken() {
      yield Buffer.from("half");
      await asked.promise;
      throw new Error("the disk is gone");
    }
    const error = await failure(ask({ method: "POST", body: broken() }));
    expect(error.code).toBe("CANCELLED");
    expect(await seen.promise).toMatchObject({ code: "ECONNRESET" });
  });

  it("is that no whole answer came in time", async () => {
    const clock = manualClock();
    forwarding.close();
    forwarding = makeForwarding({ clock });
    const asked = Promise.withResolvers<void>();
    door = makeDoor({ clock });
    tunnel = () => {
      asked.resolve();
      return new Promise(() => undefined);
    };
    const lost = failure(ask({ deadlineMs: 7000 }));
    await asked.promise;
    clock.advance(7000);
    expect(ended(await lost)).toEqual(["DEADLINE", "may-have-run"]);
  });
});

describe("a request that is given up", () => {
  it.each([
    ["for its time is over", () => ({ deadlineMs: 100 }), "DEADLINE"],
    ["by its caller", () => ({ signal: AbortSignal.timeout(100) }), "CANCELLED"],
  ])("%s, ends its connection by force: nothing of it arrives later", async (_why, given, code) => {
    const end = Promise.withResolvers<string | undefined>();
    const silent = await saying((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => end.resolve(error.code));
      socket.on("end", () => end.resolve("in order"));
    });
    const asked = forwarding.ask(silent, PREFIX, { service: "wolf", method: "GET", path: "/", ...given() });
    expect(ended(await failure(asked))).toEqual([code, "may-have-run"]);
    expect(await end.promise).toBe("ECONNRESET");
  });
});

describe("limits between replicas", () => {
  it("refuse one request too many, on the side that asks", async () => {
    forwarding.close();
    forwarding = makeForwarding({ inFlightMax: 1 });
    const body = new PassThrough();
    tunnel = async () => answered({ body });
    const first = await ask();
    expect(ended(await failure(ask()))).toEqual(["REFUSED", "not-sent"]);
    body.end();
    await read(first.body);
    await eventually(
      () => forwarding.inFlight,
      (count) => count === 0,
    );
    tunnel = async () => answered();
    expect((await ask()).status).toBe(200);
  });

  it("refuse one request too many, on the side that is asked", async () => {
    door = makeDoor({ inFlightMax: 1 });
    const body = new PassThrough();
    tunnel = async () => answered({ body });
    const first = await ask();
    expect(ended(await failure(ask()))).toEqual(["REFUSED", "not-sent"]);
    body.end();
    await read(first.body);
  });
});

describe("a replica that answers something else", () => {
  it.each([
    ["no HTTP", "hello\r\n\r\n", "TRANSPORT_LOST"],
    ["nothing", "", "TRANSPORT_LOST"],
    ["a head without an end", `HTTP/1.1 200 OK\r\nx: ${"a".repeat(100_000)}`, "TRANSPORT_LOST"],
    [
      "a fate that nobody knows",
      "HTTP/1.1 502 X\r\nwolfpack-fate: WHATEVER perhaps\r\ncontent-length: 0\r\n\r\n",
      "CHANNEL_RESET",
    ],
  ])("%s: what was asked may have run", async (_, answer, code) => {
    owner = await saying(answer);
    expect(ended(await failure(ask()))).toEqual([code, "may-have-run"]);
  });

  it("a body that is shorter than it said: it breaks off", async () => {
    owner = await saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    const reply = await ask();
    expect(ended(await failure(read(reply.body)))).toEqual(["TRANSPORT_LOST", "may-have-run"]);
  });

  it("a switch of protocols that nobody asked for: a failure, and no socket is left", async () => {
    owner = await saying((socket) =>
      socket.write("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
    );
    const error = await failure(ask({ deadlineMs: 2000 }));
    expect(error.sent).toBe("may-have-run");
    await eventually(
      () => forwarding.inFlight,
      (count) => count === 0,
    );
  });
});
