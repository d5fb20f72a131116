/** What goes wrong, when and for how long: every kind by its own dice, so that more of one does not move another. */

import { LOOK_EVERY_MS, SKEW_MS_MAX } from "./bounds.ts";
import type { Dice } from "./dice.ts";
import type { Fleet } from "./fleet.ts";
import type { Host } from "./hosts.ts";
import type { FaultKind } from "./plan.ts";
import { settings } from "./settings.ts";
import type { Temper } from "./wolf.ts";
import { BEGAN_AT_MS } from "./world.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** From a cut to the first wolf that would be given up, and a moment more. */
const FROZEN_WITHIN_MS = 50 * SECOND;

export class FaultMaker {
  private readonly fleet: Fleet;
  private over = false;

  constructor(fleet: Fleet, dice: Dice) {
    this.fleet = fleet;
    for (const [kind, make] of Object.entries(this.kinds) as [FaultKind, (dice: Dice) => void][]) {
      const own = dice.fork();
      const meanMs = fleet.plan.faults[kind];
      if (meanMs !== undefined) this.every(meanMs, own, () => make(own));
    }
  }

  /** No new ones, and those that go on end soon. */
  end(): void {
    this.over = true;
    const { fleet } = this;
    fleet.database.up = true;
    fleet.database.temper = { ...fleet.database.temper, failsBefore: 0, failsAfter: 0, slow: 0 };
    for (const host of fleet.hosts) {
      this.heal(host);
      host.agent.calm();
      host.wolf.stuckUntilMs = 0;
      host.wolf.temper = calm(host.wolf.temper);
    }
  }

  private readonly kinds: Record<FaultKind, (dice: Dice) => void> = {
    cut: (dice) => this.cut(this.host(dice), { up: false, down: false }, dice.between(0.1, 120) * SECOND),
    oneWay: (dice) => {
      const isUp = dice.chance(0.5);
      this.cut(this.host(dice), { up: !isUp, down: isUp }, dice.between(1, 180) * SECOND);
    },
    mute: (dice) => {
      const host = this.host(dice);
      this.note(host, "is muted");
      host.path.muted = true;
      this.later(dice.between(5, 120) * SECOND, () => this.heal(host));
    },
    agentCrash: (dice) => this.host(dice).agent.crash(true, dice.between(1, 60) * SECOND),
    agentVanish: (dice) => this.host(dice).agent.crash(false, dice.between(1, 90) * SECOND),
    agentPause: (dice) => this.host(dice).agent.pause(dice.between(1, 60) * SECOND),
    wolfCrash: (dice) => this.host(dice).wolf.crash(),
    wolfStuck: (dice) => {
      const host = this.host(dice);
      this.note(host, "Wolf is stuck");
      host.wolf.stuckUntilMs = this.fleet.world.nowMs + dice.between(3, 120) * SECOND;
    },
    slowHost: (dice) => {
      const { wolf } = this.host(dice);
      const before = wolf.temper;
      wolf.temper = { ...before, createMs: [20 * SECOND, 3 * MINUTE] };
      this.later(dice.between(1, 6) * MINUTE, () => {
        wolf.temper = { ...wolf.temper, createMs: before.createMs };
      });
    },
    replicaKill: (dice) => {
      const replica = this.fleet.replicas.current;
      if (replica !== undefined) this.fleet.replicas.kill(replica, dice.chance(0.7), this.outageMs(dice));
    },
    replicaPause: (dice) => {
      const replica = this.fleet.replicas.current;
      if (replica === undefined || replica.process.paused) return;
      this.fleet.replicas.pause(replica, dice.between(1, 90) * SECOND);
    },
    replicaRestart: (dice) => {
      const replica = this.fleet.replicas.current;
      if (replica?.ready === true) this.fleet.replicas.replace(replica, dice.between(0, 8) * SECOND);
    },
    replicaSuperseded: (dice) => {
      const replica = this.fleet.replicas.current;
      if (replica === undefined || replica.process.paused) return;
      this.fleet.replicas.supersede(replica, dice.between(1, 60) * SECOND, dice.between(0.1, 20) * SECOND);
    },
    clockJump: (dice) => {
      const replica = this.fleet.replicas.current;
      if (replica === undefined) return;
      const { process } = replica;
      process.aheadMs = Math.min(SKEW_MS_MAX, process.aheadMs + dice.between(1, 60) * SECOND);
      this.fleet.world.note(`${replica.name} clock is ${Math.round(process.aheadMs)} ms ahead`);
      this.fleet.replicas.disturbed();
    },
    databaseDown: (dice) => {
      const { database, world } = this.fleet;
      world.note("the database is gone");
      world.count("database outages");
      database.up = false;
      this.fleet.replicas.disturbed();
      this.later(dice.between(0.5, 60) * SECOND, () => {
        world.note("the database is back");
        database.up = true;
        this.fleet.replicas.disturbed();
      });
    },
    massLoss: (dice) => {
      const { hosts, rows, world } = this.fleet;
      const share = dice.between(0.3, 1);
      const forMs = dice.between(5, 240) * SECOND;
      world.note(`a share of ${share.toFixed(2)} of all hosts is cut off`);
      world.count("mass losses");
      const expected = new Set(rows.expected().map(({ id }) => id));
      const there = hosts.filter(({ reachable, wolf }) => reachable.is && expected.has(wolf.id));
      const cut = hosts.filter(() => dice.chance(share));
      const gone = there.filter((host) => cut.includes(host));
      for (const host of cut) this.cut(host, { up: false, down: false }, forMs);
      const { sharePercent, wolvesMin } = settings.massLoss;
      // Some margin: others come and go meanwhile.
      const isMass = gone.length > wolvesMin && gone.length * 100 > (sharePercent + 15) * there.length;
      if (isMass && forMs > FROZEN_WITHIN_MS) this.later(FROZEN_WITHIN_MS, () => this.expectFreeze(gone));
    },
    leftover: (dice) => {
      const { wolf } = this.host(dice);
      const ended = this.fleet.rows.lastEnded();
      if (wolf.up && ended !== undefined) wolf.plant(ended.id);
    },
    foreign: (dice) => {
      const { wolf } = this.host(dice);
      if (!wolf.up) return;
      // One with our tag is of a session that this database has never heard of.
      const unknown = this.fleet.newId("ses");
      const names = ["Firefox", "Steam of ses_1", "wolfpack", "ses_not-one-of-ours", unknown] as const;
      const lobby = wolf.plant(dice.pick(names));
      this.later(dice.gapMs(4 * MINUTE), () => wolf.end(lobby, "StopLobbyEvent"));
    },
    resize: (dice) => {
      const { agent } = this.host(dice);
      agent.resize(Math.max(1, agent.maxSandboxes + dice.int(-3, 3)));
    },
  };

