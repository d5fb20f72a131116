/** The bundled agent's health listener, `status`, systemd's words and the hand-over, as processes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { tunnelFetch } from "revdial";
import type { Clock } from "../src/clock.ts";
import { createCondition } from "../src/condition.ts";
import { serveHealth } from "../src/health.ts";
import { createLogger } from "../src/logger.ts";
import { type AgentProcess, bundle, startAgent } from "./agent-process.ts";
import { type FakeControlPlane, fakeControlPlane } from "./control-plane.ts";

let folder: string;
let plane: FakeControlPlane;
let wolf: WolfEmulator;
let agents: AgentProcess[];
let health: string;

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "ah-"));
  plane = await fakeControlPlane();
  wolf = await startWolfEmulator({
    listen: { unixSocket: path.join(folder, "wolf.sock") },
    stateFolder: folder,
  });
  agents = [];
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  health = `127.0.0.1:${(probe.address() as AddressInfo).port}`;
  await new Promise((resolve) => probe.close(resolve));
});

afterEach(async () => {
  for (const { process: child } of agents) child.kill("SIGKILL");
  await Promise.all(agents.map(({ exit }) => exit));
  await plane.stop();
  await wolf.close();
  rmSync(folder, { recursive: true, force: true });
});

function agent(flags: readonly string[] = [], env: Record<string, string> = {}): AgentProcess {
  const started = startAgent({ apiUrl: plane.url, wolfSocket: `${folder}/wolf.sock`, flags, env });
  agents.push(started);
  return started;
}

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [bundle, ...argv], { env: { PATH: process.env.PATH ?? "" } });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const [code] = (await once(child, "close")) as [number];
  return { code, out, err };
}

describe("the health listener", () => {
  it("counts what strangers make up under the names that it knows", async () => {
    agent(["--health-listen", health]);
    const tunnel = await plane.nextTunnel();
    for (let number = 0; number < 300; number += 1) {
      const service = ["wolf", "screen", `made-up-${number}`][number % 3] ?? "";
      const method = number % 2 === 0 ? "GET" : `MADE${number}`;
      await tunnelFetch(tunnel, service)(`/made-up-${number}`, { method }).catch(() => undefined);
    }
    const series = (await (await fetch(`http://${health}/metrics`)).text())
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    expect(series.filter((line) => /made/i.test(line))).toEqual([]);
    expect(series.length).toBeLessThan(200);
    // A counter that takes a caller's word for a label has one series for each of them.
    const naive = new Set(Array.from({ length: 300 }, (_, number) => `refusals{path="/made-up-${number}"}`));
    expect(naive.size).toBe(300);
  });

  it("tells living and serving apart, and counts", async () => {
    plane.refuseRegistration = 503;
    const { said } = agent(["--health-listen", health, "--log-level", "debug"]);
    await said(/health listener/);
    const ask = (at: string, init?: RequestInit) => fetch(`http://${health}${at}`, init);
    expect((await ask("/healthz")).status).toBe(200);
    expect((await ask("/readyz")).status).toBe(503);
    expect((await ask("/")).status).toBe(404);
    expect((await ask("/healthz", { method: "POST" })).status).toBe(405);
    expect(await run("status", "--health-listen", health)).toMatchObject({ code: 1 });
    expect(await run("status", "--health-listen", health, "--alive")).toMatchObject({ code: 0 });
    plane.refuseRegistration = undefined;
    const tunnel = await plane.nextTunnel();
    await said(/tunnel up/);
    expect((await ask("/readyz")).status).toBe(200);
    expect((await tunnelFetch(tunnel, "wolf")("/api/v1/nothing")).status).toBe(404);
    const metrics = await (await ask("/metrics")).text();
    expect(metrics).toMatch(/^wolfpack_agent_ready 1$/m);
    expect(metrics).toMatch(/^wolfpack_agent_refusals_total\{code="route-unknown"\} 1$/m);
    const { code, out } = await run("status", "--health-listen", health, "--json");
    expect([code, JSON.parse(out)]).toMatchObject([0, { state: "ready", wolf_id: "wolf-1", alive: true }]);
  });

  it.each([
    ["0.0.0.0:9480", "--health-remote"],
    ["example.com:9480", "--health-remote"],
    ["127.0.0.1", "host:port"],
    ["127.0.0.1:99999", "host:port"],
  ])("is refused at %s, with what to do", async (address, words) => {
    const { exit, output } = agent(["--health-listen", address]);
    expect(await exit).toBe(2);
    expect(output()).toContain("--health-listen (WOLFPACK_HEALTH_LISTEN)");
    expect(output()).toContain(words);
  });

  it("that somebody else keeps is waited for, with one warning after a minute", async () => {
    const other = createServer().listen(Number(health.split(":")[1]), "127.0.0.1");
    await once(other, "listening");
    const lines: string[] = [];
    const stop = new AbortController();
    let waits = 0;
    const clock: Clock = {
      now: () => waits * 1000,
      setTimer(_ms, fire) {
        waits += 1;
        if (waits === 90) stop.abort();
        const timer = setImmediate(fire);
        return { cancel: () => clearImmediate(timer) };
      },
    };
    const condition = createCondition({ wolfId: "w", controlPlane: "cp", version: "1", now: clock.now });
    const log = createLogger("info", { write: (line: string) => void lines.push(line) });
    const listen = { host: "127.0.0.1", port: Number(health.split(":")[1]) };
    await serveHealth({ listen, condition, log, clock, signal: stop.signal });
    await new Promise((resolve) => other.close(resolve));
    expect(lines.map((line) => JSON.parse(line).level)).toEqual([30, 40]);
  });

  it("that nobody has is said by status with exit code 1, in one line", async () => {
    const { code, out, err } = await run("status", "--health-listen", health);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(/^No agent answers at 127\.0\.0\.1:\d+: .*ECONNREFUSED.*\n$/);
    expect(await run("status")).toMatchObject({ code: 2 });
  });

  it("is asked by status on a port that browsers never ask, too", async () => {
    // An address of its own in 127.0.0.0/8, so that nobody else has the port there.
    const odd = `127.${1 + (process.pid % 250)}.${1 + (Math.floor(process.pid / 250) % 250)}.1:6000`;
    agent(["--health-listen", odd]);
    await plane.notice((type) => type === "heartbeat");
    expect(await run("status", "--health-listen", odd, "--alive")).toMatchObject({ code: 0, err: "" });
  });
});

describe("the agent's life on its host", () => {
  it("ends with 0 when a newer agent of this host takes over, which then has Wolf's events alone", async () => {
    const old = agent(["--health-listen", health]);
    await plane.nextTunnel();
    await old.said(/subscribed to Wolf/);
    const young = agent(["--health-listen", health]);
    // The fake control plane does as the real one: the newer tunnel replaces the older.
    const first = plane.tunnels[0];
    await plane.nextTunnel();
    await young.said(/tunnel up/);
    void first?.close({ code: "REPLACED", reason: "replaced" });
    expect(await old.exit).toBe(0);
    expect(old.output()).toContain("a newer agent of this host took over");
    expect(old.output()).not.toContain("is --wolf-id used twice");
    await young.said(/subscribed to Wolf/);
    // Nothing of an upgrade is to be looked after.
    expect(young.output()).toContain("waits for the health listener's address");
    expect(young.output()).not.toContain('"level":40');
    expect((await run("status", "--health-listen", health, "--json")).code).toBeLessThanOrEqual(1);
  });

  it("is followed by one at a time of those that wait when it is killed, and each has the lobbies listed again", async () => {
    const subscriptions = () => wolf.requests.filter((request) => request.path === "/api/v1/events").length;
    const relists = () => plane.notices.filter(({ type }) => type === "relist").length;
    const first = agent();
    await first.said(/subscribed to Wolf/);
    expect(relists()).toBe(0);
    const waiting = [agent(), agent()];
    await Promise.all(waiting.map(({ said }) => said(/waits for Wolf's events/)));
    await Promise.all(waiting.map(({ said }) => said(/tunnel up/)));
    for (let holder = first, had = 1; waiting.length > 0; had += 1) {
      holder.process.kill("SIGKILL");
      await holder.exit;
      holder = await Promise.race(waiting.map((one) => one.said(/subscribed to Wolf/).then(() => one)));
      waiting.splice(waiting.indexOf(holder), 1);
      await plane.notice(() => relists() === had);
      expect(subscriptions()).toBe(had + 1);
    }
  });

  it("does not begin beside one of the same Wolf with another name, and begins when that one has ended", async () => {
    const old = agent(["--wolf-id", "old-name"]);
    await old.said(/tunnel up/);
    const early = agent(["--wolf-id", "new-name"]);
    expect(await early.exit).toBe(2);
    expect(early.output()).toMatch(
      /^--wolf-id \(WOLF_ID\) is new-name, but an agent of this host serves the same Wolf as old-name: .*\nusage/,
    );
    expect(plane.registrations).toMatchObject([{ name: "old-name" }]);
    old.process.kill("SIGTERM");
    expect(await old.exit).toBe(0);
    const renamed = agent(["--wolf-id", "new-name"]);
    await renamed.said(/subscribed to Wolf/);
    expect(renamed.output()).not.toContain("waits for");
  });

  it("goes on, with a warning, when an agent of another host takes its name", async () => {
    const { said, process: child } = agent();
    const tunnel = await plane.nextTunnel();
    await said(/tunnel up/);
    void tunnel.close({ code: "REPLACED", reason: "replaced" });
    await said(/is --wolf-id used twice/);
    await plane.nextTunnel();
    expect(child.exitCode).toBeNull();
  });

  it("does not begin in a state directory that was given and cannot be used", async () => {
    writeFileSync(path.join(folder, "file"), "");
    const { exit, output } = agent(["--state-dir", path.join(folder, "file")]);
    expect(await exit).toBe(2);
    expect(output()).toMatch(/--state-dir \(WOLFPACK_STATE_DIR, STATE_DIRECTORY\): .*file cannot be used/);
    // Node's own way through missing folders never ends there.
    const endless = agent(["--state-dir", "/proc/nowhere"]);
    expect(await endless.exit).toBe(2);
  });

  it("is told to systemd by systemd-notify: ready with the tunnel, stopping at the end", async () => {
    const told = path.join(folder, "told");
    writeFileSync(told, "");
    const notify = path.join(folder, "systemd-notify");
    writeFileSync(notify, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> "${told}"\n`);
    chmodSync(notify, 0o755);
    const env = { PATH: `${folder}:${process.env.PATH}`, NOTIFY_SOCKET: "@here", WATCHDOG_USEC: "200000" };
    plane.refuseRegistration = 503;
    const { process: child, exit, said } = agent([], env);
    await said(/next try/);
    expect(readFileSync(told, "utf8")).not.toContain("READY=1");
    plane.refuseRegistration = undefined;
    await plane.nextTunnel();
    const looked = async (what: RegExp) => {
      while (!what.test(readFileSync(told, "utf8"))) await new Promise((resolve) => setImmediate(resolve));
    };
    await looked(/^@here READY=1 .*WATCHDOG=1$/m);
    await looked(/^@here WATCHDOG=1$/m);
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
    expect(readFileSync(told, "utf8")).toContain("STOPPING=1");
  });
});
