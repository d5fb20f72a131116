import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "@jest/globals";
import { ask, type Chain, chain } from "./probes/chain.ts";
import { collect, signal } from "./support.ts";

let running: Chain | undefined;

afterEach(async () => {
  await running?.stop();
  running = undefined;
});

async function start(listener: RequestListener): Promise<Chain> {
  running = await chain(createServer(listener));
  return running;
}

test("the origin sees its own Host, since a client's never travels", async () => {
  const host = signal<string | undefined>();
  const { port, origin } = await start((request, response) => {
    host.give(request.headers.host);
    response.end();
  });
  const { sent, response } = ask(port, { headers: { host: "shop.example" } });
  sent.end();
  await collect(await response);
  expect(await host.seen).toBe(`127.0.0.1:${(origin.address() as AddressInfo).port}`);
});

test("an answer to HEAD has no body, and the length that one would have had", async () => {
  const { port } = await start((_request, response) =>
    response.writeHead(200, { "content-length": "7" }).end(),
  );
  const { sent, response } = ask(port, { method: "HEAD" });
  sent.end();
  const message: IncomingMessage = await response;
  expect(message.statusCode).toBe(200);
  expect(await collect(message)).toHaveLength(0);
  expect(message.headers["content-length"]).toBe("7");
});

test.each([
  ["states its length", "12", undefined],
  ["comes in chunks", undefined, "chunked"],
])("a download that %s does so for the client", async (_how, length, coding) => {
  const { port } = await start((_request, response) => {
    if (length) response.setHeader("content-length", length);
    response.write("first");
    setImmediate(() => response.end("another"));
  });
  const { sent, response } = ask(port);
  sent.end();
  const message = await response;
  expect(message.headers).toMatchObject(
    length === undefined ? { "transfer-encoding": coding } : { "content-length": length },
  );
  expect(String(await collect(message))).toBe("firstanother");
});

test.each([
  ["states its length", "12", undefined],
  ["comes in chunks", undefined, "chunked"],
])("an upload that %s does so for the origin", async (_how, length, coding) => {
  const seen = signal<IncomingMessage>();
  const { port } = await start(async (request, response) => {
    seen.give(request);
    response.end(await collect(request));
  });
  const headers = length === undefined ? {} : { "content-length": length };
  const { sent, response } = ask(port, { method: "POST", headers });
  sent.write("first");
  sent.end("another");
  expect(String(await collect(await response))).toBe("firstanother");
  const { "content-length": seenLength, "transfer-encoding": seenCoding } = (await seen.seen).headers;
  expect([seenLength, seenCoding]).toEqual([length, coding]);
});

test("a small answer without a stated length gets one, and an empty one gets 0", async () => {
  const { port } = await start((request, response) => {
    response.removeHeader("content-length");
    response.setHeader("transfer-encoding", "chunked");
    response.end(request.url === "/empty" ? undefined : "small");
  });
  for (const [path, length] of [
    ["/", "5"],
    ["/empty", "0"],
  ]) {
    const { sent, response } = ask(port, { path: path as string });
    sent.end();
    const message = await response;
    await collect(message);
    expect([path, message.headers["content-length"]]).toEqual([path, length]);
  }
});

test("an origin that says more than it sends gives the client a broken body", async () => {
  const { port, origin } = await start(() => undefined);
  origin.removeAllListeners("request");
  origin.on("connection", (socket) => {
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"));
  });
  const { sent, response } = ask(port);
  sent.end();
  await expect(response.then(collect)).rejects.toThrow("aborted");
});

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

test.each([
  ["once", trace, trace],
  ["as it was when it is not of the W3C form", "unknown", "unknown"],
])("a client's traceparent reaches the origin %s", async (_how, sentTrace, seenTrace) => {
  const seen = signal<string[]>();
  const { port } = await start((request, response) => {
    seen.give(request.rawHeaders.filter((_, at, raw) => at % 2 === 1 && raw[at - 1] === "traceparent"));
    response.end();
  });
  const { sent, response } = ask(port, { headers: { traceparent: sentTrace } });
  sent.end();
  await collect(await response);
  expect(await seen.seen).toEqual([seenTrace]);
});
