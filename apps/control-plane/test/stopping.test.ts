/** A control plane ends in time, whatever its connections and its database do meanwhile. */
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Problem, Session } from "@wolfpack/api-contract";
import { RUNNER_TOKEN, startControlPlane } from "./control-plane.ts";
import { testDatabase } from "./database.ts";
import { eventually } from "./host.ts";
import { dialLegacy, legacyAgents } from "./legacy-agent.ts";
import { type Replicas, testReplicas } from "./some-replicas.ts";
import { wayTo } from "./swallowing-way.ts";

const closing: (() => Promise<unknown> | unknown)[] = [];
let replicas: Replicas;

beforeEach(async () => {
  replicas = await testReplicas();
});

afterEach(async () => {
  for (const agent of legacyAgents.splice(0)) agent.drop();
  for (const close of closing.splice(0)) await close();
  await replicas.stop();
});

describe("a control plane that stops", () => {
  it("ends data connections of Helix's agents that it passes on, however long they last", async () => {
    const [passing, holding] = await replicas.two();
    await fetch(`${holding.url}/api/v1/wolf-instances/register`, {
      method: "POST",
      headers: { authorization: `Bearer ${RUNNER_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "legacy", gpu_type: "nvidia", max_sandboxes: 4 }),
    });
    const agent = await dialLegacy({
      url: holding.url,
      runnerId: "wolf-legacy",
      token: RUNNER_TOKEN,
      target: { port: 9 },
    });
    agent.onDial = () => undefined;
    const connPath = await agent.nextDial();
    // It stays as it is: nobody says anything on it, and nobody ends it.
    const data = connect(Number(new URL(passing.url).port), "127.0.0.1");
    closing.push(() => void data.destroy());
    data.on("error", () => undefined);
    data.write(
      `GET ${connPath} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${RUNNER_TOKEN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}\r\n\r\n`,
    );
    const [head] = (await once(data, "data")) as [Buffer];
    expect(head.toString()).toMatch(/^HTTP\/1\.1 101 /);
    await passing.plane.stop();
    await eventually(
      () => replicas.list(holding),
      (rows) => rows.length === 1,
    );
  }, 20_000);

  it("serves users until the last agent has gone, also one that took no wish to move", async () => {
    const [leaving, staying] = await replicas.two();
    const host = await replicas.host(leaving);
    const made = await eventually(
      () => replicas.call<Session>(leaving, "POST", "sessions", {}),
      ({ body }) => body.status === "running",
    );
    const { promise: seen, resolve: show } = Promise.withResolvers<void>();
    host.screen = async () => {
      await seen;
      return {
        status: 200,
        headers: [["content-type", "image/png"]],
        body: Buffer.from("89504e470d0a1a0a", "hex"),
      };
    };
    const screenshot = replicas.call(staying, "GET", `external-agents/${made.body.id}/screenshot`);
    const stopped = leaving.plane.stop();
    await host.tunnel.goingAway;
    const asked = await replicas.call<Problem>(leaving, "POST", "sessions", { labels: { site: "moon" } });
    expect(asked.body.code).toBe("placement-impossible");
    expect((await replicas.call(leaving, "GET", "wolf-instances")).status).toBe(200);
    show();
    expect((await screenshot).status).toBe(200);
    await stopped;
    await expect(replicas.call(leaving, "GET", "wolf-instances")).rejects.toThrow("fetch failed");
  }, 20_000);

  it("is over in time when nothing that it sends to its database arrives any more", async () => {
    const database = await testDatabase();
    closing.push(() => database.drop());
    const way = await wayTo(database.url, closing);
    const alone = await startControlPlane(
      { replicaUrl: "http://127.0.0.1:9", drainNoticeMs: 100 },
      { ...database, url: way.url, drop: async () => {} },
    );
    way.swallow();
    await alone.plane.stop();
    expect(alone.lines.join("")).toContain("the lease of this replica ends by itself");
  }, 25_000);
});
