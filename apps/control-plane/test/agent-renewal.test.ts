/** An agent asks for its next key through its own tunnel; keys are in real PostgreSQL. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { Problem, proofText, Renewal, type RenewRequest } from "@wolfpack/api-contract";
import { type Tunnel, tunnelFetch } from "revdial";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { prismaAgentRenewalStore } from "../src/identity/agent-renewal-store.prisma.ts";
import { type AgentRenewals, createAgentRenewals } from "../src/identity/agent-renewals.ts";
import type { AuditEntry } from "../src/identity/audit.ts";
import type { AgentPrincipal } from "../src/identity/principal.ts";
import { newId } from "../src/ids.ts";
import { createLogger } from "../src/logger.ts";
import { createAgentControl } from "../src/tunnels/agent-control.ts";
import { anOpener } from "./an-opener.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { eventually } from "./host.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

interface Key {
  privateKey: KeyObject;
  publicKey: string;
}

function newKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return { privateKey, publicKey: publicKey.export({ format: "jwk" }).x ?? "" };
}

let database: TestDatabase;
let clock: ManualClock;
let renewals: AgentRenewals;
let pairs: TunnelPair[];
let events: AuditEntry[];
let wolfId: string;
let oldKeyId: string;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.drop());

beforeEach(async () => {
  clock = manualClock();
  pairs = [];
  events = [];
  renewals = createAgentRenewals({
    store: prismaAgentRenewalStore(database.prisma),
    clock,
    keyLifeMs: 7 * DAY_MS,
  });
  wolfId = newId("wlf");
  const now = clock.now();
  await database.prisma.$executeRaw`
    INSERT INTO wolf_instance (id, name, address, gpu_type, max_sandboxes, connectivity, connectivity_since, created_at, updated_at)
    VALUES (${wolfId}, ${wolfId.toLowerCase()}, '', 'nvidia', 4, 'connected', ${now}, ${now}, ${now})`;
  oldKeyId = await addKey("jtk_1", now);
});
afterEach(async () => {
  for (const { left, right } of pairs) {
    left.destroy();
    right.destroy();
    await left.closed;
  }
});

async function addKey(enrolledBy: string, createdAt: Date): Promise<string> {
  const { id } = await database.prisma.agentKey.create({
    data: {
      id: newId("agk"),
      wolf_instance_id: wolfId,
      public_key: new Uint8Array(Buffer.from(newKey().publicKey, "base64url")),
      status: "active",
      enrolled_by: enrolledBy,
      created_at: createdAt,
      expires_at: new Date(createdAt.getTime() + 7 * DAY_MS),
    },
  });
  return id;
}

const keyOf = (id: string) => database.prisma.agentKey.findUniqueOrThrow({ where: { id } });
const keys = () => database.prisma.agentKey.findMany({ where: { wolf_instance_id: wolfId } });

/** The agent's side of a tunnel that was opened with this key. */
async function tunnelOf(credentialId = oldKeyId): Promise<Tunnel> {
  const made = tunnelPair();
  pairs.push(made);
  const control = createAgentControl({
    renewals,
    audit: { record: async (entry) => void events.push(entry) },
    clock,
    log: createLogger("silent"),
  });
  const principal: AgentPrincipal = { kind: "agent", wolfId, credentialId };
  control.serve(made.right, principal, anOpener(principal));
  await made.ready;
  return made.left;
}

function requestOf(key: Key, parts: Partial<RenewRequest> & { wolf?: string; nonce?: string } = {}) {
  const { wolf = wolfId, nonce = oldKeyId, ...given } = parts;
  const request = {
    public_key: key.publicKey,
    host: "control-plane",
    time: clock.now().toISOString(),
    ...given,
  };
  const { host, time, public_key: publicKey } = request;
  const text = proofText({ purpose: "renew", host, wolf, publicKey, nonce, time });
  return { signature: sign(null, Buffer.from(text), key.privateKey).toString("base64url"), ...request };
}

interface Ask {
  method?: string;
  path?: string;
  service?: string;
  headers?: Record<string, string>;
}
const json = { "content-type": "application/json" };

function ask(
  tunnel: Tunnel,
  body: unknown,
  { method = "POST", path = "/renew", service = "control", headers = json }: Ask = {},
) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const withBody = method === "GET" ? {} : { body: text };
  return tunnelFetch(tunnel, service)(`http://control${path}`, { method, headers, ...withBody });
}

async function renewed(tunnel: Tunnel, key = newKey()): Promise<Renewal> {
  const response = await ask(tunnel, requestOf(key));
  expect(response.status).toBe(201);
  return Renewal.parse(await response.json());
}

async function refused(
  tunnel: Tunnel,
  body: unknown,
  options?: Ask,
): Promise<Problem & Record<string, unknown>> {
  const response = await ask(tunnel, body, options);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const problem = (await response.json()) as Problem & Record<string, unknown>;
  expect(problem.status).toBe(response.status);
  return Problem.loose().parse(problem) as typeof problem;
}

