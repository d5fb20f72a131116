/** What an exchange carries, and what it refuses to carry. Run over every transport. */
import { expect, it } from "@jest/globals";
import { type IncomingRequest, tunnelFetch } from "../src/index.ts";
import { type Connect, collect, endless, failure, get, type Pair, signal, text } from "./support.ts";

export function carriesExchanges(pair: () => Pair, connect: Connect): void {
  it("carries a request with its service, method, path, headers and body, and the response back", async () => {
    let seen: IncomingRequest | undefined;
    pair().left.serve(async (request) => {
      seen = request;
      const body = await collect(request.body);
      return { status: 201, headers: [["x-echo", "yes"]], body: Buffer.from(`got ${body.toString()}`) };
    });
    const reply = await pair().right.request({
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
    expect(reply.headers).toEqual([
      ["x-echo", "yes"],
      ["content-length", "6"],
    ]);
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
      ["content-length", "2"],
    ]);
  });

  it("carries requests in both directions at once", async () => {
    pair().left.serve(() => ({ status: 200, body: text.encode("left") }));
    pair().right.serve(() => ({ status: 200, body: text.encode("right") }));
    const [a, b] = await Promise.all([pair().right.request(get("/")), pair().left.request(get("/"))]);
    expect((await collect(a.body)).toString()).toBe("left");
    expect((await collect(b.body)).toString()).toBe("right");
  });

  it("keeps every byte in order through bodies much larger than a window, in both directions", async () => {
    pair().left.serve((request) => ({ status: 200, body: request.body }));
    const sent = Buffer.alloc(3_000_000);
    for (let i = 0; i < sent.length; i += 1) sent[i] = (i * 31 + (i >> 8)) & 0xff;
    async function* pieces() {
      for (let at = 0; at < sent.length; at += 70_001) yield sent.subarray(at, at + 70_001);
    }
    const reply = await pair().right.request({ ...get("/"), method: "POST", body: pieces() });
    expect((await collect(reply.body)).equals(sent)).toBe(true);
  });

  it("answers 1,000 parallel requests with the right bodies", async () => {
    pair().left.serve((request) => ({ status: 200, body: text.encode(request.path) }));
    const replies = await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => {
        const reply = await pair().right.request(get(`/${i}`));
        return (await collect(reply.body)).toString();
      }),
    );
    expect(replies).toEqual(Array.from({ length: 1000 }, (_, i) => `/${i}`));
  });

  it("carries trailers after a streamed body", async () => {
    pair().left.serve(() => ({ status: 200, body: text.encode("x"), trailers: [["x-checksum", "abc"]] }));
    const reply = await pair().right.request(get("/"));
    await collect(reply.body);
    expect(await reply.trailers).toEqual([["x-checksum", "abc"]]);
  });

  it("delivers the response before the upload has ended, and then stops the upload", async () => {
    let stopped = () => {};
    const uploadStopped = new Promise<void>((resolve) => {
      stopped = resolve;
    });
    let handlerSignal: AbortSignal | undefined;
    pair().left.serve((request) => {
      handlerSignal = request.signal;
      return { status: 413, body: text.encode("too much") };
    });
    const reply = await pair().right.request({
      ...get("/"),
      method: "POST",
      body: endless("a", () => stopped()),
    });
    expect(reply.status).toBe(413);
    expect((await collect(reply.body)).toString()).toBe("too much");
    await uploadStopped;
    expect(handlerSignal?.aborted).toBe(false); // Answered in order: nothing was cancelled.
  });

  it("does not stall other channels behind one whose body nobody reads", async () => {
    pair().left.serve((request) =>
      request.path === "/bulk"
        ? { status: 200, body: endless("x".repeat(30_000)) }
        : { status: 200, body: text.encode("ok") },
    );
    const bulk = await pair().right.request(get("/bulk"));
    for (let i = 0; i < 50; i += 1) {
      expect((await collect((await pair().right.request(get("/small"))).body)).toString()).toBe("ok");
    }
    await bulk.body[Symbol.asyncIterator]().return?.();
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
    pair().left.serve(() => {
      calls += 1;
      return { status: 200 };
    });
    const error = await failure(pair().right.request({ ...get("/"), ...wrong }));
    expect(["HEAD_INVALID", "HEAD_TOO_LARGE"]).toContain(error.code);
    expect(error.sent).toBe("not-sent");
    expect((await pair().right.request(get("/"))).status).toBe(200);
    expect(calls).toBe(1);
  });

  it("leaves hop-by-hop headers, and those named in Connection, behind", async () => {
    pair().left.serve((request) => ({ status: 200, body: text.encode(JSON.stringify(request.headers)) }));
    const reply = await pair().right.request({
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
    await Promise.all([pair().left.ready, pair().right.ready]);
    const heard: string[] = [];
    const third = new Promise<void>((resolve) => {
      pair().right.onNotice((type, payload) => {
        heard.push(`${type}:${Buffer.from(payload).toString()}`);
        if (heard.length === 3) resolve();
      });
    });
    expect(pair().left.notify("heartbeat", text.encode("1"))).toBe(true);
    expect(pair().left.notify("heartbeat", text.encode("2"))).toBe(true);
    expect(pair().left.notify("inventory", new Uint8Array())).toBe(true);
    await third;
    expect(heard).toEqual(["heartbeat:1", "heartbeat:2", "inventory:"]);
    expect(() => pair().left.notify("heartbeat", new Uint8Array(17_000))).toThrow("FRAME_TOO_LARGE");
    const accepted = Array.from({ length: 400 }, () => pair().left.notify("flood", text.encode("x")));
    expect(accepted.filter((taken) => taken)).toHaveLength(256);
  });

  it("serves as a fetch function: JSON, a bodiless status and an error of the tunnel", async () => {
    pair().left.serve(async (request) => {
      if (request.path === "/none") return { status: 204 };
      const body = (await collect(request.body)).toString();
      return {
        status: 200,
        headers: [["content-type", "application/json"]],
        body: text.encode(JSON.stringify({ body, path: request.path })),
      };
    });
    const fetchWolf = tunnelFetch(pair().right, "wolf");
    const reply = await fetchWolf("http://wolf/a?b=1", { method: "POST", body: "hello" });
    expect(await reply.json()).toEqual({ body: "hello", path: "/a?b=1" });
    expect((await fetchWolf("http://wolf/none")).status).toBe(204);
    const cancel = new AbortController();
    cancel.abort();
    expect((await failure(fetchWolf("/x", { signal: cancel.signal }))).code).toBe("CANCELLED");
  });

  it("holds requests that are made before HELLO and sends them after it", async () => {
    const early = await connect();
    early.left.serve(() => ({ status: 200, body: text.encode("late but there") }));
    const reply = await early.right.request({ ...get("/"), deadlineMs: 5000 });
    expect((await collect(reply.body)).toString()).toBe("late but there");
    await early.stop();
  });

  it("tells the handler how much time is left", async () => {
    const seen = signal<number | undefined>();
    pair().left.serve((request) => {
      seen.give(request.deadlineMs);
      return { status: 200 };
    });
    await pair().right.request({ ...get("/"), deadlineMs: 60_000 });
    const leftMs = await seen.seen;
    // What waiting in a queue took is gone from it; how much that is, a test with a real clock cannot say.
    expect(leftMs).toBeLessThanOrEqual(60_000);
    expect(leftMs).toBeGreaterThan(0);
  });

  it("streams an upload and a download of one channel at the same time", async () => {
    pair().left.serve((request) => ({ status: 200, body: request.body }));
    const turn = signal<string>();
    async function* talk(): AsyncIterable<Uint8Array> {
      yield text.encode("first");
      yield text.encode(`second after ${await turn.seen}`);
    }
    const reply = await pair().right.request({ ...get("/"), method: "POST", body: talk() });
    const heard: string[] = [];
    for await (const chunk of reply.body) {
      heard.push(Buffer.from(chunk).toString());
      turn.give(heard[0] ?? "");
    }
    expect(heard.join("|")).toBe("first|second after first");
  });

  it("carries a body of many tiny chunks", async () => {
    async function* tiny(): AsyncIterable<Uint8Array> {
      for (let i = 0; i < 5000; i += 1) yield text.encode(String(i % 10));
    }
    pair().left.serve(async (request) => ({ status: 200, body: await collect(request.body) }));
    const reply = await pair().right.request({ ...get("/"), method: "POST", body: tiny() });
    expect((await collect(reply.body)).toString()).toBe("0123456789".repeat(500));
  });

  it("refuses to read a body twice", async () => {
    pair().left.serve(() => ({ status: 200, body: text.encode("once") }));
    const reply = await pair().right.request(get("/"));
    await collect(reply.body);
    expect((await failure(collect(reply.body))).code).toBe("ARGUMENT");
  });

  it("streams a fetch response, and cancels the far end when its reader does", async () => {
    const stopped = signal();
    pair().left.serve(() => ({ status: 200, body: endless("data: 1", () => stopped.give()) }));
    const reply = await tunnelFetch(pair().right, "wolf")("/events");
    const reader = (reply.body as ReadableStream<Uint8Array>).getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toContain("data: 1");
    await reader.cancel();
    await stopped.seen;
  });

  it("sends a fetch path as it was written", async () => {
    pair().left.serve((request) => ({ status: 200, body: text.encode(request.path) }));
    const fetchWolf = tunnelFetch(pair().right, "wolf");
    for (const path of ["/a/../b", "/%2e%2e/x", "/a//b?c=/../d", "/"]) {
      expect(await (await fetchWolf(`http://wolf${path}`)).text()).toBe(path);
      expect(await (await fetchWolf(path)).text()).toBe(path);
    }
    expect(await (await fetchWolf("http://wolf#part")).text()).toBe("/");
    expect(await (await fetchWolf(new URL("http://wolf/u?v=1#part"))).text()).toBe("/u?v=1");
  });

  it("loses no memory to bodies that a handler does not read, and that a caller leaves", async () => {
    const small = { limits: { receiveBudgetBytes: 300_000 } };
    const tight = await connect({ both: small });
    tight.left.serve(() => ({ status: 200, body: new Uint8Array(20_000) }));
    // Together they are several times the budget: each would be refused if an earlier one still held its share.
    for (let i = 0; i < 50; i += 1) {
      const reply = await tight.right.request({ ...get("/"), method: "POST", body: new Uint8Array(20_000) });
      await reply.trailers;
      await reply.body[Symbol.asyncIterator]().return?.();
    }
    await tight.stop();
  });
}
