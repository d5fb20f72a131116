/** Limits over HTTP: exact counts, for every route and every way to come in. */
import { afterAll, afterEach, describe, expect, it } from "@jest/globals";
import { Problem } from "@wolfpack/api-contract";
import type { Config } from "../src/config.ts";
import { newId } from "../src/ids.ts";
import { challenge, dialWith, outcomeOf, TestAgent } from "./agent.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { manualClock } from "./manual-clock.ts";
import { dialled, raw, runnerAuth, wolfTarget } from "./tunnel-requests.ts";

const planes: TestControlPlane[] = [];
afterEach(async () => {
  for (const plane of planes.splice(0)) await plane.stop();
});
afterAll(() => expect(planes).toEqual([]));

const handshake = {
  host: "x",
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-protocol": "revdial.v3",
};

async function limited(config: Partial<Config>) {
  const clock = manualClock();
  const api = await startControlPlane(config, undefined, { clock });
  planes.push(api);
  const call = (path: string, key = api.adminKey, headers: Record<string, string> = {}, method = "GET") =>
    fetch(`${api.url}${path}`, { method, headers: { authorization: `Bearer ${key}`, ...headers } });
  const burst = async (tries: number, send: () => Promise<{ status: number }>) => {
    const statuses = await Promise.all(Array.from({ length: tries }, async () => (await send()).status));
    return statuses.filter((status) => status === 429).length;
  };
  return { api, clock, call, burst };
}

