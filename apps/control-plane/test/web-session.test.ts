/** The dashboard's cookie: what it opens, when it ends, and that pages of other origins cannot use it. */
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type FleetEvent, WEB_SESSION_COOKIE } from "@wolfpack/api-contract";
import express from "express";
import request from "supertest";
import { prismaWebSessionStore } from "../src/identity/web-session-store.prisma.ts";
import { createWebSessions, WEB_SESSION_MS } from "../src/identity/web-sessions.ts";
import { API_KEY_SECRET, RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";
import { raw, wolfTarget } from "./tunnel-requests.ts";

let clock: ManualClock;
let api: TestControlPlane;
beforeAll(async () => {
  clock = manualClock();
  api = await startControlPlane({}, undefined, { clock });
});
afterAll(() => api.stop());

const csrf = { "x-wolfpack-csrf": "1" };
const host = () => new URL(api.url).host;
const logIn = (key: string, headers: Record<string, string> = csrf) =>
  request(api.url).post("/api/v1/web-session").set(headers).send({ key });
const logOut = (cookie: string, headers: Record<string, string> = csrf) =>
  request(api.url)
    .delete("/api/v1/web-session")
    .set({ cookie, ...headers });
const me = (cookie: string, headers: Record<string, string> = {}) =>
  request(api.url)
    .get("/api/v1/me")
    .set({ cookie, ...headers });
/** What a browser sends back. */
const cookieOf = (response: request.Response) => String(response.headers["set-cookie"]).split(";")[0] ?? "";
const opened = async (key: string) => cookieOf(await logIn(key).expect(201));
const named = (name: string) => api.database.prisma.user.count({ where: { name } });

describe("a web session", () => {
  it("is opened with an API key and a cookie that no script, other host or plain connection gets", async () => {
    const anna = await api.user("anna", "viewer");
    const response = await logIn(anna.key).expect(201);
    expect(response.body).toEqual({
      user: expect.objectContaining({ id: anna.id, role: "viewer" }),
      expires_at: new Date(clock.now().getTime() + WEB_SESSION_MS).toISOString(),
    });
    expect(response.headers["set-cookie"]).toHaveLength(1);
    expect(String(response.headers["set-cookie"])).toMatch(
      /^__Host-wolfpack=[A-Za-z0-9_-]{43}; Max-Age=43200; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    );
    expect(response.headers["cache-control"]).toBe("no-store");
    expect((await me(cookieOf(response)).expect(200)).body.id).toBe(anna.id);
  });

  it("may do what its key may, and no more", async () => {
    const { body } = await request(api.url)
      .post("/api/v1/api-keys")
      .set("authorization", `Bearer ${api.adminKey}`)
      .send({ name: "reader", scopes: ["read"] });
    const cookie = await opened(body.key);
    await me(cookie).expect(200);
    const users = await request(api.url).get("/api/v1/users").set({ cookie });
    expect([users.status, users.body.code]).toEqual([403, "forbidden"]);
  });

  it.each(["", "x", `wpk_${"A".repeat(43)}`, RUNNER_TOKEN])("is not opened with %j", async (key) => {
    const response = await logIn(key);
    expect(response.headers["set-cookie"]).toBeUndefined();
    expect(response.body.code).toBe(key === "" ? "invalid-request" : "unauthenticated");
  });

  it("is not opened with a cookie, nor by its token as a bearer credential", async () => {
    const cookie = await opened(api.adminKey);
    const [, token = ""] = cookie.split("=");
    expect((await logIn(token)).status).toBe(401);
    await request(api.url).get("/api/v1/me").set("authorization", `Bearer ${token}`).expect(401);
  });

  it("lasts twelve hours to the millisecond", async () => {
    const cookie = await opened(api.adminKey);
    clock.advance(WEB_SESSION_MS - 1);
    await me(cookie).expect(200);
    clock.advance(1);
    await me(cookie).expect(401);
  });

  it("ends when its user says so, and takes the cookie back; other sessions go on", async () => {
    const [one, two] = [await opened(api.adminKey), await opened(api.adminKey)];
    const response = await logOut(one).expect(204);
    expect(String(response.headers["set-cookie"])).toBe(
      "__Host-wolfpack=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict",
    );
    await me(one).expect(401);
    await me(two).expect(200);
    await logOut(one).expect(204);
    await request(api.url).delete("/api/v1/web-session").expect(204);
  });

  it("ends with its key: revoked or expired", async () => {
    const berta = await api.user("berta");
    const cookie = await opened(berta.key);
    const [key] = await api.database.prisma.apiKey.findMany({ where: { user_id: berta.id } });
    await request(api.url)
      .delete(`/api/v1/api-keys/${key?.id}`)
      .set({ cookie, ...csrf })
      .expect(204);
    await me(cookie).expect(401);
    const { body } = await request(api.url)
      .post("/api/v1/api-keys")
      .set("authorization", `Bearer ${api.adminKey}`)
      .send({ name: "short", expires_in_seconds: 60 });
    const short = await opened(body.key);
    clock.advance(59_999);
    await me(short).expect(200);
    clock.advance(1);
    await me(short).expect(401);
  });

  describe("as events", () => {
    const eventsOf = async (key: string, query = "kind=web-session.*") => {
      const answer = await request(api.url)
        .get(`/api/v1/events?${query}&newest_first=true`)
        .set("authorization", `Bearer ${key}`);
      expect(answer.status).toBe(200);
      return (answer.body as FleetEvent[]).toReversed();
    };
    const who = ({ kind, owner_id, actor, cause }: FleetEvent) => [kind, owner_id, actor?.id, cause];

    it("says who signed in and out, by which requests", async () => {
      const dora = await api.user("dora");
      const signedIn = await logIn(dora.key).expect(201);
      const signedOut = await logOut(cookieOf(signedIn)).expect(204);
      const told = await eventsOf(dora.key);
      expect(told.map(who)).toEqual([
        ["web-session.opened", dora.id, dora.id, "requested"],
        ["web-session.ended", dora.id, dora.id, "requested"],
      ]);
      const asked = [signedIn, signedOut].map(({ headers }) => headers["x-request-id"]);
      expect(told.map(({ request_id }) => request_id)).toEqual(asked);
      expect(new Set(told.map(({ object_id }) => object_id)).size).toBe(1);
      expect(told[0]?.object_id).toMatch(/^web_/);
    });

    it("says nothing of a browser that was refused, or that signs out twice", async () => {
      const eve = await api.user("eve");
      const cookie = await opened(eve.key);
      await logIn(`${eve.key}x`);
      await logIn(eve.key, {});
      await logOut(cookie, {});
      await logOut(cookie).expect(204);
      await logOut(cookie).expect(204);
      expect((await eventsOf(eve.key)).map(({ kind }) => kind)).toEqual([
        "web-session.opened",
        "web-session.ended",
      ]);
    });

    it("names who took the key or the user away", async () => {
      const [fay, gus] = [await api.user("fay"), await api.user("gus")];
      for (const { key } of [fay, gus]) await opened(key);
      const admin = (await request(api.url).get("/api/v1/me").set("authorization", `Bearer ${api.adminKey}`))
        .body.id;
      const [key] = await api.database.prisma.apiKey.findMany({ where: { user_id: fay.id } });
      const asAdmin = (asked: request.Test) => asked.set("authorization", `Bearer ${api.adminKey}`);
      await asAdmin(request(api.url).delete(`/api/v1/api-keys/${key?.id}`)).expect(204);
      await asAdmin(request(api.url).patch(`/api/v1/users/${gus.id}`).send({ disabled: true })).expect(200);
      const ended = await eventsOf(api.adminKey, "kind=web-session.ended");
      for (const { id } of [fay, gus])
        expect(ended.filter(({ owner_id }) => owner_id === id).map(who)).toEqual([
          ["web-session.ended", id, admin, "requested"],
        ]);
    });

    it("are shown to their user and to admins, and to nobody else", async () => {
      const [hal, ida] = [await api.user("hal"), await api.user("ida", "operator")];
      for (const { key } of [hal, ida]) await opened(key);
      expect((await eventsOf(hal.key)).map(({ owner_id }) => owner_id)).toEqual([hal.id]);
      expect((await eventsOf(ida.key)).map(({ owner_id }) => owner_id)).toEqual([ida.id]);
      const seen = (await eventsOf(api.adminKey)).map(({ owner_id }) => owner_id);
      expect(seen).toEqual(expect.arrayContaining([hal.id, ida.id]));
    });
  });

  it("ends with its user, who is disabled", async () => {
    const carl = await api.user("carl");
    const cookie = await opened(carl.key);
    await api.database.prisma.user.update({ where: { id: carl.id }, data: { disabled_at: clock.now() } });
    await me(cookie).expect(401);
  });

  it.each([
    ["nothing", () => ""],
    ["another name", (pair: string) => pair.replace("__Host-", "")],
    ["a token cut short", (pair: string) => pair.slice(0, -1)],
    ["a token with more", (pair: string) => `${pair}A`],
    ["two cookies of the name", (pair: string) => `${pair}; ${WEB_SESSION_COOKIE}=${"A".repeat(43)}`],
    ["SQL", () => `${WEB_SESSION_COOKIE}=' OR 1=1 --`],
  ])("is not found by a cookie with %s", async (_what, change) => {
    await me(change(await opened(api.adminKey))).expect(401);
  });

  it("is found among a browser's other cookies", async () => {
    await me(`theme=dark;${await opened(api.adminKey)}; a=b=c`).expect(200);
  });

  it("is kept as an HMAC only, and never logged", async () => {
    const [, token = ""] = (await opened(api.adminKey)).split("=");
    const rows = await api.database.prisma.webSession.findMany();
    const bytes = rows.map(({ hash }) => Buffer.from(hash).toString("latin1"));
    expect(JSON.stringify(rows) + bytes.join()).not.toContain(token);
    expect(api.lines.join("")).not.toContain(token);
  });

  it("leaves an event in the audit log when it is opened, refused and ended, and for what it did", async () => {
    const { prisma } = api.database;
    const since = (await prisma.auditEvent.findMany({ orderBy: { id: "desc" }, take: 1 }))[0]?.id ?? "";
    const cookie = await opened(api.adminKey);
    await logIn("wrong");
    await request(api.url)
      .post("/api/v1/users")
      .set({ cookie, ...csrf })
      .send({ name: "made by cookie" })
      .expect(201);
    await logOut(cookie);
    await logOut(cookie);
    const events = await prisma.auditEvent.findMany({ where: { id: { gt: since } }, orderBy: { id: "asc" } });
    const session = events[0]?.object;
    expect(session).toMatch(/^web_/);
    expect(
      events.map(({ action, result, actor, credential_id }) => [action, result, actor, credential_id]),
    ).toEqual([
      ["web-session.create", "allowed", "user", expect.stringMatching(/^key_/)],
      ["web-session.create", "denied", "anonymous", null],
      ["user.create", "allowed", "user", session],
      ["web-session.end", "allowed", "user", session],
    ]);
  });
});

describe("a page of another origin", () => {
  /** What a page can make a browser send with the cookie of a visitor, if SameSite did not hold it back. */
  const attacks: [string, Record<string, string>][] = [
    ["a form of another origin", { origin: "https://evil.example", "content-type": "text/plain" }],
    ["a form in a frame without origin", { origin: "null", "content-type": "text/plain" }],
    ["an old browser's form, which names no origin", { "content-type": "text/plain" }],
    [
      "a script of another origin",
      { origin: "https://evil.example", "content-type": "application/json", ...csrf },
    ],
    [
      "a script of another port",
      { origin: "http://127.0.0.1:1", "content-type": "application/json", ...csrf },
    ],
    ["a host whose name begins as ours", { origin: "http://127.0.0.1.evil.example", ...csrf }],
    ["a script without the header", { "content-type": "application/json" }],
    ["a script with another value", { "content-type": "application/json", "x-wolfpack-csrf": "0" }],
    ["nonsense as origin", { origin: "//", "content-type": "application/json", ...csrf }],
  ];
  const attack = (url: string, cookie: string, headers: Record<string, string>, name: string) =>
    fetch(`${url}/api/v1/users`, {
      method: "POST",
      headers: { cookie, ...headers },
      body: JSON.stringify({ name, role: "admin" }),
    });

  it.each(attacks)(
    "makes an admin through a server that trusts the cookie alone (%s)",
    async (what, headers) => {
      const webSessions = createWebSessions({
        store: prismaWebSessionStore(api.database.prisma),
        clock,
        identity: api.plane.identity,
        apiKeySecret: API_KEY_SECRET,
      });
      const naive = express().use(express.text({ type: () => true }));
      naive.post("/api/v1/users", async (incoming, response) => {
        const principal = await webSessions.authenticate(incoming.headers);
        if (principal?.role !== "admin") return void response.sendStatus(401);
        response.status(201).json(await api.plane.identity.createUser(JSON.parse(incoming.body)));
      });
      const server = naive.listen(0, "127.0.0.1");
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as AddressInfo;
      const cookie = await opened(api.adminKey);
      const { status } = await attack(`http://127.0.0.1:${port}`, cookie, headers, `naive: ${what}`);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      expect([status, await named(`naive: ${what}`)]).toEqual([201, 1]);
    },
  );

  it.each(attacks)("does nothing here, and leaves a denied event (%s)", async (what, headers) => {
    const { prisma } = api.database;
    const denied = () => prisma.auditEvent.count({ where: { code: "csrf-refused", action: "user.create" } });
    const before = await denied();
    const cookie = await opened(api.adminKey);
    const response = await attack(api.url, cookie, headers, what);
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
      403,
      "csrf-refused",
    ]);
    expect(await named(what)).toBe(0);
    expect(await denied()).toBe(before + 1);
  });

  it("cannot end a session, open one, or read with one", async () => {
    const cookie = await opened(api.adminKey);
    const evil = { origin: "https://evil.example", ...csrf };
    expect((await logOut(cookie, evil)).body.code).toBe("csrf-refused");
    expect((await logOut(cookie, {})).body.code).toBe("csrf-refused");
    expect((await logIn(api.adminKey, evil)).body.code).toBe("csrf-refused");
    expect((await logIn(api.adminKey, {})).body.code).toBe("csrf-refused");
    expect((await me(cookie, evil)).body.code).toBe("csrf-refused");
    await me(cookie).expect(200);
  });

  it("is told from ours, and from a caller with a credential of its own", async () => {
    const cookie = await opened(api.adminKey);
    const ours = { origin: `http://${host()}`, "content-type": "application/json", ...csrf };
    expect((await attack(api.url, cookie, ours, "ours")).status).toBe(201);
    const key = { authorization: `Bearer ${api.adminKey}`, origin: "https://evil.example" };
    const withKey = { ...key, "content-type": "application/json" };
    expect((await attack(api.url, cookie, withKey, "with a key")).status).toBe(201);
  });

  it.each([
    ["foreign", { origin: "https://evil.example" }],
    ["null", { origin: "null" }],
    ["absent", {}],
  ])("opens no tunnel with a cookie, whatever carries it (Origin %s)", async (_which, origin) => {
    const cookie = await opened(api.adminKey);
    const fields = { host: host(), cookie, ...csrf, ...origin };
    const upgrade = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      "sec-websocket-protocol": "revdial.v3",
    };
    const post = {
      "content-type": "application/vnd.revdial.v3",
      "content-length": "0",
      connection: "close",
    };
    for (const answer of [
      await raw(api.url, wolfTarget, { ...fields, ...upgrade }, "GET"),
      await raw(api.url, wolfTarget, { ...fields, ...post }, "POST"),
    ])
      expect([answer.status, answer.problem.code]).toEqual([403, "origin-refused"]);
  });
});

