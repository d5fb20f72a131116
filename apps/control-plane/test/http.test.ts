import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type Operation, operations, Problem, problemKind } from "@wolfpack/api-contract";
import request from "supertest";
import { startEmbeddedPostgres } from "../src/database/embedded-postgres.ts";
import { migrate } from "../src/database/migrate.prisma.ts";
import { createPrisma } from "../src/database/prisma.prisma.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { until } from "./tunnel-requests.ts";

let api: TestControlPlane;
beforeAll(async () => {
  api = await startControlPlane();
});
afterAll(() => api.stop());

const as = (key: string) => ({ authorization: `Bearer ${key}` });

/** A problem by its code, complete and consistent. */
function expectProblem(response: request.Response, code: Parameters<typeof problemKind>[0]): void {
  expect(response.headers["content-type"]).toMatch(/^application\/problem\+json/);
  const problem = Problem.parse(response.body);
  const { status, title } = problemKind(code);
  expect(problem).toMatchObject({ code, status, title, type: `/problems/${code}` });
  expect(response.status).toBe(status);
  expect(problem.instance).toBe(response.headers["x-request-id"]);
}

/** What the server answers to bytes on a fresh connection, until it closes. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(api.url).port), "127.0.0.1", () => socket.write(bytes));
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

function rawProblem(answer: string): Problem {
  return Problem.parse(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4)));
}

interface Layer {
  slash: boolean;
  route?: { path: string; methods: Record<string, boolean> };
  handle: { stack?: Layer[] };
  match(path: string): boolean;
}

/** Express keeps no mount paths, so the layer is asked whether it is mounted here. */
const mounts = ["/api/v1", "/swagger"];

function routesOf(stack: unknown, prefix = ""): { method: string; path: string }[] {
  return (stack as Layer[]).flatMap((layer) => {
    const { route, handle } = layer;
    if (route)
      return Object.keys(route.methods).map((method) => ({
        method: method.toUpperCase(),
        path: prefix + route.path,
      }));
    if (handle.stack === undefined) return [];
    const mount = layer.slash ? "" : mounts.find((path) => layer.match(`${path}/x`));
    if (mount === undefined) throw new Error("a router is mounted where this test does not look");
    return routesOf(handle.stack, prefix + mount);
  });
}

