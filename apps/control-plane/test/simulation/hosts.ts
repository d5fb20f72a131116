/** The hosts of a run: each with its Wolf, its agent and its path to the control plane, all of another kind. */
import { type Dialled, SimAgent } from "./agent.ts";
import type { Dice } from "./dice.ts";
import { type AgentSide, Path, type SimTunnel } from "./network.ts";
import type { Plan } from "./plan.ts";
import type { Stores } from "./replica.ts";
import type { Replicas } from "./replicas.ts";
import { SimWolf, type Witness } from "./wolf.ts";
import { BEGAN_AT_MS, type World } from "./world.ts";

export interface Host {
  wolf: SimWolf;
  agent: SimAgent;
  path: Path;
  /** How often it was cut: the first of two cuts does not heal the second. */
  cuts: number;
  /** Since when its Wolf can be asked, or cannot, and by which tunnel. */
  reachable: { is: boolean; sinceMs: number; by: SimTunnel | undefined };
}

export const regions = ["eu-west", "us-east", "ap-south"] as const;

export interface HostOptions {
  id: string;
  number: number;
  world: World;
  dice: Dice;
  plan: Plan;
  wolves: Stores["wolves"];
  witness: Witness;
  replicas: Pick<Replicas, "any">;
}

/** It is registered; its agent dials by itself. */
export async function addHost(options: HostOptions): Promise<Host> {
  const { id, number, world, dice, plan, witness, replicas } = options;
  const kind = {
    maxSandboxes: dice.int(...plan.slots),
    gpuType: dice.pick(["nvidia", "nvidia", "nvidia", "amd", "none"]),
    labels: { tier: dice.pick(["a", "b"]) },
  };
  const region = dice.pick([...regions, undefined]);
  const encoderSessionsMax = dice.pick([undefined, undefined, 4, 8]);
  await options.wolves.register(
    {
      ...kind,
      id,
      name: `wolf-${number}`,
      address: "",
      region: region ?? null,
      costPerHour: dice.pick([null, 0.5, 1, 2]),
      agentVersion: null,
      encoderSessionsMax: encoderSessionsMax ?? null,
    },
    new Date(BEGAN_AT_MS),
  );
  const wolf = new SimWolf({ id, number, world, dice: dice.fork(), witness, temper: plan.temper });
  const path = new Path(dice.fork(), [1, dice.pick([5, 40, 150])]);
  const agent = new SimAgent({
    ...kind,
    world,
    dice: dice.fork(),
    wolf,
    path,
    region,
    encoderSessionsMax,
    vramMb: dice.pick([0, 8192, 24_576]),
    otherMb: dice.pick([0, 500, 6000]),
    heartbeatMs: plan.heartbeatMs,
    twice: 0.05,
    swapped: 0.02,
    crashAtRequest: plan.crashAtRequest,
    dial: (side, done) => dial({ id, world, path, replicas }, side, done),
  });
  return { wolf, agent, path, cuts: 0, reachable: { is: false, sinceMs: 0, by: undefined } };
}

/** What gets lost on the way is not answered: the agent has its own patience. */
function dial(
  { id, world, path, replicas }: Pick<HostOptions, "id" | "world" | "replicas"> & { path: Path },
  side: AgentSide,
  done: (dialled: Dialled) => void,
): void {
  world.timeline.after(path.oneWayMs(), () => {
    if (!path.isOpen("up")) return;
    const replica = replicas.any();
    if (replica !== undefined) return replica.process.enter(() => void replica.admit(id, path, side, done));
    world.timeline.after(path.oneWayMs(), () => {
      if (path.isOpen("down")) done({ outcome: "refused" });
    });
  });
}

/** To be called often. */
export function observe(host: Host, nowMs: number): void {
  const { live } = host.agent;
  const tunnel = live?.works === true ? live : undefined;
  const is = tunnel !== undefined && host.wolf.answers === "ok";
  const { reachable } = host;
  if (reachable.is !== is || reachable.by !== tunnel) host.reachable = { is, by: tunnel, sinceMs: nowMs };
}

/** Since when no tunnel leads there, as either side sees it. A Wolf that does not answer behind one that works is not gone. */
export function goneSinceMs({ reachable, path }: Host): number | undefined {
  const isGone = !reachable.is && reachable.by === undefined && ![...path.tunnels].some(({ taken }) => taken);
  return isGone ? reachable.sinceMs : undefined;
}
