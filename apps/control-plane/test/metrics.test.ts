/** /metrics of a whole control plane: who may read it, and that what happens is in it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { definitions } from "../src/metrics/definitions.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { startHost } from "./host.ts";
import { until } from "./tunnel-requests.ts";

const TOKEN = "metrics-token-of-the-tests";
let api: TestControlPlane;
beforeAll(async () => {
  api = await startControlPlane({ metricsToken: TOKEN });
});
afterAll(() => api.stop());

const ask = (credential?: string, at = "/metrics") =>
  fetch(`${api.url}${at}`, credential ? { headers: { authorization: `Bearer ${credential}` } } : {});
const text = async () => (await ask(TOKEN)).text();

describe("the page of metrics", () => {
  it("shows every number of the table to an operator's key and to the token", async () => {
    const { key } = await api.user("operator-1", "operator");
    for (const credential of [key, TOKEN, api.adminKey]) {
      const reply = await ask(credential);
      expect(reply.status).toBe(200);
      expect(reply.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
      expect(reply.headers.get("cache-control")).toBe("no-store");
      const page = await reply.text();
      expect(Object.keys(definitions).filter((name) => !page.includes(`# TYPE ${name} `))).toEqual([]);
    }
  });

  it.each([
    ["nobody", undefined, 401],
    ["a token that is no token", "metrics-token-of-the-test", 401],
    ["a token with more behind it", `${TOKEN}x`, 401],
    ["an empty one", " ", 401],
  ])("is closed to %s", async (_who, credential, status) => {
    const reply = await ask(credential);
    expect(reply.status).toBe(status);
    expect(await reply.text()).not.toContain("wolfpack_");
  });

  it.each(["user", "viewer"] as const)("is closed to a %s, and that is an event", async (role) => {
    const { id, key } = await api.user(`${role}-1`, role);
    const reply = await ask(key);
    expect([reply.status, await reply.json()]).toMatchObject([403, { code: "forbidden" }]);
    const events = await api.database.prisma.auditEvent.findMany({ where: { actor_id: id } });
    expect(events).toMatchObject([{ action: "metrics.read", result: "denied", code: "forbidden" }]);
  });

  it("is all that its token opens", async () => {
    for (const at of ["/api/v1/me", "/api/v1/wolf-instances", "/api/v1/users"])
      expect((await ask(TOKEN, at)).status).toBe(401);
  });

  it("knows GET alone", async () => {
    const reply = await fetch(`${api.url}/metrics`, { method: "POST" });
    expect([reply.status, reply.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  it("has the requests, the pool and the event loop of this replica, and no id in it", async () => {
    await ask(api.adminKey, "/api/v1/wolf-instances");
    await ask(api.adminKey, "/api/v1/wolf-instances/wlf_01ARZ3NDEKTSV4RRFFQ69G5FAV");
    await ask(api.adminKey, "/api/v1/no-such-route");
    await until(async () => /operation="other",status="4xx"\} \d/.test(await text()));
    const page = await text();
    const count = "wolfpack_http_request_duration_seconds_count";
    expect(page).toContain(`${count}{operation="listWolves",status="2xx"} 1\n`);
    expect(page).toContain(`${count}{operation="getWolf",status="4xx"} 1\n`);
    expect(page).toContain('wolfpack_http_problems_total{code="wolf-not-found"} 1\n');
    expect(page).toMatch(/^wolfpack_database_pool_wait_seconds_count\{outcome="given"\} [1-9]/m);
    expect(page).toMatch(/^wolfpack_database_pool_use_seconds_count [1-9]/m);
    expect(page).toMatch(/^wolfpack_database_pool_connections\{state="idle"\} \d/m);
    expect(page).toContain('wolfpack_sessions{status="queued"} 0\n');
    expect(page).not.toMatch(/\b(wlf|ses|usr|key|ten)_[0-9A-Z]{26}/);
  });

  it("grows by no series with what strangers ask for", async () => {
    const series = async () => (await text()).split("\n").length;
    await ask(undefined, "/first-of-its-kind");
    await until(async () => (await text()).includes('operation="other",status="4xx"'));
    const before = await series();
    await Promise.all(
      Array.from({ length: 200 }, (_, number) =>
        ask(undefined, `/made-up-${number}?x=${number}`).then((reply) => reply.text()),
      ),
    );
    expect((await series()) - before).toBeLessThan(5);
  });
});

describe("a session's life", () => {
  it("is in the numbers: its placement, its wait, its lobby, its start, its tunnel", async () => {
    const create = async () => {
      const reply = await fetch(`${api.url}/api/v1/sessions`, {
        method: "POST",
        headers: { authorization: `Bearer ${api.adminKey}`, "content-type": "application/json" },
        body: JSON.stringify({ wait_seconds: 0 }),
      });
      return (await reply.json()) as { id: string; status: string };
    };
    expect((await create()).status).toBe("queued");
    const host = await startHost(api, { name: "wolf-of-metrics", maxSandboxes: 2 });
    try {
      await create();
      const starts = 'wolfpack_session_start_duration_seconds_count{outcome="running"} 2\n';
      await until(async () => (await text()).includes(starts));
      const page = await text();
      const placements = "wolfpack_placement_duration_seconds_count";
      expect(page).toContain(`${placements}{outcome="queued"} 1\n`);
      expect(page).toContain(`${placements}{outcome="claimed"} 1\n`);
      expect(page).toContain("wolfpack_queue_wait_duration_seconds_count 1\n");
      expect(page).toContain('wolfpack_lobby_create_duration_seconds_count{outcome="created"} 2\n');
      expect(page).toMatch(
        /^wolfpack_tunnel_request_duration_seconds_count\{service="wolf",outcome="answered"\} [2-9]/m,
      );
      expect(page).toContain("wolfpack_tunnels 1\n");
      expect(page).toContain('wolfpack_wolves{connectivity="connected"} 1\n');
      expect(page).not.toContain("wolf-of-metrics");
    } finally {
      await host.stop();
    }
    await until(async () => /^wolfpack_tunnel_ends_total\{code="\w+"\} 1$/m.test(await text()));
  });
});

describe("the file of the metrics token", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "mt-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const configured = async (file: string) => {
    const { readConfig } = await import("../src/config.ts");
    return readConfig({ DATA_DIR: folder, WOLFPACK_METRICS_TOKEN_FILE: file }).metricsToken;
  };

  it("gives the token, without the line's end", async () => {
    const file = path.join(folder, "good");
    writeFileSync(file, `${TOKEN}\n`);
    expect(await configured(file)).toBe(TOKEN);
  });

  it.each([
    ["short", "too-short"],
    ["empty", ""],
    ["two words", "metrics token of the tests"],
  ])("that holds %s is refused without repeating it", async (_what, content) => {
    const file = path.join(folder, "bad");
    writeFileSync(file, content);
    await expect(configured(file)).rejects.toThrow(
      /^WOLFPACK_METRICS_TOKEN_FILE names .* has to hold 16 to 512/,
    );
    if (content !== "") await expect(configured(file)).rejects.not.toThrow(content);
  });

  it("stands beside the variables of traces: off by default, and a wrong one ends the start", async () => {
    const { ConfigError, readConfig } = await import("../src/config.ts");
    const read = (env: NodeJS.ProcessEnv) => readConfig({ DATA_DIR: folder, ...env });
    expect(read({}).tracing).toBeUndefined();
    expect(read({ OTEL_TRACES_EXPORTER: "otlp" }).tracing).toMatchObject({ protocol: "http/protobuf" });
    expect(() => read({ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" })).toThrow(ConfigError);
    expect(() => read({ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" })).toThrow(
      /^OTEL_EXPORTER_OTLP_ENDPOINT /,
    );
  });

  it("that is not there is named", async () => {
    await expect(configured(path.join(folder, "gone"))).rejects.toThrow(/gone, which cannot be read\.$/);
  });
});