describe("an agent's renewal", () => {
  it("adds a key of seven days that is active at once, beside the one it renews", async () => {
    const { key_id: id, expires_at } = await renewed(await tunnelOf());
    expect(expires_at).toBe(new Date(clock.now().getTime() + 7 * DAY_MS).toISOString());
    expect(await keyOf(id)).toMatchObject({
      wolf_instance_id: wolfId,
      status: "active",
      enrolled_by: oldKeyId,
      last_used_at: null,
    });
    expect(await keyOf(oldKeyId)).toMatchObject({ status: "active", revoked_at: null });
    expect(events).toEqual([
      expect.objectContaining({
        action: "agent.renew",
        result: "allowed",
        object: id,
        requestId: expect.any(String),
      }),
    ]);
    expect(events[0]?.principal).toMatchObject({ kind: "agent", wolfId, credentialId: oldKeyId });
  });

  it("asked for again with the same key, as after a lost answer, is the same", async () => {
    const [tunnel, key] = [await tunnelOf(), newKey()];
    const first = await renewed(tunnel, key);
    clock.advance(1000);
    expect(await renewed(tunnel, key)).toEqual(first);
    expect(await keys()).toHaveLength(2);
  });

  it("asked for many times at once has one key that lasts", async () => {
    const tunnel = await tunnelOf();
    await Promise.all(Array.from({ length: 8 }, () => renewed(tunnel)));
    const states = (await keys()).filter(({ id }) => id !== oldKeyId).map(({ status }) => status);
    expect(states.sort()).toEqual(["active", ...Array<string>(7).fill("revoked")]);
  });

  it("with another key takes the place of one that was lost before it was used", async () => {
    const tunnel = await tunnelOf();
    const lost = await renewed(tunnel);
    await renewed(tunnel);
    expect((await keyOf(lost.key_id)).status).toBe("revoked");
    const revocation = await database.prisma.revocation.findFirst({ where: { object_id: lost.key_id } });
    expect(revocation?.kind).toBe("agent-key");
  });

  it("is refused once a key that renews this one is in use: whoever still asks is somebody else", async () => {
    const tunnel = await tunnelOf();
    const { key_id } = await renewed(tunnel);
    await renewals.connected(key_id);
    const problem = await refused(tunnel, requestOf(newKey()));
    expect(problem.code).toBe("forbidden");
    expect(events.at(-1)).toMatchObject({ action: "agent.renew", result: "denied", code: "forbidden" });
    expect(await keys()).toHaveLength(2);
  });

  it.each<[string, () => Promise<unknown>]>([
    [
      "revoked",
      () =>
        database.prisma.agentKey.update({
          where: { id: oldKeyId },
          data: { status: "revoked", revoked_at: clock.now() },
        }),
    ],
    ["expired", async () => clock.advance(7 * DAY_MS)],
    ["removed with its wolf", () => database.prisma.wolfInstance.delete({ where: { id: wolfId } })],
  ])("is refused to a key that is %s", async (_how, end) => {
    const tunnel = await tunnelOf();
    await end();
    expect((await refused(tunnel, requestOf(newKey()))).code).toBe("forbidden");
    expect((await keys()).filter(({ id }) => id !== oldKeyId)).toEqual([]);
  });

  it.each<[string, (key: Key) => object]>([
    ["by another key", (key) => ({ ...requestOf(newKey()), public_key: key.publicKey })],
    ["for another wolf", (key) => requestOf(key, { wolf: newId("wlf") })],
    ["in the name of another key", (key) => requestOf(key, { nonce: newId("agk") })],
    ["for another control plane", (key) => requestOf(key, { host: "evil.example" })],
    [
      "of another host's name",
      (key) => ({ ...requestOf(key, { host: "evil.example" }), host: "control-plane" }),
    ],
    [
      "of another time",
      (key) => ({ ...requestOf(key), time: new Date(clock.now().getTime() + 1).toISOString() }),
    ],
    ["that is none", (key) => ({ ...requestOf(key), signature: "A".repeat(86) })],
    ["by a key of zeros", (key) => ({ ...requestOf(key), public_key: "A".repeat(43) })],
  ])("is refused with a signature %s", async (_what, body) => {
    expect((await refused(await tunnelOf(), body(newKey()))).code).toBe("forbidden");
    expect(await keys()).toHaveLength(1);
  });

  it("is refused when the clocks differ by more than five minutes, and says what time it is", async () => {
    const tunnel = await tunnelOf();
    for (const minutes of [-5.01, 5.01]) {
      const time = new Date(clock.now().getTime() + minutes * 60_000).toISOString();
      const problem = await refused(tunnel, requestOf(newKey(), { time }));
      expect([problem.code, problem.status, problem.server_time]).toEqual([
        "clock-skew",
        401,
        clock.now().toISOString(),
      ]);
    }
    const time = new Date(clock.now().getTime() - 5 * 60_000).toISOString();
    expect((await ask(tunnel, requestOf(newKey(), { time }))).status).toBe(201);
  });

  it("is refused with a key that another wolf's agent has shown", async () => {
    const [tunnel, key] = [await tunnelOf(), newKey()];
    await renewed(tunnel, key);
    const other = await addKey("jtk_2", clock.now());
    const problem = await refused(await tunnelOf(other), requestOf(key, { nonce: other }));
    expect(problem.code).toBe("forbidden");
  });

  it.each<[string, string, unknown, Ask]>([
    ["invalid-request", "without fields", {}, {}],
    ["invalid-request", "with a field too many", { key: "x" }, {}],
    ["invalid-request", "that is no object", "[]", {}],
    ["malformed-json", "that is no JSON", "{", {}],
    ["payload-too-large", "of more than 4 KiB", "x".repeat(4097), {}],
    ["unsupported-media-type", "of another type", "{}", { headers: { "content-type": "text/plain" } }],
    ["method-not-allowed", "with PUT", "{}", { method: "PUT" }],
    ["method-not-allowed", "with GET", "", { method: "GET" }],
    ["not-found", "for another path", "{}", { path: "/keys" }],
    ["not-found", "with a query", "{}", { path: "/renew?x=1" }],
  ])("is refused as %s %s", async (code, _what, body, options) => {
    expect((await refused(await tunnelOf(), body, options)).code).toBe(code);
    expect(await keys()).toHaveLength(1);
  });

  it("may be asked for ten times at once, and then every few seconds", async () => {
    const tunnel = await tunnelOf();
    for (let i = 0; i < 10; i += 1) expect((await refused(tunnel, {})).code).toBe("invalid-request");
    const response = await ask(tunnel, {});
    expect([response.status, response.headers.has("retry-after")]).toEqual([429, true]);
    clock.advance(6000);
    expect((await refused(tunnel, {})).code).toBe("invalid-request");
  });

  it("is the only service that agents are served", async () => {
    await expect(ask(await tunnelOf(), {}, { service: "wolf" })).rejects.toMatchObject({
      code: "SERVICE_UNKNOWN",
    });
  });
});

