/**
 * One run from one seed: two tunnels over a link in some weather, exchanges of every kind both ways, notices, drains and
 * sudden ends, with time moved by hand. Then everything has to come to rest, and the judge looks at what happened.
 */
import { createHash } from "node:crypto";
import { createTunnel } from "../../src/core-tunnel.ts";
import { defaultLimits, type TunnelEnd, type TunnelLimits, type TunnelOptions } from "../../src/index.ts";
import { type MemoryLink, memoryTransportPair, type Side } from "../../src/testing/index.ts";
import { ask } from "./caller.ts";
import { Dice } from "./dice.ts";
import { serve } from "./handler.ts";
import { judge, judgeEnds } from "./judge.ts";
import { Notices } from "./notices.ts";
import { drawPlan } from "./plan.ts";
import { probe } from "./probe.ts";
import { Weather, type WeatherKind } from "./weather.ts";
import { Witness } from "./witness.ts";
import { Planned, World } from "./world.ts";

export interface RunReport {
  seed: number;
  weather: WeatherKind;
  exchanges: number;
  /** How the exchanges ended, how often each way: `<kind> <outcome>`. */
  outcomes: Record<string, number>;
  frames: Record<string, number>;
  ends: string[];
  /** What was wrong; empty when the run held. */
  faults: string[];
  /** The last things that happened. */
  log: string[];
  /** Of every message and every outcome: two runs of one seed have the same. */
  digest: string;
}

/** What the run did to the tunnels, for the judge. */
export interface Deeds {
  weather: Weather;
  witness: Witness;
  notices: Notices;
  limits: Record<Side, TunnelLimits>;
  /** Sides whose limits are so tight that they refuse. */
  tight: boolean;
  closed: Record<Side, boolean>;
  destroyed: Record<Side, boolean>;
  ends: Partial<Record<Side, TunnelEnd>>;
  retryAfterMs: Record<Side, number>;
}

const LOG_LINES = 60;
const EXCHANGES_MAX = 100;
/** Steps that still ask when both tunnels have ended. */
const LATE_STEPS_MAX = 3;
const BODY_BYTES_MAX = 60_000;
/** Round trips that a body may need when its window does not grow. */
const WINDOWS_MAX = 100;
/** Virtual time in which whatever was begun must be over: more than the longest plan and a dead peer together. */
const SETTLE_MS = 120_000;
/** For endless bodies, which are never quiet. */
const QUIET_ROUNDS_MAX = 200;
const sides: readonly Side[] = ["left", "right"];

/** What one side states about itself and how fast it grants; from dice of their own, so that no seed draws in another order. */
function drawManners(dice: Dice, tight: boolean): Partial<TunnelLimits> {
  const paced = tight && dice.chance(0.5);
  return {
    interimHeadsMax: dice.pick([0, 1, 2, 32]),
    headersMax: dice.pick([3, 256]),
    emptyDataMax: dice.pick([0, 64]),
    sendBudgetBytes: dice.pick([1, 50_000, defaultLimits.sendBudgetBytes]),
    ...(paced
      ? { opensPerSecondMax: dice.int(2, 20), resetsPerWindowMax: dice.int(5, 50), grantTimeoutMs: 60_000 }
      : {}),
  };
}

function drawLimits(dice: Dice, tight: boolean): TunnelLimits {
  const windowInitialBytes = dice.pick([1, 1000, 16_384, 65_536]);
  return {
    ...defaultLimits,
    windowInitialBytes,
    windowMaxBytes: windowInitialBytes * dice.pick([1, 4, 64]),
    dataBytesMax: dice.pick([1024, 16_384, 65_536]),
    sendQueueBytes: dice.pick([1, 1000, 65_536]),
    socketQueueBytes: dice.pick([1, 10_000, 262_144]),
    channelsMax: tight && dice.chance(0.5) ? dice.int(1, 8) : defaultLimits.channelsMax,
    receiveBudgetBytes: windowInitialBytes * (tight ? dice.int(2, 12) : 1000),
    stallTimeoutMs: dice.chance(0.3) ? 15_000 : defaultLimits.stallTimeoutMs,
  };
}

/** Makes the tunnels of a seed and everything that watches them. */
class Run {
  readonly world: World;
  readonly link: MemoryLink;
  readonly deeds: Deeds;
  readonly digest = createHash("sha256");
  readonly asked: Promise<void>[] = [];
  private readonly dice: Dice;
  private readonly steps: number;
  private readonly bodyBytesMax: number;
  private readonly thrown: unknown[] = [];
  private nextId = 1;
  private messages = 0;

