/**
 * Two control planes on one PostgreSQL, as real processes, and a real agent behind a balancer that knows nothing: one that stands still
 * and goes on changes nothing, and one that is killed is missed for seconds.
 */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { type WolfInstance, type WolfpackClient, wolfpackClient } from "@wolfpack/api-contract";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { freePort } from "@wolfpack/control-plane/free-ports";
import { type CollectedSpan, type Collector, startCollector } from "@wolfpack/telemetry/testing";
import { Child } from "../src/child.ts";
import { lobbiesOn } from "../src/lobbies-on.ts";
import { readPng } from "../src/png-check.ts";
import { controlPlaneMain, Stack } from "../src/stack.ts";

const TRACE_ID = "1af7651916cd43dd8448eb211c80319d";
const LEASE_SECONDS = 4;

let dataDir: string;
let postgres: EmbeddedPostgres;
let collector: Collector;
let stack: Stack;
let second: Child | undefined;
let secondUrl: string;
let balancer: Server;
/** Where the agent's next connection goes. */
let port: number;
let crashes: string[];
const connections = new Set<Socket>();

/** Passes connections on, and an end by force as one: a killed process is seen at once. */
function passOn(agent: Socket): void {
  const plane = connect({ port, host: "127.0.0.1" });
  for (const end of [agent, plane]) {
    connections.add(end);
    end.on("error", () => undefined).on("close", () => connections.delete(end));
  }
  agent.on("close", () => plane.destroy());
  plane.on("close", () => agent.destroy());
  agent.pipe(plane).pipe(agent);
}

const settings = (at: number): Record<string, string> => ({
  DATABASE_URL: postgres.url,
  API_KEY_SECRET: "x".repeat(32),
  HOST: "127.0.0.1",
  WOLFPACK_REPLICA_URL: `http://127.0.0.1:${at}`,
  WOLFPACK_REPLICA_LEASE_SECONDS: String(LEASE_SECONDS),
  WOLFPACK_LOBBY_SETTLE_SECONDS: "1",
  ...traced(),
});

const traced = (): Record<string, string> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
  OTEL_BSP_SCHEDULE_DELAY: "50",
});

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-replicas-"));
  crashes = [];
  postgres = await startEmbeddedPostgres({ dataDir: path.join(dataDir, "database"), durable: false });
  collector = await startCollector();
  const [first, other] = [await freePort(), await freePort()];
  port = first;
  balancer = createServer(passOn).listen(0, "127.0.0.1");
  await once(balancer, "listening");
  const { port: front } = balancer.address() as { port: number };
  stack = await Stack.start({
    dataDir,
    port: first,
    hosts: [
      {
        name: "gpu-1",
        gpu: "nvidia",
        maxSandboxes: 4,
        apiUrl: `http://127.0.0.1:${front}`,
        agentEnv: traced(),
      },
    ],
    env: settings(first),
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
  const secondData = path.join(dataDir, "second");
  mkdirSync(secondData);
  secondUrl = `http://127.0.0.1:${other}`;
  second = await Child.start({
    name: "second control plane",
    command: [process.execPath, controlPlaneMain],
    env: { ...settings(other), DATA_DIR: secondData, PORT: String(other) },
    logFile: path.join(stack.logFolder, "second.log"),
    isReady: (line) => line.includes('"msg":"ready"'),
  });
}, 90_000);

