import { describe, expect, it } from "@jest/globals";
import { importRules, violations } from "./import-rules.ts";
import { importsOf, projectFiles, read, workspaces } from "./workspaces.ts";

describe("the import rules", () => {
  it("name every workspace, and no other", () => {
    expect(
      workspaces()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(Object.keys(importRules).sort());
  });

  it.each(workspaces().map(({ name, folder }) => [name, folder]))("hold in %s", (name, folder) => {
    const sources = projectFiles().filter(
      (file) => file.startsWith(`${folder}/src/`) && /\.tsx?$/.test(file) && !file.endsWith(".test.ts"),
    );
    expect(sources.length).toBeGreaterThan(0);
    expect(sources.flatMap((file) => violations(name, file.slice(folder.length + 1), read(file)))).toEqual(
      [],
    );
  });

  it.each([
    ["revdial", "src/core.ts", 'import { WebSocket } from "ws";'],
    ["revdial", "src/core.ts", 'import type { Session } from "@wolfpack/api-contract";'],
    ["revdial", "src/core.ts", 'import { setTimeout } from "node:timers";'],
    ["api-contract", "src/schemas.ts", 'import { readFileSync } from "node:fs";'],
    ["api-contract", "src/schemas.ts", 'const fs = await import("fs");'],
    ["wolf-api", "src/client.ts", 'import http from "node:http";'],
    ["wolf-api", "src/client.ts", 'export { acceptTunnel } from "revdial";'],
    [
      "control-plane",
      "src/sessions/session-service.ts",
      'import { PrismaClient } from "../generated/client.ts";',
    ],
    ["control-plane", "src/app.ts", 'import { PrismaPg } from "@prisma/adapter-pg";'],
    ["control-plane", "src/app.ts", 'import { startWolfEmulator } from "@wolfpack/wolf-api/emulator";'],
    ["control-plane", "src/app.ts", 'type S = import("lodash").LoDashStatic;'],
    ["control-plane", "src/app.ts", 'import { runAgent } from "@wolfpack/wolf-revdial-client";'],
    ["wolf-revdial-client", "src/agent.ts", 'import { Command } from "commander";'],
    ["wolf-revdial-client", "src/agent.ts", 'import express from "express";'],
    ["wolf-revdial-client", "src/agent.ts", 'export * from "../../control-plane/src/app.ts";'],
    ["wolfctl", "src/views/wolf-view.ts", 'import { Command } from "commander";'],
    ["wolfctl", "src/connection.ts", 'import { dialTunnel } from "revdial";'],
    ["control-plane", "src/placement/desk.ts", 'import { Histogram } from "prom-client";'],
    ["control-plane", "src/placement/desk.ts", 'import { createMetrics } from "../metrics/metrics.ts";'],
    ["control-plane", "src/http/api.ts", 'import { traced } from "@wolfpack/telemetry";'],
    ["telemetry", "src/tracing-settings.ts", 'import { trace } from "@opentelemetry/api";'],
    ["telemetry", "src/index.ts", 'export { startOtlpTracing } from "./otlp.ts";'],
    ["dashboard", "src/pages/wolf/gpus.tsx", 'import UPlot from "uplot"; export const a = <p>b</p>;'],
    ["dashboard", "src/api/client.ts", 'import { readFileSync } from "node:fs";'],
    ["wolfctl", "src/cli.ts", 'import { calls } from "virtual:contract";'],
    ["unknown", "src/a.ts", ""],
  ])("catch a planted violation in %s (%s: %s)", (workspace, file, source) => {
    expect(violations(workspace, file, source)).not.toEqual([]);
  });

  it("see every way to import", () => {
    const source =
      'import a from "a"; import type { B } from "b"; export * from "c"; export { d } from "d"; const e = await import("e"); type F = import("f").F; import "g";';
    expect(importsOf(source).sort()).toEqual(["a", "b", "c", "d", "e", "f", "g"]);
  });
});

describe("every workspace", () => {
  it.each(workspaces().map((workspace) => [workspace.name, workspace] as const))(
    "%s has build, typecheck and test scripts and a jest configuration",
    (_name, { folder, manifest }) => {
      expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(["build", "typecheck", "test"]));
      expect(manifest.scripts.test).toBe("node ../../scripts/jest.mjs");
      expect(projectFiles()).toEqual(
        expect.arrayContaining([`${folder}/jest.config.mjs`, `${folder}/tsconfig.json`]),
      );
    },
  );

  it.each(workspaces().map((workspace) => [workspace.name, workspace] as const))(
    "%s pins what it depends on",
    (_name, { manifest }) => {
      for (const [dependency, version] of Object.entries({
        ...manifest.dependencies,
        ...manifest.devDependencies,
      })) {
        expect({ dependency, version }).toEqual({
          dependency,
          version: expect.stringMatching(/^(workspace:\*|\d+\.\d+\.\d+(-[\w.-]+)?)$/),
        });
      }
    },
  );
});