describe("CORS", () => {
  const origin = "https://console.example";
  const preflight = (url: string, from = origin) =>
    request(url)
      .options("/api/v1/users")
      .set({ origin: from, "access-control-request-method": "POST", "access-control-request-headers": "x" });
  const allowed = (response: request.Response) =>
    Object.keys(response.headers).filter((name) => name.startsWith("access-control-"));

  it("is closed: no origin may read, and a preflight is a method that no route has", async () => {
    const asked = await preflight(api.url).expect(405);
    const read = await me("", { origin, authorization: `Bearer ${api.adminKey}` }).expect(200);
    for (const response of [asked, read]) expect(allowed(response)).toEqual([]);
  });

  it("is open to the origins of the configuration, exactly, without cookies and without their CSRF header", async () => {
    const open = await startControlPlane({ corsOrigins: [origin] });
    const [asked, read, refused, others] = await Promise.all([
      preflight(open.url),
      request(open.url)
        .get("/api/v1/me")
        .set({ origin, authorization: `Bearer ${open.adminKey}` }),
      request(open.url).get("/api/v1/me").set({ origin }),
      Promise.all(
        [
          "https://evil.example",
          `${origin}.evil.example`,
          `${origin}:8443`,
          "http://console.example",
          "null",
        ].map((from) => preflight(open.url, from)),
      ),
    ]).finally(open.stop);
    expect(asked.status).toBe(204);
    expect(asked.headers["access-control-allow-origin"]).toBe(origin);
    expect(asked.headers["access-control-allow-headers"]).not.toMatch(/csrf|cookie/i);
    expect(asked.headers["access-control-allow-credentials"]).toBeUndefined();
    expect(read.status).toBe(200);
    expect(read.headers["access-control-allow-origin"]).toBe(origin);
    expect(read.headers["access-control-expose-headers"]).toContain("RateLimit");
    expect([refused.status, refused.headers["access-control-allow-origin"]]).toEqual([401, origin]);
    for (const response of others) {
      expect([response.status, allowed(response)]).toEqual([405, []]);
      expect(response.headers.vary).toBe("Origin");
    }
  });
});
