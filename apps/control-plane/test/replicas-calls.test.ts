/**
 * Calls that come to the wrong replica, as behind a balancer without stickiness: connections of tunnels over HTTP and of Helix's agents,
 * and questions about a wolf. Two real control planes, and a balancer that deals out requests.
 */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { connect } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type {
  Problem,
  Session,
  UsageSample,
  WolfInstance,
  WolfPolicyView,
  WolfTunnelView,
} from "@wolfpack/api-contract";
import { startWolfEmulator } from "@wolfpack/wolf-api/emulator";
import { createReplicaCredentials, REPLICA_FIELD } from "../src/replicas/replica-credential.ts";
import { API_KEY_SECRET, RUNNER_TOKEN, type TestControlPlane } from "./control-plane.ts";
import { eventually } from "./host.ts";
import { dialLegacy, legacyAgents, Refused } from "./legacy-agent.ts";
import { type Replicas, testReplicas } from "./some-replicas.ts";
import { dialled, TUNNEL_PATH } from "./tunnel-requests.ts";

const PNG = Buffer.from("89504e470d0a1a0a", "hex");

let replicas: Replicas;
let a: TestControlPlane;
let b: TestControlPlane;
const closing: (() => Promise<void> | void)[] = [];

beforeEach(async () => {
  replicas = await testReplicas();
  [a, b] = await replicas.two();
});

afterEach(async () => {
  for (const agent of legacyAgents.splice(0)) agent.drop();
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
  for (const close of closing.splice(0)) await close();
  await replicas.stop();
});

interface Balancer {
  url: string;
  /** Where the next request goes, by what it is. Default: to `a`, and what opens a tunnel to `b`. */
  choose: (request: http.IncomingMessage) => TestControlPlane;
  /** How many requests each got. */
  counts: Map<TestControlPlane, number>;
}

const isPost = ({ headers }: http.IncomingMessage) => headers["revdial-tunnel"] !== undefined;
const isPickUp = ({ url = "" }: http.IncomingMessage) => url.includes("revdial.dialer=");

