/** What every tunnel does, whatever carries it: the same sentences run over memory and over a real WebSocket. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import {
  type IncomingRequest,
  type OutgoingResponse,
  RevdialError,
  type Tunnel,
  tunnelFetch,
} from "../src/index.ts";

export interface Pair {
  /** Dialled; in the product this is the agent. */
  left: Tunnel;
  /** Accepted; in the product this is the control plane, which sends most requests. */
  right: Tunnel;
  stop(): Promise<void>;
}

const text = new TextEncoder();

export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Resolves to the error a promise rejects with; a promise that fulfils fails the test. */
export async function failure(promise: Promise<unknown>): Promise<RevdialError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if (!("error" in outcome)) throw new Error("expected a rejection");
  expect(outcome.error).toBeInstanceOf(RevdialError);
  return outcome.error as RevdialError;
}

/** A body that gives one chunk, then waits for ever (until the reader stops). */
export async function* endless(first: string, stopped?: () => void): AsyncIterable<Uint8Array> {
  try {
    yield text.encode(first);
    for (;;) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      yield text.encode("…");
    }
  } finally {
    stopped?.();
  }
}

const get = (path: string) => ({ service: "wolf", method: "GET", path });

export function behavesLikeATunnel(name: string, connect: () => Promise<Pair>): void {
  describe(`a tunnel over ${name}`, () => {
    let pair: Pair;

    beforeEach(async () => {
      pair = await connect();
    });

    afterEach(async () => {
      await pair.stop();
      expect((await pair.left.closed).code).toBeDefined();
      expect((await pair.right.closed).code).toBeDefined();
    });

    it("carries a request with its service, method, path, headers and body, and the response back", async () => {
      let seen: IncomingRequest | undefined;
      pair.left.serve(async (request) => {
        seen = request;
        const body = await collect(request.body);
        return { status: 201, headers: [["x-echo", "yes"]], body: Buffer.from(`got ${body.toString()}`) };
      });
      const reply = await pair.right.request({
        service: "wolf",
        method: "POST",
        path: "/api/v1/lobbies/create?x=1",
        headers: [
          ["content-type", "application/json"],
          ["x-twice", "a"],
          ["x-twice", "b"],
        ],
        body: text.encode("{}"),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      });
      expect(reply.status).toBe(201);
      expect(reply.headers).toEqual([["x-echo", "yes"]]);
      expect((await collect(reply.body)).toString()).toBe("got {}");
      expect(seen).toMatchObject({
        service: "wolf",
        method: "POST",
        path: "/api/v1/lobbies/create?x=1",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      });
      expect(seen?.headers).toEqual([
        ["content-type", "application/json"],
        ["x-twice", "a"],
        ["x-twice", "b"],
      ]);
    });

    it("carries requests in both directions at once", async () => {
      pair.left.serve(() => ({ status: 200, body: text.encode("left") }));
      pair.right.serve(() => ({ status: 200, body: text.encode("right") }));
      const [a, b] = await Promise.all([pair.right.request(get("/")), pair.left.request(get("/"))]);
      expect((await collect(a.body)).toString()).toBe("left");
      expect((await collect(b.body)).toString()).toBe("right");
    });

    it("keeps every byte in order through bodies much larger than a window, in both directions", async () => {
      pair.left.serve((request) => ({ status: 200, body: request.body }));
      const sent = Buffer.alloc(3_000_000);
      for (let i = 0; i < sent.length; i += 1) sent[i] = (i * 31 + (i >> 8)) & 0xff;
      async function* pieces() {
        for (let at = 0; at < sent.length; at += 70_001) yield sent.subarray(at, at + 70_001);
      }
      const reply = await pair.right.request({ ...get("/"), method: "POST", body: pieces() });
      expect((await collect(reply.body)).equals(sent)).toBe(true);
    });

    it("answers 1,000 parallel requests with the right bodies", async () => {
      pair.left.serve((request) => ({ status: 200, body: text.encode(request.path) }));
      const replies = await Promise.all(
        Array.from({ length: 1000 }, async (_, i) => {
          const reply = await pair.right.request(get(`/${i}`));
          return (await collect(reply.body)).toString();
        }),
      );
      expect(replies).toEqual(Array.from({ length: 1000 }, (_, i) => `/${i}`));
    });

    it("carries trailers after a streamed body", async () => {
      pair.left.serve(() => ({ status: 200, body: text.encode("x"), trailers: [["x-checksum", "abc"]] }));
      const reply = await pair.right.request(get("/"));
      await collect(reply.body);
      expect(await reply.trailers).toEqual([["x-checksum", "abc"]]);
    });

    it("delivers the response before the upload has ended, and then stops the upload", async () => {
      let stopped = () => {};
      const uploadStopped = new Promise<void>((resolve) => {
        stopped = resolve;
      });
      pair.left.serve(() => ({ status: 413, body: text.encode("too much") }));
      const reply = await pair.right.request({
        ...get("/"),
        method: "POST",
        body: endless("a", () => stopped()),
      });
      expect(reply.status).toBe(413);
      expect((await collect(reply.body)).toString()).toBe("too much");
      await uploadStopped;
    });

    it("tells the handler when the caller cancels, and the caller that it may have run", async () => {
      const cancel = new AbortController();
      const aborted = new Promise<void>((resolve) => {
        pair.left.serve(
          (request) =>
            new Promise<OutgoingResponse>((_resolve, reject) => {
              request.signal.addEventListener("abort", () => {
                resolve();
                reject(new Error("aborted"));
              });
              cancel.abort();
            }),
        );
      });
      const error = await failure(pair.right.request({ ...get("/"), signal: cancel.signal }));
      expect(error).toMatchObject({ code: "CANCELLED", sent: "may-have-run" });
      await aborted;
    });

    it("stops an endless response when its reader stops", async () => {
      let stopped = () => {};
      const producerStopped = new Promise<void>((resolve) => {
        stopped = resolve;
      });
      pair.left.serve(() => ({
        status: 200,
        headers: [["content-type", "text/event-stream"]],
        body: endless("data: 1\n\n", () => stopped()),
      }));
      const reply = await pair.right.request(get("/events"));
      for await (const chunk of reply.body) {
        expect(Buffer.from(chunk).toString()).toContain("data: 1");
        break;
      }
      await producerStopped;
    });

    it("does not stall other channels behind one whose body nobody reads", async () => {
      pair.left.serve((request) =>
        request.path === "/bulk"
          ? { status: 200, body: endless("x".repeat(30_000)) }
          : { status: 200, body: text.encode("ok") },
      );
      const bulk = await pair.right.request(get("/bulk"));
      for (let i = 0; i < 50; i += 1) {
        expect((await collect((await pair.right.request(get("/small"))).body)).toString()).toBe("ok");
      }
      await bulk.body[Symbol.asyncIterator]().return?.();
    });

    it("turns a handler that throws into a reset, and goes on", async () => {
      pair.left.serve((request) => {
        if (request.path === "/bad") throw new Error("secret detail");
        return { status: 200 };
      });
      const error = await failure(pair.right.request(get("/bad")));
      expect(error.code).toBe("HANDLER_FAILED");
      expect(error.message).not.toContain("secret");
      expect((await pair.right.request(get("/good"))).status).toBe(200);
    });

    it("turns a response that may not travel into a reset", async () => {
      pair.left.serve(() => ({ status: 200, headers: [["x-bad", "a\r\nb: c"]] }));
      expect((await failure(pair.right.request(get("/")))).code).toBe("HANDLER_FAILED");
    });

    it("fails a body whose source fails half way, on the other side too", async () => {
      async function* half(): AsyncIterable<Uint8Array> {
        yield text.encode("half");
        throw new Error("disk gone");
      }
      pair.left.serve(() => ({ status: 200, body: half() }));
      const reply = await pair.right.request(get("/"));
      expect((await failure(collect(reply.body))).code).toBe("HANDLER_FAILED");
    });

    it("refuses requests where nothing is served", async () => {
      expect((await failure(pair.right.request(get("/")))).code).toBe("SERVICE_UNKNOWN");
    });

    it.each([
      ["a path without a slash", { path: "api" }],
      ["a path with a space", { path: "/a b" }],
      ["a path with a line break", { path: "/a\r\nx: y" }],
      ["an absolute URL", { path: "http://other/" }],
      ["a method with a space", { method: "GE T" }],
      ["an empty method", { method: "" }],
      ["a service with capitals", { service: "Wolf" }],
      ["a header value with a line break", { headers: [["x-a", "1\n2"]] as const }],
      ["a header name with a colon", { headers: [["x:a", "1"]] as const }],
      ["257 headers", { headers: Array.from({ length: 257 }, (_, i) => [`x-${i}`, "1"] as const) }],
      ["a head above 32 KiB", { headers: [["x-a", "a".repeat(33_000)]] as const }],
      ["a traceparent of another form", { traceparent: "nonsense" }],
    ])("refuses to send %s and sends nothing", async (_name, wrong) => {
      let calls = 0;
      pair.left.serve(() => {
        calls += 1;
        return { status: 200 };
      });
      const error = await failure(pair.right.request({ ...get("/"), ...wrong }));
      expect(["HEAD_INVALID", "HEAD_TOO_LARGE"]).toContain(error.code);
      expect(error.sent).toBe("not-sent");
      expect((await pair.right.request(get("/"))).status).toBe(200);
      expect(calls).toBe(1);
    });

    it("leaves hop-by-hop headers, and those named in Connection, behind", async () => {
      pair.left.serve((request) => ({ status: 200, body: text.encode(JSON.stringify(request.headers)) }));
      const reply = await pair.right.request({
        ...get("/"),
        headers: [
          ["Connection", "x-private, keep-alive"],
          ["x-private", "1"],
          ["transfer-encoding", "chunked"],
          ["content-length", "7"],
          ["X-Kept", "2"],
        ],
      });
      expect(JSON.parse((await collect(reply.body)).toString())).toEqual([["x-kept", "2"]]);
    });

    it("carries notices, and drops those it has no room for", async () => {
      const heard: string[] = [];
      const third = new Promise<void>((resolve) => {
        pair.right.onNotice((type, payload) => {
          heard.push(`${type}:${Buffer.from(payload).toString()}`);
          if (heard.length === 3) resolve();
        });
      });
      expect(pair.left.notify("heartbeat", text.encode("1"))).toBe(true);
      expect(pair.left.notify("heartbeat", text.encode("2"))).toBe(true);
      expect(pair.left.notify("inventory", new Uint8Array())).toBe(true);
      await third;
      expect(heard).toEqual(["heartbeat:1", "heartbeat:2", "inventory:"]);
      expect(() => pair.left.notify("heartbeat", new Uint8Array(17_000))).toThrow("FRAME_TOO_LARGE");
      const accepted = Array.from({ length: 400 }, () => pair.left.notify("flood", text.encode("x")));
      expect(accepted.filter((taken) => taken)).toHaveLength(256);
    });

    it("drains: finishes what is in flight, refuses what is new, then ends", async () => {
      let answer = (_response: OutgoingResponse) => {};
      const arrived = new Promise<void>((resolve) => {
        pair.left.serve(() => {
          resolve();
          return new Promise<OutgoingResponse>((reply) => {
            answer = reply;
          });
        });
      });
      const inFlight = pair.right.request(get("/slow"));
      await arrived;
      const closing = pair.left.close({ retryAfterMs: 1500, reason: "restart" });
      expect(pair.left.draining).toBe(true);
      expect(await failure(pair.left.request(get("/")))).toMatchObject({
        code: "DRAINING",
        sent: "not-sent",
      });
      answer({ status: 200, body: text.encode("finished") });
      expect((await collect((await inFlight).body)).toString()).toBe("finished");
      await closing;
      const end = await pair.right.closed;
      expect(end).toMatchObject({ code: "DRAINING", retryAfterMs: 1500, reason: "restart" });
      expect(await failure(pair.right.request(get("/")))).toMatchObject({ code: "CLOSED", sent: "not-sent" });
    });

    it("settles everything it handed out when it is destroyed", async () => {
      const handlerAborted = new Promise<void>((resolve) => {
        pair.left.serve(
          (request) =>
            new Promise<OutgoingResponse>((_resolve, reject) => {
              request.signal.addEventListener("abort", () => {
                resolve();
                reject(new Error("aborted"));
              });
              pair.right.destroy(new Error("enough"));
            }),
        );
      });
      expect(await failure(pair.right.request(get("/")))).toMatchObject({
        code: "DESTROYED",
        sent: "may-have-run",
      });
      expect((await pair.right.closed).code).toBe("DESTROYED");
      expect((await pair.left.closed).code).toBe("TRANSPORT_LOST");
      await handlerAborted;
      expect(pair.right.notify("late", new Uint8Array())).toBe(false);
    });

    it("fails a response body in the middle when the tunnel is lost", async () => {
      pair.left.serve(() => ({ status: 200, body: endless("first") }));
      const reply = await pair.right.request(get("/"));
      const read = (async () => {
        for await (const _chunk of reply.body) pair.left.destroy();
      })();
      expect((await failure(read)).code).toBe("TRANSPORT_LOST");
    });

    it("serves as a fetch function: JSON, a bodiless status and an error of the tunnel", async () => {
      pair.left.serve(async (request) => {
        if (request.path === "/none") return { status: 204 };
        const body = (await collect(request.body)).toString();
        return {
          status: 200,
          headers: [["content-type", "application/json"]],
          body: text.encode(JSON.stringify({ body, path: request.path })),
        };
      });
      const fetchWolf = tunnelFetch(pair.right, "wolf");
      const reply = await fetchWolf("http://wolf/a?b=1", { method: "POST", body: "hello" });
      expect(await reply.json()).toEqual({ body: "hello", path: "/a?b=1" });
      expect((await fetchWolf("http://wolf/none")).status).toBe(204);
      const cancel = new AbortController();
      cancel.abort();
      expect((await failure(fetchWolf("/x", { signal: cancel.signal }))).code).toBe("CANCELLED");
    });
  });
}
