import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { connect } from "node:net";
import { afterEach, expect, test } from "@jest/globals";
import type { HttpFrontOptions } from "../../src/http/index.ts";
import { stopServer } from "../gateway.ts";
import { collect, signal } from "../support.ts";
import { ask, type Chain, chain } from "./chain.ts";

const MIB = 1024 * 1024;
let running: Chain | undefined;

afterEach(async () => {
  await running?.stop();
  running = undefined;
});

async function start(listener: RequestListener, options?: HttpFrontOptions): Promise<Chain> {
  running = await chain(createServer(listener), options);
  return running;
}

async function firstChunk(message: IncomingMessage): Promise<string> {
  const [chunk] = await once(message, "data");
  return String(chunk);
}

test.each(["text/event-stream", undefined])(
  "a stream of type %s arrives before its next part is sent",
  async (type) => {
    const seen = signal();
    const { port } = await start(async (_request, response) => {
      if (type) response.setHeader("content-type", type);
      response.write("data: 1\n\n");
      await seen.seen;
      response.end("data: 2\n\n");
    });
    const { sent, response } = ask(port);
    sent.end();
    const message = await response;
    expect(await firstChunk(message)).toBe("data: 1\n\n");
    seen.give();
    expect(String(await collect(message))).toBe("data: 2\n\n");
  },
);

test("a client that goes away during an answer ends the origin's request", async () => {
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

test("a client that goes away during an upload breaks the origin's request body", async () => {
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

test("an origin that breaks off mid-body gives the client a broken body", async () => {
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

test("the origin's 100 lets the client send its body", async () => {
  const { port } = await start((request, response) => void request.pipe(response));
  const { sent, response } = ask(port, { method: "POST", headers: { expect: "100-continue" } });
  sent.flushHeaders();
  await once(sent, "continue");
  sent.end("the body");
  expect(String(await collect(await response))).toBe("the body");
});

test("the origin's 417 reaches the client without a 100 before it", async () => {
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

test("early hints arrive before the answer", async () => {
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

test("trailers of an answer arrive", async () => {
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

test.each([204, 304])("a %i has no body", async (status) => {
  const { port } = await start((_request, response) => response.writeHead(status).end());
  const { sent, response } = ask(port);
  sent.end();
  const message = await response;
  expect(message.statusCode).toBe(status);
  expect(await collect(message)).toHaveLength(0);
});

test("32 MiB in chunks go up and come back intact", async () => {
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

test("200 requests at once each get their own answer", async () => {
  const { port } = await start((request, response) => void response.end(`for ${request.url}`));
  const answers = Array.from({ length: 200 }, async (_, i) => {
    const { sent, response } = ask(port, { path: `/${i}` });
    sent.end();
    return String(await collect(await response));
  });
  expect(await Promise.all(answers)).toEqual(Array.from({ length: 200 }, (_, i) => `for /${i}`));
});

test("repeated fields stay apart and fields of one hop do not pass", async () => {
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

test("an origin that is down is a 503 with its code", async () => {
  const { port, origin } = await start(() => undefined);
  await stopServer(origin);
  const { sent, response } = ask(port);
  sent.end();
  const message = await response;
  expect(message.statusCode).toBe(503);
  expect(String(await collect(message))).toBe("REFUSED\n");
});

test("an origin that does not answer by the deadline is a 504", async () => {
  const { port } = await start(() => undefined, { deadlineMs: 50 });
  const { sent, response } = ask(port);
  sent.end();
  const message = await response;
  expect(message.statusCode).toBe(504);
  expect(String(await collect(message))).toBe("DEADLINE\n");
});

const upgradeHead = "GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

test("an upgrade echoes bytes that came with its head, and those after the client's half-close", async () => {
  const { port, origin } = await start(() => undefined);
  origin.on("upgrade", (_request, socket, head) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    socket.write(head);
    socket.on("data", (chunk) => socket.write(chunk));
    socket.on("end", () => socket.end(" after the end"));
  });
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  socket.end(`${upgradeHead}early`);
  const said = String(await collect(socket));
  expect(said).toMatch(/^HTTP\/1\.1 101 /);
  expect(said).toMatch(/\r\n\r\nearly after the end$/);
});

test("a refused upgrade is an ordinary answer and the end of its connection", async () => {
  const { port, origin } = await start(() => undefined);
  origin.on("upgrade", (_request, socket) =>
    socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"),
  );
  const socket = connect({ host: "127.0.0.1", port });
  socket.write(`${upgradeHead}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n`);
  const said = String(await collect(socket));
  expect(said).toMatch(/^HTTP\/1\.1 403 /);
  expect(said.match(/HTTP\/1\.1/g)).toHaveLength(1);
});
