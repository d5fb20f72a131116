/** Who, why and by which request: in the event of every change of who may use the fleet, made as everybody makes it, by the API. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { fleetEventKinds } from "@wolfpack/api-contract";
import { tunnelFetch } from "revdial";
import request from "supertest";
import { TestAgent } from "./agent.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { eventually } from "./host.ts";
import { dialled } from "./tunnel-requests.ts";

let api: TestControlPlane;
let adminId: string;
beforeAll(async () => {
  api = await startControlPlane();
  adminId = String((await asAdmin("GET", "me")).body.id);
});
afterAll(() => api.stop());
afterEach(() => {
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
});

type Answer = { body: Record<string, string>; headers: Record<string, string> };
type Method = "GET" | "POST" | "PATCH" | "DELETE";
async function ask(
  headers: Record<string, string>,
  method: Method,
  path: string,
  body?: object,
): Promise<Answer> {
  const way = method.toLowerCase() as "get" | "post" | "patch" | "delete";
  const asked = request(api.url)[way](`/api/v1/${path}`).set(headers);
  const answer = await (body === undefined ? asked : asked.send(body));
  expect([path, answer.ok, answer.body.detail]).toEqual([path, true, undefined]);
  return answer;
}
const asAdmin = (method: Method, path: string, body?: object) =>
  ask({ authorization: `Bearer ${api.adminKey}` }, method, path, body);

let names = 0;
const aName = () => {
  names += 1;
  return `one-${names}`;
};
const aUser = () => asAdmin("POST", "users", { name: aName() });
const aKey = async () => {
  const { body: user } = await aUser();
  return asAdmin("POST", "api-keys", { name: "laptop", user_id: String(user.id) });
};
const aToken = (more: object = {}) => asAdmin("POST", "join-tokens", more);
const csrf = { "x-wolfpack-csrf": "1" };
const signIn = async () => {
  const { body: key } = await aKey();
  const opened = await ask(csrf, "POST", "web-session", { key: key.key });
  const cookie = String(opened.headers["set-cookie"]).split(";")[0] ?? "";
  return { opened, cookie, userId: String(key.user_id) };
};

/** Enrols with a token of its own, and says by which request. */
async function enrolled(agent = new TestAgent(aName())) {
  const { body: token } = await aToken({ wolf_name: agent.name });
  const { status } = await agent.enroll(api.url, String(token.token));
  expect([201, 202]).toContain(status);
  return { agent, tokenId: String(token.id), requestId: await auditedAs("agent.enroll", agent.keyId) };
}

/** The audit log and the events name a request alike. */
async function auditedAs(action: string, object: string): Promise<string> {
  const where = { action, object };
  const found = await eventually(
    () => api.database.prisma.auditEvent.findFirst({ where, orderBy: { id: "desc" } }),
    (event) => event !== null,
  );
  return found?.request_id ?? "";
}

