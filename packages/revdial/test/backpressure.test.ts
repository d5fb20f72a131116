/** Who does not read holds its own exchange, and makes nobody keep what it does not take. */
import { createServer, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { httpFront } from "../src/http/index.ts";
import { createTunnelSet, type DispatchController, type RequestHandler, tunnelFetch } from "../src/index.ts";
import { NoticeListeners } from "../src/notices.ts";
import { type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { listen, stopServer } from "./gateway.ts";
import { endless, get, signal, until } from "./support.ts";

let pair: TunnelPair;

beforeEach(async () => {
  pair = tunnelPair();
  await pair.ready;
});

afterEach(async () => {
  pair.left.destroy();
  await pair.right.closed;
});

/** Resolves when a number has stayed the same for many turns of the event loop. */
async function still(read: () => number): Promise<void> {
  let last = read();
  for (let turns = 0; turns < 2000; turns += 1) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (read() === last) continue;
    last = read();
    turns = 0;
  }
}

describe("an HTTP front", () => {
  let server: Server;
  let client: Socket;
  const WHOLE = 64 * 1024 * 1024;

  afterEach(async () => {
    client.destroy();
    await stopServer(server);
  });

  async function ask(head: string): Promise<void> {
    await listen(server);
    client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    client.on("error", () => undefined);
    client.write(head);
  }

  it("keeps little for a client that does not read, and passes on all once it does", async () => {
    pair.right.serve(() => ({
      status: 200,
      body: (async function* () {
        const chunk = Buffer.alloc(64 * 1024);
        for (let bytes = 0; bytes < WHOLE; bytes += chunk.length) yield chunk;
      })(),
    }));
    const front = httpFront(pair.left.dispatcher("web"));
    const answer = signal<ServerResponse>();
    server = createServer((request, response) => {
      answer.give(response);
      front.request(request, response);
    });
    await ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.pause();
    const response = await answer.seen;
    await until(() => response.writableNeedDrain);
    await still(() => response.writableLength);
    expect(response.writableLength).toBeLessThan(1024 * 1024);
    let heard = 0;
    for await (const chunk of client) heard += (chunk as Buffer).length;
    expect(heard).toBeGreaterThan(WHOLE);
  });

  it("takes no more than 64 KiB and what is read at once from a client before its upgrade is answered", async () => {
    const answered = signal();
    let passed = 0;
    pair.right.serve(async (_request, reply) => {
      await answered.seen;
      const socket = reply.accept();
      for await (const chunk of socket.iterator({ destroyOnReturn: false }))
        passed += (chunk as Buffer).length;
      socket.end();
    });
    const front = httpFront(pair.left.dispatcher("web"));
    const upgraded = signal<Duplex>();
    server = createServer().on("upgrade", (request, socket, head) => {
      front.upgrade(request, socket, head);
      upgraded.give(socket);
    });
    await ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    client.end(Buffer.alloc(WHOLE));
    const socket = (await upgraded.seen) as Socket;
    const enough = 64 * 1024 + 2 * 64 * 1024 + 1024;
    await until(() => socket.isPaused() || socket.bytesRead > enough);
    expect(socket.bytesRead).toBeLessThanOrEqual(enough);
    answered.give();
    await until(() => passed === WHOLE);
  });
});

describe("a dispatcher", () => {
  it("stops the upload when the far end has answered in full, and when it fails", async () => {
    pair.right.serve(({ path }) => {
      if (path === "/fails") throw new Error("no");
      return { status: 204 };
    });
    for (const path of ["/answered", "/fails"]) {
      const stopped = signal();
      const over = signal<string>();
      pair.left
        .dispatcher("web")
        .dispatch(
          { method: "POST", path, body: endless("x", () => stopped.give()) },
          { onResponseEnd: () => over.give("end"), onResponseError: () => over.give("error") },
        );
      expect(await over.seen).toBe(path === "/fails" ? "error" : "end");
      await stopped.seen;
    }
  });

  it("holds what comes when a handler of undici 7 and before says false, until it resumes", async () => {
    const { resumed, told, more } = slowly();
    const over = signal();
    const taken: string[] = [];
    let resume = () => {};
    pair.left.dispatcher("web").dispatch({ method: "GET", path: "/" }, {
      onConnect() {},
      onHeaders(_status: number, _headers: Buffer[], go: () => void) {
        resume = go;
        return true;
      },
      onData(chunk: Buffer) {
        taken.push(String(chunk));
        return false;
      },
      onComplete: () => over.give(),
    } as never);
    await until(() => taken.length === 1);
    more.give();
    await told.seen;
    await still(() => taken.length);
    expect(taken).toEqual(["one"]);
    resume();
    await until(() => taken.length === 2);
    resumed.give();
    resume();
    await over.seen;
    expect(taken).toEqual(["one", "two"]);
  });

  it("says nothing of the end while its handler has paused it, though no byte waits", async () => {
    const { told, more, resumed } = slowly();
    let controller: DispatchController | undefined;
    let ends = 0;
    const taken: string[] = [];
    pair.left.dispatcher("web").dispatch(
      { method: "GET", path: "/" },
      {
        onRequestStart: (given) => {
          controller = given;
        },
        onResponseData: (given, chunk) => {
          taken.push(String(chunk));
          if (taken.length === 2) given.pause();
        },
        onResponseEnd: () => {
          ends += 1;
        },
      },
    );
    await until(() => taken.length === 1);
    more.give();
    await told.seen;
    await until(() => taken.length === 2);
    resumed.give();
    await until(() => pair.left.load === 0);
    await still(() => ends);
    expect(ends).toBe(0);
    controller?.resume();
    expect(ends).toBe(1);
  });

  it("of a set holds an answer for a handler that paused before there was a member", async () => {
    pair.right.serve(() => ({ status: 200, body: Buffer.from("body") }));
    const set = createTunnelSet();
    let controller: DispatchController | undefined;
    let bytes = 0;
    const over = signal();
    set.dispatcher("web").dispatch(
      { method: "GET", path: "/", deadlineMs: 60_000 },
      {
        onRequestStart: (given) => {
          controller = given;
          given.pause();
        },
        onResponseData: (_given, chunk) => {
          bytes += chunk.length;
        },
        onResponseEnd: () => over.give(),
      },
    );
    set.add(pair.left);
    await until(() => pair.right.metrics.openedInbound === 1 && pair.right.load === 0);
    await still(() => bytes);
    expect(bytes).toBe(0);
    controller?.resume();
    await over.seen;
    expect(bytes).toBe(4);
  });

  /** A body of "one", "two" and its end, each when it is told to. */
  function slowly() {
    const [more, told, resumed] = [signal(), signal(), signal()];
    pair.right.serve(() => ({
      status: 200,
      body: (async function* () {
        yield Buffer.from("one");
        await more.seen;
        yield Buffer.from("two");
        told.give();
        await resumed.seen;
      })(),
    }));
    return { more, told, resumed };
  }
});

describe("a handler that waits for room", () => {
  /** Writes until it is told to wait, and waits as the documentation has it. */
  const bulk = (waits: () => void, before: () => Promise<void> = async () => undefined): RequestHandler => {
    return async (_request, reply) => {
      reply.head(200);
      while (reply.write(new Uint8Array(16_384)));
      waits();
      await before();
      await new Promise<void>((resolve) => reply.onDrain(resolve));
      if (!reply.over) reply.end();
    };
  };

  it.each([
    ["the caller gives up", (caller: AbortController) => caller.abort()],
    ["its tunnel ends", () => pair.left.destroy()],
  ])("goes on when %s, and is told that the exchange is over", async (_what, happens) => {
    const [waits, returned] = [signal(), signal<void>()];
    const handler = bulk(waits.give);
    pair.right.serve(async (request, reply) => {
      await handler(request, reply);
      returned.give();
    });
    const caller = new AbortController();
    pair.left.request({ ...get("/"), signal: caller.signal }).catch(() => undefined);
    await waits.seen;
    happens(caller);
    await returned.seen;
  });

  it("is called at once when it begins to wait after the end", async () => {
    const [waits, cancelled, returned] = [signal(), signal(), signal()];
    const handler = bulk(waits.give, () => cancelled.seen);
    pair.right.serve(async (request, reply) => {
      reply.onClose(() => cancelled.give());
      await handler(request, reply);
      returned.give();
    });
    const caller = new AbortController();
    pair.left.request({ ...get("/"), signal: caller.signal }).catch(() => undefined);
    await waits.seen;
    caller.abort();
    await returned.seen;
  });

  it("gives its slot back, however many callers leave", async () => {
    const few = tunnelPair({ right: { limits: { channelsMax: 2 } } });
    const begun: (() => void)[] = [];
    few.right.serve((request, reply) =>
      request.path === "/" ? bulk(() => begun.shift()?.())(request, reply) : { status: 204 },
    );
    await few.ready;
    for (let call = 0; call < 5; call += 1) {
      const [waits, caller] = [signal(), new AbortController()];
      begun.push(waits.give);
      few.left.request({ ...get("/"), signal: caller.signal }).catch(() => undefined);
      await waits.seen;
      caller.abort();
    }
    expect((await few.left.request(get("/again"))).status).toBe(204);
    few.left.destroy();
    await few.right.closed;
  });

  it("is told of by its owner when what it does then throws", async () => {
    const thrown: unknown[] = [];
    const own = tunnelPair({ both: { onHandlerError: (error) => void thrown.push(error) } });
    const waits = signal();
    own.right.serve(async (_request, reply) => {
      reply.head(200);
      while (reply.write(new Uint8Array(16_384)));
      reply.onDrain(() => {
        throw new Error("of the listener");
      });
      waits.give();
      await new Promise<void>((resolve) => reply.onClose(() => resolve()));
    });
    const caller = new AbortController();
    own.left.request({ ...get("/"), signal: caller.signal }).catch(() => undefined);
    await waits.seen;
    caller.abort();
    await until(() => thrown.length > 0);
    expect(thrown).toMatchObject([{ message: "of the listener" }]);
    expect(own.right.draining).toBe(false);
    own.left.destroy();
    await own.right.closed;
  });
});

it("a fetch takes nothing of a body before somebody reads it, and no more than was read", async () => {
  let taken = 0;
  const body = (async function* () {
    for (;;) {
      taken += 1;
      yield Buffer.from("chunk");
    }
  })();
  const request = async () => ({ status: 200, headers: [], body, trailers: Promise.resolve([]) });
  const response = await tunnelFetch({ request }, "web")("/");
  await still(() => taken);
  expect(taken).toBe(0);
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  await reader.read();
  await still(() => taken);
  expect(taken).toBe(1);
  await reader.cancel();
});

it("listeners to notices that are cleared hear no more, and are held no longer", () => {
  let heard = 0;
  const listeners = new NoticeListeners(() => undefined);
  listeners.add(() => {
    heard += 1;
  });
  listeners.deliver("beat", new Uint8Array());
  listeners.clear();
  listeners.deliver("beat", new Uint8Array());
  expect(heard).toBe(1);
});
