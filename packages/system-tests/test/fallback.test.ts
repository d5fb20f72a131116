/** A fleet behind networks that block WebSockets, as real processes: sessions work over plain HTTP, and moving back costs no request. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { type WolfInstance, WolfpackApiError } from "@wolfpack/api-contract";
import { type BadProxy, type BadProxyModes, badProxy } from "revdial/testing";
import { readPng } from "../src/png-check.ts";
import { Stack } from "../src/stack.ts";

let stack: Stack;
let dataDir: string;
let crashes: string[];
let running: { name: string; proxy: BadProxy } | undefined;
const keys = new Set<string>();

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-fallback-"));
  crashes = [];
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: [],
    env: { WOLFPACK_TUNNEL_LOST_AFTER_SECONDS: "1", WOLFPACK_LOBBY_SETTLE_SECONDS: "1" },
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
}, 90_000);

afterEach(async () => {
  if (running === undefined) return;
  await stack.killAgent(running.name);
  for (const key of running.proxy.keys) keys.add(key);
  await running.proxy.stop();
  running = undefined;
});

afterAll(async () => {
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

const logOf = (name: string) => readFileSync(path.join(stack.logFolder, name), "utf8");
const agentLines = (name: string) =>
  logOf(`${name}.agent.log`)
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { level: number; msg: string; transport?: string; code?: string });
const wolfNamed = async (name: string): Promise<WolfInstance | undefined> =>
  (await stack.client().listWolves({ query: { name } })).body[0];
/** Of the wolf's tunnel; 0 while there is none. */
const epochOf = async (name: string) => (await wolfNamed(name))?.tunnel?.epoch ?? 0;

async function hostBehind(name: string, modes: BadProxyModes): Promise<BadProxy> {
  const proxy = await badProxy(stack.baseUrl, modes);
  running = { name, proxy };
  const apiUrl = new URL(proxy.url).origin;
  await stack.startHost({ name, gpu: "nvidia", maxSandboxes: 10, apiUrl });
  await stack.until(`${name} has a tunnel`, async () => (await epochOf(name)) > 0);
  return proxy;
}

describe("a host behind a network that blocks WebSockets", () => {
  it.each<[string, string, BadProxyModes["upgrade"], string]>([
    ["refuses the upgrade", "refused", { status: 502 }, "DIAL_REFUSED"],
    ["strips the upgrade", "stripped", "strip", "DIAL_REFUSED"],
    ["never answers the upgrade", "hung", "hang", "DIAL_TIMEOUT"],
  ])(
    "serves sessions when a proxy %s",
    async (_what, name, upgrade, code) => {
      const proxy = await hostBehind(name, { upgrade: upgrade ?? "pass" });
      expect(proxy.posts).toBeGreaterThan(0);
      const api = stack.client();
      const { body: session } = await api.createSession({ body: {} });
      expect(session).toMatchObject({ status: "running", wolf_instance_id: (await wolfNamed(name))?.id });
      const params = { id: session.id };
      readPng((await api.getScreenshot({ params })).body);
      await api.setClipboard({ params, body: { text: name } });
      expect((await api.getClipboard({ params })).body).toEqual({ text: name });
      expect((await api.stopSession({ params })).status).toBe(204);
      expect(agentLines(name).filter(({ level }) => level >= 40)).toMatchObject([
        { level: 40, code, msg: expect.stringContaining("falling back to plain HTTP") },
      ]);
    },
    60_000,
  );

  it("moves back when the upgrade gets through, and of the requests meanwhile none fails", async () => {
    const proxy = await hostBehind("mover", { upgrade: { status: 403 } });
    const api = stack.client();
    const { body: session } = await api.createSession({ body: {} });
    const params = { id: session.id };
    const failures: string[] = [];
    let answered = 0;
    let over = false;
    const note = (error: unknown) =>
      failures.push(error instanceof WolfpackApiError ? `${error.status} ${error.message}` : String(error));
    const load = [
      ...Array.from({ length: 6 }, () => () => api.getScreenshot({ params })),
      () => api.setClipboard({ params, body: { text: "x".repeat(1000) } }),
      async () => {
        const { body: other } = await api.createSession({ body: {} });
        await api.stopSession({ params: { id: other.id } });
      },
    ].map(async (ask) => {
      while (!over) {
        await ask().catch(note);
        answered += 1;
      }
    });
    const before = await epochOf("mover");
    proxy.modes.upgrade = "pass";
    await stack.until("the wolf has a newer tunnel", async () => (await epochOf("mover")) > before);
    const { posts } = proxy;
    const answeredBefore = answered;
    await stack.until("requests go on over the new tunnel", async () => answered > answeredBefore + 100);
    over = true;
    await Promise.all(load);
    expect(failures).toEqual([]);
    // The old tunnel's last words apart, nothing comes by POST any more.
    expect(proxy.posts - posts).toBeLessThan(50);
    expect(agentLines("mover").filter(({ msg }) => msg === "tunnel up")).toMatchObject([
      { transport: "http" },
      { transport: "websocket" },
    ]);
    expect(agentLines("mover").filter(({ level }) => level >= 40)).toHaveLength(1);
    await api.stopSession({ params });
  }, 60_000);

  it("leaves neither token nor tunnel key in any log", () => {
    expect(keys.size).toBe(4);
    const secrets = [
      ...keys,
      readFileSync(path.join(dataDir, "runner-token"), "utf8").trim(),
      stack.adminKey,
    ];
    const logs = readdirSync(stack.logFolder).map(logOf);
    expect(logs.length).toBeGreaterThan(8);
    expect(logs.filter((text) => secrets.some((secret) => text.includes(secret)))).toEqual([]);
  });
});
