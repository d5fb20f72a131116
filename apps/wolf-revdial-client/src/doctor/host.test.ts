import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { defaultWolfPolicy } from "@wolfpack/wolf-api";
import { startWolfEmulator, wolfGenerations, wolfSchemaText } from "@wolfpack/wolf-api/emulator";
import type { Clock } from "../clock.ts";
import { type HostOptions, hostChecks } from "./host.ts";

const GIB = 2 ** 30;
let folder: string;
let socketPath: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "dh-"));
  socketPath = path.join(folder, "wolf.sock");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const aConfig = (change: Partial<HostOptions["config"]> = {}): HostOptions["config"] => ({
  wolf: { socketPath },
  protocol: "native",
  policy: defaultWolfPolicy,
  gpuType: undefined,
  disks: undefined,
  diskThresholds: { warningPercent: 85, criticalPercent: 95, freeBytesMin: 5 * GIB },
  ...change,
});

async function find(code: string, change: Partial<HostOptions> = {}): Promise<string> {
  const config = aConfig();
  const checks = hostChecks({
    config,
    timeoutMs: 2000,
    detectGpu: () => "none",
    dri: path.join(folder, "dri"),
    ...change,
  });
  const check = checks.find((candidate) => candidate.code === code);
  const { status, detail } = (await check?.run(new AbortController().signal)) ?? { status: "", detail: "" };
  return `${status}: ${detail}`;
}

