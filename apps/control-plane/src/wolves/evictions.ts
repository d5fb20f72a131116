/**
 * Who is given up as lost, and who gets another chance. Knows until when the grace of each suspect runs and from when on
 * silence counts; asks the valve before any mark; tells of wolves once they are marked. When to look is somebody else's.
 */
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { EvictionValve } from "./eviction-valve.ts";
import type { TunnelKey, Wolf, WolfStore } from "./wolf-store.ts";

export interface EvictionsOptions {
  store: Pick<WolfStore, "findStale" | "listSuspect" | "markLost" | "markStale">;
  valve: Pick<EvictionValve, "look">;
  clock: Clock;
  log: Log;
  /** The live tunnels of this replica. */
  liveTunnels: () => TunnelKey[];
  tunnelLostAfterMs: number;
  restartGraceMs: number;
  wolfStaleAfterMs: number;
}

export interface Evictions {
  /** It is suspect, and has so long to come back. */
  watch(key: TunnelKey, graceMs: number): void;
  /** The same, unless its grace runs already. */
  watchAnew(key: TunnelKey, graceMs: number): void;
  /** A process has just started: wolves were silent because nobody heard them. */
  started(): void;
  /** Nobody could be heard until now. */
  forgiveSilence(): void;
  /** Nobody could be heard, and nobody could come back. */
  forgive(): void;
  /** Marks whoever is due, unless too many are. Rejects with the database's error; what was marked before has been told. */
  giveUp(): Promise<"done" | "frozen">;
  /** When the next grace is over. */
  nextMs(): number | undefined;
  onLost(listener: (wolfIds: readonly string[]) => void): void;
}

export function createEvictions(options: EvictionsOptions): Evictions {
  const { store, valve, clock, log, liveTunnels, tunnelLostAfterMs, restartGraceMs, wolfStaleAfterMs } =
    options;
  const listeners: ((wolfIds: readonly string[]) => void)[] = [];
  const graces = new Map<string, { epoch: number; untilMs: number }>();
  let silenceCountsFromMs = Number.POSITIVE_INFINITY;

  const nowMs = () => clock.now().getTime();

  function watch({ id, epoch }: TunnelKey, graceMs: number): void {
    graces.set(id, { epoch, untilMs: nowMs() + graceMs });
  }

  function forgiveSilence(): void {
    silenceCountsFromMs = Math.max(silenceCountsFromMs, nowMs() + wolfStaleAfterMs);
  }

  /** Suspects whose grace is over. Of others that nobody here watches a process has ended: they get a grace of their own. */
  async function listOverdue(): Promise<TunnelKey[]> {
    const now = nowMs();
    const overdue = new Map<string, TunnelKey>();
    // Those of this very millisecond too.
    for (const key of await store.listSuspect(new Date(now + 1))) {
      const grace = graces.get(key.id);
      if (grace?.epoch !== key.epoch) watch(key, Math.max(tunnelLostAfterMs, restartGraceMs));
      else if (grace.untilMs <= now) overdue.set(key.id, key);
    }
    for (const [id, { untilMs }] of graces) if (untilMs <= now && !overdue.has(id)) graces.delete(id);
    return [...overdue.values()];
  }

  async function markLost({ id, epoch }: TunnelKey): Promise<boolean> {
    const marked = await store.markLost(id, epoch, clock.now());
    if (graces.get(id)?.epoch === epoch) graces.delete(id);
    if (marked) log.warn({ wolf_id: id, epoch }, "wolf lost");
    return marked;
  }

  async function markStale(silent: readonly Wolf[], before: Date, live: TunnelKey[]): Promise<string[]> {
    const names = new Set(await store.markStale(before, live, clock.now()));
    if (names.size > 0) log.warn({ names: [...names] }, "wolves without heartbeat are lost");
    return silent.filter(({ name }) => names.has(name)).map(({ id }) => id);
  }

  function tell(wolfIds: readonly string[]): void {
    if (wolfIds.length === 0) return;
    for (const listener of listeners) {
      try {
        listener(wolfIds);
      } catch (err) {
        log.error({ err }, "a listener to lost wolves failed");
      }
    }
  }

  return {
    watch,
    watchAnew(key, graceMs) {
      if (graces.get(key.id)?.epoch !== key.epoch) watch(key, graceMs);
    },
    forgiveSilence,

    started() {
      silenceCountsFromMs = nowMs() + Math.max(restartGraceMs, wolfStaleAfterMs);
    },

    forgive() {
      forgiveSilence();
      const untilMs = nowMs() + tunnelLostAfterMs;
      for (const grace of graces.values()) grace.untilMs = Math.max(grace.untilMs, untilMs);
    },

    async giveUp() {
      const live = liveTunnels();
      const before = new Date(nowMs() - wolfStaleAfterMs);
      const overdue = await listOverdue();
      const silent = nowMs() < silenceCountsFromMs ? [] : await store.findStale(before, live);
      if ((await valve.look({ overdue: overdue.length, silent: silent.length })) === "shut") return "frozen";
      const lost: string[] = [];
      try {
        for (const key of overdue) if (await markLost(key)) lost.push(key.id);
        if (silent.length > 0) lost.push(...(await markStale(silent, before, live)));
      } finally {
        tell(lost);
      }
      return "done";
    },

    nextMs() {
      let next: number | undefined;
      for (const { untilMs } of graces.values()) next = Math.min(next ?? untilMs, untilMs);
      return next;
    },

    onLost: (listener) => void listeners.push(listener),
  };
}