describe("the limit per address", () => {
  it("refuses exactly what is too much of a burst, with Retry-After, and takes more when that is over", async () => {
    const { clock, call, burst } = await limited({ ratePerAddress: 60 });
    expect(await burst(200, () => call("/api/v1/me"))).toBe(140);
    const refused = await call("/api/v1/me");
    expect(Problem.parse(await refused.json())).toMatchObject({ code: "rate-limited", status: 429 });
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(refused.headers.get("ratelimit")).toBe('"address";r=0;t=60');
    expect(refused.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    clock.advance(1000);
    expect(await burst(5, () => call("/api/v1/me"))).toBe(4);
  });

  it("counts every route and method, known or not, before any credential is looked at", async () => {
    const { call } = await limited({ ratePerAddress: 8 });
    const statuses = [
      await call("/api/v1/me", "wrong"),
      await call("/api/v1/nothing"),
      await call("/openapi.json"),
      await call("/swagger/index.html"),
      await call("/api/v1/me", undefined, {}, "DELETE"),
      await call("/api/v1/web-session", undefined, {}, "POST"),
      await call("/api/v1/revdial", undefined, {}, "POST"),
      await call("/nothing"),
    ].map(({ status }) => status);
    expect(statuses).toEqual([401, 404, 200, 200, 405, 400, 415, 404]);
    expect((await call("/api/v1/me")).status).toBe(429);
    expect((await call("/nothing")).status).toBe(429);
  });

  it("never refuses who asks whether the process lives and serves, and does not count it", async () => {
    const { call, burst } = await limited({ ratePerAddress: 1 });
    expect(await burst(20, () => call("/healthz"))).toBe(0);
    expect(await burst(20, () => call("/readyz"))).toBe(0);
    expect((await call("/api/v1/me")).status).toBe(200);
  });

  it("counts upgrades, and refuses one too many with a problem of its own", async () => {
    const { api } = await limited({ ratePerAddress: 3 });
    const upgrade = () => raw(api.url, wolfTarget, { ...handshake, ...runnerAuth }, "GET");
    for (let left = 3; left > 0; left -= 1) expect((await upgrade()).problem.code).toBe("wolf-not-found");
    const refused = await upgrade();
    expect([refused.status, refused.problem.code]).toEqual([429, "rate-limited"]);
    expect(refused.headers["retry-after"]).toBe("20");
  });

  it("tells callers behind a trusted proxy apart, and believes nobody else", async () => {
    const { call } = await limited({ ratePerAddress: 1, trustedProxies: ["127.0.0.1"] });
    const from = async (address: string) =>
      (await call("/api/v1/me", undefined, { "x-forwarded-for": address })).status;
    expect(await from("203.0.113.1")).toBe(200);
    expect(await from("203.0.113.2")).toBe(200);
    expect(await from("203.0.113.1")).toBe(429);
    expect(await from("203.0.113.99, 203.0.113.1")).toBe(429);
    // The weak spot that trust for everybody would be: one caller with as many names as it likes.
    expect(await from("203.0.113.1, 203.0.113.99")).toBe(200);
    const { call: direct } = await limited({ ratePerAddress: 1 });
    expect((await direct("/api/v1/me", undefined, { "x-forwarded-for": "203.0.113.1" })).status).toBe(200);
    expect((await direct("/api/v1/me", undefined, { "x-forwarded-for": "203.0.113.2" })).status).toBe(429);
  });

  it("writes the forwarded address into the audit log, behind a trusted proxy only", async () => {
    const { api, call } = await limited({ trustedProxies: ["127.0.0.0/8"] });
    await call("/api/v1/users", "wrong", { "x-forwarded-for": "203.0.113.7" });
    const forwarded = { authorization: "Bearer wrong", "x-forwarded-for": "203.0.113.8" };
    await raw(api.url, wolfTarget, { ...handshake, ...forwarded }, "GET");
    const denied = { where: { result: "denied" }, orderBy: { id: "asc" } } as const;
    const events = await api.database.prisma.auditEvent.findMany(denied);
    expect(events.map(({ address }) => address)).toEqual(["203.0.113.7", "203.0.113.8"]);
  });
});

describe("the limit for callers that nobody knows", () => {
  it("bounds what they write into the audit log, and holds up nobody with a valid credential", async () => {
    const { api, clock, call, burst } = await limited({ rateUnauthenticated: 10 });
    const denied = () => api.database.prisma.auditEvent.count({ where: { result: "denied" } });
    expect(await burst(100, () => call("/api/v1/users", "wrong"))).toBe(90);
    expect(await denied()).toBe(10);
    expect((await call("/api/v1/me")).status).toBe(200);
    clock.advance(6000);
    expect(await burst(5, () => call("/api/v1/users", "wrong"))).toBe(4);
    expect(await denied()).toBe(11);
  });

  it("counts proofs of agents' keys that are none, or of keys that were revoked, and lets others connect", async () => {
    const { api, clock } = await limited({ rateUnauthenticated: 3 });
    const time = clock.now().toISOString();
    const connect = (agent: TestAgent, changes = {}) =>
      outcomeOf(agent.connect(api.url, undefined, { time, ...changes }));
    const [good, revoked] = [new TestAgent("gpu-good"), new TestAgent("gpu-revoked")];
    for (const agent of [good, revoked])
      expect((await agent.enroll(api.url, undefined, { time })).status).toBe(201);
    await fetch(`${api.url}/api/v1/agent-keys/${revoked.keyId}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${api.adminKey}` },
    });
    const denied = () => api.database.prisma.auditEvent.count({ where: { action: "agent.connect" } });
    const outcomes: string[] = [];
    for (let tries = 0; tries < 5; tries += 1) outcomes.push(await connect(revoked));
    const [known, limit] = ["401 unauthenticated", "429 rate-limited"];
    expect(outcomes).toEqual([known, known, known, limit, limit]);
    expect(await connect(good, { signer: revoked.privateKey })).toBe(limit);
    expect(await connect(good, { host: "elsewhere" })).toBe(limit);
    expect(await denied()).toBe(3);
    expect(await connect(good)).toBe("open");
    for (const tunnel of dialled.splice(0)) tunnel.destroy();
  });

  it("counts tries to open a web session or a tunnel with the others", async () => {
    const { api } = await limited({ rateUnauthenticated: 3 });
    const post = (target: string, headers: Record<string, string>, body: string) =>
      fetch(`${api.url}${target}`, { method: "POST", headers, body });
    const json = { "content-type": "application/json", "x-wolfpack-csrf": "1" };
    const logIn = () => post("/api/v1/web-session", json, '{"key":"wrong"}');
    const dial = () => post(wolfTarget, { "content-type": "application/vnd.revdial.v3" }, "");
    const statuses: number[] = [];
    for (const send of [logIn, dial, logIn, dial, logIn]) statuses.push((await send()).status);
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
  });

  it("counts proofs that prove nothing, which anybody can make who asks for a challenge", async () => {
    const { api, clock } = await limited({ rateUnauthenticated: 3 });
    const agent = new TestAgent("gpu-1");
    const time = clock.now().toISOString();
    expect((await agent.enroll(api.url, undefined, { time })).status).toBe(201);
    const { nonce } = await challenge(api.url);
    const wrong = [
      agent.proof(api.url, nonce, { time, host: "elsewhere" }),
      agent.proof(api.url, nonce, { time, keyId: newId("agk") }),
      agent.proof(api.url, nonce, { time: "2001-01-01T00:00:00.000Z" }),
    ];
    const outcomes: string[] = [];
    for (const proof of [...wrong, ...wrong])
      outcomes.push(await outcomeOf(dialWith(api.url, "wolf-gpu-1", proof)));
    expect(outcomes).toEqual([
      "401 proof-refused",
      "401 unauthenticated",
      "401 clock-skew",
      ...Array(3).fill("429 rate-limited"),
    ]);
    expect(await api.database.prisma.auditEvent.count({ where: { result: "denied" } })).toBe(3);
    const tunnel = await agent.connect(api.url, undefined, { time });
    tunnel.destroy();
  });
});

