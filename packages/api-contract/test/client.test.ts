import { describe, expect, it } from "@jest/globals";
import { WolfpackApiError, wolfpackClient } from "../src/index.ts";

const user = {
  id: "usr_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  name: "ann",
  role: "user",
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
});
