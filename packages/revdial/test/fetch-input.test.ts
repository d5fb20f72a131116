/** Headers and bodies in every form in which undici and fetch take them, by a dispatcher, by undici's request and by tunnelFetch. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { request, FormData as UndiciFormData, Request as UndiciRequest } from "undici";
import {
  type DispatchOptions,
  type HeaderList,
  type RequestHandler,
  type TunnelFetchInit,
  tunnelFetch,
} from "../src/index.ts";
import { type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { collect, failure, signal, text, until } from "./support.ts";

interface Seen {
  headers: HeaderList;
  body: string;
}

let pair: TunnelPair;
let seen: Seen[];
let asked: string[];

beforeEach(() => {
  pair = tunnelPair();
  seen = [];
  asked = [];
  const handler: RequestHandler = async ({ method, path, headers, body }) => {
    asked.push(`${method} ${path}`);
    seen.push({ headers, body: String(await collect(body)) });
    return { status: 204 };
  };
  pair.right.serve(handler);
});

afterEach(async () => {
  pair.left.destroy();
  await Promise.all([pair.left.closed, pair.right.closed]);
});

type Options = Pick<DispatchOptions, "headers" | "body" | "query" | "upgrade">;

/** Rejects with what the handler is told. */
function dispatch(options: Options): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  pair.left.dispatcher("web").dispatch(
    { method: "POST", path: "/", ...options },
    {
      onResponseStart: (_controller, status) => resolve(status),
      onResponseError: (_, error) => reject(error),
    },
  );
  return promise;
}

const viaFetch = async (options: Options) =>
  (await tunnelFetch(pair.left, "web")("/", { method: "POST", ...options } as TunnelFetchInit)).status;

const viaUndici = async (options: Options) => {
  const init = {
    method: "POST" as const,
    ...(options as object),
    dispatcher: pair.left.dispatcher("web"),
  };
  return (await request("http://web/", init)).statusCode;
};

const ways = { dispatch, viaUndici, viaFetch };

describe.each(Object.keys(ways) as (keyof typeof ways)[])("%s", (way) => {
  const send = (options: Options) => ways[way](options);

  it.each<[string, () => Options["body"], string, HeaderList]>([
    ["a text", () => "hallo é", "hallo é", [["content-length", "8"]]],
    ["an empty text", () => "", "", []],
    ["nothing", () => null, "", []],
    ["a Uint8Array", () => text.encode("bytes"), "bytes", [["content-length", "5"]]],
    ["an ArrayBuffer", () => new Uint8Array([104, 105]).buffer, "hi", [["content-length", "2"]]],
    [
      "a DataView",
      () => new DataView(new Uint8Array([0, 104, 105, 0]).buffer, 1, 2),
      "hi",
      [["content-length", "2"]],
    ],
    ["a Blob", () => new Blob(["bl", "ob"]), "blob", [["content-length", "4"]]],
    [
      "a Blob with a type",
      () => new Blob(["{}"], { type: "application/json" }),
      "{}",
      [
        ["content-type", "application/json"],
        ["content-length", "2"],
      ],
    ],
    [
      "search parameters",
      () => new URLSearchParams({ a: "1 2", b: "é" }),
      "a=1+2&b=%C3%A9",
      [["content-type", "application/x-www-form-urlencoded;charset=UTF-8"]],
    ],
    ["a list of bytes and texts", () => [text.encode("a"), "b"], "ab", []],
    ["a ReadableStream", () => ReadableStream.from(["a", text.encode("b")]), "ab", []],
    ["an iterable that ends at once", () => [], "", []],
  ])("takes %s as body", async (_what, body, expected, headers) => {
    expect(await send({ body: body() })).toBe(204);
    const [{ headers: told, ...rest } = { headers: [], body: "" }] = seen;
    const listed = headers.map(([name]) => name);
    expect(rest).toEqual({ body: expected });
    expect(told.filter(([name]) => name === "content-length" || listed.includes(name))).toEqual(headers);
  });

  it.each([
    ["this process's own", globalThis.FormData],
    ["undici's", UndiciFormData as unknown as typeof globalThis.FormData],
  ])("takes a form, %s", async (_whose, Form) => {
    const form = new Form();
    form.append("field", "välue");
    form.append("file", new Blob(["content"], { type: "text/plain" }), "name.txt");
    expect(await send({ body: form })).toBe(204);
    const [{ headers, body } = { headers: [], body: "" }] = seen;
    const { "content-type": type } = Object.fromEntries(headers);
    const back = await new Response(body, { headers: { "content-type": type ?? "" } }).formData();
    expect(back.get("field")).toBe("välue");
    const file = back.get("file") as File;
    expect([file.name, file.type, await file.text()]).toEqual(["name.txt", "text/plain", "content"]);
  });

  it("keeps a content type that was given with a body that has its own", async () => {
    await send({ headers: { "Content-Type": "text/own" }, body: new Blob(["x"], { type: "text/plain" }) });
    expect(seen[0]?.headers).toEqual([
      ["content-type", "text/own"],
      ["content-length", "1"],
    ]);
  });

  it.each<[string, Options["headers"], HeaderList]>([
    [
      "an object",
      { "X-A": "1", "x-b": ["2", "3"], "x-c": undefined },
      [
        ["x-a", "1"],
        ["x-b", "2"],
        ["x-b", "3"],
      ],
    ],
    ["an object with a number", { "x-a": 5 }, [["x-a", "5"]]],
    [
      "Headers",
      new Headers({ "X-A": "1", "x-b": "2" }),
      [
        ["x-a", "1"],
        ["x-b", "2"],
      ],
    ],
    ["a Map", new Map([["x-a", "1"]]), [["x-a", "1"]]],
    ["nothing", null, []],
  ])("takes headers as %s", async (_what, headers, expected) => {
    expect(await send({ headers })).toBe(204);
    expect(seen[0]?.headers).toEqual(expected);
  });

  // biome-ignore lint/suspicious/noExplicitAny: what the types do not allow
  it.each<[string, any]>([
    ["a body that is a number", { body: 5 }],
    ["a body that is an object", { body: { a: 1 } }],
    ["headers that are a number", { headers: 5 }],
    ["headers that are a text", { headers: "a: b" }],
    ["headers with a value that is an object", { headers: { a: { b: 1 } } }],
    ["headers with a pair that is none", { headers: new Set(["a"]) }],
  ])("refuses %s with ARGUMENT, and nothing is sent", async (_what, options) => {
    expect(await failure(send(options))).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
    expect(seen).toEqual([]);
  });
});

