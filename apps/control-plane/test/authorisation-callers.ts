/** Everybody who asks in the authorisation matrix, each with a user of their own, and the objects that they ask for. */

import { randomBytes } from "node:crypto";
import { type Role, type Scope, scopes } from "@wolfpack/api-contract";
import { hashApiKey, newApiKey } from "../src/identity/api-key.ts";
import { newJoinToken } from "../src/identity/join-token.ts";
import { newId } from "../src/ids.ts";
import { challenge, TestAgent } from "./agent.ts";
import type { Column, MachineColumn, ObjectKind } from "./authorisation-table.ts";
import { API_KEY_SECRET, RUNNER_TOKEN, type TestControlPlane } from "./control-plane.ts";

export interface Caller {
  name: string;
  /** Undefined: a machine, whose row says what it may besides. */
  column: Column | undefined;
  machine?: MachineColumn;
  /** A key that is limited to a scope: what the column of an admin's key of that scope refuses is refused to it. */
  scope?: Scope;
  /** A proof is for one request: about this wolf, if it is the agent's own. */
  headers: (asked: { ownWolf: string | undefined; purpose: "connect" | "diagnose" }) => Promise<Headers>;
  userId: string | undefined;
}

type Headers = Record<string, string>;
type Database = TestControlPlane["database"]["prisma"];
const bearer = (credential: string) => async () => ({ authorization: `Bearer ${credential}` });
const now = () => new Date();
const soon = () => new Date(Date.now() + 3_600_000);

export async function everyCaller(api: TestControlPlane): Promise<Caller[]> {
  const database = api.database.prisma;
  const limited = scopes.flatMap((scope) => [
    person(database, `an admin's key of scope ${scope}`, "admin", scope, { scopes: [scope] }),
    person(database, `a user's key of scope ${scope}`, "user", "user", { scopes: [scope] }, { scope }),
  ]);
  return [
    { name: "nobody", column: "anonymous", headers: async () => ({}), userId: undefined },
    { name: "an unknown key", column: "anonymous", headers: bearer(newApiKey()), userId: undefined },
    ...(await Promise.all([
      person(database, "a disabled admin", "admin", "anonymous", {}, {}, { disabled_at: now() }),
      person(database, "an admin's revoked key", "admin", "anonymous", { revoked_at: now() }),
      person(database, "an admin's expired key", "admin", "anonymous", { expires_at: now() }),
      person(database, "a viewer", "viewer", "viewer"),
      person(database, "a user", "user", "user"),
      person(database, "another user", "user", "user"),
      person(database, "an operator", "operator", "operator"),
      person(database, "an admin", "admin", "admin"),
      ...limited,
    ])),
    machine("the runner token", "runner", bearer(RUNNER_TOKEN)),
    machine("a join token", "joiner", bearer(await aJoinToken(database))),
    machine("an agent", "agent", await agentOf(api)),
  ];
}

const machine = (name: string, column: MachineColumn, headers: Caller["headers"]): Caller => ({
  name,
  column: undefined,
  machine: column,
  headers,
  userId: undefined,
});

async function aJoinToken(database: Database): Promise<string> {
  const id = newId("jtk");
  const token = newJoinToken(id);
  const times = { created_at: now(), expires_at: soon() };
  const hash = hashApiKey(token, API_KEY_SECRET);
  await database.joinToken.create({ data: { id, hash, uses_max: 1000, created_by: "test", ...times } });
  return token;
}

/** A key of the wolf that is asked about, if it is to be the agent's own, and else of another. */
async function agentOf({ url, database: { prisma } }: TestControlPlane): Promise<Caller["headers"]> {
  const home = newId("wlf");
  await prisma.wolfInstance.create({ data: { id: home, name: home } });
  return async ({ ownWolf = home, purpose }) => {
    const agent = new TestAgent(ownWolf);
    agent.wolfId = ownWolf;
    agent.keyId = await anAgentKey(prisma, ownWolf, "active", Buffer.from(agent.publicKey, "base64url"));
    const { nonce } = await challenge(url);
    return { authorization: agent.proof(url, nonce, { purpose }) };
  };
}

async function anAgentKey(
  database: Database,
  wolf: string,
  status: string,
  key: Uint8Array,
): Promise<string> {
  const id = newId("agk");
  const times = { created_at: now(), expires_at: soon() };
  const data = { id, wolf_instance_id: wolf, status, enrolled_by: "test", ...times };
  await database.agentKey.create({ data: { ...data, public_key: new Uint8Array(key) } });
  return id;
}

async function person(
  database: Database,
  name: string,
  role: Role,
  column: Column,
  key: { scopes?: Scope[]; revoked_at?: Date; expires_at?: Date } = {},
  more: Partial<Caller> = {},
  user: { disabled_at?: Date } = {},
): Promise<Caller> {
  const userId = await aUser(database, role, user);
  const secret = newApiKey();
  await aKey(database, userId, secret, key);
  return { name, column, headers: bearer(secret), userId, ...more };
}

async function aUser(database: Database, role: Role, more: object = {}): Promise<string> {
  const id = newId("usr");
  await database.user.create({ data: { id, name: id, role, created_at: now(), ...more } });
  return id;
}