/** A second key by the tunnel of the first, as agents ask for it. */
async function renewed() {
  const { agent } = await enrolled();
  const tunnel = await agent.connect(api.url);
  const next = new TestAgent(agent.name);
  next.wolfId = agent.wolfId;
  const {
    name: _name,
    nonce: _nonce,
    ...body
  } = next.enrolment(api.url, {
    purpose: "renew",
    wolf: agent.wolfId,
    nonce: agent.keyId,
  }) as Record<string, unknown>;
  const renew = async () => {
    const answer = await tunnelFetch(tunnel, "control")("http://control/renew", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return (await answer.json()) as { key_id?: string };
  };
  // Its tunnel is open a moment before it is served.
  const renewal = await eventually(
    () => renew().catch(() => undefined),
    (reply) => reply !== undefined,
  );
  next.keyId = String(renewal?.key_id);
  return { agent, next };
}

interface Made {
  /** What it was done to. */
  object: string;
  actor: { kind: string; id: string | null };
  cause: string;
  requestId: string | null;
}
const byAdmin = ({ headers }: Answer, object: unknown): Made => ({
  object: String(object),
  actor: { kind: "user", id: adminId },
  cause: "requested",
  requestId: headers["x-request-id"] ?? "none",
});

/** How each comes about. */
const making: Record<string, () => Promise<Made>> = {
  "user.created": async () => {
    const answer = await aUser();
    return byAdmin(answer, answer.body.id);
  },
  "user.changed": async () => {
    const { body: user } = await aUser();
    return byAdmin(await asAdmin("PATCH", `users/${user.id}`, { disabled: true }), user.id);
  },
  "api-key.created": async () => {
    const answer = await aKey();
    return byAdmin(answer, answer.body.id);
  },
  "api-key.revoked": async () => {
    const { body: key } = await aKey();
    return byAdmin(await asAdmin("DELETE", `api-keys/${key.id}`), key.id);
  },
  "web-session.opened": async () => {
    const { opened, userId } = await signIn();
    return { ...byAdmin(opened, await browserOf(userId)), actor: { kind: "user", id: userId } };
  },
  "web-session.ended": async () => {
    const { cookie, userId } = await signIn();
    const object = await browserOf(userId);
    const ended = await ask({ ...csrf, cookie }, "DELETE", "web-session");
    return { ...byAdmin(ended, object), actor: { kind: "user", id: userId } };
  },
  "join-token.created": async () => {
    const answer = await aToken();
    return byAdmin(answer, answer.body.id);
  },
  "join-token.used": async () => {
    const { tokenId, requestId } = await enrolled();
    const actor = { kind: "join-token", id: tokenId };
    return { object: tokenId, actor, cause: "requested", requestId };
  },
  "join-token.revoked": async () => {
    const { body: token } = await aToken();
    return byAdmin(await asAdmin("DELETE", `join-tokens/${token.id}`), token.id);
  },
  "agent-key.enrolled": async () => {
    const { agent, next } = await renewed();
    const requestId = await auditedAs("agent.renew", next.keyId);
    return { object: next.keyId, actor: { kind: "agent", id: agent.wolfId }, cause: "requested", requestId };
  },
  "agent-key.approved": async () => {
    const { agent } = await enrolled();
    const again = new TestAgent(agent.name);
    expect((await again.enroll(api.url)).status).toBe(202);
    return byAdmin(await asAdmin("POST", `agent-keys/${again.keyId}/approve`), again.keyId);
  },
  "agent-key.shortened": async () => {
    const { agent, next } = await renewed();
    await next.connect(api.url);
    // Several agents' tunnels may be told of in one statement: whose it was is said by the wolf, and no request ends a key.
    return { object: agent.keyId, actor: { kind: "system", id: null }, cause: "connected", requestId: null };
  },
  "agent-key.revoked": async () => {
    const { agent } = await enrolled();
    return byAdmin(await asAdmin("DELETE", `agent-keys/${agent.keyId}`), agent.keyId);
  },
};

function madeAs(kind: string): Promise<Made> {
  const make = making[kind];
  if (make === undefined) throw new Error(`nobody makes ${kind}`);
  return make();
}

async function browserOf(userId: string): Promise<string> {
  const { id } = await api.database.prisma.webSession.findFirstOrThrow({ where: { user_id: userId } });
  return id;
}

describe("a change of who may use the fleet", () => {
  const kinds = Object.keys(fleetEventKinds).filter(
    (kind) => !/^(session|queue|placement|wolf|fleet)\./.test(kind),
  );

  it("is of a kind that is made here", () => {
    expect(Object.keys(making)).toEqual(kinds);
  });

  it.each(kinds)("is told as %s with who made it, why, and by which request", async (kind) => {
    const { object, actor, cause, requestId } = await madeAs(kind);
    const told = await eventually(
      async () => {
        const { body } = await request(api.url)
          .get(`/api/v1/events?kind=${kind}&newest_first=true`)
          .set({ authorization: `Bearer ${api.adminKey}` });
        return (body as { object_id: string }[]).filter((event) => event.object_id === object);
      },
      (events) => events.length > 0,
    );
    expect(told).toEqual([expect.objectContaining({ kind, actor, cause, request_id: requestId })]);
  });

  it("that is refused is none: nobody is told of what was not done", async () => {
    const before = await api.database.prisma.fleetEvent.count();
    const { key } = await api.user("eve");
    const made = await api.database.prisma.fleetEvent.count();
    for (const [method, path] of [
      ["post", "users"],
      ["post", "join-tokens"],
      ["patch", `users/${adminId}`],
    ] as const)
      await request(api.url)
        [method](`/api/v1/${path}`)
        .set({ authorization: `Bearer ${key}` })
        .send({ name: "x" })
        .expect(403);
    expect([made - before, await api.database.prisma.fleetEvent.count()]).toEqual([2, made]);
  });
});
