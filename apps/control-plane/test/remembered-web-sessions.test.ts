/** Browsers' sessions that a replica remembers: looked up once, and forgotten with whatever they stand on. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { WEB_SESSION_COOKIE } from "@wolfpack/api-contract";
import request from "supertest";
import { createAuthentications } from "../src/identity/authentications.ts";
import type { UserPrincipal } from "../src/identity/principal.ts";
import { prismaRevocationStore } from "../src/identity/revocation-store.prisma.ts";
import { createRevocations, type Revocations } from "../src/identity/revocations.ts";
import { prismaWebSessionStore } from "../src/identity/web-session-store.prisma.ts";
import { createWebSessions, type WebSessions } from "../src/identity/web-sessions.ts";
import { createLogger } from "../src/logger.ts";
import { API_KEY_SECRET, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";

let clock: ManualClock;
let api: TestControlPlane;
let names = 0;
beforeAll(async () => {
  clock = manualClock();
  api = await startControlPlane({}, undefined, { clock });
});
afterAll(() => api.stop());

/** A replica's own memory, beside the control plane that makes the changes. */
let revocations: Revocations;
let webSessions: WebSessions;
let lookUps: number;
let user: { id: string; key: string };
let headers: { cookie: string };
beforeEach(async () => {
  const { prisma } = api.database;
  const store = prismaWebSessionStore(prisma);
  lookUps = 0;
  revocations = createRevocations({
    store: prismaRevocationStore(prisma),
    clock,
    log: createLogger("silent"),
  });
  webSessions = createWebSessions({
    store: {
      ...store,
      find(...args) {
        lookUps += 1;
        return store.find(...args);
      },
    },
    clock,
    identity: api.plane.identity,
    apiKeySecret: API_KEY_SECRET,
    authentications: createAuthentications<UserPrincipal>({ revocations, clock }),
    revocations,
  });
  await revocations.catchUp();
  names += 1;
  user = await api.user(`user-${names}`);
  const opened = await webSessions.open(user.key, "r1");
  headers = { cookie: `${WEB_SESSION_COOKIE}=${opened?.token}` };
  expect(await webSessions.authenticate(headers)).toMatchObject({ userId: user.id, role: "user" });
});

const asAdmin = () => ({ authorization: `Bearer ${api.adminKey}` });

describe("a remembered web session", () => {
  it("is looked up once, and again when the memory is old", async () => {
    for (let calls = 5; calls > 0; calls -= 1) await webSessions.authenticate(headers);
    expect(lookUps).toBe(1);
    clock.advance(30_000);
    await revocations.catchUp();
    await webSessions.authenticate(headers);
    expect(lookUps).toBe(2);
  });

  it("is forgotten at once where it is ended, and elsewhere with the next word of the database", async () => {
    await request(api.url)
      .delete("/api/v1/web-session")
      .set({ ...headers, "x-wolfpack-csrf": "1" })
      .expect(204);
    await revocations.catchUp();
    expect(await webSessions.authenticate(headers)).toBeUndefined();
    const again = await webSessions.open(user.key, "r1");
    const mine = { cookie: `${WEB_SESSION_COOKIE}=${again?.token}` };
    expect(await webSessions.end(mine, "r2")).toBeDefined();
    expect(await webSessions.authenticate(mine)).toBeUndefined();
  });

  it("ends with its key", async () => {
    const [key] = await api.database.prisma.apiKey.findMany({ where: { user_id: user.id } });
    await request(api.url).delete(`/api/v1/api-keys/${key?.id}`).set(asAdmin()).expect(204);
    await revocations.catchUp();
    expect(await webSessions.authenticate(headers)).toBeUndefined();
  });

  it.each([
    ["is disabled", { disabled: true }, undefined],
    ["gets another role", { role: "viewer" }, { role: "viewer" }],
  ])("follows its user, who %s", async (_what, change, principal) => {
    await request(api.url).patch(`/api/v1/users/${user.id}`).set(asAdmin()).send(change).expect(200);
    await revocations.catchUp();
    const found = await webSessions.authenticate(headers);
    if (principal === undefined) expect(found).toBeUndefined();
    else expect(found).toMatchObject(principal);
  });

  it("lasts no longer than its key, to the millisecond", async () => {
    const { body } = await request(api.url)
      .post("/api/v1/api-keys")
      .set(asAdmin())
      .send({ name: "short", expires_in_seconds: 60 });
    const opened = await webSessions.open(body.key, "r3");
    const short = { cookie: `${WEB_SESSION_COOKIE}=${opened?.token}` };
    clock.advance(59_999);
    await revocations.catchUp();
    expect(await webSessions.authenticate(short)).toBeDefined();
    clock.advance(1);
    expect(await webSessions.authenticate(short)).toBeUndefined();
  });
});