describe("system routes", () => {
  it("answer liveness, readiness and the OpenAPI document without a credential", async () => {
    const alive = await request(api.url).get("/healthz").expect(200);
    expect(alive.body).toEqual({ status: "ok", version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
    await request(api.url).get("/readyz").expect(200, { status: "ok" });
    const { body } = await request(api.url).get("/openapi.json").expect(200);
    expect(body.openapi).toMatch(/^3\.1/);
  });

  it("serve Swagger UI whose every script and style comes from here", async () => {
    const page = await request(api.url).get("/swagger/index.html").expect(200);
    expect(page.headers["content-security-policy"]).toMatch(/script-src 'self'(;|$)/);
    expect(page.text).not.toMatch(/<script>|https?:\/\/|onload=/);
    const assets = [...page.text.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map(([, name]) => name);
    expect(assets).toContain("swagger-ui-bundle.js");
    for (const name of assets) await request(api.url).get(`/swagger/${name}`).expect(200);
    await request(api.url).get("/swagger").expect(302).expect("location", "/swagger/index.html");
  });

  it.each(["package.json", "swagger-ui-bundle.js.map", "..%2fpackage.json", "%2e%2e/%2e%2e/package.json"])(
    "serve nothing else of Swagger UI's package (%s)",
    async (name) => expectProblem(await request(api.url).get(`/swagger/${name}`), "not-found"),
  );
});

/** What no answer is without. */
const protecting = {
  "content-security-policy": "default-src 'none';frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "SAMEORIGIN",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "strict-transport-security": "max-age=31536000; includeSubDomains",
  "cache-control": "no-store",
};

describe("every answer", () => {
  it("carries a request id of its own, or the caller's when that is tame", async () => {
    const own = await request(api.url).get("/healthz");
    expect(own.headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
    await request(api.url)
      .get("/healthz")
      .set("x-request-id", "trace-1.a_B")
      .expect("x-request-id", "trace-1.a_B");
    for (const wild of ["x".repeat(65), "a b", '"},{"level":60', "é"]) {
      const { headers } = await request(api.url)
        .get("/healthz")
        .set("x-request-id", Buffer.from(wild).toString("latin1"));
      expect(headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it.each([
    ["GET", "/api/v1/me", {}, 401],
    ["GET", "/api/v1/users", { authorization: "Bearer anna" }, 401],
    ["GET", "/nothing", {}, 404],
    ["GET", "/swagger/nothing", {}, 404],
    ["PUT", "/api/v1/me", {}, 405],
    ["OPTIONS", "/api/v1/me", { origin: "https://evil.example" }, 405],
    ["GET", "/api/v1/wolf-instances/%zz", {}, 400],
    ["POST", "/api/v1/web-session", {}, 400],
    ["GET", "/api/v1/revdial", {}, 426],
    ["POST", "/api/v1/revdial", {}, 415],
  ])("protects its reader, also to %s %s (%j): %d", async (method, target, headers, status) => {
    const response = await fetch(`${api.url}${target}`, { method, headers });
    expect(response.status).toBe(status);
    for (const [name, value] of Object.entries(protecting))
      expect([name, response.headers.get(name)]).toEqual([name, value]);
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("protects its reader, also to an upgrade that is refused", async () => {
    const answer = await raw(
      "GET /api/v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    for (const [name, value] of Object.entries(protecting)) expect(answer).toContain(`${name}: ${value}\r\n`);
    expect(answer).toContain(`x-request-id: ${rawProblem(answer).instance}\r\n`);
  });

  it("tells browsers to load, frame and sniff nothing, and does not say what serves it", async () => {
    const { headers } = await request(api.url).get("/api/v1/me").set(as(api.adminKey)).expect(200);
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["cache-control"]).toBe("no-store");
    expect(headers["x-powered-by"]).toBeUndefined();
    expect(headers["access-control-allow-origin"]).toBeUndefined();
  });
});

describe("paths and methods", () => {
  it.each([
    "/nothing",
    "/api",
    "/api/v1",
    "/api/v2/me",
    "/api/v1/me/more",
    "/healthz/x",
    "/api/v1//me",
    "/%00",
    "/__proto__",
  ])("answers not-found for %s", async (path) =>
    expectProblem(await request(api.url).get(path).set(as(api.adminKey)), "not-found"),
  );

  it.each([
    ["PUT", "/api/v1/me", "GET, HEAD"],
    ["OPTIONS", "/api/v1/users", "GET, HEAD, POST"],
    ["PATCH", "/api/v1/sessions/ses_01KB00000000000000000000SE", "DELETE, GET, HEAD"],
    ["DELETE", "/API/v1/users/", "GET, HEAD, POST"],
    ["POST", "/healthz", "GET, HEAD"],
    ["PUT", "/api/v1/revdial", "GET, HEAD, POST"],
    ["TRACE", "/api/v1/me", "GET, HEAD"],
  ])("answers %s %s with 405 and Allow: %s", async (method, path, allow) => {
    const response = await fetchRaw(method, path);
    expect(response.status).toBe(405);
    expect(response.allow).toBe(allow);
    expect(Problem.parse(JSON.parse(response.text)).code).toBe("method-not-allowed");
  });

  it("answers a path with a broken escape as a problem", async () => {
    expectProblem(
      await request(api.url).get("/api/v1/wolf-instances/%zz").set(as(api.adminKey)),
      "invalid-request",
    );
  });

  function fetchRaw(method: string, path: string): Promise<{ status: number; allow: string; text: string }> {
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest(`${api.url}${path}`, { method }, async (response) => {
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve({ status: response.statusCode ?? 0, allow: String(response.headers.allow), text });
      });
      outgoing.on("error", reject).end();
    });
  }
});

describe("bodies", () => {
  const post = (body: string | Buffer, type = "application/json") =>
    request(api.url).post("/api/v1/users").set(as(api.adminKey)).set("content-type", type).send(body);

  it.each(["{", '{"name": nope}', "\u0000", "{'name':'x'}", '{"name":"x",}'])(
    "that are not JSON are malformed (%j)",
    async (body) => {
      expectProblem(await post(body), "malformed-json");
    },
  );

  it.each([
    "null",
    "[]",
    '"text"',
    "42",
    "{}",
    '{"name":"","role":"user"}',
    '{"name":"x","role":"root"}',
    '{"name":"x","role":"user","id":"usr_1"}',
    '{"__proto__":{"role":"admin"},"name":"x","role":"user"}',
  ])("that are JSON but do not fit name every place (%s)", async (body) => {
    const response = await post(body);
    expectProblem(response, "invalid-request");
    expect(response.body.errors.length).toBeGreaterThan(0);
    for (const { path, message } of response.body.errors) {
      expect(path).toMatch(/^body/);
      expect(message).not.toBe("");
    }
  });

  it("of exactly the limit are read, and one byte more is too large", async () => {
    const body = (bytes: number) => JSON.stringify({ name: "x".repeat(bytes - 11) });
    expect(Buffer.byteLength(body(65_536))).toBe(65_536);
    expectProblem(await post(body(65_536)), "invalid-request");
    expectProblem(await post(body(65_537)), "payload-too-large");
  });

  it.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/jsonp",
    "multipart/form-data; boundary=x",
  ])("of type %s are refused", async (type) =>
    expectProblem(await post('{"name":"x","role":"user"}', type), "unsupported-media-type"),
  );

  it("that are compressed or in another charset are refused", async () => {
    const compressed = await post("{}").set("content-encoding", "gzip");
    expectProblem(compressed, "unsupported-media-type");
    expectProblem(await post("{}", "application/json; charset=latin1"), "unsupported-media-type");
    const utf16 = await fetch(`${api.url}/api/v1/users`, {
      method: "POST",
      headers: { ...as(api.adminKey), "content-type": "application/json; charset=utf-16le" },
      body: new Uint8Array(Buffer.from('{"name":"x"}', "utf16le")),
    });
    expect([utf16.status, await utf16.json()]).toMatchObject([415, { code: "unsupported-media-type" }]);
  });

  it("with a name of 60,000 characters get a short answer and a short line of the log", async () => {
    const response = await post(`{"${"x".repeat(60_000)}":1}`);
    expectProblem(response, "invalid-request");
    expect(response.text.length).toBeLessThan(2000);
    expect(api.lines.filter((line) => line.length > 4000)).toEqual([]);
  });

  it.each(['{"name":"a","name":"b"}', '{"name":"a","n\\u0061me":"b"}', '{"name":"a","role":{"x":1,"x":1}}'])(
    "that name a field twice are malformed (%s)",
    async (body) => expectProblem(await post(body), "malformed-json"),
  );

  it("nested ten thousand deep are refused without harm", async () => {
    const deep = `${'{"a":'.repeat(9000)}1${"}".repeat(9000)}`;
    expectProblem(await post(deep), "invalid-request");
  });
});

describe("what never becomes a request", () => {
  it.each([
    ["GET / HTTP/9.9\r\n\r\n", "malformed-http", 400],
    ["nonsense\r\n\r\n", "malformed-http", 400],
    ["GET /healthz HTTP/1.1\r\n\r\n", "malformed-http", 400],
    [
      "GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nConnection: close\r\n\r\n",
      "malformed-http",
      400,
    ],
    ["GET /healthz HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n", "malformed-http", 400],
    [
      "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
      "malformed-http",
      400,
    ],
    ["POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\n", "malformed-http", 400],
    ["GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "malformed-http", 400],
    ["GET /healthz HTTP/1.1\r\nHost: x/y\r\n\r\n", "malformed-http", 400],
    ["GET /healthz HTTP/1.1\r\nHost: x:65536\r\n\r\n", "malformed-http", 400],
    ["GET http://y/healthz HTTP/1.1\r\nHost: x\r\n\r\n", "malformed-http", 400],
    ["GET /healthz#x HTTP/1.1\r\nHost: x\r\n\r\n", "malformed-http", 400],
    ["GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", "malformed-http", 400],
    ["CONNECT y:443 HTTP/1.1\r\nHost: y:443\r\n\r\n", "malformed-http", 400],
    [
      "GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
      "malformed-http",
      400,
    ],
    [`GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ${"x".repeat(17_000)}\r\n\r\n`, "headers-too-large", 431],
  ])("is answered with a problem (%#)", async (bytes, code, status) => {
    const answer = await raw(bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(rawProblem(answer).code).toBe(code);
    for (const [name, value] of Object.entries(protecting)) expect(answer).toContain(`${name}: ${value}\r\n`);
    expect(answer).toContain(`x-request-id: ${rawProblem(answer).instance}\r\n`);
    // Its one line says that by the same id, and nothing of what came.
    const lines = api.lines.filter((line) => line.includes(rawProblem(answer).instance));
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      {
        level: 30,
        time: expect.anything(),
        request_id: rawProblem(answer).instance,
        res: { status },
        code,
        msg: "request",
      },
    ]);
  });

  it("is in the numbers of requests", async () => {
    const page = async () =>
      (await request(api.url).get("/metrics").set("authorization", `Bearer ${api.adminKey}`)).text;
    const unread = async () =>
      Number(
        /^wolfpack_http_request_duration_seconds_count\{operation="unread",status="4xx"\} (\d+)$/m.exec(
          await page(),
        )?.[1] ?? 0,
      );
    const before = await unread();
    await raw("GARBAGE\r\n\r\n");
    expect(await unread()).toBe(before + 1);
    expect(await page()).toMatch(/^wolfpack_http_problems_total\{code="malformed-http"\} [1-9]/m);
  });

  it.each(["x", "x.example:80", "[::1]:8080", "127.0.0.1", "my_host:1"])(
    "is not a request whose Host is %s",
    async (host) => {
      const answer = await raw(`GET /healthz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    },
  );

  it("does not disturb an ordinary request that offers an upgrade to HTTP/2", async () => {
    const answer = await raw(
      "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe("the contract", () => {
  /** Requests that pass no authentication, so that every route answers without doing anything. */
  const entries = Object.entries(operations as Record<string, Operation>);

  it.each(entries)("operation %s is routed and asks for its kind of credential", async (_id, operation) => {
    const path = operation.path.replaceAll(/\{(\w+)\}/g, "x");
    const response = await request(api.url)[operation.method.toLowerCase() as "get" | "post" | "delete"](
      path,
    );
    if (operation.action === "public")
      expect([...Object.keys(operation.responses), ...(operation.body ? ["400"] : [])]).toContain(
        String(response.status),
      );
    else if (operation.action === "tunnel")
      expectProblem(response, operation.method === "GET" ? "upgrade-required" : "unsupported-media-type");
    else expectProblem(response, "unauthenticated");
  });

  it("has every route of the application", () => {
    const known = new Set(
      entries.map(([, { method, path }]) => `${method} ${path.replaceAll(/\{\w+\}/g, ":x")}`),
    );
    const routed = routesOf(api.plane.app.router.stack).map(
      ({ method, path }) => `${method} ${path.replaceAll(/:\w+/g, ":x")}`,
    );
    // What a browser loads beside the page of Swagger UI, and as the dashboard, is not an operation of the API.
    const pages = /^GET \/(swagger\/(?!index\.html)|assets\/:x$|theme\.js$|favicon\.svg$|\.\*\/$)/;
    const operationsRouted = routed.filter((route) => !pages.test(route));
    expect(operationsRouted.filter((route) => !known.has(route))).toEqual([]);
    expect([...known].filter((route) => !operationsRouted.includes(route))).toEqual([]);
  });
});

describe("while the database is gone", () => {
  it("is not ready, refuses with Retry-After, lives on, and says nothing of the cause", async () => {
    const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-http-"));
    const postgres = await startEmbeddedPostgres({ dataDir, durable: false });
    await migrate(postgres.url);
    const prisma = createPrisma(postgres.url);
    const lone = await startControlPlane({}, { prisma, url: postgres.url, drop: () => prisma.$disconnect() });
    await postgres.stop();
    const ready = await request(lone.url).get("/readyz");
    expectProblem(ready, "database-unavailable");
    const me = await request(lone.url).get("/api/v1/me").set(as(lone.adminKey));
    expectProblem(me, "database-unavailable");
    expect(me.headers["retry-after"]).toMatch(/^\d+$/);
    expect(JSON.stringify(me.body)).not.toMatch(/127\.0\.0\.1|prisma|postgres|ECONN/i);
    await request(lone.url).get("/healthz").expect(200);
    await lone.stop();
    rmSync(dataDir, { recursive: true });
  });
});

describe("a replica that stops", () => {
  it("finishes the request in flight, under its Idempotency-Key too, and takes no more", async () => {
    const lone = await startControlPlane();
    const { prisma } = lone.database;
    const create = (name: string) =>
      request(lone.url)
        .post("/api/v1/users")
        .set({ ...as(lone.adminKey), "idempotency-key": name })
        .send({ name });
    const release = Promise.withResolvers<void>();
    const held = prisma.$transaction(
      async (transaction) => {
        await transaction.$executeRaw`LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE`;
        await release.promise;
      },
      { timeout: 30_000 },
    );
    const inFlight = create("anna").then((response) => response);
    const waits = async () => (await prisma.user.count({ where: { name: "anna" } })) === 1;
    await until(waits);
    const stopped = lone.plane.stop();
    await until(() =>
      create("berta").then(
        ({ status }) => status === 503,
        () => true,
      ),
    );
    release.resolve();
    await held;
    const { status, body } = await inFlight;
    await stopped;
    expect([status, body.name]).toEqual([201, "anna"]);
    expect(await prisma.user.count({ where: { name: "berta" } })).toBe(0);
    expect(await prisma.idempotencyKey.count({ where: { status: 201 } })).toBe(1);
    await lone.stop();
  });

  it("no longer listens, and may be stopped again", async () => {
    const lone = await startControlPlane();
    await lone.stop();
    await expect(fetch(`${lone.url}/healthz`)).rejects.toThrow();
    await lone.plane.stop();
  });
});
