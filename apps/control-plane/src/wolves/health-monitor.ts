/**
 * Time's part in a wolf's state: graces that run out, heartbeats that stop, heartbeats of live tunnels that are written in one
 * batch. Only this says when it is looked; a wolf is given up by evictions.ts.
 */
import type { Clock, Timer } from "../clock.ts";
import { type Exclusive, unshared } from "../database/exclusive.ts";
import { because, becauseAgent } from "../events/author.ts";
import type { Log } from "../logger.ts";
import { evictionValve, type FleetHealth } from "./eviction-valve.ts";
import { createEvictions, type EvictionsOptions } from "./evictions.ts";
import type { MassLossRules } from "./mass-loss.ts";
import type { Heartbeat, QuarantineRules, TunnelKey, WolfStore } from "./wolf-store.ts";

export interface HealthMonitorOptions {
  store: EvictionsOptions["store"] &
    Pick<
      WolfStore,
      "countConnectivity" | "epochs" | "fleet" | "heartbeats" | "loseTunnel" | "orphanTunnels" | "setFleet"
    >;
  clock: Clock;
  log: Log;
  /** The live tunnels of this replica. */
  liveTunnels: () => Heartbeat[];
  /**
   * Told of a live tunnel that counts no more: an epoch was issued after it, for a tunnel elsewhere that may be gone by now. The
   * agent does not know, and every statement for its wolf changes nothing.
   */
  onOvertaken?: (key: TunnelKey) => void;
  /** Grace between suspect and lost. */
  tunnelLostAfterMs: number;
  /** The same for wolves that were connected when this process started: their agents wait before they dial again. */
  restartGraceMs: number;
  /** Silence after which a wolf without a live tunnel is lost. */
  wolfStaleAfterMs: number;
  /** Between two looks for wolves that are silent, or suspect though no timer here watches their grace. */
  intervalMs: number;
  massLoss: MassLossRules;
  /** For how long an operator's word keeps a mass loss from freezing evictions. */
  overrideMs: number;
  quarantine: QuarantineRules;
  /** Default: there is no other replica. */
  exclusive?: Exclusive;
}

export interface HealthMonitor {
  /**
   * Before the first tunnel: wolves that were connected to an earlier process are suspect, with a fresh grace. Resolves
   * when that is written, however often it has to be tried. Then looks for wolves to give up, at once and every interval.
   */
  start(): Promise<void>;
  /**
   * A tunnel is gone: the wolf is suspect now, and lost unless it returns within the grace. `sentAway`: by this replica, as it
   * shuts down, which is no flap of the wolf's. Never rejects.
   */
  tunnelLost(id: string, epoch: number, options?: { sentAway: boolean }): Promise<void>;
  /**
   * Hears of wolves after they were marked lost. A hint: a process that ends in between tells nobody, so who acts on it also
   * looks by itself.
   */
  onWolvesLost(listener: (wolfIds: readonly string[]) => void): void;
  /** Replicas were removed: wolves that had their tunnel there are suspect, and lost unless they return. Rejects without a database. */
  replicasGone(): Promise<void>;
  /**
   * Finds live tunnels that were overtaken, now instead of with the next heartbeats, as they are of agents that were asked to move. Of
   * these wolves; default all. Writes nothing, and never rejects.
   */
  findOvertaken(wolfIds?: ReadonlySet<string>): Promise<void>;
  /** An operator says that a mass loss is real. */
  unfreeze(): Promise<FleetHealth>;
  state(): Promise<FleetHealth>;
  stop(): void;
}

const HEARTBEAT_FLUSH_MS = 10_000;
const RETRY_MS = 1000;
/** Between two looks while evictions are frozen. */
const FROZEN_LOOK_MS = 5000;
/** A timer so late was not late by chance: the process was stopped, or the clock was set. */
const LATE_MS = 5000;

const keyOf = ({ id, epoch }: TunnelKey) => `${id} ${epoch}`;

/** One tunnel more or less, and never one too many. */
const noFlap = { flapWindowMs: 0, flapsMax: 2 ** 31 - 1 };