async function aKey(database: Database, userId: string, secret: string, more: object = {}): Promise<string> {
  const id = newId("key");
  const hash = hashApiKey(secret, API_KEY_SECRET);
  const data = { id, user_id: userId, name: "k", prefix: "wpk_", hash, created_at: now(), ...more };
  await database.apiKey.create({ data });
  return id;
}

export interface Target {
  /** As the request names it. */
  id: string;
  /** What the database holds of it. */
  state: () => Promise<string>;
  remove: () => Promise<void>;
}

const nothing = { state: async () => "", remove: async () => undefined };

/** An id that could be one. A wolf's tunnel names it by name, which looks the same here. */
export function missingTarget(kind: ObjectKind): Target {
  const prefixes = {
    session: "ses",
    "queued-session": "ses",
    event: "evt",
    "user-event": "evt",
    "api-key-event": "evt",
    wolf: "wlf",
    user: "usr",
    "api-key": "key",
    "join-token": "jtk",
    "agent-key": "agk",
  } as const;
  return { id: newId(prefixes[kind]), ...nothing };
}

/** An object of the owner, or of a user made for it. A wolf's name is its id. */
export async function aTarget(
  database: Database,
  kind: ObjectKind,
  owner: string | undefined,
): Promise<Target> {
  const state = async (row: Promise<unknown>) =>
    JSON.stringify(await row, (_name, value) => (typeof value === "bigint" ? String(value) : value));
  if (kind === "wolf") {
    const id = newId("wlf");
    await database.wolfInstance.create({ data: { id, name: id } });
    return {
      id,
      state: () => state(database.wolfInstance.findUnique({ where: { id } })),
      remove: async () => void (await database.wolfInstance.deleteMany({ where: { id } })),
    };
  }
  if (kind === "join-token") {
    const { id } = await database.joinToken.findFirstOrThrow({
      where: { hash: hashApiKey(await aJoinToken(database), API_KEY_SECRET) },
    });
    return {
      id,
      state: () => state(database.joinToken.findUnique({ where: { id } })),
      remove: async () => void (await database.joinToken.deleteMany({ where: { id } })),
    };
  }
  if (kind === "agent-key") {
    const wolf = newId("wlf");
    await database.wolfInstance.create({ data: { id: wolf, name: wolf } });
    const id = await anAgentKey(database, wolf, "pending", randomBytes(32));
    return {
      id,
      state: () => state(database.agentKey.findUnique({ where: { id } })),
      remove: async () => void (await database.wolfInstance.deleteMany({ where: { id: wolf } })),
    };
  }
  const userId = owner ?? (await aUser(database, "user"));
  const removeUser = async () => {
    if (owner === undefined) await database.user.deleteMany({ where: { id: userId } });
  };
  if (kind === "user")
    return {
      id: userId,
      state: () => state(database.user.findUnique({ where: { id: userId } })),
      remove: removeUser,
    };
  if (kind === "api-key") {
    const id = await aKey(database, userId, newApiKey());
    return {
      id,
      state: () => state(database.apiKey.findUnique({ where: { id } })),
      async remove() {
        await database.apiKey.deleteMany({ where: { id } });
        await removeUser();
      },
    };
  }
  if (kind === "event") return anEvent(database, "session.lost", userId, removeUser);
  if (kind === "user-event") return anEvent(database, "user.changed", userId, removeUser);
  if (kind === "api-key-event") return anEvent(database, "api-key.revoked", userId, removeUser);
  return aSession(database, userId, kind === "queued-session", removeUser);
}

/** Of what is no more: events outlive what they tell of. */
async function anEvent(
  database: Database,
  kind: string,
  userId: string,
  removeUser: () => Promise<void>,
): Promise<Target> {
  const id = newId("evt");
  const about = { session_id: kind === "session.lost" ? newId("ses") : null, owner_id: userId };
  await database.fleetEvent.create({ data: { id, at: now(), kind, ...about } });
  return {
    id,
    // Without the number of its transaction, which JSON has no word for.
    state: async () =>
      JSON.stringify(await database.fleetEvent.findUnique({ where: { id } }), (_name, value) =>
        typeof value === "bigint" ? String(value) : value,
      ),
    async remove() {
      await database.fleetEvent.deleteMany({ where: { id } });
      await removeUser();
    },
  };
}

async function aSession(
  database: Database,
  userId: string,
  isQueued: boolean,
  removeUser: () => Promise<void>,
): Promise<Target> {
  const id = newId("ses");
  const times = { created_at: now(), updated_at: now() };
  const row = { id, owner_id: userId, name: "desk", status: "running", slot_held: false, ...times };
  const queued = isQueued ? { status: "queued", queued_at: now(), queue_deadline: soon() } : {};
  const spec = { image: "x", gpu_type: null, resolution: { width: 640, height: 480, refresh_rate: 60 } };
  const placement = { policy: "least-loaded", candidates: 0, removed: [], ranked: [], text: "" };
  await database.session.create({ data: { ...row, ...queued, spec, placement } });
  return {
    id,
    async state() {
      const found = await database.session.findUnique({ where: { id } });
      // What it waits for is written anew whenever it is looked for.
      return JSON.stringify(isQueued ? found?.status : found);
    },
    async remove() {
      await database.session.deleteMany({ where: { id } });
      await removeUser();
    },
  };
}
