/** An agent with three tunnels over two replicas, of which one is killed, as real processes. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { HealthReport } from "@wolfpack/api-contract";
import { type Balancer, startBalancer } from "../src/balancer.ts";
import { ReplicaSet } from "../src/replica-set.ts";
import { type Screens, startScreens } from "../src/rolling/screen.ts";
import { startShortRequests } from "../src/rolling/short-requests.ts";
import { Stack } from "../src/stack.ts";

let dataDir: string;
let screens: Screens;
let set: ReplicaSet;
let balancer: Balancer;
let stack: Stack;
let crashes: string[];

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-connections-"));
  crashes = [];
  screens = await startScreens({ longMs: 1000 });
  set = await ReplicaSet.start({ dataDir, count: 2, env: { WOLFPACK_REPLICA_LEASE_SECONDS: "2" } });
  balancer = await startBalancer({ backends: set.backends, checkEveryMs: 100 });
  stack = await Stack.start({
    dataDir,
    port: 0,
    at: { baseUrl: balancer.url, adminKey: set.adminKey },
    hosts: [
      {
        name: "gpu-1",
        gpu: "nvidia",
        maxSandboxes: 10,
        agentFlags: { "--connections": "3", "--service": `screen=127.0.0.1:${screens.port}` },
      },
    ],
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
}, 90_000);

afterAll(async () => {
  await stack?.stop();
  await balancer?.close();
  await set?.stop();
  await screens?.close();
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

/** From its first line about a further tunnel, by number. */
function replicasSaid(): Map<number, string> {
  const log = readFileSync(path.join(stack.logFolder, "gpu-1.agent.log"), "utf8");
  const said = new Map<number, string>();
  for (const line of log.split("\n").filter((text) => text.includes('"further tunnel up"'))) {
    const { connection, replica } = JSON.parse(line) as { connection: number; replica: string };
    said.set(connection, replica);
  }
  return said;
}

describe("an agent with three tunnels over two replicas", () => {
  it("has one at each, and answers everything that was not in flight when one replica is killed", async () => {
    const wolf = async () => (await stack.client().listWolves({ query: {} })).body[0];
    await stack.until("two further tunnels are up, and both replicas have one", async () => {
      const replicas = new Set([...replicasSaid().values(), (await wolf())?.tunnel?.replica]);
      return replicasSaid().size === 2 && replicas.size === 2;
    });
    const { id } = (await stack.client().createSession({ body: {} })).body;
    const first = (await wolf())?.tunnel?.replica;
    // Asked at the survivor, which has a tunnel of its own: nothing of it is in flight through the one that is killed.
    const killed = await indexOf(first ?? "");
    const survivor = set.backends[1 - killed];
    const short = startShortRequests({
      url: `http://127.0.0.1:${survivor?.port}`,
      key: set.adminKey,
      paths: [`/api/v1/external-agents/${id}/clipboard`],
      atOnce: 4,
    });
    await short.until(40);
    await set.killReplica(killed);
    await short.until(200);
    await short.stop();
    expect(short.failures).toEqual([]);
    await stack.until("the first tunnel is back at the other replica", async () => {
      const { tunnel, connectivity } = (await wolf()) ?? {};
      return tunnel !== null && tunnel?.replica !== first && connectivity === "connected";
    });
  }, 90_000);

  /** Each says in its report on itself who made it. */
  async function indexOf(replica: string): Promise<number> {
    const asked = set.backends.map(async ({ port }) => {
      const headers = { authorization: `Bearer ${set.adminKey}` };
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/health`, { headers });
      return ((await response.json()) as HealthReport).replica;
    });
    return (await Promise.all(asked)).indexOf(replica);
  }
});