describe("a dispatcher", () => {
  it("takes headers as flat pairs", async () => {
    await dispatch({ headers: ["X-A", "1", "x-a", "2"] });
    expect(seen[0]?.headers).toEqual([
      ["x-a", "1"],
      ["x-a", "2"],
    ]);
  });

  it.each<[string, Options]>([
    ["flat pairs of which one has no value", { headers: ["a", "1", "b"] }],
    ["an upgrade that does not say to what", { upgrade: true }],
  ])("refuses %s with ARGUMENT, and nothing is sent", async (_what, options) => {
    expect(await failure(dispatch(options))).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
    expect(seen).toEqual([]);
  });

  it("refuses a query where the path has one, as undici does", async () => {
    const told = signal<Error>();
    const options = { method: "GET", path: "/?a=1", query: { b: "2" } };
    pair.left.dispatcher("web").dispatch(options, { onResponseError: (_, error) => told.give(error) });
    expect(await told.seen).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
  });

  it("needs a handler, and says so at once", () => {
    const dispatcher = pair.left.dispatcher("web");
    const options = { method: "GET", path: "/" };
    for (const handler of [undefined, null, "handler"])
      expect(() => dispatcher.dispatch(options, handler as never)).toThrow("ARGUMENT");
  });

  it("tells its handler when there are no options", async () => {
    const told = signal<Error>();
    pair.left
      .dispatcher("web")
      .dispatch(undefined as never, { onResponseError: (_, error) => told.give(error) });
    expect(await told.seen).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
  });
});

describe("tunnelFetch of an answer that has no body", () => {
  it.each([
    ["HEAD", 200],
    ["GET", 204],
    ["GET", 304],
  ])("resolves at its head, and lets the handler end it (%s, %i)", async (method, status) => {
    const { left, right, ready } = tunnelPair();
    const [heard, ended] = [signal(), signal<unknown>()];
    right.onNotice(() => heard.give());
    right.serve(async (_request, reply) => {
      reply.onClose(ended.give);
      reply.head(status);
      await heard.seen;
      reply.end();
    });
    await ready;
    const answer = await tunnelFetch(left, "web")("/", { method });
    expect([answer.status, answer.body]).toEqual([status, null]);
    // It overtakes nothing that has been said by now.
    left.notify("resolved", new Uint8Array());
    expect(await ended.seen).toBeUndefined();
    expect(right.metrics.resets).toEqual({});
    left.destroy();
    await right.closed;
  });

  it("does not mind that the answer breaks off behind its head", async () => {
    const { left, right, ready } = tunnelPair({ both: { onHandlerError: () => undefined } });
    const resolved = signal();
    right.serve(async (_request, reply) => {
      reply.head(204);
      await resolved.seen;
      throw new Error("a handler failed");
    });
    await ready;
    expect((await tunnelFetch(left, "web")("/")).status).toBe(204);
    resolved.give();
    await until(() => left.metrics.resets.HANDLER_FAILED === 1);
    left.destroy();
    await right.closed;
  });
});

describe("tunnelFetch with a Request", () => {
  const ask: typeof fetch = (...args) => tunnelFetch(pair.left, "web")(...args);
  const post = () =>
    new Request("http://any.host/a?b=1", { method: "POST", body: "text", headers: { "X-A": "1" } });

  it.each([
    ["this process's own", post],
    ["undici's", () => new UndiciRequest("http://any.host/a?b=1", post() as never) as unknown as Request],
  ])("sends what it says, %s", async (_whose, request) => {
    expect((await ask(request())).status).toBe(204);
    expect(asked).toEqual(["POST /a?b=1"]);
    expect(seen[0]).toMatchObject({ headers: expect.arrayContaining([["x-a", "1"]]), body: "text" });
  });

  it("lets its options win", async () => {
    await ask(post(), { method: "PUT", headers: { "x-b": "2" }, body: "other" });
    expect(asked).toEqual(["PUT /a?b=1"]);
    expect(seen[0]).toMatchObject({ headers: expect.arrayContaining([["x-b", "2"]]), body: "other" });
    expect(seen[0]?.headers.map(([name]) => name)).not.toContain("x-a");
  });

  it("heeds its signal, and not where another is given", async () => {
    const request = () => new Request("http://any.host/", { signal: AbortSignal.abort() });
    expect(await failure(ask(request()))).toMatchObject({ code: "CANCELLED", sent: "not-sent" });
    expect((await ask(request(), { signal: null })).status).toBe(204);
  });

  it("refuses one whose body has been read, or is being read", async () => {
    const read = post();
    await read.text();
    const held = post();
    held.body?.getReader();
    for (const request of [read, held])
      expect(await failure(ask(request))).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
    expect(asked).toEqual([]);
  });

  it.each([null, undefined, 5, {}, { url: 5 }])("refuses %j in its place", async (input) => {
    expect(await failure(ask(input as never))).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
    expect(asked).toEqual([]);
  });
});
