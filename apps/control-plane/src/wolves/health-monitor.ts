/** Time's part in a wolf's state: graces that run out, heartbeats that stop, heartbeats of live tunnels that are written in one batch. */
import type { Clock, Timer } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { WolfStore } from "./wolf-store.ts";

export interface HealthMonitorOptions {
  store: Pick<WolfStore, "heartbeats" | "loseTunnel" | "markLost" | "markStale" | "orphanTunnels">;
  clock: Clock;
  log: Log;
  /** The live tunnels of this replica. */
  liveTunnels: () => { id: string; epoch: number }[];
  /** Grace between suspect and lost. */
  tunnelLostAfterMs: number;
  /** Silence after which a wolf without a live tunnel is lost. */
  wolfStaleAfterMs: number;
  /** Between two looks for stale wolves. */
  intervalMs: number;
}

export interface HealthMonitor {
  /**
   * Before the first tunnel: wolves that were connected to an earlier process are suspect, with a fresh grace. Resolves
   * when that is written, however often it has to be tried. Then looks for stale wolves, at once and every interval.
   */
  start(): Promise<void>;
  /** A tunnel is gone: the wolf is suspect now, and lost unless it returns within the grace. Never rejects. */
  tunnelLost(id: string, epoch: number): Promise<void>;
  stop(): void;
}

const HEARTBEAT_FLUSH_MS = 10_000;
const RETRY_MS = 1000;

export function createHealthMonitor(options: HealthMonitorOptions): HealthMonitor {
  const { store, clock, log, liveTunnels, tunnelLostAfterMs, wolfStaleAfterMs, intervalMs } = options;
  /** What waits, and what is called instead when the monitor stops first. */
  const timers = new Map<Timer, () => void>();
  let stopped = false;

  function after(ms: number, run: () => Promise<void>, given = () => {}): void {
    if (stopped) return given();
    const timer = clock.setTimer(ms, () => {
      timers.delete(timer);
      void run();
    });
    timers.set(timer, given);
  }

  /** A failed tick changes nothing and is tried again at the next. */
  async function tick(what: string, run: () => Promise<void>): Promise<boolean> {
    try {
      await run();
      return true;
    } catch (err) {
      log.warn({ err, what }, "health monitor tick failed");
      return false;
    }
  }

  function every(ms: number, what: string, run: () => Promise<void>): void {
    after(ms, async () => {
      await tick(what, run);
      every(ms, what, run);
    });
  }

  /** Resolves when `run` has succeeded or the monitor has stopped. */
  function untilDone(what: string, run: () => Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const attempt = async () => {
        if (stopped || (await tick(what, run))) resolve();
        else after(RETRY_MS, attempt, resolve);
      };
      void attempt();
    });
  }

  async function markStale(): Promise<void> {
    const now = clock.now();
    const names = await store.markStale(new Date(now.getTime() - wolfStaleAfterMs), liveTunnels(), now);
    if (names.length > 0) log.warn({ names }, "wolves without heartbeat are lost");
  }

  function loseLater(id: string, epoch: number): void {
    after(tunnelLostAfterMs, () =>
      untilDone("mark lost", async () => {
        if (await store.markLost(id, epoch, clock.now())) log.warn({ wolf_id: id, epoch }, "wolf lost");
      }),
    );
  }

  async function tunnelLost(id: string, epoch: number): Promise<void> {
    const done = await tick("tunnel lost", async () => {
      if (await store.loseTunnel(id, epoch, clock.now()))
        log.warn({ wolf_id: id, epoch }, "tunnel lost, wolf is suspect");
    });
    if (!done) return after(RETRY_MS, () => tunnelLost(id, epoch));
    // Also when nothing changed: an earlier try may have been written although it failed. The epoch guards.
    loseLater(id, epoch);
  }

  return {
    async start() {
      await untilDone("orphaned tunnels", async () => {
        for (const { id, epoch } of await store.orphanTunnels(clock.now())) loseLater(id, epoch);
      });
      await tick("stale wolves", markStale);
      every(intervalMs, "stale wolves", markStale);
      every(HEARTBEAT_FLUSH_MS, "heartbeats", async () => {
        await store.heartbeats(liveTunnels(), clock.now());
      });
    },
    tunnelLost,
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
