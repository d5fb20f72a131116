/** Where each message between replicas ends, over kept connections: forwarding against a server of Node's, and the door against a raw one. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import net, { type AddressInfo, type Socket } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Body, HeaderList, TunnelRequest, TunnelResponse } from "revdial";
import { systemClock } from "../src/clock.ts";
import { createHttpServer } from "../src/http/server.ts";
import { createLogger } from "../src/logger.ts";
import { createDoor } from "../src/replicas/door.ts";
import { createForwarding, type Forwarding } from "../src/replicas/forwarding.ts";
import { tunnelPrefix } from "../src/replicas/internal-wire.ts";
import { createReplicaCredentials } from "../src/replicas/replica-credential.ts";
import type { Owner } from "../src/replicas/replica-store.ts";
import { eventually } from "./host.ts";

const SECRET = "a secret of at least thirty-two characters";
const [A, B] = ["rep_01KB00000000000000000000A0", "rep_01KB00000000000000000000B0"];
const WOLF = "wlf_01KB00000000000000000000W0";
/** Whatever is written beyond a frame reads as this. */
const INNER = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
const METHODS = ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH"];

interface Seen {
  method: string | undefined;
  url: string | undefined;
  body: string;
  trailers: NodeJS.Dict<string>;
}

let forwarding: Forwarding;
let servers: (Server | net.Server)[];
let sockets: Set<Socket>;
let connections: number;
let seen: Seen[];
let answering: (request: IncomingMessage) => Promise<unknown>;

beforeEach(() => {
  forwarding = createForwarding({ credentials: createReplicaCredentials(SECRET, A), clock: systemClock });
  [servers, sockets, connections, seen] = [[], new Set(), 0, []];
  answering = async () => {};
});

afterEach(async () => {
  forwarding.close();
  for (const socket of sockets) socket.destroy();
  for (const server of servers) {
    server.close();
    await once(server, "close");
  }
});

