import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { startWolfEmulator } from "@wolfpack/wolf-api/emulator";
import { type HostOptions, hostChecks } from "./host.ts";

let folder: string;
let socketPath: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "dh-"));
  socketPath = path.join(folder, "wolf.sock");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function find(code: string, change: Partial<HostOptions> = {}): Promise<string> {
  const checks = hostChecks({
    config: { wolf: { socketPath }, gpuType: undefined },
    timeoutMs: 2000,
    detectGpu: () => "none",
    dri: path.join(folder, "dri"),
    folders: [folder, path.join(folder, "missing")],
    usedPercent: () => 50,
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
  it("knows a Wolf by its routes", async () => {
    const wolf = await startWolfEmulator({ listen: { unixSocket: socketPath }, stateFolder: folder });
    expect(await find("D15")).toBe(`ok: ${socketPath} answers (status 200)`);
    expect(await find("D16")).toMatch(/^ok: generation [0-9a-f]{8}, \d+ routes/);
    await wolf.close();
  });

  it("fails where nobody answers", async () => {
    expect(await find("D15")).toMatch(/^failed: .*ENOENT/);
  });

  it.each([
    ['{"paths":{"/api/v1/apps":{}}}', 200, /^failed: generation \w+ lacks \/api\/v1\/lobbies,/],
    ["<html>", 200, /^failed: .* is not JSON/],
    ["null", 200, /^failed: /],
    ["{}", 404, /^failed: .* status 404/],
  ])("fails at what is no Wolf: %s", async (body, status, text) => {
    const server = await serving(body, status);
    expect(await find("D16")).toMatch(text);
    await new Promise((resolve) => server.close(resolve));
  });
});

describe("the doctor's look at the host", () => {
  it("tells a missing GPU, another GPU and a missing render node apart", async () => {
    const config = { wolf: { socketPath }, gpuType: "nvidia" } as const;
    expect(await find("D17")).toBe("warning: none was found");
    expect(await find("D17", { config: { ...config, gpuType: "none" } })).toBe("ok: none, as configured");
    expect(await find("D17", { config, detectGpu: () => "amd" })).toBe(
      "failed: --gpu-type is nvidia, found: amd",
    );
    expect(await find("D17", { config, detectGpu: () => "nvidia" })).toMatch(/has no render node$/);
    mkdirSync(path.join(folder, "dri"));
    writeFileSync(path.join(folder, "dri", "renderD128"), "");
    expect(await find("D17", { config, detectGpu: () => "nvidia" })).toBe("ok: nvidia, renderD128");
  });

  it.each([
    [84, "ok"],
    [85, "warning"],
    [95, "failed"],
  ])("judges a disk that is %i %% full as %s", async (percent, status) => {
    expect(await find("D18", { usedPercent: () => percent })).toBe(`${status}: used: ${folder} ${percent} %`);
  });

  it("measures a real file system", async () => {
    expect(await find("D18", { usedPercent: undefined as never })).toMatch(/^\w+: used: .* \d+ %$/);
  });
});