  constructor(seed: number) {
    this.dice = new Dice(seed);
    this.world = new World(this.dice.fork());
    this.steps = this.dice.int(10, 100);
    const weather = new Weather(this.dice.fork());
    const tight = this.dice.chance(0.3);
    const manners = new Dice(~seed >>> 0);
    const limits = {
      left: { ...drawLimits(this.dice, tight), ...drawManners(manners, tight) },
      right: { ...drawLimits(this.dice, tight), ...drawManners(manners, tight) },
    };
    const narrow = Math.min(limits.left.windowInitialBytes, limits.right.windowInitialBytes);
    this.bodyBytesMax = Math.min(BODY_BYTES_MAX, WINDOWS_MAX * narrow);
    const witness = new Witness((sentence) => this.world.fault(sentence));
    const both: TunnelOptions = {
      clock: this.world.clock,
      pingIntervalMs: this.dice.pick([1000, 5000]),
      onHandlerError: (error) => this.thrown.push(error),
    };
    this.link = memoryTransportPair(weather.fault);
    this.link.tap((to, message) => {
      this.messages += 1;
      this.digest.update(to).update(message);
      witness.observe(to, message);
    });
    this.world.tunnels = {
      left: createTunnel(this.link.left, true, { ...both, limits: limits.left }),
      right: createTunnel(this.link.right, false, { ...both, limits: limits.right }),
    };
    this.deeds = {
      weather,
      witness,
      limits,
      tight,
      notices: new Notices(this.world),
      closed: { left: false, right: false },
      destroyed: { left: false, right: false },
      ends: {},
      retryAfterMs: { left: 0, right: 0 },
    };
    this.watch();
  }

  private watch(): void {
    const { world, deeds } = this;
    const { left, right } = deeds.limits;
    const most = (limit: keyof TunnelLimits) => Math.max(left[limit], right[limit]);
    world.interimHeadsMax = { left: left.interimHeadsMax, right: right.interimHeadsMax };
    world.inFlightBytesMax = most("windowMaxBytes") + most("sendQueueBytes") + most("dataBytesMax");
    for (const side of sides) {
      const tunnel = this.tunnel(side);
      serve(world, tunnel, side);
      void tunnel.closed.then((end) => {
        deeds.ends[side] = end;
        world.note(`${side} has ended: ${end.code} (${end.reason})`);
      });
    }
  }

  private tunnel(side: Side) {
    const { tunnels } = this.world;
    if (tunnels === undefined) throw new Error("there are no tunnels yet");
    return tunnels[side];
  }

  /** One step of the script. */
  private step(): void {
    const { dice, deeds } = this;
    for (let count = dice.int(0, 3); count > 0 && this.nextId <= EXCHANGES_MAX; count -= 1) {
      const plan = drawPlan(this.nextId, dice.pick(sides), dice.fork(), this.bodyBytesMax);
      this.nextId += 1;
      this.asked.push(ask(this.world, this.world.add(plan)));
    }
    deeds.notices.send(dice.pick(sides), dice.chance(0.05) ? 300 : dice.int(0, 2));
    if (dice.chance(0.008)) this.close(dice.pick(sides));
    if (dice.chance(0.004)) this.destroy(dice.pick(sides));
  }

  private close(side: Side): void {
    const { deeds } = this;
    if (deeds.closed[side] || deeds.ends[side] !== undefined) return;
    this.world.note(`${side} closes`);
    deeds.closed[side] = true;
    deeds.retryAfterMs[side] = this.dice.int(0, 5000);
    const drainMs = this.dice.pick([0, 100, 5000, 30_000]);
    void this.tunnel(side).close({ retryAfterMs: deeds.retryAfterMs[side], drainMs, reason: "as planned" });
  }

  private destroy(side: Side): void {
    if (this.deeds.ends[side] !== undefined) return;
    this.world.note(`${side} is destroyed`);
    this.deeds.destroyed[side] = true;
    this.tunnel(side).destroy(new Planned("enough"));
  }

  async act(): Promise<void> {
    const { dice, world, deeds } = this;
    const pauses = [0, 0, 1, 5, 20, 100, 400];
    deeds.weather.begin(world, this.link, this.steps * 30);
    for (let step = 0, late = 0; step < this.steps && late < LATE_STEPS_MAX; step += 1) {
      this.step();
      if (this.ended) late += 1;
      await new Promise<void>((resolve) => setImmediate(resolve)); // What fails at once fails before time moves.
      await world.clock.advance(dice.pick(pauses));
    }
  }

