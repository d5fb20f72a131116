/** What HTTP clients and servers are used to, over the whole way: client, front, tunnel, forwarder, origin. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, type RequestListener } from "node:http";
import { afterEach, describe, expect, it } from "@jest/globals";
import { stopServer } from "../gateway.ts";
import { collect, signal, until } from "../support.ts";
import { ask, type Chain, chain, type WayOptions, ways } from "./chain.ts";

const MIB = 1024 * 1024;
let running: Chain | undefined;

afterEach(async () => {
  await running?.stop();
  running = undefined;
});

async function firstChunk(message: IncomingMessage): Promise<string> {
  const [chunk] = await once(message, "data");
  return String(chunk);
}

describe.each(ways)("over %s", (_name, way) => {
  async function start(listener: RequestListener, options?: WayOptions): Promise<Chain> {
    running = await chain(createServer(listener), { way, ...options });
    return running;
  }

  it.each([
    ["type text/event-stream", { "content-type": "text/event-stream" }],
    ["type text/event-stream and a length", { "content-type": "text/event-stream", "content-length": "18" }],
    ["type application/x-ndjson", { "content-type": "application/x-ndjson" }],
    ["type application/grpc", { "content-type": "application/grpc" }],
    ["no type", {}],
  ] as [string, Record<string, string>][])(
    "a stream of %s arrives before its next part is sent",
    async (_which, fields) => {
      const seen = signal();
      const { port } = await start(async (_request, response) => {
        response.writeHead(200, fields);
        response.write("data: 1\n\n");
        await seen.seen;
        response.end("data: 2\n\n");
      });
      const { sent, response } = ask(port);
      sent.end();
      const message = await response;
      expect(message.headers).toMatchObject(fields);
      expect(await firstChunk(message)).toBe("data: 1\n\n");
      seen.give();
      expect(String(await collect(message))).toBe("data: 2\n\n");
    },
  );

  it("a client that goes away during an answer ends the origin's request", async () => {
    const gone = signal();
    const { port } = await start((_request, response) => {
      response.once("close", () => gone.give());
      response.write("more follows");
    });
    const { sent, response } = ask(port);
    sent.end();
    const message = await response;
    message.on("error", () => undefined);
    await firstChunk(message);
    sent.destroy();
    await gone.seen;
  });

  it("a client that goes away during an upload breaks the origin's request body", async () => {
    const begun = signal();
    const broken = signal<boolean>();
    const { port } = await start((request) => {
      request.once("data", () => begun.give());
      request.once("error", () => undefined);
      request.once("close", () => broken.give(!request.complete));
    });
    const { sent, response } = ask(port, { method: "POST" });
    response.catch(() => undefined);
    sent.write("a part");
    await begun.seen;
    sent.destroy();
    expect(await broken.seen).toBe(true);
  });

  it("an origin that breaks off mid-body gives the client a broken body", async () => {
    const cut = signal();
    const { port } = await start(async (_request, response) => {
      response.write("half");
      await cut.seen;
      response.destroy();
    });
    const { sent, response } = ask(port);
    sent.end();
    const message = await response;
    await firstChunk(message);
    cut.give();
    await expect(collect(message)).rejects.toThrow("aborted");
    expect(message.complete).toBe(false);
  });

  it("the origin's 100 lets the client send its body", async () => {
    const { port } = await start((request, response) => void request.pipe(response));
    const { sent, response } = ask(port, { method: "POST", headers: { expect: "100-continue" } });
    sent.flushHeaders();
    await once(sent, "continue");
    sent.end("the body");
    expect(String(await collect(await response))).toBe("the body");
  });

  it("the origin's 417 reaches the client without a 100 before it", async () => {
    const { port, origin } = await start(() => undefined);
    origin.on("checkContinue", (_request, response) => response.writeHead(417).end());
    const { sent, response } = ask(port, { method: "POST", headers: { expect: "100-continue" } });
    let continued = false;
    sent.on("continue", () => {
      continued = true;
    });
    sent.on("error", () => undefined);
    sent.flushHeaders();
    expect((await response).statusCode).toBe(417);
    expect(continued).toBe(false);
    sent.destroy();
  });

  it("early hints arrive before the answer", async () => {
    const { port } = await start((_request, response) =>
      response.writeEarlyHints({ link: "</a.css>; rel=preload" }, () => response.end("ok")),
    );
    const { sent, response } = ask(port);
    const hints = once(sent, "information");
    sent.end();
    const [hint] = await hints;
    expect(hint).toMatchObject({ statusCode: 103, headers: { link: "</a.css>; rel=preload" } });
    expect(String(await collect(await response))).toBe("ok");
  });

  it("trailers of an answer arrive", async () => {
    const { port } = await start((_request, response) => {
      response.writeHead(200, { trailer: "x-sum" });
      response.write("body");
      response.addTrailers({ "x-sum": "42" });
      response.end();
    });
    const { sent, response } = ask(port);
    sent.end();
    const message = await response;
    await collect(message);
    expect(message.trailers).toEqual({ "x-sum": "42" });
  });

  it("trailers of a request arrive", async () => {
    const trailers = signal<NodeJS.Dict<string>>();
    const { port } = await start(async (request, response) => {
      await collect(request);
      trailers.give(request.trailers);
      response.end();
    });
    const { sent, response } = ask(port, { method: "POST", headers: { trailer: "x-sum" } });
    sent.write("body");
    sent.addTrailers({ "x-sum": "42" });
    sent.end();
    await collect(await response);
    expect(await trailers.seen).toEqual({ "x-sum": "42" });
  });

  it.each([
    ["GET", 204],
    ["GET", 304],
    ["HEAD", 200],
  ])(
    "the answer to %s with status %i has no body, and the next on its connection is right",
    async (method, status) => {
      const { port } = await start((request, response) => {
        if (request.url === "/next") return void response.end("next");
        response.writeHead(status, { "x-a": "1" }).end();
      });
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const { sent, response } = ask(port, { method, agent });
      sent.end();
      const message = await response;
      expect(message).toMatchObject({ statusCode: status, headers: { "x-a": "1" } });
      expect(await collect(message)).toHaveLength(0);
      const next = ask(port, { path: "/next", agent });
      next.sent.end();
      expect(String(await collect(await next.response))).toBe("next");
      agent.destroy();
    },
  );

  it("32 MiB in chunks go up and come back intact", async () => {
    const { port } = await start((request, response) => void request.pipe(response));
    const { sent, response } = ask(port, { method: "POST" });
    const up = createHash("sha256");
    const writing = (async () => {
      for (let i = 0; i < 32; i += 1) {
        const chunk = Buffer.alloc(MIB, i);
        up.update(chunk);
        if (!sent.write(chunk)) await once(sent, "drain");
      }
      sent.end();
    })();
    const down = await collect(await response);
    await writing;
    expect(down).toHaveLength(32 * MIB);
    expect(createHash("sha256").update(down).digest("hex")).toBe(up.digest("hex"));
  });

  it("32 MiB in chunks come down intact", async () => {
    const given = createHash("sha256");
    const { port } = await start(async (_request, response) => {
      for (let i = 0; i < 32; i += 1) {
        const chunk = Buffer.alloc(MIB, `${i};`);
        given.update(chunk);
        if (!response.write(chunk)) await once(response, "drain");
      }
      response.end();
    });
    const { sent, response } = ask(port);
    sent.end();
    const message = await response;
    expect(message.headers["transfer-encoding"]).toBe("chunked");
    const taken = createHash("sha256");
    let bytes = 0;
    for await (const chunk of message) {
      taken.update(chunk);
      bytes += chunk.length;
    }
    expect(bytes).toBe(32 * MIB);
    expect(taken.digest("hex")).toBe(given.digest("hex"));
  });

  it("an answer that comes before the upload has ended arrives, and the upload may go on", async () => {
    const { port } = await start(async (request, response) => {
      response.write("early");
      response.end(`, then ${await collect(request)}`);
    });
    const { sent, response } = ask(port, { method: "POST" });
    sent.write("half");
    const message = await response;
    expect(await firstChunk(message)).toBe("early");
    sent.end(" and half");
    expect(String(await collect(message))).toBe(", then half and half");
  });

  it("an answer that ends before the upload does arrives whole, and the upload is stopped", async () => {
    const { port, tunnel } = await start((_request, response) =>
      response.writeHead(413, { connection: "close" }).end("too much"),
    );
    const { sent, response } = ask(port, { method: "POST" });
    sent.on("error", () => undefined); // The connection may be closed in the middle of the upload.
    sent.write(Buffer.alloc(64 * MIB));
    const message = await response;
    expect(message.statusCode).toBe(413);
    expect(String(await collect(message))).toBe("too much");
    await until(() => tunnel.load === 0);
    expect(tunnel.metrics.bytesSent).toBeLessThan(32 * MIB);
    sent.destroy();
  });

  it("200 requests at once each get their own answer", async () => {
    const { port } = await start((request, response) => void response.end(`for ${request.url}`));
    const answers = Array.from({ length: 200 }, async (_, i) => {
      const { sent, response } = ask(port, { path: `/${i}` });
      sent.end();
      return String(await collect(await response));
    });
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 200 }, (_, i) => `for /${i}`));
  });

  it("repeated fields stay apart and fields of one hop do not pass", async () => {
    const seen = signal<IncomingMessage["headers"]>();
    const { port } = await start((request, response) => {
      seen.give(request.headers);
      response.writeHead(200, { "set-cookie": ["a=1", "b=2"] }).end();
    });
    const headers = {
      connection: "x-hop, close",
      "x-hop": "1",
      "proxy-authorization": "secret",
      "x-kept": "2",
    };
    const { sent, response } = ask(port, { headers });
    sent.end();
    const message = await response;
    await collect(message);
    expect(message.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    const arrived = await seen.seen;
    expect(arrived).toMatchObject({ "x-kept": "2" });
    expect(arrived).not.toHaveProperty("x-hop");
    expect(arrived).not.toHaveProperty("proxy-authorization");
  });

  it("an origin that is down is a 503 with its code", async () => {
    const { port, origin } = await start(() => undefined);
    await stopServer(origin);
    const { sent, response } = ask(port);
    sent.end();
    const message = await response;
    expect(message.statusCode).toBe(503);
    expect(String(await collect(message))).toBe("REFUSED\n");
  });

  it("an origin that does not answer by the deadline is a 504", async () => {
    const { port } = await start(() => undefined, { deadlineMs: 50 });
    const { sent, response } = ask(port);
    sent.end();
    const message = await response;
    expect(message.statusCode).toBe(504);
    expect(String(await collect(message))).toBe("DEADLINE\n");
  });
});
