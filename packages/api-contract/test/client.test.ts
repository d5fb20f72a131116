import { inspect } from "node:util";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { type OperationId, operations, WolfpackApiError, wolfpackClient } from "../src/index.ts";

const user = {
  id: "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  name: "ann",
  role: "user",
  disabled: false,
  sessions_max: null,
  creates_per_minute: null,
  revision: 1,
  created_at: "2026-11-23T12:00:00.000Z",
};

function client(answer: () => Response | Promise<Response>) {
  const calls: { url: string; init: RequestInit }[] = [];
  const api = wolfpackClient({
    baseUrl: "http://cp.test",
    apiKey: "wpk_secret",
    fetch: async (url, init) => {
      calls.push({ url: String(url), init: init ?? {} });
      return answer();
    },
  });
  return { api, calls };
}

async function failureOf(promise: Promise<unknown>): Promise<WolfpackApiError> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(WolfpackApiError);
  return error as WolfpackApiError;
}

describe("the typed client", () => {
  it("puts parameters, query, body and credential where they belong", async () => {
    const { api, calls } = client(() => Response.json({ status: "ok" }));
    await api.call("deleteWolf", { params: { id: "a/b" }, query: { force: "true" } });
    await api.call("heartbeatWolf", { params: { id: "w" }, body: { max_sandboxes: 3 } });
    expect(calls[0]).toMatchObject({
      url: "http://cp.test/api/v1/wolf-instances/a%2Fb?force=true",
      init: { method: "DELETE", redirect: "error" },
    });
    expect(calls[0]?.init.headers).toMatchObject({ authorization: "Bearer wpk_secret" });
    expect(calls[1]?.init.body).toBe('{"max_sandboxes":3}');
  });

  it("sends more headers along, but never another credential", async () => {
    const { api, calls } = client(() => Response.json(user, { status: 201 }));
    const headers = { "idempotency-key": "k", authorization: "Bearer other" };
    await api.createUser({ body: { name: "ann" }, headers });
    expect(calls[0]?.init.headers).toMatchObject({
      "idempotency-key": "k",
      authorization: "Bearer wpk_secret",
    });
  });

  it("returns the parsed reply with its status", async () => {
    const { api } = client(() => Response.json(user));
    expect(await api.call("getMe")).toMatchObject({ status: 200, body: user });
  });

  it("returns image bytes as they are", async () => {
    const { api } = client(() => new Response(new Uint8Array([1, 2, 3])));
    expect((await api.call("getScreenshot", { params: { id: "x" } })).body).toEqual(
      new Uint8Array([1, 2, 3]),
    );
  });

  it("returns lines of JSON as the stream they come in, before their end", async () => {
    const { api } = client(
      () => new Response(new ReadableStream({ start: (lines) => lines.enqueue(new Uint8Array([123])) })),
    );
    const { body } = await api.exportAuditEvents();
    expect((await body.getReader().read()).value).toEqual(new Uint8Array([123]));
    const { api: broken } = client(() => new Response(null));
    expect((await failureOf(broken.exportAuditEvents())).code).toBe("unexpected-reply");
  });

  it("turns a problem into an error with its code", async () => {
    const problem = {
      type: "/problems/no-capacity",
      title: "No capacity",
      status: 503,
      detail: "all full",
      instance: "r1",
      code: "no-capacity",
      candidates: 3,
    };
    const { api } = client(() => Response.json(problem, { status: 503 }));
    const error = await failureOf(api.call("createSession", { body: {} }));
    expect(error).toMatchObject({ code: "no-capacity", status: 503, problem: { candidates: 3 } });
  });

  it.each([
    ["an error page", () => new Response("<html>", { status: 502 })],
    ["a problem with an unknown code", () => Response.json({ code: "other" }, { status: 500 })],
    ["a redirect", () => new Response(null, { status: 302 })],
    ["a reply of another shape", () => Response.json({ id: 1 })],
    ["half a reply", () => new Response('{"id":')],
  ])("calls %s unexpected", async (_name, answer) => {
    const { api } = client(answer);
    expect((await failureOf(api.call("getMe"))).code).toBe("unexpected-reply");
  });

  it("says that a call could not be sent, without the credential", async () => {
    const { api } = client(() => Promise.reject(new TypeError("fetch failed")));
    const error = await failureOf(api.call("getMe"));
    expect(error.code).toBe("network-failed");
    expect(JSON.stringify(error) + error.message).not.toContain("wpk_secret");
  });

  it("has a method for every operation", async () => {
    const { api, calls } = client(() => Response.json(user));
    expect((await api.getMe()).body).toEqual(user);
    for (const id of Object.keys(operations)) expect(typeof api[id as OperationId]).toBe("function");
    expect(calls[0]?.url).toBe("http://cp.test/api/v1/me");
  });

  it("gives no body for a 204, and tells two kinds of success apart", async () => {
    const { api } = client(() => new Response(null, { status: 204 }));
    expect(await api.stopSession({ params: { id: "x" } })).toMatchObject({ status: 204, body: undefined });
    const { api: other } = client(() => Response.json({ id: 1 }, { status: 202 }));
    expect((await failureOf(other.stopSession({ params: { id: "x" } }))).code).toBe("unexpected-reply");
  });

  it("keeps the path of its base URL", async () => {
    const urls: string[] = [];
    const api = wolfpackClient({
      baseUrl: "https://host.test/wolfpack/",
      fetch: async (url) => {
        urls.push(String(url));
        return Response.json([]);
      },
    });
    await api.listWolves({ query: { limit: 5, name: "a" } });
    expect(urls).toEqual(["https://host.test/wolfpack/api/v1/wolf-instances?limit=5&name=a"]);
  });

  it.each([[""], ["."], [".."], ["\ud800"]])("sends nothing for the path parameter %j", async (id) => {
    const { api, calls } = client(() => Response.json({}));
    const error = await failureOf(api.deleteWolf({ params: { id } }));
    expect(error).toMatchObject({ code: "invalid-request", status: undefined });
    expect(calls).toHaveLength(0);
  });

  it("escapes any other path parameter so that the route stays the same", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 3 }), async (id) => {
        const { api, calls } = client(() => Response.json({ status: "ok" }));
        await api.deleteWolf({ params: { id } });
        const { pathname } = new URL(calls[0]?.url ?? "");
        expect(pathname.split("/")).toHaveLength(5);
        expect(decodeURIComponent(pathname.split("/")[4] ?? "")).toBe(id);
      }),
    );
  });

  it.each([["ftp://cp.test"], ["cp.test"], [""], ["javascript:alert(1)"], ["http://user:hunter2@cp.test"]])(
    "cannot be made for the base URL %s",
    (baseUrl) => {
      expect(() => wolfpackClient({ baseUrl })).toThrow(TypeError);
      expect(() => wolfpackClient({ baseUrl })).not.toThrow("hunter2");
    },
  );

  it.each([["wpk_secret\n"], ["wpk_secret é"], [""]])(
    "cannot be made with the key %j, which it does not repeat",
    (apiKey) => {
      const make = () => wolfpackClient({ baseUrl: "http://cp.test", apiKey });
      expect(make).toThrow(TypeError);
      expect(make).not.toThrow("wpk_secret");
    },
  );

  it("drops a cause that quotes the key, however deep, and keeps any other", async () => {
    const quoting = new TypeError("fetch failed", { cause: new Error("bad header Bearer wpk_secret") });
    const { api } = client(() => Promise.reject(quoting));
    expect((await failureOf(api.getMe())).cause).toBeUndefined();
    const plain = new TypeError("fetch failed", { cause: new Error("ECONNREFUSED") });
    const { api: other } = client(() => Promise.reject(plain));
    expect((await failureOf(other.getMe())).cause).toBe(plain);
  });

  it("does not repeat the key when a reply does", async () => {
    const echo = {
      type: "/problems/internal",
      title: "t",
      status: 500,
      detail: "got wpk_secret",
      instance: "r",
      code: "internal",
    };
    const { api } = client(() => Response.json(echo, { status: 500 }));
    const error = await failureOf(api.getMe());
    expect(error.code).toBe("internal");
    expect(inspect(error, { depth: 9 })).not.toContain("wpk_secret");
  });

  it("calls a reply that breaks off a failure of the network, and a caller's abort as well", async () => {
    const broken = () =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode('{"id":'));
            controller.error(new Error("cut"));
          },
        }),
      );
    expect((await failureOf(client(broken).api.getMe())).code).toBe("network-failed");
    const gone = wolfpackClient({ baseUrl: "http://cp.test" }).getMe({ signal: AbortSignal.abort() });
    expect((await failureOf(gone)).code).toBe("network-failed");
  });

  it("is never thrown off by what a server answers", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 200, max: 599 }),
        fc.oneof(fc.json(), fc.string()),
        async (status, body) => {
          const { api } = client(
            () => new Response([204, 205, 304].includes(status) ? null : body, { status }),
          );
          const error = await failureOf(api.getMe());
          expect(error.code).toBe("unexpected-reply");
        },
      ),
    );
  });
});
