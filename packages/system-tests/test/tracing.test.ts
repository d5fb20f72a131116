/** One trace from the API through the tunnel and the agent to Wolf, as real processes send it to a collector. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type CollectedSpan, type Collector, startCollector } from "@wolfpack/telemetry/testing";
import { Stack } from "../src/stack.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const CALLER = "b7ad6b7169203331";
const CLIPBOARD = "canary-of-the-clipboard-91d0";

let dataDir: string;
let collector: Collector;
let stack: Stack;
let wire: Server;
/** Everything that the agent has said to Wolf. */
let said = "";

/** Stands between agent and Wolf, and keeps what goes up. */
async function recorded(wolfSocket: string): Promise<string> {
  const socketPath = `${wolfSocket}.wire`;
  wire = createServer((agent) => {
    const wolf = connect(wolfSocket);
    agent.on("data", (bytes) => {
      said += bytes.toString("latin1");
    });
    agent.on("error", () => wolf.destroy()).pipe(wolf);
    wolf.on("error", () => agent.destroy()).pipe(agent);
  }).listen(socketPath);
  await new Promise((resolve) => wire.once("listening", resolve));
  return socketPath;
}

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "tr-"));
  collector = await startCollector();
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "50",
  };
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: [{ name: "gpu-1", gpu: "nvidia", maxSandboxes: 4, agentEnv: env, between: recorded }],
    env,
    say: () => undefined,
    onCrash: (name, code) => {
      throw new Error(`${name} ended with ${code}`);
    },
  });
}, 60_000);
afterAll(async () => {
  await stack?.stop();
  await new Promise((resolve) => wire?.close(resolve));
  await collector?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const call = (at: string, body: object, traceparent?: string) =>
  fetch(`${stack.baseUrl}/api/v1/${at}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${stack.adminKey}`,
      "content-type": "application/json",
      ...(traceparent === undefined ? {} : { traceparent }),
    },
    body: JSON.stringify(body),
  });

/** From a span up to the one that nobody of ours has begun. */
function wayUp(spans: readonly CollectedSpan[], span: CollectedSpan | undefined): string[] {
  if (span === undefined) return [];
  const above = spans.find(({ spanId }) => spanId === span.parentSpanId);
  return [`${span.service}: ${span.name}`, ...wayUp(spans, above)];
}

describe("a trace", () => {
  it("goes on from the caller's through API, placement, tunnel and agent to Wolf, which is told of it", async () => {
    const reply = await call(
      "sessions",
      { wait_seconds: 20, name: CLIPBOARD },
      `00-${TRACE_ID}-${CALLER}-01`,
    );
    expect(reply.status).toBe(201);
    const ofTrace = (spans: readonly CollectedSpan[]) => spans.filter(({ traceId }) => traceId === TRACE_ID);
    const has = (spans: readonly CollectedSpan[], name: string) => spans.some((span) => span.name === name);
    await collector.until((spans) => {
      const own = ofTrace(spans);
      return ["createSession", "placement", "session start", "wolf"].every((name) => has(own, name));
    });
    const spans = ofTrace(collector.spans);
    const [created = ""] = [...said.matchAll(/^POST \/api\/v1\/lobbies\/create [\s\S]*?\r\n\r\n/gm)].map(
      ([head]) => head,
    );
    const [, told, spanId] = /\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-01\r\n/i.exec(created) ?? [];
    expect(told).toBe(TRACE_ID);
    const toWolf = spans.find((span) => span.spanId === spanId);
    expect(wayUp(spans, toWolf)).toEqual([
      "wolfpack-agent: wolf",
      "wolfpack-agent: agent wolf",
      "wolfpack-control-plane: tunnel wolf",
      "wolfpack-control-plane: session start",
      "wolfpack-control-plane: placement",
      "wolfpack-control-plane: createSession",
    ]);
    const request = spans.find(({ name }) => name === "createSession");
    expect(request).toMatchObject({ kind: 2, parentSpanId: CALLER, failed: false });
    expect(request?.attributes).toMatchObject({
      "http.request.method": "POST",
      "http.response.status_code": 201,
    });
  });

  it("is in the request's line of the log", () => {
    const lines = readFileSync(path.join(stack.logFolder, "control-plane.log"), "utf8").split("\n");
    const line = lines.find((text) => text.includes('"operation":"createSession"')) ?? "{}";
    expect(JSON.parse(line)).toMatchObject({ trace_id: TRACE_ID, res: { status: 201 } });
  });

  it("says of a refusal its status, and is no failure of ours", async () => {
    await call("sessions", { gpu: "made-up" }, `00-${"1".repeat(32)}-${CALLER}-01`);
    await collector.until((spans) => spans.some(({ traceId }) => traceId === "1".repeat(32)));
    const [span] = collector.spans.filter(({ traceId }) => traceId === "1".repeat(32));
    expect(span).toMatchObject({ failed: false, attributes: { "http.response.status_code": 400 } });
  });

  it("has no secret, no name that somebody chose, and nothing of what happens every few seconds", () => {
    const sent = collector.bodies.join("\n");
    expect(sent).not.toContain(stack.adminKey);
    expect(sent).not.toContain(CLIPBOARD);
    expect(collector.spans.length).toBeGreaterThan(5);
    const known = /^(createSession|placement|session start|tunnel wolf|agent wolf|wolf|[a-z]+[A-Z]\w+)$/;
    expect(collector.spans.filter(({ name }) => !known.test(name)).map(({ name }) => name)).toEqual([]);
    // The comparison of lobbies after each connect, for one, is nobody's request.
    const roots = collector.spans.filter(({ parentSpanId }) => !parentSpanId).map(({ name }) => name);
    expect(roots.filter((name) => /tunnel|agent|^wolf$/.test(name))).toEqual([]);
  });
});
