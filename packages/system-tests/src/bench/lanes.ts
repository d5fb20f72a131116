/** What the bench compares: lanes from the load generator to the same local server, each with processes of its own. */
import { BenchProcess, type Usage } from "./process.ts";

export interface Lane {
  name: string;
  /** Where the load generator asks. */
  port: number;
  /** Its processes beside load generator and origin, in the order of the path. */
  processes: BenchProcess[];
}

export class Fleet {
  origin!: BenchProcess;
  originPort = 0;
  private readonly started: BenchProcess[] = [];
  private readonly cleanups: (() => Promise<void>)[] = [];

  static async start(): Promise<Fleet> {
    const fleet = new Fleet();
    fleet.origin = await fleet.process("origin", "origin");
    fleet.originPort = await fleet.origin.call<number>("listen");
    return fleet;
  }

  async process(name: string, module: string, nodeFlags: readonly string[] = []): Promise<BenchProcess> {
    const started = await BenchProcess.start(name, module, nodeFlags);
    this.started.push(started);
    return started;
  }

  /** Runs when the bench ends, whatever the way. */
  onStop(clean: () => Promise<void>): void {
    this.cleanups.push(clean);
  }

  async direct(origin = this.originPort): Promise<Lane> {
    const gateway = await this.process("gateway", "gateway");
    const { front } = await gateway.call<{ front: number }>("direct", { origin });
    return { name: "direct", port: front, processes: [gateway] };
  }

  /** `delayMs` puts a long link between agent and gateway. */
  async tunnelled(name: "tunnel" | "h2", delayMs = 0): Promise<Lane> {
    const gateway = await this.process("gateway", "gateway");
    const agent = await this.process("agent", "agent");
    const ports = await gateway.call<{ front: number; tunnel: number }>(name);
    const link = await this.link(ports.tunnel, delayMs);
    await agent.call(name, { origin: this.originPort, gateway: link });
    return { name, port: ports.front, processes: [gateway, agent] };
  }

  /** The same processes and the same link, with nothing but a pipe in each. */
  async tcp(delayMs: number): Promise<Lane> {
    const gateway = await this.process("gateway", "gateway");
    const agent = await this.process("agent", "agent");
    const agentPort = await agent.call<number>("tcp", { origin: this.originPort });
    const link = await this.link(agentPort, delayMs);
    const { front } = await gateway.call<{ front: number }>("tcp", { port: link });
    return { name: "tcp", port: front, processes: [gateway, agent] };
  }

  private async link(port: number, delayMs: number): Promise<number> {
    if (delayMs === 0) return port;
    const relay = await this.process("relay", "relay");
    return relay.call<number>("listen", { port, delayMs });
  }

  async stop(): Promise<void> {
    await Promise.all(this.started.map((process) => process.stop()));
    for (const clean of this.cleanups) await clean();
  }
}

export interface CpuShare {
  process: string;
  microsPerRequest: number;
  rssPeakBytes: number;
}

/** Runs a load and says what each process spent on it. */
export async function withCpu<Result extends { requests: number }>(
  processes: readonly BenchProcess[],
  load: () => Promise<Result>,
): Promise<{ result: Result; cpu: CpuShare[] }> {
  const usages = () => Promise.all(processes.map((process) => process.usage()));
  const before = await usages();
  const result = await load();
  const after = await usages();
  const cpu = processes.map((process, index) => {
    const spent = (after[index] as Usage).cpuMicros - (before[index] as Usage).cpuMicros;
    return {
      process: process.name,
      microsPerRequest: spent / Math.max(1, result.requests),
      rssPeakBytes: (after[index] as Usage).rssPeakBytes,
    };
  });
  return { result, cpu };
}

/** Of what each round said of the same processes: what they spent in the middle, and their highest peak. */
export function medianShares(rounds: readonly (readonly CpuShare[])[]): CpuShare[] {
  return (rounds[0] ?? []).map(({ process }, index) => {
    const shares = rounds.map((round) => round[index] as CpuShare);
    return {
      process,
      microsPerRequest: median(shares.map(({ microsPerRequest }) => microsPerRequest)),
      rssPeakBytes: Math.max(...shares.map(({ rssPeakBytes }) => rssPeakBytes)),
    };
  });
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}
