/** `npm run bench -- tunnel`: the tunnel beside what it is measured against, alternating in one run. */
import { type CpuShare, Fleet, type Lane, median, medianShares, withCpu } from "./lanes.ts";
import type { DownloadResult, SmallResult } from "./load.ts";
import type { BenchProcess } from "./process.ts";
import { sshLane } from "./ssh.ts";

export interface TunnelBenchOptions {
  rounds: number;
  /** Seconds of each measurement of small requests. */
  seconds: number;
  downloadMib: number;
  /** Tunnels held by one process for the weight of an idle one. */
  idleTunnels: number;
  say: (text: string) => void;
}

const WARM_DOWNLOADS = 3;
const LONG_LINK_DELAY_MS = 25;
const SLOW_READER_BYTES_PER_SECOND = 2_000_000;
const STALL_SECONDS = 10;
/** Measurements beside a stalled channel in each round. */
const STALLED_TURNS = 3;
const WEDGE_GIVES_UP_SECONDS = 40;

/** Of one lane, one value per round. */
interface LaneRounds {
  small64: SmallResult[];
  small1: SmallResult[];
  download: DownloadResult[];
  cpu: CpuShare[][];
}

type Sample = Record<string, LaneRounds>;

/** Leaves nothing behind, also when `stopped` rejects. */
export async function benchTunnel(options: TunnelBenchOptions, stopped: Promise<never>) {
  // While there is nothing to stop yet, it waits for its turn.
  stopped.catch(() => undefined);
  const fleet = await Fleet.start();
  try {
    const load = await fleet.process("load", "load");
    const other = await fleet.process("load", "load");
    const bench = new TunnelBench(fleet, load, other, options);
    return await Promise.race([bench.run(), stopped]);
  } finally {
    await fleet.stop();
  }
}

class TunnelBench {
  private readonly fleet: Fleet;
  private readonly load: BenchProcess;
  private readonly other: BenchProcess;
  private readonly options: TunnelBenchOptions;

  constructor(fleet: Fleet, load: BenchProcess, other: BenchProcess, options: TunnelBenchOptions) {
    this.fleet = fleet;
    this.load = load;
    this.other = other;
    this.options = options;
  }

  async run() {
    const { rounds, say } = this.options;
    const lanes = [
      await this.fleet.direct(),
      await this.fleet.tunnelled("tunnel"),
      await this.fleet.tunnelled("h2"),
    ];
    const ssh = await sshLane(this.fleet);
    if ("why" in ssh) say(`ssh -R: ${ssh.why}`);
    else lanes.push(ssh);
    const sample: Sample = {};
    for (const lane of lanes) sample[lane.name] = { small64: [], small1: [], download: [], cpu: [] };
    say("warming up: what is measured are processes that have been at work for a while");
    for (const lane of lanes) await this.warmUp(lane);
    for (let round = 1; round <= rounds; round += 1) {
      for (const lane of lanes) {
        say(`round ${round} of ${rounds}: ${lane.name}`);
        await this.measure(lane, sample[lane.name] as LaneRounds);
      }
    }
    const tunnel = lanes[1] as Lane;
    say("small requests beside bulk, slow and stalled readers");
    const beside = await this.beside(tunnel);
    say(`long link, ${2 * LONG_LINK_DELAY_MS} ms round trip`);
    const longLink = await this.longLink();
    say("wedged peer");
    const wedge = await this.wedge();
    say(`${this.options.idleTunnels} idle tunnels`);
    const idleTunnel = await this.idle();
    return { ...this.summary(sample), ...beside, longLink, wedge, idleTunnel };
  }

  private async warmUp(lane: Lane): Promise<void> {
    await this.small(lane, 64);
    for (let times = 0; times < WARM_DOWNLOADS; times += 1) await this.download(lane);
  }

  private small(lane: Lane, connections: number, process = this.load): Promise<SmallResult> {
    const { seconds } = this.options;
    return process.call<SmallResult>("small", { port: lane.port, connections, seconds });
  }

