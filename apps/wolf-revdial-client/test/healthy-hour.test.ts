/** The whole agent in this process beside an emulated Wolf, for an hour of its clock: what it writes while all is well. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { wolfClient } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { tunnelFetch } from "revdial";
import { ManualClock } from "revdial/testing";
import { runAgent } from "../src/agent.ts";
import { createCondition } from "../src/condition.ts";
import { readConfig } from "../src/config.ts";
import { createLogger } from "../src/logger.ts";
import { createMetrics } from "../src/metrics.ts";
import { AgentKeys } from "./agent-keys.ts";
import { type FakeControlPlane, fakeControlPlane, TOKEN } from "./control-plane.ts";
import { lobby } from "./lobby.ts";

const HOUR_S = 3600;
const PING_S = 5;
/** pino's number of info; debug is below. */
const INFO = 30;

let folder: string;
let plane: FakeControlPlane;
let wolf: WolfEmulator;
let stop: AbortController;
let run: Promise<void>;

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "hh-"));
  plane = await fakeControlPlane(0, new AgentKeys(TOKEN));
  wolf = await startWolfEmulator({
    listen: { unixSocket: path.join(folder, "wolf.sock") },
    containerStartDelayMs: 0,
  });
  stop = new AbortController();
});

afterEach(async () => {
  stop.abort();
  await run;
  await plane.stop();
  await wolf.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What is due now runs while the promise is waited for; time stands still. */
async function meanwhile<Value>(clock: ManualClock, promise: Promise<Value>): Promise<Value> {
  let settled = false;
  const settle = () => {
    settled = true;
  };
  void promise.then(settle, settle);
  while (!settled) await clock.advance(0);
  return promise;
}

it("an agent writes a handful of lines in an hour of health, and every beat, event and request only at debug", async () => {
  const lines: { level: number; msg: string; type?: string; path?: string }[] = [];
  const clock = new ManualClock();
  const condition = createCondition({
    wolfId: "wolf-1",
    controlPlane: "plane",
    version: "0.1.0",
    now: () => clock.now(),
  });
  const flags = { apiUrl: plane.url, wolfId: "wolf-1", local: `unix://${folder}/wolf.sock`, gpuType: "none" };
  run = runAgent(readConfig({ flags, env: { RUNNER_TOKEN: TOKEN } }), {
    log: createLogger("debug", { write: (line) => void lines.push(JSON.parse(line)) }),
    random: () => 0,
    clock,
    version: "0.1.0",
    host: { folder, incarnation: 1, seat: undefined },
    condition,
    metrics: createMetrics(),
    path: folder,
    signal: stop.signal,
  });
  const tunnel = await meanwhile(clock, plane.nextTunnel());
  const api = wolfClient({ fetch: tunnelFetch(tunnel, "wolf") });
  const told = (event: string, lobbyId: string) =>
    plane.notice(
      (type, { event: name, data }) =>
        type === "wolf-event" && String(name).endsWith(event) && JSON.stringify(data).includes(lobbyId),
    );
  let homes = 0;
  async function session(): Promise<void> {
    const { lobby_id } = await api.createLobby({ ...lobby, runner_state_folder: `wolfpack/a${++homes}` });
    await told("DockerContainerCreated", lobby_id);
    await api.stopLobby({ lobby_id });
    await told("DockerContainerStopped", lobby_id);
    await api.listLobbies();
  }
  await meanwhile(
    clock,
    plane.notice((type) => type === "capabilities"),
  );
  const beats = () => lines.filter(({ type }) => type === "heartbeat").length;
  for (let second = 0; second < HOUR_S; second += PING_S) {
    const { pingsAnswered } = condition.totals();
    await clock.advance(PING_S * 1000);
    // The next ping goes when the last was answered, however slow the machine is.
    while (condition.totals().pingsAnswered === pingsAnswered) await clock.advance(0);
    // Wolf's answers take time, of which this clock knows nothing: without them it would be slow.
    while (beats() <= Math.floor((second + PING_S) / 10)) await clock.advance(0);
    if (second % 60 === 0) await meanwhile(clock, session());
  }
  const messages = (above: boolean) => lines.filter(({ level }) => level >= INFO === above);
  expect(new Set(messages(true).map(({ msg }) => msg))).toEqual(
    new Set(["enrolled", "tunnel up", "subscribed to Wolf's events", "Wolf's capabilities"]),
  );
  expect(messages(true)).toHaveLength(4);
  const notices = (type: string) => messages(false).filter((line) => line.type === type).length;
  expect(notices("heartbeat")).toBeGreaterThanOrEqual(HOUR_S / 10);
  expect(notices("wolf-event")).toBeGreaterThanOrEqual((4 * HOUR_S) / 60);
  expect(messages(false).filter(({ msg }) => msg === "served")).toHaveLength((3 * HOUR_S) / 60);
}, 60_000);
