/** The whole agent in this process, and its key's life by a clock that is moved by hand. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { wolfClient } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { type Tunnel, tunnelFetch } from "revdial";
import { ManualClock } from "revdial/testing";
import { runAgent } from "../src/agent.ts";
import { createCondition } from "../src/condition.ts";
import { readConfig } from "../src/config.ts";
import { renewalTimes } from "../src/identity/renewal.ts";
import { createLogger } from "../src/logger.ts";
import { createMetrics } from "../src/metrics.ts";
import { AgentKeys, aJoinToken } from "./agent-keys.ts";
import { type FakeControlPlane, fakeControlPlane, TOKEN } from "./control-plane.ts";

const BEGIN_MS = Date.parse("2026-11-26T12:00:00Z");
const STEP_MS = 5000;
const MINUTE_MS = 60_000;

let folder: string;
let clock: ManualClock;
let keys: AgentKeys;
let plane: FakeControlPlane;
let wolf: WolfEmulator;
let stop: AbortController;
let run: Promise<void>;
let lines: { level: number; msg: string; reason?: string }[];
let condition: ReturnType<typeof createCondition>;

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "ar-"));
  clock = new ManualClock();
  keys = new AgentKeys(TOKEN);
  keys.now = () => BEGIN_MS + clock.now();
  keys.lifeMs = 20 * MINUTE_MS;
  plane = await fakeControlPlane(0, keys);
  wolf = await startWolfEmulator({ listen: { unixSocket: path.join(folder, "wolf.sock") } });
  lines = [];
  start();
});

afterEach(async () => {
  stop.abort();
  await settled(run);
  await plane.stop();
  await wolf.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(): void {
  stop = new AbortController();
  const joinToken = aJoinToken();
  keys.joinTokens.set(joinToken, 1);
  const now = () => clock.now();
  condition = createCondition({ wolfId: "wolf-1", controlPlane: "plane", version: "0.1.0", now });
  const flags = { apiUrl: plane.url, wolfId: "wolf-1", local: `unix://${folder}/wolf.sock`, gpuType: "none" };
  run = runAgent(readConfig({ flags, env: { JOIN_TOKEN: joinToken } }), {
    log: createLogger("debug", { write: (line) => void lines.push(JSON.parse(line)) }),
    random: () => 0,
    clock,
    wallClock: keys.now,
    version: "0.1.0",
    host: { folder, incarnation: 1, seat: undefined },
    condition,
    metrics: createMetrics(),
    path: folder,
    signal: stop.signal,
  });
}

/** What is due now runs while the promise is waited for; time stands still. */
async function settled<Value>(promise: Promise<Value>): Promise<Value> {
  let over = false;
  const settle = () => {
    over = true;
  };
  void promise.then(settle, settle);
  while (!over) await clock.advance(0);
  return promise;
}

/** In steps in which pings are answered, until it is so. */
async function until(done: () => boolean, withinMs = 30 * MINUTE_MS): Promise<void> {
  for (const end = clock.now() + withinMs; !done(); ) {
    if (clock.now() >= end) throw new Error(`not within ${withinMs} ms: ${done}`);
    const { pingsAnswered } = condition.totals();
    await clock.advance(STEP_MS);
    while (condition.totals().pingsAnswered === pingsAnswered) await clock.advance(0);
    // Whatever a question to the fake takes.
    for (let turn = 0; turn < 20 && !done(); turn += 1) await clock.advance(0);
  }
}

const file = () => JSON.parse(readFileSync(path.join(folder, "agent-key.json"), "utf8"));
const lobbies = (tunnel: Tunnel) => wolfClient({ fetch: tunnelFetch(tunnel, "wolf") }).listLobbies();
const said = (msg: RegExp) => lines.filter((line) => msg.test(line.msg));

describe("the renewal of the agent's key", () => {
  it("comes at half of its life, through its own tunnel, and is followed by a tunnel of the new key", async () => {
    const old = await settled(plane.nextTunnel());
    const [first] = keys.keys;
    await until(() => keys.renewals === 1);
    expect(clock.now()).toBeGreaterThanOrEqual(10 * MINUTE_MS);
    expect(clock.now()).toBeLessThan(12 * MINUTE_MS);
    await until(() => said(/key renewed/).length === 1);
    const [, second] = keys.keys;
    // Both, until the new one has opened a tunnel.
    expect(file()).toMatchObject({ key: { id: second?.id }, previous: { id: first?.id } });
    await until(() => plane.tunnels.length === 2);
    const young = await settled(plane.nextTunnel());
    expect(keys.admitted.map(({ keyId }) => keyId)).toEqual([first?.id, second?.id]);
    expect(old.draining).toBe(false);
    void old.close({ code: "REPLACED" });
    await until(() => said(/moved to a tunnel of the new key/).length === 1);
    expect(await settled(lobbies(young))).toEqual([]);
    expect(file()).toMatchObject({ key: { id: second?.id }, previous: null });
    expect(said(/another agent|took over|tunnel down/)).toEqual([]);
    await until(() => keys.renewals === 2);
    expect(keys.enrolments).toHaveLength(1);
  }, 60_000);

  it("that fails keeps the key, is tried again, and is a warning in the last quarter of its life", async () => {
    await settled(plane.nextTunnel());
    keys.refuseRenewal = {
      status: 503,
      json: { code: "database-unavailable", detail: "PostgreSQL cannot be reached." },
    };
    await until(() => said(/could not be renewed/).length > 0, 12 * MINUTE_MS);
    expect(said(/could not be renewed/)[0]).toMatchObject({
      level: 30,
      reason: expect.stringContaining("status 503 (database-unavailable: PostgreSQL cannot be reached.)"),
    });
    const before = file();
    await until(() => said(/leaves the fleet/).length > 0, 8 * MINUTE_MS);
    expect(clock.now()).toBeGreaterThanOrEqual(15 * MINUTE_MS);
    expect(said(/leaves the fleet/)[0]).toMatchObject({ level: 40 });
    expect(file()).toEqual(before);
    expect(before).toMatchObject({ key: { id: keys.keys[0]?.id }, previous: null });
    keys.refuseRenewal = undefined;
    await until(() => said(/key renewed/).length === 1);
    expect(file().key.id).toBe(keys.keys[1]?.id);
  }, 60_000);

  it("is never in a line with a private key", async () => {
    await settled(plane.nextTunnel());
    await until(() => said(/key renewed/).length === 1);
    const { key, previous } = file();
    for (const { private_key } of [key, previous])
      expect(JSON.stringify(lines)).not.toContain(private_key.split("\n")[1]);
  }, 60_000);

  it("is due at a half, and missed at three quarters", () => {
    const life = { issued_at: "2026-11-01T00:00:00Z", expires_at: "2026-11-09T00:00:00Z" };
    const { dueMs, warnMs } = renewalTimes(life);
    expect([new Date(dueMs).toISOString(), new Date(warnMs).toISOString()]).toEqual([
      "2026-11-05T00:00:00.000Z",
      "2026-11-07T00:00:00.000Z",
    ]);
  });
});