/** By request, as haproxy does in its HTTP mode, and without stickiness. */
async function balancer(): Promise<Balancer> {
  const counts = new Map<TestControlPlane, number>();
  const self: Balancer = {
    url: "",
    choose: (request) => (isPost(request) || isPickUp(request) ? a : b),
    counts,
  };
  const chosen = (request: http.IncomingMessage) => {
    const plane = self.choose(request);
    counts.set(plane, (counts.get(plane) ?? 0) + 1);
    return new URL(plane.url);
  };
  const server = http.createServer((request, response) => {
    const { hostname, port } = chosen(request);
    const { method, url, rawHeaders } = request;
    const on = http.request(
      { hostname, port, method, path: url, headers: rawHeaders, agent: false },
      (reply) => {
        response.writeHead(reply.statusCode ?? 502, reply.rawHeaders);
        response.flushHeaders();
        reply.on("error", () => response.destroy());
        reply.on("aborted", () => response.destroy());
        reply.pipe(response);
      },
    );
    on.on("error", () => response.destroy());
    response.on("close", () => on.destroy());
    request.pipe(on);
  });
  server.on("upgrade", (request, socket, head) => {
    const { hostname, port } = chosen(request);
    const on = connect(Number(port), hostname);
    const lines = [`GET ${request.url} HTTP/1.1`];
    for (let at = 0; at < request.rawHeaders.length; at += 2)
      lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
    on.write(`${lines.join("\r\n")}\r\n\r\n`);
    on.write(head);
    for (const end of [on, socket]) end.on("error", () => undefined);
    on.on("close", () => socket.destroy());
    socket.on("close", () => on.destroy());
    socket.pipe(on).pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  const { port } = server.address() as { port: number };
  self.url = `http://127.0.0.1:${port}`;
  return self;
}

/** The id under which a replica has its row. */
async function idOf(plane: TestControlPlane): Promise<string> {
  const [row] = await replicas.database.prisma.$queryRaw<
    { id: string }[]
  >`SELECT id FROM replica WHERE url = ${plane.url}`;
  return row?.id ?? "";
}

const digestOf = (secret: string) => createHash("sha256").update(secret).digest("hex");

const put = (key: string, replicaId: string) =>
  replicas.database.prisma
    .$executeRaw`INSERT INTO tunnel_place (key, replica_id) VALUES (${key}, ${replicaId})`;

const post = (at: string, key: string, headers: Record<string, string> = {}) =>
  fetch(at, {
    method: "POST",
    headers: {
      "content-type": "application/vnd.revdial.v3",
      "revdial-tunnel": key,
      "revdial-sequence": "1",
      ...headers,
    },
    body: "x",
  });

const placesOf = () =>
  replicas.database.prisma.$queryRaw<
    { key: string; replica_id: string }[]
  >`SELECT key, replica_id FROM tunnel_place`;

const wolfAt = async (plane: TestControlPlane, id: string) =>
  (await replicas.call<WolfInstance>(plane, "GET", `wolf-instances/${id}`)).body;

async function register(name: string): Promise<string> {
  const registered = await fetch(`${b.url}/api/v1/wolf-instances/register`, {
    method: "POST",
    headers: { authorization: `Bearer ${RUNNER_TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify({ name, gpu_type: "nvidia", max_sandboxes: 4 }),
  });
  return ((await registered.json()) as { id: string }).id;
}

describe("a tunnel over HTTP whose POSTs come to another replica", () => {
  async function overHttp(front: Balancer) {
    const host = await replicas.host({ ...b, url: front.url }, { transport: "http" });
    await eventually(
      () => wolfAt(a, host.wolfId),
      (wolf) => wolf.reconciled === true,
    );
    return host;
  }

  it("works as with one replica, and shows its key to nobody", async () => {
    const front = await balancer();
    const host = await overHttp(front);
    const { wolfId, tunnel } = host;
    expect(tunnel.transport).toBe("http");
    expect(front.counts.get(a)).toBeGreaterThan(0);
    const seen = await replicas.call<WolfTunnelView>(b, "GET", `wolf-instances/${wolfId}/tunnel`);
    expect(seen.body).toMatchObject({ transport: "http" });
    const places = await placesOf();
    expect(places).toEqual([
      { key: expect.stringMatching(/^http [0-9a-f]{64}$/), replica_id: seen.body.replica },
    ]);
    const made = await eventually(
      () => replicas.call<Session>(a, "POST", "sessions", { queue: false }),
      ({ status }) => status === 201,
    );
    expect(made.body).toMatchObject({ status: "running", wolf_instance_id: wolfId });
    const picture = Buffer.concat([PNG, randomBytes(3 * 1024 * 1024)]);
    host.screen = () => ({ status: 200, headers: [["content-type", "image/png"]], body: picture });
    // What comes up takes several POSTs, all of them through the wrong replica; it is asked of either.
    for (const plane of [a, b]) {
      const posts = front.counts.get(a) ?? 0;
      const shown = await replicas.call<ArrayBuffer>(
        plane,
        "GET",
        `external-agents/${made.body.id}/screenshot`,
      );
      expect(Buffer.from(shown.body).equals(picture)).toBe(true);
      expect(front.counts.get(a)).toBeGreaterThan(posts + 2);
    }
    tunnel.destroy();
    await eventually(placesOf, (left) => left.length === 0);
  });

  it("is sent away with the replica that was taken for gone, and leaves no place behind", async () => {
    const front = await balancer();
    const { tunnel } = await overHttp(front);
    await replicas.database.prisma.$executeRaw`DELETE FROM replica WHERE url = ${b.url}`;
    // It is told, or its next POST is for a key that nobody has.
    await Promise.race([tunnel.goingAway, tunnel.closed]);
    tunnel.destroy();
    await eventually(placesOf, (left) => left.length === 0);
  });

  it("is answered 404 for a key that nobody has, as before", async () => {
    for (const plane of [a, b]) {
      const answer = await post(`${plane.url}${TUNNEL_PATH}`, "A".repeat(43));
      expect(answer.status).toBe(404);
      expect(await answer.text()).toBe("");
    }
  });

  it("is answered 503, to be sent again, while the replica that holds it cannot be reached", async () => {
    const key = "B".repeat(43);
    const id = await idOf(b);
    await b.plane.stop();
    // As one that was killed: its row and its places are there until its lease ends.
    await replicas.database.prisma.$executeRaw`
      INSERT INTO replica (id, url, version, secret_print, started_at, lease_until)
      VALUES (${id}, ${b.url}, '0', 'x', now(), now() + interval '1 min')`;
    await put(`http ${digestOf(key)}`, id);
    const status = async () => (await post(`${a.url}${TUNNEL_PATH}`, key)).status;
    await eventually(status, (got) => got === 503);
    await replicas.database.prisma.$executeRaw`UPDATE replica SET lease_until = now() WHERE id = ${id}`;
    await eventually(status, (got) => got === 404);
    expect(a.lines.join("")).not.toContain(key);
  });

  it("is not passed on a second time, whatever the rows say", async () => {
    const key = "C".repeat(43);
    const [ofA, ofB] = [await idOf(a), await idOf(b)];
    // For `b` it looks as if `a` had it, which has passed it on.
    await put(`http ${digestOf(key)}`, ofA);
    const inner = "/internal/v1/calls/api/v1/revdial";
    const credential = createReplicaCredentials(API_KEY_SECRET, ofA).sign(ofB, "POST", inner, Date.now());
    const fields = { [REPLICA_FIELD]: credential, "wolfpack-client": "192.0.2.7" };
    expect((await post(`${b.url}${inner}`, key, fields)).status).toBe(404);
    // Without a credential it goes to the one that it belongs to, and what that one says comes back.
    expect((await post(`${b.url}${TUNNEL_PATH}`, key)).status).toBe(404);
    const asked = a.lines.filter((line) => line.includes("/internal/"));
    expect(asked).toEqual([]);
  });
});

describe("a data connection of Helix's agent that comes to another replica", () => {
  async function legacy(front: Balancer, paths: "literal" | "rewritten" = "literal") {
    const folder = mkdtempSync(path.join(os.tmpdir(), "wr-"));
    const socketPath = path.join(folder, "wolf.sock");
    const wolf = await startWolfEmulator({
      listen: { unixSocket: socketPath },
      stateFolder: folder,
      containerStartDelayMs: 5,
    });
    closing.push(async () => {
      await wolf.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const wolfId = await register("legacy");
    const agent = await dialLegacy({
      url: front.url,
      runnerId: "wolf-legacy",
      token: RUNNER_TOKEN,
      target: { path: socketPath },
      paths,
    });
    return { agent, wolfId, wolf };
  }

  it.each(["literal", "rewritten"] as const)("brings sessions up over the %s path", async (paths) => {
    const front = await balancer();
    const { agent, wolfId } = await legacy(front, paths);
    await eventually(
      () => wolfAt(a, wolfId),
      (wolf) => wolf.reconciled === true,
    );
    const made = await eventually(
      () => replicas.call<Session>(a, "POST", "sessions", { queue: false }),
      ({ status }) => status === 201,
    );
    expect(made.body).toMatchObject({ status: "running", wolf_instance_id: wolfId });
    expect(agent.pickUps).toBeGreaterThan(0);
    expect(front.counts.get(a)).toBeGreaterThan(0);
    expect(await placesOf()).toEqual([
      { key: expect.stringMatching(/^helix [0-9a-f]{64}$/), replica_id: expect.any(String) },
    ]);
    agent.drop();
    await eventually(placesOf, (left) => left.length === 0);
  });

  it("is refused by whoever holds its dialer when the credential is somebody else's", async () => {
    const front = await balancer();
    const { agent } = await legacy(front);
    agent.onDial = () => undefined;
    const connPath = await agent.nextDial();
    await expect(agent.pickUp(connPath, "another-token")).rejects.toMatchObject({ status: 403 });
    expect(a.lines.join("") + b.lines.join("")).not.toContain(
      new URL(connPath, a.url).searchParams.get("revdial.dialer"),
    );
  });

  it("is refused as before when nobody has its dialer, or no longer", async () => {
    const front = await balancer();
    const { agent } = await legacy(front);
    const unknown = `/revdial?revdial.dialer=${"0".repeat(32)}&revdial.req=${"0".repeat(32)}`;
    const refused = (await agent.pickUp(unknown).catch((error: unknown) => error)) as Refused;
    expect(refused).toBeInstanceOf(Refused);
    expect(refused.status).toBe(500);
    expect(refused.body).toContain("unknown dialer");
    agent.onDial = () => undefined;
    const connPath = await agent.nextDial();
    agent.webSocket?.terminate();
    await agent.closed;
    await eventually(placesOf, (left) => left.length === 0);
    await expect(agent.pickUp(connPath)).rejects.toMatchObject({ status: 500 });
  });
});

describe("a question about a wolf whose tunnel another replica holds", () => {
  it("is answered by that one, to whoever may ask", async () => {
    const wolf = await replicas.host(b);
    const [atA, atB] = await Promise.all(
      [a, b].map((plane) =>
        replicas.call<WolfTunnelView>(plane, "GET", `wolf-instances/${wolf.wolfId}/tunnel`),
      ),
    );
    expect([atA?.status, atA?.body]).toEqual([200, expect.anything()]);
    expect(atA?.body).toMatchObject({
      epoch: atB?.body.epoch,
      replica: atB?.body.replica,
      transport: "websocket",
    });
    expect(atA?.body.replica).not.toBe(await idOf(a));
    const policy = await replicas.call<WolfPolicyView>(a, "GET", `wolf-instances/${wolf.wolfId}/policy`);
    expect(policy.body).toMatchObject({ guard: "agent" });
    const usage = await replicas.call<UsageSample[]>(a, "GET", `wolf-instances/${wolf.wolfId}/usage-history`);
    expect(usage.status).toBe(200);
    const { key } = await a.user("alice");
    const asked = await fetch(`${a.url}/api/v1/wolf-instances/${wolf.wolfId}/policy`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(asked.status).toBe(403);
    const line = a.lines.map((text) => JSON.parse(text)).find(({ to_replica }) => to_replica !== undefined);
    expect(line).toMatchObject({ operation: "getWolfTunnel", to_replica: atB?.body.replica });
    const other = b.lines
      .map((text) => JSON.parse(text))
      .find(({ from_replica }) => from_replica !== undefined);
    expect(other).toMatchObject({
      operation: "getWolfTunnel",
      req: { path: `/api/v1/wolf-instances/${wolf.wolfId}/tunnel` },
    });
  });

  it("counts where it first came from, and believes nobody's X-Forwarded-For on the way", async () => {
    const wolf = await replicas.host(b);
    const ask = (key: string) =>
      fetch(`${a.url}/api/v1/wolf-instances/${wolf.wolfId}/tunnel`, {
        headers: {
          authorization: `Bearer ${key}`,
          "x-forwarded-for": "203.0.113.5",
          "wolfpack-client": "203.0.113.6",
        },
      });
    expect((await ask(replicas.adminKey)).status).toBe(200);
    const inner = `/internal/v1/calls/api/v1/wolf-instances/${wolf.wolfId}/policy`;
    const credential = createReplicaCredentials(API_KEY_SECRET, await idOf(a));
    const shown = credential.sign(await idOf(b), "GET", inner, Date.now());
    const headers = {
      authorization: "Bearer wpk_nobody",
      [REPLICA_FIELD]: shown,
      "wolfpack-client": "192.0.2.44",
      "x-forwarded-for": "203.0.113.7",
    };
    expect((await fetch(`${b.url}${inner}`, { headers })).status).toBe(401);
    const events = await replicas.database.prisma.$queryRaw<{ address: string | null }[]>`
      SELECT address FROM audit_event WHERE result = 'denied'`;
    expect(events).toEqual([{ address: "192.0.2.44" }]);
  });

  it("is wolf-unreachable when nobody holds it, and when its holder does not answer", async () => {
    const wolf = await replicas.host(b);
    const ask = () => replicas.call<Problem>(a, "GET", `wolf-instances/${wolf.wolfId}/tunnel`);
    await eventually(ask, ({ status }) => status === 200);
    // A holder that nothing listens for any more.
    await replicas.database.prisma
      .$executeRaw`UPDATE replica SET url = 'http://127.0.0.1:9' WHERE url = ${b.url}`;
    const away = await ask();
    expect([away.status, away.body.code]).toEqual([503, "wolf-unreachable"]);
    const usage = await replicas.call<UsageSample[]>(a, "GET", `wolf-instances/${wolf.wolfId}/usage-history`);
    expect([usage.status, usage.body]).toEqual([200, []]);
    await replicas.database.prisma
      .$executeRaw`UPDATE replica SET url = ${b.url} WHERE url = 'http://127.0.0.1:9'`;
    wolf.tunnel.destroy();
    await eventually(ask, ({ body }) => body.code === "wolf-unreachable");
  });

  it("is not passed on by whoever says that it is a replica, and is none", async () => {
    const wolf = await replicas.host(b);
    const answer = await fetch(`${a.url}/api/v1/wolf-instances/${wolf.wolfId}/tunnel`, {
      headers: {
        authorization: `Bearer ${replicas.adminKey}`,
        [REPLICA_FIELD]: "v1.forged",
        "wolfpack-client": "192.0.2.9",
      },
    });
    expect(answer.status).toBe(200);
    const inner = `/internal/v1/calls/api/v1/wolf-instances/${wolf.wolfId}/tunnel`;
    for (const shown of [undefined, "v1.forged"]) {
      const refused = await fetch(`${b.url}${inner}`, {
        headers: { authorization: `Bearer ${replicas.adminKey}`, ...(shown && { [REPLICA_FIELD]: shown }) },
      });
      expect(refused.status).toBe(403);
    }
    const [ofA, ofB] = [await idOf(a), await idOf(b)];
    const sign = (target: string) =>
      createReplicaCredentials(API_KEY_SECRET, ofA).sign(ofB, "GET", target, Date.now());
    for (const [target, client, status] of [
      [inner, "not an address", 400],
      [inner, "192.0.2.9", 401],
      ["/internal/v1/calls/api/v1/users", "192.0.2.9", 404],
      ["/internal/v1/calls/internal/v1/calls/revdial", "192.0.2.9", 404],
    ] as const) {
      const headers = { [REPLICA_FIELD]: sign(target), "wolfpack-client": client };
      expect((await fetch(`${b.url}${target}`, { headers })).status).toBe(status);
    }
  });
});
