/** ETags: what has not changed is not sent again, and what has changed is not overwritten. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import request from "supertest";
import { etagOf, requireIfMatch } from "../src/http/etag.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";

let api: TestControlPlane;
let wolf: string;
beforeAll(async () => {
  api = await startControlPlane();
  const { body } = await register("nvidia").expect(200);
  wolf = `/api/v1/wolf-instances/${body.id}`;
});
afterAll(() => api.stop());

const register = (gpu: string) =>
  request(api.url)
    .post("/api/v1/wolf-instances/register")
    .set("authorization", `Bearer ${RUNNER_TOKEN}`)
    .send({ name: "wolf-1", gpu_type: gpu });
const get = (path: string, tags?: string) => {
  const call = request(api.url).get(path).set("authorization", `Bearer ${api.adminKey}`);
  return tags === undefined ? call : call.set("if-none-match", tags);
};

describe("a GET of one object", () => {
  it("has a strong ETag, and is answered with 304 and nothing else to who has that", async () => {
    const first = await get(wolf).expect(200);
    expect(first.headers.etag).toMatch(/^"[A-Za-z0-9_-]{27}"$/);
    const again = await get(wolf, first.headers.etag).expect(304);
    expect(again.text).toBe("");
    expect(again.headers.etag).toBe(first.headers.etag);
    expect(again.headers["cache-control"]).toBe("no-store");
    expect(again.headers["content-security-policy"]).toBeDefined();
  });

  it.each([
    ["among others", (tag: string) => `"a", ${tag} , "b"`, 304],
    ["as a weak one", (tag: string) => `W/${tag}`, 304],
    ["as any", () => "*", 304],
    ["not at all", () => '"another"', 200],
    ["without its quotes", (tag: string) => tag.slice(1, -1), 200],
    ["in part", (tag: string) => `${tag.slice(0, -2)}"`, 200],
    ["in nothing", () => "", 200],
  ])("that is named %s is answered as such", async (_how, tags, status) => {
    const { headers } = await get("/api/v1/me").expect(200);
    await get("/api/v1/me", tags(String(headers.etag))).expect(status);
  });

  it("has another ETag once the object has changed", async () => {
    const { headers } = await get(wolf).expect(200);
    await register("amd").expect(200);
    const changed = await get(wolf, headers.etag).expect(200);
    expect(changed.headers.etag).not.toBe(headers.etag);
    expect(changed.body.gpu_type).toBe("amd");
  });

  it("answers HEAD with the same ETag, and what is missing or a list without one", async () => {
    const { headers } = await get("/api/v1/me");
    const head = await request(api.url).head("/api/v1/me").set("authorization", `Bearer ${api.adminKey}`);
    expect(head.headers.etag).toBe(headers.etag);
    const missing = await get(`/api/v1/wolf-instances/wlf_${"0".repeat(26)}`, "*").expect(404);
    expect(missing.headers.etag).toBeUndefined();
    const list = await get("/api/v1/wolf-instances", "*").expect(200);
    expect(list.headers.etag).toBeUndefined();
  });
});

describe("If-Match", () => {
  const seen = { id: "usr_1", role: "user" };
  const fits = (tags: string | undefined) => {
    try {
      requireIfMatch(tags === undefined ? {} : { "if-match": tags }, seen);
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: "precondition-failed", headers: { etag: etagOf(seen) } });
      return false;
    }
  };

  it("lets a change through that has seen what it changes, or does not care", () => {
    const tag = etagOf(seen);
    expect([undefined, tag, "*", `"a", ${tag}`].map(fits)).toEqual([true, true, true, true]);
  });

  it("refuses one that has seen something else, or compares weakly", () => {
    const tag = etagOf(seen);
    const other = etagOf({ ...seen, role: "admin" });
    expect([other, `W/${tag}`, '""', "", tag.slice(1, -1)].map(fits)).toEqual(Array(5).fill(false));
  });
});
