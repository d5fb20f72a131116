import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { type Dispatcher, FormData, request, fetch as undiciFetch } from "undici";
import { dialTunnel, type RequestHandler, RevdialError, type Tunnel } from "../src/index.ts";
import { gateway, stopServer } from "./gateway.ts";
import { collect, signal } from "./support.ts";

let tunnel: Tunnel;
let agent: Tunnel;
let handler: RequestHandler;
let stop: () => Promise<void>;

beforeEach(async () => {
  const accepted = signal<Tunnel>();
  const { url, server } = await gateway(accepted.give);
  agent = await dialTunnel(url);
  tunnel = await accepted.seen;
  handler = async ({ body }) => ({ status: 200, body: await collect(body) });
  agent.serve((request, reply) => handler(request, reply));
  stop = async () => {
    agent.destroy();
    tunnel.destroy();
    await Promise.all([agent.closed, tunnel.closed]);
    await stopServer(server);
  };
});

afterEach(() => stop());

/** undici's type asks for its whole class; its functions call only `dispatch`. */
function throughTunnel(): Dispatcher {
  return tunnel.dispatcher("web") as unknown as Dispatcher;
}

async function* pieces(): AsyncIterable<Uint8Array> {
  yield Buffer.from("he");
  yield Buffer.from("llo");
}

test.each([
  ["a string", () => "hello"],
  ["a buffer", () => Buffer.from("hello")],
])("undici's request sends %s through the tunnel", async (_kind, body) => {
  const dispatcher = throughTunnel();
  const answer = await request("http://web/", { method: "POST", body: body(), dispatcher });
  expect(await answer.body.text()).toBe("hello");
});

test("undici's fetch streams an async iterable through the tunnel", async () => {
  const dispatcher = throughTunnel();
  const answer = await undiciFetch("http://web/", {
    method: "POST",
    body: pieces(),
    duplex: "half",
    dispatcher,
  });
  expect(await answer.text()).toBe("hello");
});

test("undici's fetch sends a form through the tunnel", async () => {
  const dispatcher = throughTunnel();
  const body = new FormData();
  body.set("field", "value");
  const answer = await undiciFetch("http://web/", { method: "POST", body, dispatcher });
  expect(await answer.text()).toContain('name="field"\r\n\r\nvalue\r\n');
});

test("an abort by signal rejects the request and ends it at the far end", async () => {
  const begun = signal();
  const ended = signal();
  handler = (_request, reply) => {
    reply.onClose(() => ended.give());
    begun.give();
    return new Promise(() => undefined);
  };
  const controller = new AbortController();
  const dispatcher = throughTunnel();
  const answer = undiciFetch("http://web/", { signal: controller.signal, dispatcher });
  const rejected = expect(answer).rejects.toThrow("aborted");
  await begun.seen;
  controller.abort();
  await rejected;
  await ended.seen;
});

test("a fetch through a closed tunnel is a TypeError with the tunnel's error as its cause", async () => {
  const dispatcher = throughTunnel();
  tunnel.destroy();
  await tunnel.closed;
  const error = await undiciFetch("http://web/", { dispatcher }).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(TypeError);
  expect((error as TypeError).cause).toBeInstanceOf(RevdialError);
});
