/** `npm run bench -- guard`: what the guard costs the agent, per small GET and per lobby creation. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { acceptTunnel, type Tunnel, tunnelFetch, webSocketServerOptions } from "revdial";
import { WebSocketServer } from "ws";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

/** Over pairs of neighbours in time: how much of it is the machine's noise. */
interface Quartiles {
  lower: number;
  median: number;
  upper: number;
}

export interface GuardResult {
  rounds: number;
  /**
   * CPU of the agent's process, µs per request: lower quartiles, since whatever else the machine does only adds. Verdicts
   * are taken from these.
   */
  get: { bare: number; guarded: number; ratio: number; pairs: Quartiles };
  /** The same of a full host's 12 lobbies, 6 KB of JSON that are read; nothing is demanded of it. */
  list: { bare: number; guarded: number; ratio: number; pairs: Quartiles };
  create: { bare: number; guarded: number; addedMicros: number; pairs: Quartiles };
}

const AT_ONCE = 8;
/** A round is so many short pairs: what the machine does meanwhile seldom lasts as short as one half of a pair. */
const PAIRS_PER_ROUND = 16;
const lobby = {
  profile_id: "user",
  name: "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  multi_user: true,
  stop_when_everyone_leaves: false,
  video_settings: {
    width: 1920,
    height: 1080,
    refresh_rate: 60,
    wayland_render_node: "/dev/dri/renderD128",
    runner_render_node: "/dev/dri/renderD128",
    video_producer_buffer_caps: "video/x-raw",
  },
  audio_settings: { channel_count: 2 },
  runner_state_folder: "wolfpack/ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  runner: {
    type: "docker",
    name: "wolfpack",
    image: "ghcr.io/games-on-whales/xfce:edge",
    mounts: [],
    env: [
      "WOLFPACK_SESSION_ID=ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
      "GOW_REQUIRED_DEVICES=/dev/input/* /dev/dri/*",
    ],
    devices: ["/dev/dri/renderD128:/dev/dri/renderD128:mrw"],
    ports: [],
  },
};

let homes = 0;
/** With a home of its own: the guard gives none out twice. */
const newLobby = () =>
  JSON.stringify({ ...lobby, runner_state_folder: `wolfpack/ses_${String(++homes).padStart(26, "0")}` });

type Kind = "get" | "list" | "create";
const ask = (tunnel: Tunnel, kind: Kind) =>
  kind === "create"
    ? tunnelFetch(tunnel, "wolf")("http://wolf/api/v1/lobbies/create", { method: "POST", body: newLobby() })
    : tunnelFetch(tunnel, "wolf")("http://wolf/api/v1/lobbies");

/** CPU of the agent per request, µs. */
async function measure(agent: BenchProcess, tunnel: Tunnel, kind: Kind, requests: number): Promise<number> {
  const before = await agent.usage();
  let left = requests;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const reply = await ask(tunnel, kind);
      if (reply.status !== 200) throw new Error(`a ${kind} was answered with ${reply.status}`);
      await reply.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return ((await agent.usage()).cpuMicros - before.cpuMicros) / requests;
}

type Pair = [bare: number, guarded: number];
type Lanes = readonly [bare: Lane, guarded: Lane];
interface Lane {
  agent: BenchProcess;
  tunnel: Tunnel;
}

async function measurePairs(lanes: Lanes, kind: Kind, requests: number): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (const { agent, tunnel } of lanes) await measure(agent, tunnel, kind, requests * 5);
  for (let at = 0; at < PAIRS_PER_ROUND; at += 1) {
    const pair: Pair = [0, 0];
    // Each is first in every other pair.
    for (const lane of at % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const))
      pair[lane] = await measure(lanes[lane].agent, lanes[lane].tunnel, kind, requests);
    pairs.push(pair);
  }
  return pairs;
}

function quartiles(values: readonly number[]): Quartiles {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return { lower: median(sorted.slice(0, half)), median: median(sorted), upper: median(sorted.slice(-half)) };
}

