/** Agents with several tunnels: real control planes on one PostgreSQL, real tunnels. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import {
  AGENT_SERVICE,
  CONNECTIONS_MAX,
  HELD_BY_FIELD,
  MOVE_PATH,
  readHeldBy,
  type Session,
  type WolfInstance,
} from "@wolfpack/api-contract";
import { dialTunnel, type RequestHandler, RevdialError, type Tunnel } from "revdial";
import { freePort } from "../src/database/free-ports.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { eventually, startHost, type TestHost } from "./host.ts";

let database: TestDatabase;
let planes: TestControlPlane[];
let tunnels: Tunnel[];
let hosts: TestHost[];
let adminKey: string;

beforeEach(async () => {
  database = await testDatabase();
  [planes, tunnels, hosts, adminKey] = [[], [], [], ""];
});

afterEach(async () => {
  for (const tunnel of tunnels) tunnel.destroy();
  await Promise.all(hosts.map((wolfHost) => wolfHost.stop()));
  await Promise.all(planes.map((plane) => plane.stop()));
  await database.drop();
});

async function replica(): Promise<TestControlPlane> {
  const port = await freePort();
  const plane = await startControlPlane(
    { port, replicaUrl: `http://127.0.0.1:${port}`, replicaLeaseMs: 1000, tunnelLostAfterMs: 500 },
    { ...database, drop: async () => {} },
  );
  adminKey ||= plane.adminKey;
  plane.adminKey = adminKey;
  planes.push(plane);
  return plane;
}

async function host(at: TestControlPlane, screen: RequestHandler): Promise<TestHost> {
  const started = await startHost(at, { name: "w" });
  started.screen = screen;
  hosts.push(started);
  return started;
}

async function runningSession(at: TestControlPlane): Promise<string> {
  const made = await eventually(
    () =>
      call<Session>(at, "sessions", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ queue: false }),
      }),
    ({ status }) => status === 201,
  );
  return made.body.id;
}

const clipboard = (text: string) => ({
  status: 200,
  headers: [["content-type", "application/json"]] as [string, string][],
  body: Buffer.from(JSON.stringify({ text })),
});

/** What the session's clipboard holds, through whichever tunnel. */
const clipboardAt = async (at: TestControlPlane, session: string) =>
  (await call<{ text: string }>(at, `external-agents/${session}/clipboard`)).body.text;

/** Of the wolf, as its events tell. */
async function connectivities(id: string): Promise<string[]> {
  const events = await database.prisma.fleetEvent.findMany({ where: { wolf_instance_id: id } });
  return events
    .filter(({ kind }) => kind === "wolf.connectivity")
    .map(({ detail }) => JSON.stringify(detail));
}

interface Dialled {
  incarnation?: number;
  connection?: string;
  query?: string;
  /** Of the wolf. */
  name?: string;
  /** Of an agent that goes on as the same. */
  first?: boolean;
}

async function dial(at: TestControlPlane, given: Dialled = {}): Promise<{ tunnel: Tunnel; heldBy: unknown }> {
  const { connection, query = "", name = "w", first = false } = given;
  const { incarnation = first ? 0 : 1 } = given;
  const parameters = connection === undefined ? query : `&connection=${connection}&connections=3`;
  let heldBy: unknown;
  const tunnel = await dialTunnel(
    `${at.url.replace("http", "ws")}/api/v1/revdial?runnerid=wolf-${name}${parameters}`,
    {
      headers: { authorization: `Bearer ${RUNNER_TOKEN}` },
      incarnation,
      onAnswer: (headers) => {
        heldBy = headers[HELD_BY_FIELD];
      },
      handler: ({ service }) => (service === "screen" ? clipboard("further") : { status: 404 }),
    },
  );
  tunnels.push(tunnel);
  await tunnel.reached;
  return { tunnel, heldBy };
}

async function call<T>(at: TestControlPlane, path: string, init: RequestInit = {}) {
  const headers = { authorization: `Bearer ${adminKey}`, ...init.headers };
  const response = await fetch(`${at.url}/api/v1/${path}`, { ...init, headers });
  return { status: response.status, body: (await response.json().catch(() => undefined)) as T };
}