  private download(lane: Lane, process = this.load): Promise<DownloadResult> {
    return process.call<DownloadResult>("download", { port: lane.port, mib: this.options.downloadMib });
  }

  private async measure(lane: Lane, into: LaneRounds): Promise<void> {
    const processes = [this.load, ...lane.processes, this.fleet.origin];
    const { result, cpu } = await withCpu(processes, () => this.small(lane, 64));
    into.small64.push(result);
    into.cpu.push(cpu);
    into.small1.push(await this.small(lane, 1));
    into.download.push(await this.download(lane));
  }

  private summary(sample: Sample) {
    const middle = (lane: string, of: (rounds: LaneRounds) => number[]) =>
      median(of(sample[lane] as LaneRounds));
    /** Rounds are compared with themselves: the machine is not the same in two of them. */
    const ratio = (lane: string, of: (rounds: LaneRounds) => number[]) => {
      const ours = of(sample.tunnel as LaneRounds);
      const theirs = of(sample[lane] as LaneRounds);
      return median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));
    };
    const perSecond = (rounds: LaneRounds) => rounds.small64.map((result) => result.perSecond);
    const p50 = (rounds: LaneRounds) => rounds.small1.map((result) => result.p50Ms);
    const megabytes = (rounds: LaneRounds) => rounds.download.map((result) => result.megabytesPerSecond);
    const absolute = Object.fromEntries(
      Object.entries(sample).map(([lane, rounds]) => [
        lane,
        {
          smallGet64PerSecond: middle(lane, perSecond),
          smallGet64P99Ms: median(rounds.small64.map((result) => result.p99Ms)),
          smallGet1P50Ms: middle(lane, p50),
          downloadMegabytesPerSecond: middle(lane, megabytes),
          cpu: medianShares(rounds.cpu),
        },
      ]),
    );
    return {
      rounds: this.options.rounds,
      smallGet64: {
        ratioToDirectGateway: ratio("direct", perSecond),
        ratioToHttp2OverWs: ratio("h2", perSecond),
        requestsPerSecond: middle("tunnel", perSecond),
      },
      smallGet1: {
        p50RatioToDirectGateway: ratio("direct", p50),
        p50Ms: middle("tunnel", p50),
      },
      download: {
        ratioToDirectGateway: ratio("direct", megabytes),
        ratioToHttp2OverWs: ratio("h2", megabytes),
        megabytesPerSecond: middle("tunnel", megabytes),
      },
      absolute,
    };
  }

  /** Small requests one at a time while something else goes on in the same tunnel. */
  private async beside(lane: Lane) {
    const during: SmallResult[] = [];
    const slow: SmallResult[] = [];
    const stalled: number[] = [];
    for (let round = 0; round < this.options.rounds; round += 1) {
      during.push(await this.withBackground(lane, { count: 4 }, () => this.small(lane, 1)));
      const rate = { count: 1, bytesPerSecond: SLOW_READER_BYTES_PER_SECOND };
      slow.push(await this.withBackground(lane, rate, () => this.small(lane, 1)));
      stalled.push(...(await this.besideStalled(lane)));
    }
    const p99 = (results: SmallResult[]) => median(results.map((result) => result.p99Ms));
    return {
      smallGetDuringDownloads: { p99Ms: p99(during), perSecond: median(during.map((r) => r.perSecond)) },
      smallGetDuringSlowReader: { p99Ms: p99(slow), perSecond: median(slow.map((r) => r.perSecond)) },
      stalledChannel: { othersThroughputRatio: median(stalled) },
    };
  }

  /** Each with a stalled channel against its neighbours without: the machine drifts by more than a channel could cost. */
  private async besideStalled(lane: Lane): Promise<number[]> {
    const ratios: number[] = [];
    let before = await this.small(lane, 64);
    for (let turn = 0; turn < STALLED_TURNS; turn += 1) {
      const held = await this.withBackground(lane, { count: 1, bytesPerSecond: 0 }, () =>
        this.small(lane, 64),
      );
      const after = await this.small(lane, 64);
      ratios.push(held.perSecond / ((before.perSecond + after.perSecond) / 2));
      before = after;
    }
    return ratios;
  }

  private async withBackground<T>(
    lane: Lane,
    background: { count: number; bytesPerSecond?: number },
    run: () => Promise<T>,
  ): Promise<T> {
    await this.other.call("startBackground", { port: lane.port, ...background });
    try {
      return await run();
    } finally {
      await this.other.call("stopBackground");
    }
  }

  private async longLink() {
    const tunnel = await this.fleet.tunnelled("tunnel", LONG_LINK_DELAY_MS);
    const tcp = await this.fleet.tcp(LONG_LINK_DELAY_MS);
    const firstCalls: number[] = [];
    const ratios: number[] = [];
    const ours: number[] = [];
    const raw: number[] = [];
    for (const lane of [tunnel, tcp]) await this.warmUp(lane);
    for (let round = 0; round < this.options.rounds; round += 1) {
      firstCalls.push(await this.load.call<number>("first", { port: tunnel.port }));
      const through = await this.download(tunnel);
      const bare = await this.download(tcp);
      ours.push(through.megabytesPerSecond);
      raw.push(bare.megabytesPerSecond);
      ratios.push(through.megabytesPerSecond / bare.megabytesPerSecond);
    }
    return {
      ratioToRawTcp: median(ratios),
      firstCallMs: median(firstCalls),
      megabytesPerSecond: median(ours),
      rawTcpMegabytesPerSecond: median(raw),
    };
  }

  /** Stopped agents, all at once: a stall of 10 s is survived, and what lasts is noticed, once per round. */
  private async wedge() {
    const stalled = await this.fleet.tunnelled("tunnel");
    const wedged: Lane[] = [];
    for (let round = 0; round < this.options.rounds; round += 1)
      wedged.push(await this.fleet.tunnelled("tunnel"));
    const [survived, noticed] = await Promise.all([
      this.survivesStall(stalled),
      Promise.all(wedged.map((lane) => this.noticedSeconds(lane))),
    ]);
    return { noticedSeconds: median(noticed), survivedStallOf10Seconds: survived };
  }

  /** The tunnel is still there after the stall, and serves. */
  private async survivesStall(lane: Lane): Promise<boolean> {
    const [gateway, agent] = lane.processes as [BenchProcess, BenchProcess];
    const ended = gateway.call<number>("ended").then(() => false);
    agent.signal("SIGSTOP");
    const stands = await Promise.race([ended, pause(STALL_SECONDS * 1000).then(() => true)]);
    agent.signal("SIGCONT");
    const served = this.small(lane, 1).then(
      () => true,
      () => false,
    );
    return (await served) && stands;
  }

  /** Not a number when it is not noticed at all. */
  private async noticedSeconds(lane: Lane): Promise<number> {
    const [gateway, agent] = lane.processes as [BenchProcess, BenchProcess];
    const ended = gateway.call<number>("ended");
    const stoppedAt = Date.now();
    agent.signal("SIGSTOP");
    const endedAt = await Promise.race([ended, pause(WEDGE_GIVES_UP_SECONDS * 1000).then(() => Number.NaN)]);
    agent.signal("SIGCONT");
    return (endedAt - stoppedAt) / 1000;
  }

  private async idle() {
    const { idleTunnels } = this.options;
    const replica = await this.fleet.process("replica", "idle", ["--expose-gc"]);
    const agents = await this.fleet.process("agents", "idle");
    const port = await replica.call<number>("hold");
    const before = await replica.call<number>("rss");
    await agents.call("dial", { port, count: idleTunnels });
    const after = await replica.call<number>("rss");
    const held = await replica.call<number>("live");
    await Promise.all([replica.stop(), agents.stop()]);
    return { rssBytes: Math.round((after - before) / idleTunnels), held };
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