  /** Moves time until a condition holds, in ever longer strides, and says so when it never does. */
  private async until(what: string, condition: () => boolean): Promise<void> {
    const { clock } = this.world;
    const before = clock.now();
    for (let stride = 1; !condition(); stride = Math.min(stride * 1.2, 500)) {
      if (clock.now() - before > SETTLE_MS) return this.world.fault(`${what} after ${SETTLE_MS} ms`);
      await this.quiet();
      await clock.advance(stride);
    }
  }

  /** Lets what is on its way arrive: a link has a speed in turns, and time must not run away from it. */
  private async quiet(): Promise<void> {
    const { left, right } = this.link;
    for (let rounds = 0, before = ""; rounds < QUIET_ROUNDS_MAX; rounds += 1) {
      const now = `${this.messages} ${left.queuedBytes} ${right.queuedBytes}`;
      if (now === before) return;
      before = now;
      await this.world.clock.advance(0);
    }
  }

  private get settled(): boolean {
    for (const { outcome, seen, handled, up, down } of this.world.exchanges.values()) {
      const producing = [up, down].some(({ begun, stopped }) => begun && !stopped);
      if (outcome === undefined || handled < seen || producing) return false;
    }
    return true;
  }

  private get ended(): boolean {
    return this.deeds.ends.left !== undefined && this.deeds.ends.right !== undefined;
  }

  /** Nothing has happened to the tunnels that would excuse a failure. */
  private get undisturbed(): boolean {
    const { weather, closed, destroyed } = this.deeds;
    return !weather.broken && !closed.left && !closed.right && !destroyed.left && !destroyed.right;
  }

  /** Nothing is left of all that was in flight: no channel, no byte, no notice. */
  private get atRest(): boolean {
    const loads = sides.some((side) => this.tunnel(side).load > 0);
    return (
      !loads && this.link.left.queuedBytes + this.link.right.queuedBytes === 0 && this.deeds.notices.allHeard
    );
  }

  async finish(): Promise<void> {
    const { world, deeds } = this;
    await this.until("not everything is settled", () => this.settled);
    const undisturbed = this.undisturbed;
    if (undisturbed) {
      deeds.weather.clear();
      await this.until("something waits though nothing is in flight", () => this.atRest);
      for (const side of sides)
        await probe(world, side, deeds.limits, (done) => this.until("probes have not ended", done));
    }
    this.close(this.dice.pick(sides));
    await this.until("not both tunnels have ended", () => this.ended);
    this.judgeExchanges(undisturbed);
    judgeEnds(world, deeds);
    await world.clock.advance(STRAY_TIMERS_MS);
    if (world.clock.pending > 0) world.fault(`${world.clock.pending} timers are pending at the end`);
    if (!undisturbed) return;
    for (const side of sides)
      if (this.tunnel(side).load > 0) world.fault(`${this.tunnel(side).load} channels of ${side} outlive it`);
  }

  private judgeExchanges(undisturbed: boolean): void {
    for (const error of this.thrown)
      if (!(error instanceof Planned) && !isSilence(error)) this.world.fault(`thrown: ${explain(error)}`);
    judge(this.world, this.deeds, undisturbed);
  }

  report(seed: number): RunReport {
    const { world, deeds } = this;
    const outcomes: Record<string, number> = {};
    for (const { plan, outcome } of world.exchanges.values()) {
      const key = `${plan.kind} ${outcome}`;
      outcomes[key] = (outcomes[key] ?? 0) + 1;
    }
    return {
      seed,
      weather: deeds.weather.kind,
      exchanges: world.exchanges.size,
      outcomes,
      frames: Object.fromEntries(deeds.witness.counts),
      ends: sides.map((side) => deeds.ends[side]?.code ?? "none"),
      faults: world.faults,
      log: world.lines.slice(-LOG_LINES),
      digest: this.digest.update(world.lines.join("\n")).digest("hex"),
    };
  }
}

/** The link's own plans may still be on the clock when both ends are gone. */
const STRAY_TIMERS_MS = 60_000;

/** How the library names a handler that ended without an answer. */
function isSilence(error: unknown): boolean {
  return error instanceof Error && error.message === "a handler ended without an answer";
}

function explain(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

export async function simulate(seed: number): Promise<RunReport> {
  const run = new Run(seed);
  await run.act();
  await run.finish();
  return run.report(seed);
}
