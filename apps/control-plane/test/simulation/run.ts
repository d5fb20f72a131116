/** One run from one seed: a fleet, faults for a while, the invariants after every step, and in the end what has come right. */
import { LOOK_EVERY_MS } from "./bounds.ts";
import { Dice } from "./dice.ts";
import { FaultMaker } from "./faults.ts";
import { type Alterations, Fleet } from "./fleet.ts";
import { regions } from "./hosts.ts";
import { checkLiveness, RECOVERY_MS } from "./liveness.ts";
import { type Options, type Plan, planOf, type Weather } from "./plan.ts";
import { Users } from "./users.ts";
import { settle, type Violation, World } from "./world.ts";

const LINES_TOLD = 60;

export interface RunReport {
  options: Options;
  weather: Weather;
  liveness: boolean;
  wolves: number;
  steps: number;
  virtualMs: number;
  counts: Record<string, number>;
  violation: (Violation & { step: number; atMs: number }) | undefined;
  /** What happened last, if something was violated. */
  log: string[];
  /** Of everything that happened. */
  digest: string;
}

export interface Hooks {
  alter?: Alterations;
  /** Every line of the trace, and of the services' own logs. */
  onLine?: (line: string) => void;
}

class Run {
  private readonly world: World;
  private readonly plan: Plan;
  private readonly fleet: Fleet;
  private readonly dice: Dice;

  constructor(options: Options, { alter, onLine }: Hooks) {
    this.plan = planOf(options);
    this.world = new World(onLine);
    // Not the plan's dice: another size of fleet is another run anyway.
    this.dice = new Dice(options.seed ^ 0x5eed);
    this.fleet = new Fleet({
      world: this.world,
      plan: this.plan,
      dice: this.dice.fork(),
      alter,
      onLog: onLine,
    });
  }

  async act(): Promise<void> {
    const { fleet, plan, world } = this;
    await fleet.populate();
    const users = new Users({
      world,
      dice: this.dice.fork(),
      plan,
      rows: fleet.rows,
      wolfIds: [...fleet.wolves.keys()],
      regions,
      replica: () => fleet.replicas.any(),
    });
    users.begin();
    const faults = new FaultMaker(fleet, this.dice.fork());
    this.lookEvery();
    await this.until(plan.untilMs);
    if (plan.liveness && this.goesOn) {
      world.note("the faults are over");
      faults.end();
      fleet.replicas.spare();
      users.end();
      fleet.deafen(this.dice);
      await this.until(plan.untilMs + RECOVERY_MS);
      if (this.goesOn) checkLiveness(fleet);
    }
    if (this.goesOn) {
      fleet.invariants.checkAll();
      fleet.invariants.checkEnded();
      users.checkTold();
    }
  }

  report(options: Options): RunReport {
    const { plan, world } = this;
    const [violation] = world.violations;
    return {
      options,
      weather: plan.weather,
      liveness: plan.liveness,
      wolves: plan.wolves,
      steps: world.steps,
      virtualMs: world.nowMs,
      counts: Object.fromEntries(world.counts),
      violation: violation && { ...violation, step: world.steps, atMs: world.nowMs },
      log: violation === undefined ? [] : world.lastLines(LINES_TOLD),
      digest: world.digest(),
    };
  }

  private get goesOn(): boolean {
    return this.world.violations.length === 0 && this.world.steps < this.plan.stepsMax;
  }

  private lookEvery(): void {
    const look = () => {
      this.fleet.observe();
      this.fleet.bounds.look();
      this.world.timeline.after(LOOK_EVERY_MS, look);
    };
    look();
  }

  private async until(ms: number): Promise<void> {
    const { fleet, world } = this;
    while (this.goesOn && world.timeline.step(ms)) {
      world.steps += 1;
      await settle();
      fleet.invariants.check();
    }
  }
}

export async function simulate(options: Options, hooks: Hooks = {}): Promise<RunReport> {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  try {
    const run = new Run(options, hooks);
    await run.act();
    await settle();
    const report = run.report(options);
    const [reason] = unhandled;
    if (reason !== undefined && report.violation === undefined) {
      const sentence = `nobody handled: ${reason instanceof Error ? reason.stack : String(reason)}`;
      report.violation = { invariant: "unhandled", sentence, step: report.steps, atMs: report.virtualMs };
    }
    return report;
  } finally {
    process.off("unhandledRejection", note);
  }
}