describe("a renewal while the keys of its wolf are replaced", () => {
  it("waits for that, and leaves no key behind that nobody knows of", async () => {
    const tunnel = await tunnelOf();
    const { prisma } = database;
    const isWaiting = async () => {
      const [row] = await prisma.$queryRaw<{ waiting: boolean }[]>`
        SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN (
          SELECT pid FROM pg_stat_activity WHERE datname = current_database())) AS waiting`;
      return row?.waiting === true;
    };
    let isOver = false;
    let renewal: Promise<unknown> = Promise.resolve();
    await prisma.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT id FROM wolf_instance WHERE id = ${wolfId} FOR UPDATE`;
      renewal = ask(tunnel, requestOf(newKey())).finally(() => {
        isOver = true;
      });
      await eventually(
        async () => isOver || (await isWaiting()),
        (either) => either,
      );
      await tx.$executeRaw`
        UPDATE agent_key SET status = 'revoked', revoked_at = ${clock.now()} WHERE wolf_instance_id = ${wolfId} AND status = 'active'`;
    });
    await renewal;
    expect((await keys()).filter(({ status }) => status === "active")).toEqual([]);
    expect(events.at(-1)?.result).toBe("denied");
  });
});

describe("the first tunnel of a renewed key", () => {
  it("lets older keys of its wolf end an hour later, and no other", async () => {
    const { key_id } = await renewed(await tunnelOf());
    clock.advance(1);
    const newest = await addKey("jtk_3", clock.now());
    await renewals.connected(key_id);
    const now = clock.now().getTime();
    const ends = async (id: string) => (await keyOf(id)).expires_at.getTime() - now;
    expect(await ends(oldKeyId)).toBe(HOUR_MS);
    expect(await ends(key_id)).toBe(7 * DAY_MS - 1);
    expect(await ends(newest)).toBe(7 * DAY_MS);
    expect((await keyOf(key_id)).last_used_at).toEqual(clock.now());
    clock.advance(HOUR_MS / 2);
    await renewals.connected(key_id);
    expect(await ends(oldKeyId)).toBe(HOUR_MS);
  });

  it("tells of the new end once, with the old one, and of no other key", async () => {
    const { key_id } = await renewed(await tunnelOf());
    const end = (await keyOf(oldKeyId)).expires_at;
    await Promise.all([1, 2, 3].map(() => renewals.connected(key_id)));
    const told = await database.prisma.fleetEvent.findMany({
      where: { wolf_instance_id: wolfId, kind: "agent-key.shortened" },
    });
    expect(told).toMatchObject([
      {
        object_id: oldKeyId,
        actor: "system",
        cause: "connected",
        detail: {
          expires_at: new Date(clock.now().getTime() + HOUR_MS).toISOString(),
          from: { expires_at: end.toISOString() },
        },
      },
    ]);
  });
});