async function serving(body: string, status = 200): Promise<Server> {
  const server = createServer((_request, response) => response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return server;
}

describe("the doctor's look at Wolf", () => {
  it("finds a Wolf that answers", async () => {
    const wolf = await startWolfEmulator({ listen: { unixSocket: socketPath }, stateFolder: folder });
    expect(await find("D15")).toBe(`ok: ${socketPath} answers (status 200)`);
    await wolf.close();
  });

  it("warns of a policy that leaves this Wolf without sessions, and not of one that closes something else", async () => {
    const wolf = await startWolfEmulator({ listen: { unixSocket: socketPath } });
    const under = (...close: string[]) =>
      find("D16", { config: aConfig({ policy: { ...defaultWolfPolicy, close } }) });
    expect(await under("POST /api/v1/lobbies/stop", "GET /api/v1/openapi-schema")).toMatch(
      /^warning: schema_hash .*; the policy closes POST \/api\/v1\/lobbies\/stop: no session can run here$/,
    );
    expect(await under("GET /api/v1/openapi-schema")).toMatch(/^ok: /);
    await wolf.close();
    const other = await serving("<html>", 404);
    expect(await under("POST /api/v1/lobbies/stop")).toMatch(/^failed: .*is that Wolf\?$/);
    other.close();
  });

  it.each(wolfGenerations)(
    "names the build and the features of %s as the agent would",
    async (generation) => {
      const wolf = await startWolfEmulator({ listen: { unixSocket: socketPath }, generation });
      const hash = createHash("sha256").update(wolfSchemaText(generation)).digest("hex");
      const said = await find("D16");
      await wolf.close();
      expect(said).toContain(`schema_hash ${hash}`);
      expect(said).toMatch(
        generation === "2025-07-25"
          ? /^failed: it lacks GET \/api\/v1\/lobbies, POST \/api\/v1\/lobbies\/create,/
          : /^ok: .*: lobbies, lobby-join, .*events/,
      );
    },
  );

  it("fails a Wolf that describes its lobbies and cannot list them", async () => {
    const server = createServer((request, response) =>
      request.url?.endsWith("openapi-schema")
        ? response.end(wolfSchemaText("2026-06-23"))
        : response.writeHead(500).end('{"success":false}'),
    );
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    expect(await find("D16")).toMatch(
      /^failed: \/api\/v1\/lobbies was answered with status 500 \(schema_hash /,
    );
    await new Promise((resolve) => server.close(resolve));
  });

  it("warns of a policy under which a Helix control plane can create nothing", async () => {
    const wolf = await startWolfEmulator({ listen: { unixSocket: socketPath } });
    expect(await find("D16", { config: aConfig({ protocol: "helix" }) })).toMatch(/^warning: .*helix_homes/);
    const policy = { ...defaultWolfPolicy, helix_homes: "/wolf-state" };
    expect(await find("D16", { config: aConfig({ protocol: "helix", policy }) })).not.toContain(
      "helix_homes",
    );
    await wolf.close();
  });

  it("warns of a Wolf that does not describe itself, and gets sessions all the same", async () => {
    const wolf = await startWolfEmulator({ listen: { unixSocket: socketPath }, generation: "none" });
    expect(await find("D16")).toBe(
      "warning: it lists its lobbies, but does not say what else it can do (/api/v1/openapi-schema)",
    );
    await wolf.close();
  });

  it.each([
    [200, "{", /^ok: .* answers \(status 200, a long reply that came broken\)$/],
    [200, "", /^failed: /],
    [500, "{", /^failed: /],
  ])(
    "takes the beginning of a 200 for life: status %i, then %j, then nothing",
    async (status, body, said) => {
      const server = createServer((request) =>
        request.socket.end(`HTTP/1.0 ${status} OK\r\nContent-Length: 100\r\n\r\n${body}`),
      );
      await new Promise<void>((resolve) => server.listen(socketPath, resolve));
      expect(await find("D15")).toMatch(said);
      await new Promise((resolve) => server.close(resolve));
    },
  );

  it("fails where nobody answers", async () => {
    expect(await find("D15")).toMatch(/^failed: .*ENOENT/);
  });

  it.each([
    ['{"paths":{"/api/v1/apps":{}}}', 200, /^failed: .* something else than lobbies/],
    ["<html>", 200, /^failed: .* something else than lobbies/],
    ["null", 200, /^failed: .* something else than lobbies/],
    ["{}", 404, /^failed: .* status 404/],
  ])("fails at what is no Wolf: %s", async (body, status, text) => {
    const server = await serving(body, status);
    expect(await find("D16")).toMatch(text);
    await new Promise((resolve) => server.close(resolve));
  });
});

describe("the doctor's look at the host", () => {
  it("tells a missing GPU, another GPU and a missing render node apart", async () => {
    const config = aConfig({ gpuType: "nvidia" });
    expect(await find("D17")).toBe("warning: none was found");
    expect(await find("D17", { config: { ...config, gpuType: "none" } })).toBe("ok: none, as configured");
    expect(await find("D17", { config, detectGpu: () => "amd" })).toBe(
      "failed: --gpu-type is nvidia, found: amd",
    );
    mkdirSync(path.join(folder, "dri"));
    expect(await find("D17", { config, detectGpu: () => "nvidia" })).toMatch(
      /^failed: .*has no render node$/,
    );
    writeFileSync(path.join(folder, "dri", "renderD128"), "");
    expect(await find("D17", { config, detectGpu: () => "nvidia" })).toBe("ok: nvidia, renderD128");
  });

  it("does not fail in the agent's own container, which has no device of the card", async () => {
    const config = aConfig({ gpuType: "nvidia" });
    expect(await find("D17", { config, detectGpu: () => "nvidia" })).toBe(
      `warning: nvidia; ${folder}/dri is not in this container: Wolf needs it, the agent does not`,
    );
  });

  const thresholds = { warningPercent: 85, criticalPercent: 95, freeBytesMin: 0 };
  /** A disk of 100 GiB, of which root keeps `kept`. */
  const full = (used: number, kept = 0) => ({
    list: () => ["/"],
    stat: async () => ({
      bsize: BigInt(GIB),
      blocks: 100n,
      bfree: BigInt(100 - used),
      bavail: BigInt(100 - used - kept),
    }),
  });

  it.each([
    [84, thresholds, "ok: / ok, 84 % used, 16.0 GiB free"],
    [85, thresholds, "warning: / warning, 85 % used, 15.0 GiB free"],
    [94, thresholds, "warning: / warning, 94 % used, 6.0 GiB free"],
    [95, thresholds, "failed: / critical, 95 % used, 5.0 GiB free"],
    [50, { ...thresholds, warningPercent: 50 }, "warning: / warning, 50 % used, 50.0 GiB free"],
    [
      60,
      { ...thresholds, warningPercent: 50, criticalPercent: 60 },
      "failed: / critical, 60 % used, 40.0 GiB free",
    ],
    [91, { ...thresholds, freeBytesMin: 100 * GIB }, "failed: / critical, 91 % used, 9.0 GiB free"],
  ])(
    "judges a disk of which %i %% are used as the agent would with %j",
    async (used, diskThresholds, text) => {
      expect(await find("D18", { config: aConfig({ diskThresholds }), disks: full(used) })).toBe(text);
    },
  );

  it("counts a disk of which programs can use nothing as full", async () => {
    const config = aConfig({ diskThresholds: thresholds });
    expect(await find("D18", { config, disks: full(0, 100) })).toBe(
      "failed: / critical, 100 % used, 0.0 GiB free",
    );
  });

  it("looks at the mounts of --disk only, and warns of one that cannot be read", async () => {
    const gone = path.join(folder, "gone");
    expect(await find("D18", { config: aConfig({ disks: [folder] }) })).toMatch(
      new RegExp(`^\\w+: ${folder} \\w+, \\d+ % used, [\\d.]+ GiB free$`),
    );
    expect(await find("D18", { config: aConfig({ disks: [gone] }) })).toBe(
      `warning: ${gone} cannot be read (ENOENT)`,
    );
    const { stat } = full(96);
    const both = (mount: string) =>
      mount === gone ? Promise.reject(Object.assign(new Error(), { code: "EIO" })) : stat();
    expect(await find("D18", { config: aConfig({ disks: ["/", gone] }), disks: { stat: both } })).toBe(
      `failed: / critical, 96 % used, 4.0 GiB free; ${gone} cannot be read (EIO)`,
    );
  });

  it("warns of a disk that does not answer, without waiting for it", async () => {
    const stat = (mount: string) => (mount === "/dead" ? new Promise<never>(() => {}) : full(10).stat());
    const clock: Clock = {
      now: () => 0,
      setTimer(_ms, run) {
        const soon = setImmediate(run);
        return { cancel: () => clearImmediate(soon) };
      },
    };
    expect(await find("D18", { disks: { list: () => ["/", "/dead"], stat, clock } })).toBe(
      "warning: / ok, 10 % used, 90.0 GiB free; /dead cannot be read (no answer within 3 s)",
    );
  });

  it("warns where no disk is visible", async () => {
    expect(await find("D18", { disks: { list: () => [] } })).toMatch(/^warning: no local disk is visible/);
  });
});
