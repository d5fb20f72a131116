/** How long bodies are said to be, and that they are. Run over every transport. */
import { expect, it } from "@jest/globals";
import type { Body, HeaderList, OutgoingResponse } from "../src/index.ts";
import { collect, failure, get, type Pair, signal, text } from "./support.ts";

const said = (bytes: number | string): HeaderList => [["content-length", String(bytes)]];

async function* pieces(...parts: string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield text.encode(part);
}

export function keepsLengths(pair: () => Pair): void {
  /** What the handler is told of a request's length. */
  async function toldOf(headers: HeaderList, body?: Body): Promise<string> {
    pair().left.serve(async (request) => {
      await collect(request.body);
      return { status: 200, body: text.encode(JSON.stringify(request.headers)) };
    });
    const reply = await pair().right.request({ ...get("/"), method: "POST", headers, body });
    return (await collect(reply.body)).toString();
  }

  const answers = (response: OutgoingResponse) => pair().left.serve(() => response);

  it("tells the handler how long a body is that was there when it was sent", async () => {
    expect(await toldOf([], text.encode("12345"))).toBe('[["content-length","5"]]');
  });

  it("tells the handler how long a streamed body will be, where its sender says so", async () => {
    expect(await toldOf(said(5), pieces("123", "45"))).toBe('[["content-length","5"]]');
  });

  it("tells nothing of a streamed body whose sender says nothing, and 0 of none where it says 0", async () => {
    expect(await toldOf([], pieces("123", "45"))).toBe("[]");
    pair().left.destroy();
  });

  it("tells 0 of no body where its sender says so", async () => {
    expect(await toldOf(said(0))).toBe('[["content-length","0"]]');
  });

  it("tells the caller how long an answer is", async () => {
    answers({ status: 200, headers: said(5), body: pieces("123", "45") });
    const reply = await pair().right.request(get("/"));
    expect(reply.headers).toEqual(said(5));
    expect((await collect(reply.body)).toString()).toBe("12345");
  });

  it.each([
    ["HEAD", 200],
    ["GET", 304],
  ])("says how long a body would have been to %s with status %i, and sends none", async (method, status) => {
    answers({ status, body: text.encode("12345") });
    const reply = await pair().right.request({ ...get("/"), method });
    expect(reply.headers).toEqual(said(5));
    expect(await collect(reply.body)).toHaveLength(0);
  });

  it.each([
    ["HEAD", 200],
    ["GET", 204],
    ["GET", 304],
  ])("drops what a handler writes piece by piece to %s with status %i", async (method, status) => {
    const room: boolean[] = [];
    pair().left.serve((_request, reply) => {
      reply.head(status);
      for (let n = 0; n < 100; n += 1) room.push(reply.write(new Uint8Array(16_384)));
      reply.end(text.encode("12345"), [["x-sum", "1"]]);
    });
    const reply = await pair().right.request({ ...get("/"), method });
    expect(reply.status).toBe(status);
    expect(await collect(reply.body)).toHaveLength(0);
    expect(await reply.trailers).toEqual([["x-sum", "1"]]);
    expect(room.every((has) => has)).toBe(true);
    expect(pair().handlerErrors).toEqual([]);
  });

  it("stops the body of a handler that answers HEAD with one", async () => {
    let stopped = false;
    async function* body() {
      try {
        yield text.encode("never sent");
      } finally {
        stopped = true;
      }
    }
    pair().left.serve(() => {
      const source = body();
      void source.next();
      return { status: 200, body: source };
    });
    const reply = await pair().right.request({ ...get("/"), method: "HEAD" });
    expect(await collect(reply.body)).toHaveLength(0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(stopped).toBe(true);
  });

  it("says nothing of the length of a 204", async () => {
    answers({ status: 204, headers: said(0) });
    expect((await pair().right.request(get("/"))).headers).toEqual([]);
  });

  /** Its first part is under way when the rest comes. */
  async function* late(first: string, until: Promise<unknown>, rest: string): AsyncGenerator<Uint8Array> {
    yield text.encode(first);
    await until;
    if (rest !== "") yield text.encode(rest);
  }

  it.each([
    ["longer", "456"],
    ["shorter", ""],
  ])("cancels an upload that is %s than it said, and the tunnel goes on", async (_how, rest) => {
    const begun = signal();
    const broken = signal<unknown>();
    pair().left.serve(async (request) => {
      if (request.method === "GET") return { status: 200 };
      begun.give();
      await collect(request.body).then(broken.give, broken.give);
      return { status: 200 };
    });
    const body = late("123", begun.seen, rest);
    const upload = pair().right.request({ ...get("/"), method: "POST", headers: said(5), body });
    expect(await failure(upload)).toMatchObject({ code: "CANCELLED", cause: { code: "BODY_LENGTH" } });
    expect(await broken.seen).toMatchObject({ code: "CANCELLED" });
    expect((await pair().right.request(get("/"))).status).toBe(200);
  });

  it.each([
    ["longer", "456"],
    ["shorter", ""],
  ])("breaks off an answer that is %s than it said, and its handler is told", async (_how, rest) => {
    const heard = signal();
    answers({ status: 200, headers: said(5), body: late("123", heard.seen, rest) });
    const reply = await pair().right.request(get("/"));
    heard.give();
    expect((await failure(collect(reply.body))).code).toBe("HANDLER_FAILED");
    expect(pair().handlerErrors).toMatchObject([{ code: "BODY_LENGTH" }]);
  });

  it.each([
    ["a body that is there and of another length", { headers: said(4), body: text.encode("12345") }],
    ["no body and a length", { headers: said(4) }],
  ])("does not send %s", async (_what, wrong) => {
    let calls = 0;
    pair().left.serve(() => {
      calls += 1;
      return { status: 200, ...wrong };
    });
    const error = await failure(pair().right.request({ ...get("/"), method: "POST", ...wrong }));
    expect(error).toMatchObject({ code: "BODY_LENGTH", sent: "not-sent" });
    expect(calls).toBe(0);
    expect((await failure(pair().right.request(get("/")))).code).toBe("HANDLER_FAILED");
    expect(pair().handlerErrors).toMatchObject([{ code: "BODY_LENGTH" }]);
  });

  it("refuses lengths that are none, or two", async () => {
    for (const headers of [said("-1"), said("5, 5"), [...said(5), ...said(6)]]) {
      const error = await failure(
        pair().right.request({ ...get("/"), method: "POST", headers, body: pieces("12345") }),
      );
      expect(error).toMatchObject({ code: "HEAD_INVALID", sent: "not-sent" });
    }
  });

  it("lets a Reply state its length, and keeps it to that", async () => {
    pair().left.serve((_request, reply) => {
      reply.head(200, said(5));
      expect(() => reply.end(text.encode("1234"))).toThrow("BODY_LENGTH");
      expect(() => reply.write(text.encode("12"))).toThrow("BODY_LENGTH");
      reply.end(text.encode("5"));
    });
    const reply = await pair().right.request(get("/"));
    expect((await collect(reply.body)).toString()).toBe("12345");
  });
}