async function serve<Kind extends Server | net.Server>(server: Kind): Promise<Owner> {
  servers.push(server);
  server.on("connection", (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { id: B, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** A replica that writes down every request it finds in what it is sent. */
const recorder = () =>
  serve(
    createServer(async (request, response) => {
      const { method, url } = request;
      const one: Seen = { method, url, body: "", trailers: {} };
      seen.push(one);
      await answering(request);
      try {
        for await (const piece of request) one.body += piece;
      } catch {
        return;
      }
      one.trailers = request.trailers;
      response.writeHead(200, { "content-length": 8 }).end("answered");
    }),
  );

async function read(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

const ask = async (owner: Owner, request: Partial<TunnelRequest>) =>
  forwarding.ask(owner, "", { service: "wolf", method: "GET", path: "/", ...request });

const code = (error: { code?: string }) => error.code;

const streamed = (...pieces: string[]): Body => Readable.from(pieces.map((piece) => Buffer.from(piece)));

describe("a request to another replica, by any method", () => {
  const bodies: [string, () => Body | undefined, HeaderList, string][] = [
    ["nothing", () => undefined, [], ""],
    ["nothing, and a length", () => undefined, [["content-length", "40"]], ""],
    ["nothing, and chunks announced", () => undefined, [["transfer-encoding", "chunked"]], ""],
    ["bytes", () => Buffer.from(INNER), [], INNER],
    ["bytes, and another length", () => Buffer.from(INNER), [["content-length", "3"]], INNER],
    ["a stream", () => streamed(INNER, INNER), [], INNER + INNER],
    ["a stream of nothing", () => streamed(), [], ""],
    ["a stream of its length", () => streamed(INNER), [["content-length", `${INNER.length}`]], INNER],
    ["a stream, and a length that is none", () => streamed(INNER), [["content-length", "0x3"]], INNER],
    [
      "a stream, and two lengths",
      () => streamed(INNER),
      [
        ["content-length", "3"],
        ["Content-Length", "5"],
      ],
      INNER,
    ],
    [
      "a stream, and a length of one hop",
      () => streamed(INNER),
      [
        ["connection", "content-length"],
        ["content-length", "3"],
      ],
      INNER,
    ],
    ["a stream, and Expect", () => streamed(INNER), [["expect", "100-continue"]], INNER],
  ];

  it.each(METHODS.flatMap((method) => bodies.map((body) => [method, ...body] as const)))(
    "%s with %s arrives as one, and the connection is good for the next",
    async (method, _, body, headers, arrives) => {
      const owner = await recorder();
      for (const path of ["/first", "/second"]) {
        const reply = await ask(owner, { method, path, headers, body: body() });
        expect(await read(reply.body)).toBe(method === "HEAD" ? "" : "answered");
        await eventually(
          () => forwarding.inFlight,
          (count) => count === 0,
        );
      }
      expect(seen).toEqual([
        { method, url: "/first", body: arrives, trailers: {} },
        { method, url: "/second", body: arrives, trailers: {} },
      ]);
      expect(connections).toBe(1);
    },
  );

  it.each(METHODS)(
    "%s brings its trailers where there are chunks, and leaves them where there are none",
    async (method) => {
      const owner = await recorder();
      const trailers = () => [["x-sum", "1"]] as const;
      await read((await ask(owner, { method, body: streamed(INNER), trailers })).body);
      const headers = [["content-length", `${INNER.length}`]] as const;
      await read((await ask(owner, { method, body: streamed(INNER), headers, trailers })).body);
      expect(seen.map((one) => [one.body, one.trailers])).toEqual([
        [INNER, { "x-sum": "1" }],
        [INNER, {}],
      ]);
      expect(connections).toBe(1);
    },
  );

  it.each(
    METHODS.flatMap(
      (method) =>
        [
          [method, "longer than it said", INNER.length - 5],
          [method, "longer than the nothing that it said", 0],
          [method, "shorter than it said", INNER.length + 5],
        ] as const,
    ),
  )("%s whose body is %s fails, and its connection is used no more", async (method, _, length) => {
    const owner = await recorder();
    const headers = [["content-length", `${length}`]] as const;
    await expect(
      ask(owner, { method, path: "/false", headers, body: streamed(INNER) }).catch(code),
    ).resolves.toBe("CANCELLED");
    await read((await ask(owner, { path: "/next" })).body);
    expect(seen.filter(({ url }) => url !== "/false")).toEqual([
      { method: "GET", url: "/next", body: "", trailers: {} },
    ]);
  });

  it.each(METHODS)("%s whose body is cut fails, and its connection is used no more", async (method) => {
    const owner = await recorder();
    for (const [at, headers] of [[], [["content-length", "1000"]] as const].entries()) {
      const body = new PassThrough();
      const lost = ask(owner, { method, path: "/cut", headers, body }).catch(code);
      body.write(INNER);
      await eventually(
        () => seen[at]?.body,
        (got) => got === INNER,
      );
      body.destroy(new Error("the caller went away"));
      expect(await lost).toBe("CANCELLED");
    }
    await read((await ask(owner, { path: "/next" })).body);
    expect(seen.map(({ url }) => url)).toEqual(["/cut", "/cut", "/next"]);
    expect(connections).toBe(3);
  });

  it("that is given up amid its body or amid its answer leaves no connection to the next one", async () => {
    const owner = await recorder();
    const gone = new AbortController();
    const body = new PassThrough();
    const lost = ask(owner, { method: "POST", body, signal: gone.signal }).catch(code);
    body.write(INNER);
    await eventually(
      () => seen.length,
      (count) => count === 1,
    );
    gone.abort();
    expect(await lost).toBe("CANCELLED");
    const reply = await ask(owner, { path: "/unread" });
    await reply.body[Symbol.asyncIterator]().return?.();
    await read((await ask(owner, { path: "/next" })).body);
    expect(connections).toBe(3);
  });

  it("that is refused before its body was taken ends there, and leaves no connection to the next one", async () => {
    const owner = await serve(
      createServer((request, response) => {
        request.resume();
        const fields = request.url === "/refused" ? { "wolfpack-fate": "REFUSED not-sent" } : {};
        response.writeHead(200, { ...fields, "content-length": 0 }).end();
      }),
    );
    const body = new PassThrough();
    body.write(INNER);
    const refused = await ask(owner, { method: "POST", path: "/refused", body }).catch(code);
    expect(refused).toBe("REFUSED");
    await eventually(
      () => forwarding.inFlight,
      (count) => count === 0,
    );
    await read((await ask(owner, {})).body);
    expect(connections).toBe(2);
  });

  it("that asks for a byte stream has no body, whatever it is given", async () => {
    const said = Promise.withResolvers<string>();
    const owner = await serve(
      net.createServer((socket) => {
        let heard = "";
        socket.on("data", (piece) => {
          heard += piece;
          socket.end("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: wolfpack-channel\r\n\r\n");
        });
        socket.on("end", () => said.resolve(heard));
      }),
    );
    const headers = [["content-length", "40"]] as const;
    const { socket } = await ask(owner, { upgrade: "", headers, body: Buffer.from(INNER) });
    socket?.end();
    expect(await said.promise).not.toMatch(/content-length|transfer-encoding|smuggled/);
  });
});

describe("what a wolf answers to another replica", () => {
  const answered = (answer: Partial<TunnelResponse>): TunnelResponse => ({
    status: 200,
    headers: [],
    body: Readable.from([]),
    trailers: Promise.resolve([]),
    ...answer,
  });
  const said = (words: string) => Readable.from([Buffer.from(words)]);
  const FALSE = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";

  const doorTo = (answer: (path: string) => TunnelResponse) =>
    serve(
      createHttpServer((request, response) =>
        createDoor({
          credentials: createReplicaCredentials(SECRET, B),
          membership: { lives: async () => true, knows: async () => true, expired: () => false },
          links: { wolf: () => ({ request: async ({ path }) => answer(path) }), sandbox: () => undefined },
          look: () => undefined,
          calls: { request: () => undefined, upgrade: () => undefined },
          clock: systemClock,
          log: createLogger("fatal", { write: () => undefined }),
        }).request(request, response),
      ),
    );
  const askWolf = (owner: Owner, method: string, path: string) =>
    forwarding.ask(owner, tunnelPrefix("wolf", WOLF, "wolf"), { service: "wolf", method, path });

  it.each([
    ["longer", "4", "abcd"],
    ["longer than nothing", "0", ""],
  ])(
    "ends where it said when it is %s, and the next answer is the next question's",
    async (_, length, read4) => {
      const headers = [["content-length", length]] as const;
      const cancelled = Promise.withResolvers<void>();
      async function* endless() {
        try {
          for (;;) yield Buffer.from(`abcd${FALSE}`);
        } finally {
          cancelled.resolve();
        }
      }
      const owner = await doorTo((path) =>
        path === "/false" ? answered({ headers, body: endless() }) : answered({ body: said("true") }),
      );
      expect(await read((await askWolf(owner, "GET", "/false")).body)).toBe(read4);
      expect(await read((await askWolf(owner, "GET", "/")).body)).toBe("true");
      expect(connections).toBe(1);
      await cancelled.promise;
    },
  );

  it("holds up nobody when it has said all and does not end", async () => {
    const stalled = new PassThrough();
    stalled.write("abcd");
    const headers = [["content-length", "4"]] as const;
    const owner = await doorTo((path) =>
      path === "/stalled" ? answered({ headers, body: stalled }) : answered({ body: said("true") }),
    );
    expect(await read((await askWolf(owner, "GET", "/stalled")).body)).toBe("abcd");
    expect(await read((await askWolf(owner, "GET", "/")).body)).toBe("true");
    stalled.destroy();
  });

  it("is cut where it is shorter than it said, and the next answer is the next question's", async () => {
    const headers = [["content-length", "4000"]] as const;
    const owner = await doorTo((path) =>
      path === "/false" ? answered({ headers, body: said(FALSE) }) : answered({ body: said("true") }),
    );
    const { body } = await askWolf(owner, "GET", "/false");
    expect(await read(body).catch(code)).toBe("TRANSPORT_LOST");
    expect(await read((await askWolf(owner, "GET", "/")).body)).toBe("true");
    expect(connections).toBe(2);
  });

  it.each([
    ["HEAD", 200],
    ["GET", 204],
    ["GET", 304],
  ])("has no body after a %s with %s, whatever it brings", async (method, status) => {
    const owner = await doorTo((path) =>
      path === "/false"
        ? answered({
            status,
            headers: [["content-length", "7"]],
            body: Readable.from([Buffer.from(FALSE)]),
          })
        : answered({ body: Readable.from([Buffer.from("true")]) }),
    );
    const reply = await askWolf(owner, method, "/false");
    expect([reply.status, await read(reply.body)]).toEqual([status, ""]);
    expect(await read((await askWolf(owner, "GET", "/")).body)).toBe("true");
    expect(connections).toBe(1);
  });

  it.each([[["5", "9"]], [["five"]], [["5, 5"]]])(
    "is framed anew where its length is %j",
    async (lengths) => {
      const owner = await doorTo(() =>
        answered({
          headers: lengths.map((length) => ["content-length", length] as const),
          body: Readable.from([Buffer.from("whatever it is")]),
        }),
      );
      expect(await read((await askWolf(owner, "GET", "/")).body)).toBe("whatever it is");
    },
  );
});