function resultOf(rounds: number, pairs: Record<Kind, Pair[]>): GuardResult {
  const of = (kind: Kind, combine: (bare: number, guarded: number) => number) => {
    const bare = quartiles(pairs[kind].map(([time]) => time)).lower;
    const guarded = quartiles(pairs[kind].map(([, time]) => time)).lower;
    return {
      bare,
      guarded,
      added: combine(bare, guarded),
      pairs: quartiles(pairs[kind].map((pair) => combine(...pair))),
    };
  };
  const ratioOf = (kind: Kind) => {
    const { added: ratio, ...times } = of(kind, (bare, guarded) => guarded / bare);
    return { ...times, ratio };
  };
  const { added: addedMicros, ...create } = of("create", (bare, guarded) => guarded - bare);
  return { rounds, get: ratioOf("get"), list: ratioOf("list"), create: { ...create, addedMicros } };
}

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchGuard(
  { rounds, quick }: { rounds: number; quick: boolean },
  stopped: Promise<never>,
): Promise<GuardResult> {
  const requests = quick ? 50 : 400;
  const accepted: ((tunnel: Tunnel) => void)[] = [];
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  const server = createServer().on("upgrade", (request, socket, head) => {
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      const tunnel = acceptTunnel(webSocket);
      void tunnel.ready.then(() => accepted.shift()?.(tunnel));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const tunnelPort = (server.address() as AddressInfo).port;
  const folder = mkdtempSync(path.join(tmpdir(), "bench-"));
  const socketPath = path.join(folder, "wolf.sock");
  const wolf = await BenchProcess.start("wolf", "guard-wolf");
  const agents: BenchProcess[] = [];
  const lane = async (guarded: boolean) => {
    const agent = await BenchProcess.start(guarded ? "guarded agent" : "bare agent", "guard-agent");
    agents.push(agent);
    const tunnel = new Promise<Tunnel>((resolve) => accepted.push(resolve));
    await agent.call("dial", { wolf: socketPath, tunnel: tunnelPort, guarded });
    return { agent, tunnel: await tunnel };
  };
  try {
    await wolf.call("listen", socketPath);
    const pairs: Record<Kind, Pair[]> = { get: [], create: [], list: [] };
    for (let round = 0; round < rounds; round += 1) {
      // Two processes of the same program differ for as long as they live, by more than the guard costs.
      const lanes: Lanes = [await lane(false), await lane(true)];
      for (const kind of ["get", "create", "list"] as const) {
        await wolf.call("fill", kind === "list");
        pairs[kind].push(...(await Promise.race([measurePairs(lanes, kind, requests), stopped])));
      }
      await Promise.all(lanes.map(({ agent }) => agent.stop()));
    }
    return resultOf(rounds, pairs);
  } finally {
    await Promise.all([wolf, ...agents].map((process) => process.stop()));
    upgrades.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  }
}

export function guardTable({ get, list, create }: GuardResult): string {
  const percent = (ratio: number) => (ratio - 1) * 100;
  const row = (
    name: string,
    { bare, guarded }: { bare: number; guarded: number },
    added: string,
    of: number[],
  ) =>
    [
      name.padEnd(18),
      bare.toFixed(1).padStart(7),
      guarded.toFixed(1).padStart(8),
      added.padStart(9),
      of.map((value) => value.toFixed(1).padStart(6)).join(""),
    ].join(" ");
  const of = ({ lower, median: middle, upper }: Quartiles) => [lower, middle, upper];
  const verdict = (added: number, max: number, unit: string) =>
    `  must be less than ${max} ${unit}${added < max ? "" : ": MISSED"}`;
  return [
    "agent's CPU, µs       bare  guarded      more  quartiles of pairs",
    row("small GET", get, `${percent(get.ratio).toFixed(1)} %`, of(get.pairs).map(percent)),
    verdict(percent(get.ratio), 10, "%"),
    row("lobby create", create, `${create.addedMicros.toFixed(1)} µs`, of(create.pairs)),
    verdict(create.addedMicros, 50, "µs"),
    row("list of 12 lobbies", list, `${percent(list.ratio).toFixed(1)} %`, of(list.pairs).map(percent)),
    "",
  ].join("\n");
}
