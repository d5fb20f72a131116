/** Tracing with the real SDK, against a collector that listens in this process. */
import { spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { noTracing, startTracing, type Tracing, traced } from "../src/index.ts";
import { type Collector, startCollector } from "../src/testing/index.ts";
import type { TracingSettings } from "../src/tracing-settings.ts";

const settings: TracingSettings = {
  protocol: "http/json",
  sampler: "parentbased_always_on",
  ratio: 1,
  delayMs: 1000,
};
const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

let collector: Collector;
let failures: unknown[];
let open: Tracing[];
beforeEach(async () => {
  collector = await startCollector();
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.url;
  failures = [];
  open = [];
});
afterEach(async () => {
  await Promise.all(open.map((tracing) => tracing.stop()));
  delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
  delete process.env.OTEL_EXPORTER_OTLP_TIMEOUT;
  await collector.stop();
});

async function start(changes: Partial<TracingSettings> = {}): Promise<Tracing> {
  const onFailure = (error: unknown) => void failures.push(error);
  const tracing = await startTracing(
    { ...settings, ...changes },
    { service: "test", version: "1", onFailure },
  );
  open.push(tracing);
  return tracing;
}

describe("tracing", () => {
  it("joins what one call leads to, across awaits and across a process's border", async () => {
    const tracing = await start();
    const request = tracing.open("request", { kind: "server", attributes: { "http.request.method": "GET" } });
    await request.within(async () => {
      await Promise.resolve();
      await traced(tracing, "step", { kind: "internal" }, async () => {
        const call = tracing.open("call", { kind: "client" });
        const far = tracing.open("far", { kind: "server", traceparent: call.traceparent });
        far.end();
        call.end();
      });
    });
    request.rename("getThing");
    request.end();
    await tracing.stop();
    const { spans } = collector;
    const of = (name: string) => spans.find((span) => span.name === name);
    expect(spans.map(({ name }) => name).sort()).toEqual(["call", "far", "getThing", "step"]);
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
    expect(of("getThing")).toMatchObject({ kind: 2, service: "test", failed: false });
    expect(of("step")?.parentSpanId).toBe(of("getThing")?.spanId);
    expect(of("call")).toMatchObject({ kind: 3, parentSpanId: of("step")?.spanId });
    expect(of("far")?.parentSpanId).toBe(of("call")?.spanId);
    expect(failures).toEqual([]);
  });

  it("goes on from a caller's trace context, and keeps two calls at once apart", async () => {
    const tracing = await start();
    const one = tracing.open("one", { kind: "server", traceparent: PARENT });
    const two = tracing.open("two", { kind: "server" });
    expect(one.traceparent).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/);
    expect(one.traceId).toBe("0af7651916cd43dd8448eb211c80319c");
    const inside = await Promise.all(
      [one, two].map((span) =>
        span.within(async () => {
          await new Promise(setImmediate);
          return tracing.open("inside", { kind: "internal" }).traceId;
        }),
      ),
    );
    expect(inside).toEqual([one.traceId, two.traceId]);
    expect(two.traceId).not.toBe(one.traceId);
  });

  it.each([
    "",
    "nonsense",
    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    `${PARENT}\r\nx: y`,
    PARENT.toUpperCase(),
  ])("takes %j for no trace context, and begins a trace of its own", async (traceparent) => {
    const tracing = await start();
    const { traceId } = tracing.open("x", { kind: "server", traceparent });
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(traceId).not.toBe("0af7651916cd43dd8448eb211c80319c");
  });

  it("does not trace a call that no traced call leads to", async () => {
    const tracing = await start();
    const span = tracing.open("every 30 s", { kind: "client" });
    expect(span.traceparent).toBeUndefined();
    span.end();
    await tracing.stop();
    expect(collector.bodies).toEqual([]);
  });

  it("marks what failed by its code, and never by what an error says", async () => {
    const tracing = await start();
    const error = Object.assign(new Error("the password is hunter2"), { code: "WOLF_TIMEOUT" });
    await expect(traced(tracing, "fails", { kind: "internal" }, () => Promise.reject(error))).rejects.toBe(
      error,
    );
    const odd = Object.assign(new Error("x"), { code: "hunter2 is the password", name: "hunter2 again" });
    await expect(
      traced(tracing, "fails oddly", { kind: "internal" }, () => Promise.reject(odd)),
    ).rejects.toBe(odd);
    await tracing.stop();
    expect(
      collector.spans.map(({ name, failed, attributes }) => [name, failed, attributes["error.type"]]),
    ).toEqual([
      ["fails", true, "WOLF_TIMEOUT"],
      ["fails oddly", true, "error"],
    ]);
    expect(collector.bodies.join("")).not.toContain("hunter2");
  });

  it("follows the sampler: what its caller does not sample is not sent, and says so to the next", async () => {
    const tracing = await start();
    const unsampled = tracing.open("x", { kind: "server", traceparent: PARENT.replace(/01$/, "00") });
    expect(unsampled.traceparent).toMatch(/-00$/);
    unsampled.end();
    const off = await start({ sampler: "always_off" });
    off.open("y", { kind: "server", traceparent: PARENT }).end();
    await Promise.all([tracing.stop(), off.stop()]);
    expect(collector.spans).toEqual([]);
  });

  it("sends protobuf by default", async () => {
    const tracing = await start({ protocol: "http/protobuf" });
    tracing.open("x", { kind: "server" }).end();
    await tracing.stop();
    expect(collector.contentTypes).toEqual(["application/x-protobuf"]);
    expect(failures).toEqual([]);
  });

  it("tells once of a collector that is not there, costs nobody anything, and stops in time", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    process.env.OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${port}`;
    // What is tried again is tried again for so long.
    process.env.OTEL_EXPORTER_OTLP_TIMEOUT = "300";
    const tracing = await start();
    for (let n = 0; n < 5000; n += 1) tracing.open("x", { kind: "server" }).end();
    const begun = performance.now();
    await tracing.stop();
    expect(performance.now() - begun).toBeLessThan(4000);
    expect(failures).toHaveLength(1);
  });
});

describe("tracing that is off", () => {
  it("gives what runs in it, and no trace context", async () => {
    expect(await startTracing(undefined, { service: "x", version: "1", onFailure: () => undefined })).toBe(
      noTracing,
    );
    expect(
      await traced(noTracing, "x", { kind: "internal" }, async ({ traceparent }) => [traceparent]),
    ).toEqual([undefined]);
    const span = noTracing.open("x", { kind: "server", traceparent: PARENT });
    expect([span.traceparent, span.within(() => 5)]).toEqual([undefined, 5]);
  });

  it.each([
    ["off", "undefined", 0],
    ["on", '{ protocol: "http/json", sampler: "always_on", ratio: 1, delayMs: 1000 }', 1],
  ])("loads nothing of the SDK (%s)", (_name, given, least) => {
    const index = fileURLToPath(new URL("../dist/index.js", import.meta.url));
    const code = `
      import { createRequire } from "node:module";
      const { startTracing } = await import(${JSON.stringify(index)});
      const tracing = await startTracing(${given}, { service: "x", version: "1", onFailure() {} });
      const { cache } = createRequire(import.meta.url);
      console.log(Object.keys(cache).filter((file) => /@opentelemetry.(sdk|exporter|otlp|resources)/.test(file)).length);
      await tracing.stop();`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
      encoding: "utf8",
      env: { PATH: process.env.PATH },
    });
    expect(stderr).toBe("");
    if (least === 0) expect(Number(stdout)).toBe(0);
    else expect(Number(stdout)).toBeGreaterThan(10);
  });
});
