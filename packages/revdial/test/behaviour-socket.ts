/** Byte streams, interim heads and answers given piece by piece. Run over every transport. */
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { expect, it } from "@jest/globals";
import { httpFront } from "../src/http/index.ts";
import { type IncomingRequest, type RequestHandler, RevdialError } from "../src/index.ts";
import { listen, stopServer } from "./gateway.ts";
import { collect, failure, get, type Pair, signal, text, until, untilAborted } from "./support.ts";

const closing = async (socket: Duplex) => void (socket.closed || (await once(socket, "close")));

/** Accepts every socket and sends back what comes, half-close included. */
const echo: RequestHandler = async (_request, reply) => {
  const socket = reply.accept();
  socket.pipe(socket);
  await closing(socket);
};

async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  // Without this Node would destroy the stream's writable side too once it has been read.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

export function carriesSockets(pair: () => Pair): void {
  it("carries bytes both ways on a socket, and each direction ends on its own", async () => {
    let seen: IncomingRequest | undefined;
    const gotEnd = signal<string>();
    pair().left.serve(async (request, reply) => {
      seen = request;
      const socket = reply.accept([["x-served-by", "left"]]);
      gotEnd.give((await readAll(socket)).toString());
      socket.end("said after your end");
      await closing(socket);
    });
    const socket = await pair().right.connect("shell", { path: "/tty?a=1" });
    socket.end("hello");
    expect(await gotEnd.seen).toBe("hello");
    expect((await readAll(socket)).toString()).toBe("said after your end");
    expect(seen).toMatchObject({ service: "shell", method: "CONNECT", path: "/tty?a=1", upgrade: "" });
    await closing(socket);
  });

  it("keeps every byte of a large stream in order, through slow readers", async () => {
    pair().left.serve(echo);
    const socket = await pair().right.connect("echo");
    const sent = Buffer.alloc(2_000_000);
    for (let i = 0; i < sent.length; i += 1) sent[i] = (i * 7 + (i >> 9)) & 0xff;
    socket.end(sent);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) {
      chunks.push(chunk as Buffer);
      if (chunks.length % 8 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    }
    expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  });

  it("offers what Upgrade named, and resolves with the heads of the 101", async () => {
    pair().left.serve(async (request, reply) => {
      expect(request.upgrade).toBe("websocket");
      const socket = reply.accept([["sec-websocket-accept", "abc="]]);
      socket.end("frames");
      await readAll(socket);
    });
    const response = await pair().right.request({ ...get("/live"), upgrade: "websocket" });
    expect(response.status).toBe(101);
    expect(response.headers).toEqual([["sec-websocket-accept", "abc="]]);
    const socket = response.socket as Duplex;
    expect((await readAll(socket)).toString()).toBe("frames");
    socket.end();
    await closing(socket);
    await until(() => pair().left.load === 0);
  });

  it("answers a refused upgrade as an ordinary response", async () => {
    pair().left.serve(() => ({ status: 403, headers: [["x-why", "no"]], body: text.encode("not here") }));
    const response = await pair().right.request({ ...get("/live"), upgrade: "websocket" });
    expect(response.status).toBe(403);
    expect(response.headers).toEqual([
      ["x-why", "no"],
      ["content-length", "8"],
    ]);
    expect(response.socket).toBeUndefined();
    expect((await collect(response.body)).toString()).toBe("not here");
    await until(() => pair().right.load === 0 && pair().left.load === 0);
  });

  it("brings a handler that refuses an upgrade nothing of what its client says before and after", async () => {
    const asked: string[] = [];
    const [arrived, refuse, said] = [signal(), signal(), signal<Buffer>()];
    pair().left.serve(async (request) => {
      asked.push(request.path);
      void collect(request.body).then(said.give);
      arrived.give();
      await refuse.seen;
      return { status: 403, body: text.encode("not here") };
    });
    const { request, upgrade } = httpFront(pair().right.dispatcher("wolf"));
    const front = createServer(request).on("upgrade", upgrade);
    const { port } = new URL(await listen(front));
    const client = connect({ host: "127.0.0.1", port: Number(port), allowHalfOpen: true });
    const smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write(`GET /live HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n${smuggled}`);
    await arrived.seen;
    client.write(smuggled);
    refuse.give();
    const heard: Buffer[] = [];
    for await (const chunk of client.iterator({ destroyOnReturn: false })) {
      if (heard.length === 0) client.write(smuggled);
      heard.push(chunk as Buffer);
    }
    client.end(smuggled);
    await stopServer(front);
    expect(Buffer.concat(heard).toString()).toMatch(/^HTTP\/1\.1 403 (?!.*HTTP\/1\.1).*not here/s);
    expect((await said.seen).toString()).toBe("");
    await until(() => pair().right.load === 0 && pair().left.load === 0);
    expect(asked).toEqual(["/live"]);
  });

  it("rejects connect with status and detail when the far end answers with something else", async () => {
    pair().left.serve(() => ({ status: 502, body: text.encode("x".repeat(10_000)) }));
    const error = await failure(pair().right.connect("shell"));
    expect(error).toMatchObject({ code: "SOCKET_REFUSED", status: 502, sent: "may-have-run" });
    expect(error.detail).toBe("x".repeat(4096));
  });

  it("refuses to connect where nothing is served, and nothing was sent", async () => {
    expect(await failure(pair().right.connect("shell"))).toMatchObject({
      code: "SERVICE_UNKNOWN",
      sent: "not-sent",
    });
  });

  it("refuses an upgrade with a body, synchronously known as misuse", async () => {
    const request = { ...get("/"), upgrade: "websocket", body: text.encode("x") };
    expect((await failure(pair().right.request(request))).code).toBe("ARGUMENT");
  });

  it("fails the reply of a handler that accepts what was no upgrade", async () => {
    pair().left.serve(async (_request, reply) => void reply.accept());
    expect((await failure(pair().right.request(get("/")))).code).toBe("HANDLER_FAILED");
    expect(pair().handlerErrors).toMatchObject([{ code: "ARGUMENT" }]);
  });

  it("resets the channel when either side destroys its socket", async () => {
    const cut = signal<unknown>();
    pair().left.serve(async (_request, reply) => {
      const socket = reply.accept();
      socket.on("error", cut.give);
      socket.resume();
      await closing(socket).catch(() => undefined);
    });
    const socket = await pair().right.connect("shell");
    socket.on("error", () => undefined);
    socket.destroy();
    expect(await cut.seen).toMatchObject({ code: "CANCELLED" });
  });

  it("ends sockets with the tunnel", async () => {
    pair().left.serve(echo);
    const socket = await pair().right.connect("echo");
    const failed = once(socket, "error");
    pair().right.destroy();
    expect(await failed).toMatchObject([{ code: "DESTROYED" }]);
  });

  it("shows interim heads before the response", async () => {
    pair().left.serve(async (_request, reply) => {
      reply.interim(100);
      reply.interim(103, [["link", "</style.css>"]]);
      reply.head(200, [["x-a", "b"]]);
      reply.end(text.encode("done"));
    });
    const interim: [number, unknown][] = [];
    const response = await pair().right.request({
      ...get("/"),
      onInterim: (status, headers) => interim.push([status, headers]),
    });
    expect(interim).toEqual([
      [100, []],
      [103, [["link", "</style.css>"]]],
    ]);
    expect(response.headers).toEqual([["x-a", "b"]]);
    expect((await collect(response.body)).toString()).toBe("done");
  });

  it("sends an answer piece by piece, with backpressure and trailers", async () => {
    const pieces = 200;
    let waits = 0;
    pair().left.serve(async (_request, reply) => {
      reply.head(200, [
        ["connection", "x-hop"],
        ["x-hop", "1"],
        ["x-end", "2"],
      ]);
      for (let piece = 0; piece < pieces; piece += 1) {
        if (reply.write(new Uint8Array(10_000).fill(piece))) continue;
        waits += 1;
        await new Promise<void>((resolve) => reply.onDrain(resolve));
      }
      reply.end(undefined, [["x-pieces", String(pieces)]]);
    });
    const response = await pair().right.request(get("/"));
    expect(response.headers).toEqual([["x-end", "2"]]);
    const body = await collect(response.body);
    expect(body.byteLength).toBe(pieces * 10_000);
    for (let piece = 0; piece < pieces; piece += 1) expect(body[piece * 10_000 + 5]).toBe(piece);
    expect(await response.trailers).toEqual([["x-pieces", "200"]]);
    expect(waits).toBeGreaterThan(0);
  });

  it.each<[string, RequestHandler]>([
    [
      "before the answer",
      async ({ signal: abort }, reply) => {
        reply.interim(103);
        await untilAborted(abort);
      },
    ],
    [
      "in one message with the whole answer",
      (_request, reply) => {
        reply.interim(103);
        reply.head(200);
        reply.end();
      },
    ],
  ])(
    "costs a caller whose listener to interim heads throws, %s, its own request only",
    async (_when, handler) => {
      pair().left.serve(handler);
      const onInterim = () => {
        throw new Error("my own mistake");
      };
      expect(await failure(pair().right.request({ ...get("/"), onInterim }))).toMatchObject({
        code: "CANCELLED",
        cause: { message: "my own mistake" },
      });
      expect(pair().handlerErrors).toMatchObject([{ message: "my own mistake" }]);
      expect(pair().right.draining).toBe(false);
    },
  );

  it.each<[string, RequestHandler]>([
    [
      "room",
      (_request, reply) => {
        reply.head(200);
        reply.onDrain(() => {
          throw new Error("my own mistake");
        });
        while (reply.write(new Uint8Array(10_000)));
        return new Promise(() => undefined);
      },
    ],
    [
      "the end",
      (_request, reply) => {
        reply.head(200);
        reply.onClose(() => {
          throw new Error("my own mistake");
        });
        throw new RevdialError("CANCELLED", "enough");
      },
    ],
  ])("costs a handler whose listener to %s throws its own exchange only", async (_what, handler) => {
    pair().left.serve(handler);
    const answer = pair()
      .right.request(get("/"))
      .then(({ body }) => collect(body));
    expect(["HANDLER_FAILED", "CANCELLED"]).toContain((await failure(answer)).code);
    expect(pair().handlerErrors).toMatchObject([{ message: "my own mistake" }]);
    expect(pair().left.draining).toBe(false);
  });

  it("tells a reply that its caller is gone, and ignores what is said then", async () => {
    const over = signal<unknown>();
    pair().left.serve(async (_request, reply) => {
      reply.head(200);
      await new Promise<void>((resolve) =>
        reply.onClose((error) => {
          over.give(error);
          resolve();
        }),
      );
      expect(reply.over).toBe(true);
      reply.write(text.encode("nobody hears this"));
      reply.end();
    });
    const response = await pair().right.request(get("/"));
    await response.body[Symbol.asyncIterator]().return?.();
    expect(await over.seen).toMatchObject({ code: "CANCELLED" });
    expect(pair().handlerErrors).toEqual([]);
  });

  it.each([
    ["says nothing at all", async () => undefined],
    ["gives an interim head of 101", async (_: unknown, reply) => reply.interim(101)],
    ["gives an interim head of 200", async (_: unknown, reply) => reply.interim(200)],
    ["gives a head of 99", async (_: unknown, reply) => reply.head(99)],
    ["writes before its head", async (_: unknown, reply) => void reply.write(text.encode("x"))],
    ["ends before its head", async (_: unknown, reply) => reply.end()],
  ] as [string, RequestHandler][])("fails the exchange of a handler that %s", async (_name, handler) => {
    pair().left.serve(handler);
    expect((await failure(pair().right.request(get("/")))).code).toBe("HANDLER_FAILED");
    expect(pair().handlerErrors).toHaveLength(1);
  });
}