  /** So many have left at once that they cannot have left by themselves. */
  private expectFreeze(gone: readonly Host[]): void {
    const { replicas, rows, world } = this.fleet;
    const cutAtMs = world.nowMs - FROZEN_WITHIN_MS;
    const isSettled = replicas.sinceMs !== undefined && replicas.sinceMs < cutAtMs - MINUTE;
    const overridden = (rows.overrideUntil()?.getTime() ?? 0) > BEGAN_AT_MS + cutAtMs - SKEW_MS_MAX;
    const isStill = gone.every(({ reachable: { is, sinceMs } }) => !is && sinceMs <= cutAtMs + LOOK_EVERY_MS);
    if (isSettled && isStill && !overridden && !rows.isFrozen())
      world.violate("frozen", `${gone.length} wolves are gone at once, and nothing is frozen`);
  }

  private host(dice: Dice): Host {
    return dice.any(this.fleet.hosts) as Host;
  }

  /** Mostly a restart; now and then nobody is there for minutes. */
  private outageMs(dice: Dice): number {
    return dice.chance(0.15) ? dice.between(60, 240) * SECOND : dice.between(0.5, 10) * SECOND;
  }

  private cut(host: Host, open: { up: boolean; down: boolean }, forMs: number): void {
    this.note(
      host,
      `path up ${open.up ? "open" : "cut"}, down ${open.down ? "open" : "cut"} for ${Math.round(forMs)} ms`,
    );
    this.fleet.world.count("cuts");
    host.path.set(open);
    host.cuts += 1;
    const { cuts } = host;
    this.later(forMs, () => {
      if (host.cuts === cuts) this.heal(host);
    });
  }

  private heal(host: Host): void {
    if (host === this.fleet.deaf) return;
    host.path.muted = false;
    host.path.set({ up: true, down: true });
    this.note(host, "path is whole");
  }

  private note(host: Host, what: string): void {
    this.fleet.world.note(`${host.wolf.id} ${what}`);
  }

  private later(ms: number, run: () => void): void {
    this.fleet.world.timeline.after(ms, run);
  }

  private every(meanMs: number, dice: Dice, run: () => void): void {
    this.later(dice.gapMs(meanMs), () => {
      if (this.over) return;
      run();
      this.every(meanMs, dice, run);
    });
  }
}

const calm = (temper: Temper): Temper => ({
  ...temper,
  createMs: [300, 2000],
  refused: 0,
  refusedButMade: 0,
  vanishing: 0,
  silentEnds: 0,
});