export function createHealthMonitor(options: HealthMonitorOptions): HealthMonitor {
  const { store, clock, log, liveTunnels, tunnelLostAfterMs, restartGraceMs, intervalMs } = options;
  const { exclusive = unshared } = options;
  const valve = evictionValve({ ...options, rules: options.massLoss });
  const evictions = createEvictions({ ...options, valve });
  /** What waits, and what is called instead when the monitor stops first. */
  const timers = new Map<Timer, () => void>();
  let stopped = false;
  let wokenMs = Number.NEGATIVE_INFINITY;
  let planned: { timer: Timer; atMs: number } | undefined;
  let looking: Promise<void> = Promise.resolve();
  let nextLook: Promise<void> | undefined;

  /** Tunnels that were overtaken, and finish what is in flight: their word is nobody's heartbeat. */
  const overtaken = new Set<string>();

  const nowMs = () => clock.now().getTime();

  function after(ms: number, run: () => Promise<void>, given = () => {}): Timer | undefined {
    if (stopped) {
      given();
      return undefined;
    }
    const setMs = nowMs();
    const timer = clock.setTimer(ms, () => {
      timers.delete(timer);
      // All that were set before are late by the same sleep, one after the other.
      if (nowMs() - setMs - ms > LATE_MS && setMs >= wokenMs) {
        wokenMs = nowMs();
        evictions.forgive();
      }
      void run();
    });
    timers.set(timer, given);
    return timer;
  }

  /** A failed tick changes nothing and is tried again at the next: undefined. */
  async function tick<Result>(what: string, run: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await run();
    } catch (err) {
      // What cannot be written now are heartbeats too.
      evictions.forgiveSilence();
      log.warn({ err, what }, "health monitor tick failed");
      return undefined;
    }
  }

  function every(ms: number, run: () => Promise<unknown>): void {
    after(ms, async () => {
      await run();
      every(ms, run);
    });
  }

  /** Resolves when `run` has succeeded or the monitor has stopped. */
  function untilDone(what: string, run: () => Promise<"done">): Promise<void> {
    return new Promise((resolve) => {
      const attempt = async () => {
        if (stopped || (await tick(what, run)) !== undefined) resolve();
        else after(RETRY_MS, attempt, resolve);
      };
      void attempt();
    });
  }

  /** The next look is at that time at the latest. */
  function lookBy(atMs: number | undefined): void {
    if (atMs === undefined || (planned !== undefined && planned.atMs <= atMs)) return;
    if (planned !== undefined) {
      planned.timer.cancel();
      timers.delete(planned.timer);
    }
    const timer = after(Math.max(0, atMs - nowMs()), async () => {
      planned = undefined;
      await look();
    });
    planned = timer && { timer, atMs };
  }

  /** One look after the other; whoever asks while one waits for its turn shares it. Never rejects. */
  function look(): Promise<void> {
    nextLook ??= looking.then(async () => {
      nextLook = undefined;
      if (stopped) return;
      const giveUp = () => exclusive("evictions", evictions.giveUp);
      const outcome = await tick("wolves to give up", () => because("silence", giveUp));
      // Also "elsewhere": the other replica may know nothing of the graces that run here.
      if (outcome === "done") lookBy(evictions.nextMs());
      else lookBy(nowMs() + (outcome === "frozen" ? FROZEN_LOOK_MS : RETRY_MS));
    });
    looking = nextLook;
    return nextLook;
  }

  async function tunnelLost(id: string, epoch: number, { sentAway } = { sentAway: false }): Promise<void> {
    const rules = sentAway ? { ...options.quarantine, ...noFlap } : options.quarantine;
    const lose = () => store.loseTunnel(id, epoch, rules, clock.now());
    const changed = await tick("tunnel lost", () => becauseAgent(id, "disconnected", lose));
    if (changed === undefined) return void after(RETRY_MS, () => tunnelLost(id, epoch, { sentAway }));
    if (changed) log.warn({ wolf_id: id, epoch }, "tunnel lost, wolf is suspect");
    // Also when nothing changed: an earlier try may have been written although it failed. The epoch guards.
    evictions.watch({ id, epoch }, tunnelLostAfterMs);
    lookBy(nowMs() + tunnelLostAfterMs);
  }

  /** Those that count, as far as is known. */
  function counting(): Heartbeat[] {
    const all = liveTunnels();
    const open = new Set(all.map(keyOf));
    for (const key of overtaken) if (!open.has(key)) overtaken.delete(key);
    return all.filter((key) => !overtaken.has(keyOf(key)));
  }

  async function writeHeartbeats(): Promise<void> {
    const live = counting();
    try {
      if ((await store.heartbeats(live, clock.now())) >= live.length) return;
    } finally {
      await unsay(live);
    }
    await findOvertaken(live, "warn");
  }

  async function findOvertaken(live: readonly TunnelKey[], level: "debug" | "warn"): Promise<void> {
    if (live.length === 0) return;
    const newest = await store.epochs(live.map(({ id }) => id));
    for (const key of live) {
      const epoch = newest.get(key.id) ?? 0;
      // Lower: an older state of the database was restored, in which this tunnel never was.
      if (epoch === key.epoch || epoch === 0) continue;
      overtaken.add(keyOf(key));
      log[level]({ wolf_id: key.id, epoch: key.epoch }, "a live tunnel was overtaken, and is sent away");
      options.onOvertaken?.(key);
    }
  }

  /** Of tunnels that ended while it was written that they live. Their loss was written and counted before, or is so after this. */
  async function unsay(said: readonly TunnelKey[]): Promise<void> {
    const live = new Set(liveTunnels().map(keyOf));
    for (const { id, epoch } of said)
      if (!live.has(keyOf({ id, epoch }))) await tunnelLost(id, epoch, { sentAway: true });
  }

  return {
    async start() {
      await untilDone("orphaned tunnels", async () => {
        const orphans = await because("restart", () => store.orphanTunnels(clock.now()));
        for (const key of orphans) evictions.watch(key, restartGraceMs);
        return "done";
      });
      evictions.started();
      await look();
      every(intervalMs, look);
      every(HEARTBEAT_FLUSH_MS, () => tick("heartbeats", () => because("heartbeat", writeHeartbeats)));
    },
    async findOvertaken(wolfIds) {
      const live = counting().filter(({ id }) => wolfIds?.has(id) ?? true);
      await tick("overtaken tunnels", () => findOvertaken(live, "debug"));
    },
    tunnelLost,
    async replicasGone() {
      const suspects = await because("replica-gone", () => store.orphanTunnels(clock.now(), "removed"));
      for (const key of suspects) evictions.watchAnew(key, tunnelLostAfterMs);
      lookBy(nowMs() + tunnelLostAfterMs);
    },
    onWolvesLost: evictions.onLost,
    async unfreeze() {
      // Not beside a look, which might freeze again by what it has read before.
      const turn = looking.then(() => valve.override());
      looking = turn.catch(() => {});
      await turn;
      void look();
      return valve.state();
    },
    state: valve.state,
    stop() {
      stopped = true;
      for (const [timer, given] of timers) {
        timer.cancel();
        given();
      }
      timers.clear();
    },
  };
}
