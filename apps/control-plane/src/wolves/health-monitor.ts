/** Time's part in a wolf's state: graces that run out, heartbeats that stop, heartbeats of live tunnels that are written in one batch. */
import type { Clock, Timer } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { WolfStore } from "./wolf-store.ts";

export interface HealthMonitorOptions {
  store: WolfStore;
  clock: Clock;
  log: Log;
  /** The live tunnels of this replica. */
  liveTunnels: () => { id: string; epoch: number }[];
  /** Grace between suspect and lost. */
  tunnelLostAfterMs: number;
  /** Silence after which a wolf without a tunnel is lost. */
  wolfStaleAfterMs: number;
  /** Between two looks for stale wolves. */
  intervalMs: number;
}

export interface HealthMonitor {
  /** Looks once, at once; then every interval. */
  start(): Promise<void>;
  /** A tunnel is gone: the wolf is suspect now, and lost unless it returns within the grace. */
  tunnelLost(id: string, epoch: number): Promise<void>;
  stop(): void;
}

const HEARTBEAT_FLUSH_MS = 10_000;

export function createHealthMonitor(options: HealthMonitorOptions): HealthMonitor {
  const { store, clock, log, liveTunnels, tunnelLostAfterMs, wolfStaleAfterMs, intervalMs } = options;
  const timers = new Set<Timer>();
  let stopped = false;

  function after(ms: number, run: () => Promise<void>): void {
    if (stopped) return;
    const timer = clock.setTimer(ms, () => {
      timers.delete(timer);
      void run();
    });
    timers.add(timer);
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

  async function markStale(): Promise<void> {
    const now = clock.now();
    const names = await store.markStale(new Date(now.getTime() - wolfStaleAfterMs), now);
    if (names.length > 0) log.warn({ names }, "wolves without heartbeat are lost");
  }

  function loseLater(id: string, epoch: number): void {
    after(tunnelLostAfterMs, async () => {
      const done = await tick("mark lost", async () => {
        if (await store.markLost(id, epoch, clock.now())) log.warn({ wolf_id: id, epoch }, "wolf lost");
      });
      if (!done) loseLater(id, epoch);
    });
  }

  async function tunnelLost(id: string, epoch: number): Promise<void> {
    const done = await tick("tunnel lost", async () => {
      if (await store.loseTunnel(id, epoch, clock.now()))
        log.warn({ wolf_id: id, epoch }, "tunnel lost, wolf is suspect");
    });
    if (!done) return after(1000, () => tunnelLost(id, epoch));
    loseLater(id, epoch);
  }

  return {
    async start() {
      await tick("stale wolves", markStale);
      await tick("orphaned tunnels", async () => {
        for (const { id, epoch } of await store.orphanTunnels(clock.now())) loseLater(id, epoch);
      });
      every(intervalMs, "stale wolves", markStale);
      every(HEARTBEAT_FLUSH_MS, "heartbeats", async () => {
        await store.heartbeats(liveTunnels(), clock.now());
      });
    },
    tunnelLost,
    stop() {
      stopped = true;
      for (const timer of timers) timer.cancel();
      timers.clear();
    },
  };
}