async function registered(at: TestControlPlane): Promise<string> {
  const response = await fetch(`${at.url}/api/v1/wolf-instances/register`, {
    method: "POST",
    headers: { authorization: `Bearer ${RUNNER_TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "w", gpu_type: "nvidia", max_sandboxes: 4 }),
  });
  return ((await response.json()) as { id: string }).id;
}

const wolf = async (at: TestControlPlane, id: string) =>
  (await call<WolfInstance>(at, `wolf-instances/${id}`)).body;
const isUp = async (at: TestControlPlane, id: string) =>
  eventually(
    () => wolf(at, id),
    ({ tunnel }) => tunnel !== null,
  );
const placesOf = (id: string) => database.prisma.tunnelPlace.findMany({ where: { key: { startsWith: id } } });

describe("a tunnel beside its agent's first one", () => {
  it("is told which replica holds it, of how many", async () => {
    const a = await replica();
    const b = await replica();
    await registered(a);
    const first = readHeldBy((await dial(a)).heldBy);
    const second = readHeldBy((await dial(b, { connection: "1" })).heldBy);
    expect(first?.replica).not.toBe(second?.replica);
    expect(second?.of).toBe(2);
  });

  it("carries requests of all replicas when the first one ends without a word, and the wolf stays", async () => {
    const a = await replica();
    const b = await replica();
    const wolfHost = await host(a, () => clipboard("first"));
    const session = await runningSession(a);
    const { tunnel } = await dial(b, { incarnation: 0, connection: "1", name: wolfHost.name });
    await eventually(
      () => placesOf(wolfHost.wolfId),
      ({ length }) => length === 1,
    );
    expect(await clipboardAt(a, session)).toBe("first");
    expect(await clipboardAt(b, session)).toBe("further");
    wolfHost.tunnel.destroy();
    await wolfHost.tunnel.closed;
    expect(await clipboardAt(b, session)).toBe("further");
    // By the place of the other one, since its own replica has nothing.
    expect(await clipboardAt(a, session)).toBe("further");
    await wolfHost.dial();
    expect((await wolf(a, wolfHost.wolfId)).connectivity).toBe("connected");
    expect(tunnel.draining).toBe(false);
    expect(String(await connectivities(wolfHost.wolfId))).not.toContain("suspect");
  });

  it.each([
    ["an older boot", 1, 2],
    ["a newer boot than the first one's", 3, 2],
  ])("of %s is sent away and takes nothing", async (_, incarnation, ofFirst) => {
    const a = await replica();
    const id = await registered(a);
    await dial(a, { incarnation: ofFirst });
    await isUp(a, id);
    const { tunnel } = await dial(a, { incarnation, connection: "1" });
    expect((await tunnel.goingAway).code).toBe("REPLACED");
    expect(await placesOf(id)).toEqual([]);
  });

  it("ends when a newer agent opens the first one, at whatever replica", async () => {
    const a = await replica();
    const b = await replica();
    const id = await registered(a);
    await dial(a, { incarnation: 1 });
    await isUp(a, id);
    const { tunnel } = await dial(b, { incarnation: 1, connection: "1" });
    await eventually(
      () => placesOf(id),
      ({ length }) => length === 1,
    );
    await dial(a, { incarnation: 2 });
    expect((await tunnel.goingAway).code).toBe("REPLACED");
    await tunnel.closed;
    await eventually(
      () => placesOf(id),
      ({ length }) => length === 0,
    );
  });

  it("is refused before its agent has a first one", async () => {
    const a = await replica();
    await registered(a);
    const { tunnel } = await dial(a, { connection: "2" });
    expect((await tunnel.goingAway).code).toBe("REPLACED");
  });

  it("ends with all others when its wolf is removed", async () => {
    const a = await replica();
    const b = await replica();
    const id = await registered(a);
    const { tunnel: first } = await dial(a);
    await isUp(a, id);
    const { tunnel: second } = await dial(b, { connection: "1" });
    const { tunnel: third } = await dial(a, { connection: "2" });
    await eventually(
      () => placesOf(id),
      ({ length }) => length === 2,
    );
    expect((await call(a, `wolf-instances/${id}?force=true`, { method: "DELETE" })).status).toBe(200);
    const ends = await Promise.all([first, second, third].map(({ goingAway }) => goingAway));
    expect(ends.map(({ code }) => code)).toEqual(["REVOKED", "REVOKED", "REVOKED"]);
  });

  it("takes over from itself ten times a minute at most, and leaves the others alone", async () => {
    const a = await replica();
    const id = await registered(a);
    const { tunnel: first } = await dial(a);
    await isUp(a, id);
    let { tunnel: before } = await dial(a, { connection: "1" });
    await eventually(
      () => placesOf(id),
      ({ length }) => length === 1,
    );
    let refused: unknown;
    for (let tries = 0; tries < 30 && refused === undefined; tries += 1) {
      const dialled = await dial(a, { connection: "1" }).catch((error: unknown) => {
        refused = error;
      });
      if (!dialled) break;
      await Promise.race([before.goingAway, dialled.tunnel.goingAway]);
      if (!dialled.tunnel.draining) before = dialled.tunnel;
    }
    expect(refused).toMatchObject({ code: "DIAL_REFUSED", status: 429 });
    expect(first.draining).toBe(false);
    await dial(a, { connection: "2" });
  });

  it("is refused where its number is none", async () => {
    const a = await replica();
    await registered(a);
    await dial(a);
    for (const query of [
      "&connection=1",
      "&connections=3",
      "&connection=0&connections=3",
      "&connection=3&connections=3",
      `&connection=1&connections=${CONNECTIONS_MAX + 1}`,
      "&connection=1&connection=2&connections=3",
      "&connection=%2B1&connections=3",
      "&connection=1&connections=3&of=4",
    ]) {
      const error = await dial(a, { query }).catch((thrown: unknown) => thrown);
      expect([query, error]).toEqual([query, expect.any(RevdialError)]);
      expect(error).toMatchObject({ code: "DIAL_REFUSED", status: 400 });
    }
  });
});

describe("a replica that ends beside others", () => {
  it("asks agents to move, and serves each until its tunnel elsewhere counts", async () => {
    const a = await replica();
    const b = await replica();
    const asked = Promise.withResolvers<void>();
    const wolfHost = await host(a, ({ service, path }) => {
      if (service !== AGENT_SERVICE || path !== MOVE_PATH) return clipboard("moving");
      asked.resolve();
      return { status: 202 };
    });
    const session = await runningSession(a);
    const before = wolfHost.tunnel;
    const stopped = a.plane.stop();
    await asked.promise;
    expect((await fetch(`${a.url}/readyz`)).status).toBe(503);
    const served = await fetch(`${a.url}/api/v1/sessions/${session}`, {
      headers: { authorization: `Bearer ${adminKey}` },
    });
    expect([served.status, served.headers.get("connection")]).toEqual([200, "close"]);
    expect(await clipboardAt(b, session)).toBe("moving");
    expect(before.draining).toBe(false);
    const { tunnel } = await dial(b, { name: wolfHost.name, first: true });
    await before.goingAway;
    expect(await clipboardAt(b, session)).toBe("further");
    await stopped;
    expect(tunnel.draining).toBe(false);
    expect(String(await connectivities(wolfHost.wolfId))).not.toContain("suspect");
  });

  it("lets requests wait for an agent of before, which hears of the end by GOAWAY only", async () => {
    const a = await replica();
    const b = await replica();
    const wolfHost = await host(a, ({ service }) =>
      service === AGENT_SERVICE ? { status: 404 } : clipboard("of before"),
    );
    const session = await runningSession(a);
    const stopped = a.plane.stop();
    await wolfHost.tunnel.goingAway;
    const asked = clipboardAt(b, session);
    await stopped;
    await dial(b, { name: wolfHost.name, first: true });
    expect(await asked).toBe("further");
  });
});
