/** A dozen hosts that are all at one of two replicas when the other one comes back, behind a balancer that counts connections: real processes. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { CallReply } from "@wolfpack/api-contract";
import { type Balancer, startBalancer } from "../src/balancer.ts";
import { ReplicaSet } from "../src/replica-set.ts";
import { type Screens, startScreens } from "../src/rolling/screen.ts";
import { startShortRequests } from "../src/rolling/short-requests.ts";
import { Stack } from "../src/stack.ts";

const HOSTS = 12;
/** What a replica has more than its share of a few, it keeps. */
const SLACK = 4;

let dataDir: string;
let screens: Screens;
let set: ReplicaSet;
let balancer: Balancer;
let stack: Stack;
let crashes: string[];

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-balance-"));
  crashes = [];
  screens = await startScreens({ longMs: 1000 });
  set = await ReplicaSet.start({
    dataDir,
    count: 2,
    env: { WOLFPACK_REPLICA_LEASE_SECONDS: "2", WOLFPACK_REPLICA_BALANCE_SECONDS: "1" },
  });
  await set.stopReplica(1);
  balancer = await startBalancer({ backends: set.backends, checkEveryMs: 100, policy: "least-connections" });
  stack = await Stack.start({
    dataDir,
    port: 0,
    at: { baseUrl: balancer.url, adminKey: set.adminKey },
    hosts: Array.from({ length: HOSTS }, (_, at) => ({
      name: `gpu-${at}`,
      gpu: "nvidia",
      maxSandboxes: 10,
      agentFlags: { "--service": `screen=127.0.0.1:${screens.port}` },
    })),
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
}, 120_000);

afterAll(async () => {
  await stack?.stop();
  await balancer?.close();
  await set?.stop();
  await screens?.close();
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

type Wolf = CallReply<"listWolves">["body"][number];

const wolves = async () => (await stack.client().listWolves({})).body;
const areConnected = (all: readonly Wolf[]) => all.every(({ connectivity }) => connectivity === "connected");

/** Of each replica that has any. */
function tunnels(all: readonly Wolf[]): number[] {
  const counts = new Map<string, number>();
  for (const { tunnel } of all)
    if (tunnel?.replica) counts.set(tunnel.replica, (counts.get(tunnel.replica) ?? 0) + 1);
  return [...counts.values()];
}

describe("a replica that comes back to one that has all tunnels", () => {
  it("gets its share of them, while every request to every wolf is answered", async () => {
    await stack.until("all hosts are connected", async () => areConnected(await wolves()));
    expect(tunnels(await wolves())).toEqual([HOSTS]);
    const sessions = Array.from({ length: HOSTS }, async () => stack.client().createSession({ body: {} }));
    const ids = (await Promise.all(sessions)).map(({ body }) => body.id);
    const short = startShortRequests({
      url: balancer.url,
      key: set.adminKey,
      paths: ids.map((id) => `/api/v1/external-agents/${id}/clipboard`),
      atOnce: 4,
    });
    await short.until(40);
    await set.startReplica(1);
    await stack.until("the other replica has its share", async () => {
      const counts = tunnels(await wolves());
      return counts.length === 2 && Math.min(...counts) >= HOSTS / 2 - SLACK;
    });
    await short.until(short.answered + 200);
    await short.stop();
    expect(short.failures).toEqual([]);
    const after = await wolves();
    expect(areConnected(after)).toBe(true);
    expect(tunnels(after).reduce((sum, count) => sum + count, 0)).toBe(HOSTS);
    const { body } = await stack.client().listSessions({ query: { status: "running" } });
    expect(body.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
  }, 90_000);
});
