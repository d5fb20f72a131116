/** `npm run bench -- guard`: what the guard costs the agent, per small GET and per lobby creation. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { acceptTunnel, type Tunnel, tunnelFetch, webSocketServerOptions } from "revdial";
import { WebSocketServer } from "ws";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

export interface GuardResult {
  rounds: number;
  /** CPU of the agent's process, µs per request; medians of the rounds. */
  get: { bare: number; guarded: number; ratio: number };
  create: { bare: number; guarded: number; addedMicros: number };
}

const AT_ONCE = 8;
const lobby = JSON.stringify({
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
});

type Kind = "get" | "create";
const ask = (tunnel: Tunnel, kind: Kind) =>
  kind === "get"
    ? tunnelFetch(tunnel, "wolf")("http://wolf/api/v1/lobbies")
    : tunnelFetch(tunnel, "wolf")("http://wolf/api/v1/lobbies/create", { method: "POST", body: lobby });

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

export async function benchGuard({
  rounds,
  quick,
}: {
  rounds: number;
  quick: boolean;
}): Promise<GuardResult> {
  const requests = quick ? 500 : 4000;
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
  const wolf = await BenchProcess.start("wolf", "guard-wolf");
  const agents: BenchProcess[] = [];
  const lane = async (guarded: boolean) => {
    const agent = await BenchProcess.start(guarded ? "guarded agent" : "bare agent", "guard-agent");
    agents.push(agent);
    const tunnel = new Promise<Tunnel>((resolve) => accepted.push(resolve));
    await agent.call("dial", { wolf: await wolf.call<number>("listen"), tunnel: tunnelPort, guarded });
    return { agent, tunnel: await tunnel };
  };
  try {
    const lanes = [await lane(false), await lane(true)] as const;
    const figures = { get: [[], []], create: [[], []] } as Record<Kind, [number[], number[]]>;
    for (const kind of ["get", "create"] as const) {
      for (const { agent, tunnel } of lanes) await measure(agent, tunnel, kind, requests / 2);
      for (let round = 0; round < rounds; round += 1)
        // Alternating, and each first in every other round: what the machine does meanwhile falls on both.
        for (const at of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const))
          figures[kind][at].push(await measure(lanes[at].agent, lanes[at].tunnel, kind, requests));
    }
    const added = (kind: Kind, combine: (guarded: number, bare: number) => number) =>
      median(figures[kind][1].map((guarded, round) => combine(guarded, figures[kind][0][round] as number)));
    const both = (kind: Kind) => ({ bare: median(figures[kind][0]), guarded: median(figures[kind][1]) });
    return {
      rounds,
      get: { ...both("get"), ratio: added("get", (guarded, bare) => guarded / bare) },
      create: { ...both("create"), addedMicros: added("create", (guarded, bare) => guarded - bare) },
    };
  } finally {
    await Promise.all([wolf, ...agents].map((process) => process.stop()));
    upgrades.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

export function guardTable({ get, create }: GuardResult): string {
  const line = (name: string, bare: number, guarded: number, verdict: string) =>
    `${name.padEnd(14)} ${bare.toFixed(1).padStart(9)} ${guarded.toFixed(1).padStart(9)}   ${verdict}`;
  const percent = (get.ratio - 1) * 100;
  return [
    `${"agent's CPU, µs".padEnd(14)} ${"bare".padStart(8)} ${"guarded".padStart(9)}`,
    line(
      "small GET",
      get.bare,
      get.guarded,
      `${percent.toFixed(1)} % more, must be less than 10 %${percent < 10 ? "" : ": MISSED"}`,
    ),
    line(
      "lobby create",
      create.bare,
      create.guarded,
      `${create.addedMicros.toFixed(1)} µs more, must be less than 50 µs${create.addedMicros < 50 ? "" : ": MISSED"}`,
    ),
    "",
  ].join("\n");
}