describe("the limit per credential", () => {
  it("counts each for itself, wherever it comes from, and leaves others alone", async () => {
    const { api, call, burst } = await limited({ ratePerCredential: 30 });
    const anna = await api.user("anna");
    expect(await burst(100, () => call("/api/v1/me", anna.key))).toBe(70);
    const refused = await call("/api/v1/me", anna.key);
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("2");
    const other = await call("/api/v1/me");
    expect(other.status).toBe(200);
    expect(other.headers.get("ratelimit-policy")).toBe('"address";q=1000000;w=60, "credential";q=30;w=60');
    expect(other.headers.get("ratelimit")).toMatch(/^"address";r=\d+;t=\d+, "credential";r=27;t=6$/);
  });

  it("counts requests that turn out to be wrong, and before their bodies are read", async () => {
    const { api } = await limited({ ratePerCredential: 2 });
    const post = () =>
      fetch(`${api.url}/api/v1/users`, {
        method: "POST",
        headers: { authorization: `Bearer ${api.adminKey}`, "content-type": "application/json" },
        body: "{",
      });
    const codes: string[] = [];
    for (let left = 3; left > 0; left -= 1) codes.push(Problem.parse(await (await post()).json()).code);
    expect(codes).toEqual(["malformed-json", "malformed-json", "rate-limited"]);
  });

  it("leaves no event in the audit log, which a flood would fill", async () => {
    const { api, call, burst } = await limited({ ratePerCredential: 5 });
    const anna = await api.user("anna");
    const before = await api.database.prisma.auditEvent.count();
    expect(await burst(50, () => call("/api/v1/users", anna.key))).toBe(45);
    expect(await api.database.prisma.auditEvent.count()).toBe(before + 5);
  });

  it("of the runner token counts each host for itself", async () => {
    const { call } = await limited({ ratePerCredential: 1, trustedProxies: ["127.0.0.1"] });
    const beat = async (address: string) =>
      (await call("/api/v1/me", "runner-token-of-the-tests", { "x-forwarded-for": address })).status;
    expect([await beat("203.0.113.1"), await beat("203.0.113.1"), await beat("203.0.113.2")]).toEqual([
      403, 429, 403,
    ]);
  });

  it("counts tunnels that are opened", async () => {
    const { call, api } = await limited({ ratePerCredential: 1 });
    const open = () =>
      fetch(`${api.url}${wolfTarget}`, {
        method: "POST",
        headers: { ...runnerAuth, "content-type": "application/vnd.revdial.v3" },
      });
    expect((await open()).status).toBe(404);
    expect((await open()).status).toBe(429);
    expect((await call("/api/v1/me")).status).toBe(200);
  });
});