afterAll(async () => {
  stack?.resumeControlPlane();
  await stack?.stop();
  await second?.stop();
  balancer?.close();
  for (const socket of connections) socket.destroy();
  await collector?.stop();
  await postgres?.stop();
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

const at = (baseUrl: string): WolfpackClient => wolfpackClient({ baseUrl, apiKey: stack.adminKey });
const wolfSeenBy = async (url: string) => (await at(url).listWolves({ query: { name: "gpu-1" } })).body[0];

/** Until the plane at `url` sees it so. */
async function wolfOf(
  url: string,
  what: string,
  holds: (wolf: WolfInstance) => boolean,
): Promise<WolfInstance> {
  let seen: WolfInstance | undefined;
  await stack.until(what, async () => {
    seen = await wolfSeenBy(url);
    return seen !== undefined && holds(seen);
  });
  return seen as WolfInstance;
}

async function idOf(url: string): Promise<string> {
  const { body } = await at(url).call("listReplicas");
  return body.find(({ is_self }) => is_self)?.id ?? "";
}

async function picture(url: string, sessionId: string, traceparent?: string): Promise<number> {
  const response = await fetch(`${url}/api/v1/external-agents/${sessionId}/screenshot`, {
    headers: { authorization: `Bearer ${stack.adminKey}`, ...(traceparent && { traceparent }) },
  });
  expect(response.status).toBe(200);
  return readPng(new Uint8Array(await response.arrayBuffer())).width;
}

/** From a span up to the one that nobody of ours has begun. */
function wayUp(spans: readonly CollectedSpan[], span: CollectedSpan | undefined): string[] {
  if (span === undefined) return [];
  const above = spans.find(({ spanId }) => spanId === span.parentSpanId);
  return [`${span.service}: ${span.name}`, ...wayUp(spans, above)];
}

it("a replica that stood still is fenced, one that was killed is missed for seconds, and the session runs on", async () => {
  const firstUrl = stack.baseUrl;
  const [first, other] = [await idOf(firstUrl), await idOf(secondUrl)];
  const before = await wolfOf(
    secondUrl,
    "the first holds the tunnel",
    ({ tunnel }) => tunnel?.replica === first,
  );
  const { body: made } = await at(secondUrl).call("createSession", { body: { wait_seconds: 20 } });
  expect(made).toMatchObject({ status: "running", wolf_instance_id: before.id });
  expect(await picture(secondUrl, made.id, `00-${TRACE_ID}-b7ad6b7169203331-01`)).toBeGreaterThan(0);

  // Longer than its lease, and than the agent waits for a word.
  stack.pauseControlPlane();
  port = Number(new URL(secondUrl).port);
  const moved = await wolfOf(
    secondUrl,
    "the agent has gone to the second",
    ({ tunnel, reconciled }) => tunnel?.replica === other && reconciled === true,
  );
  expect(moved.tunnel?.epoch).toBeGreaterThan(before.tunnel?.epoch ?? 0);
  expect((await at(secondUrl).call("listReplicas")).body.map(({ id }) => id)).toEqual([other]);
  const meanwhile = (await at(secondUrl).getSession({ params: { id: made.id } })).body;
  stack.resumeControlPlane();
  const log = () => readFileSync(path.join(stack.logFolder, "control-plane.log"), "utf8");
  await stack.until("it says that it was taken for gone", async () => log().includes("was taken for gone"));
  await stack.until("both are there", async (api) => (await api.call("listReplicas")).body.length === 2);
  // What it still wrote changed nothing.
  expect((await wolfSeenBy(firstUrl))?.tunnel).toMatchObject({ replica: other, epoch: moved.tunnel?.epoch });
  expect((await at(firstUrl).getSession({ params: { id: made.id } })).body).toEqual(meanwhile);
  expect(meanwhile).toMatchObject({ status: "running", attempts: 1, lobby_id: made.lobby_id });
  for (const url of [firstUrl, secondUrl]) expect(await picture(url, made.id)).toBeGreaterThan(0);

  port = Number(new URL(firstUrl).port);
  second?.kill();
  await second?.exited;
  second = undefined;
  const back = await wolfOf(
    firstUrl,
    "the agent is back at the first",
    ({ tunnel, reconciled }) => tunnel?.replica === first && reconciled === true,
  );
  expect(back.tunnel?.epoch).toBeGreaterThan(moved.tunnel?.epoch ?? 0);
  expect(await picture(firstUrl, made.id)).toBeGreaterThan(0);
  expect((await at(firstUrl).getSession({ params: { id: made.id } })).body).toMatchObject({
    status: "running",
    attempts: 1,
    started_at: made.started_at,
    lobby_id: made.lobby_id,
  });
  expect(await lobbiesOn(stack.socketOf("gpu-1"))).toHaveLength(1);

  const ofTrace = () => collector.spans.filter(({ traceId }) => traceId === TRACE_ID);
  const atAgent = () => ofTrace().find(({ service }) => service === "wolfpack-agent");
  // Each process tells of its own, when it comes to it.
  const way = () => wayUp(ofTrace(), atAgent());
  await stack.until(
    "all spans of the way have come",
    async () => way().length >= 4 && way().some((name) => name.endsWith("getExternalAgentScreenshot")),
  );
  const names = way();
  expect(names.slice(-4)).toEqual([
    "wolfpack-control-plane: from another replica",
    "wolfpack-control-plane: to another replica",
    "wolfpack-control-plane: tunnel screen",
    "wolfpack-control-plane: getExternalAgentScreenshot",
  ]);
}, 80_000);
