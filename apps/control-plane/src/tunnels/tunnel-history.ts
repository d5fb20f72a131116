/**
 * Round trips of every wolf's tunnel over the last hour, and how often it came anew. In memory, of this replica: 4 bytes a sample, so up
 * to 1.4 KiB for each wolf (360 samples), 14 MB for 10,000 of them.
 */
import { historyLimits } from "@wolfpack/api-contract";
import { type Clock, repeat, type Timer } from "../clock.ts";
import { SlotRing } from "../slot-ring.ts";

export const RTT_SLOT_MS = 10_000;
/** 29 MB. Of wolves beyond these nothing is kept. */
const WOLVES_MAX = 20_000;
/** Rows of a new history: 2 minutes. It doubles when it is full. */
const ROWS_MIN = 12;

export interface TunnelHistory {
  /** From now on a sample every 10 s. */
  start(): void;
  stop(): void;
  /** Oldest first. */
  rtts(wolfId: string): { at: Date; ms: number }[];
  /** Tunnels after the first. */
  reconnects(wolfId: string): number;
  /** Histories that are kept. */
  readonly wolves: number;
}

export interface TunnelHistoryOptions {
  clock: Clock;
  liveWolves: () => readonly { id: string }[];
  rttMsOf: (wolfId: string) => number | undefined;
  onWolfConnected: (listener: (wolfId: string) => void) => void;
  /** Default 20,000. */
  wolvesMax?: number;
}

interface Kept {
  rtts: SlotRing;
  tunnels: number;
  /** Of the last sample, or of the tunnel before the first one. */
  slot: number;
}

export function createTunnelHistory(options: TunnelHistoryOptions): TunnelHistory {
  const { clock, liveWolves, rttMsOf, wolvesMax = WOLVES_MAX } = options;
  const kept = new Map<string, Kept>();
  const startMs = clock.now().getTime();
  let sampling: Timer | undefined;

  /** Rounded from our start: a timer that is late by some milliseconds now and then hits the same slots. */
  const slotNow = () => Math.round((clock.now().getTime() - startMs) / RTT_SLOT_MS);
  const oldest = () => slotNow() - historyLimits.samplesMax + 1;

  function of(wolfId: string): Kept | undefined {
    const known = kept.get(wolfId);
    if (known !== undefined || kept.size >= wolvesMax) return known;
    const fresh = { rtts: new SlotRing(1, ROWS_MIN), tunnels: 0, slot: slotNow() };
    kept.set(wolfId, fresh);
    return fresh;
  }

  options.onWolfConnected((wolfId) => {
    const known = of(wolfId);
    if (known === undefined) return;
    known.tunnels += 1;
    known.slot = slotNow();
  });

  async function sample(): Promise<void> {
    const slot = slotNow();
    for (const { id } of liveWolves()) {
      const known = of(id);
      const ms = rttMsOf(id);
      if (known === undefined) continue;
      known.slot = slot;
      if (ms === undefined) continue;
      const rows = known.rtts.capacityAt(slot, historyLimits.samplesMax);
      if (rows > known.rtts.capacity) known.rtts = known.rtts.resized(1, rows);
      known.rtts.put(slot, [ms]);
    }
    const gone = oldest();
    for (const [id, { slot: last }] of kept) if (last < gone) kept.delete(id);
  }

  return {
    start() {
      sampling ??= repeat(clock, RTT_SLOT_MS, sample);
    },
    stop() {
      sampling?.cancel();
      sampling = undefined;
    },
    rtts(wolfId) {
      const rows = kept.get(wolfId)?.rtts.rows(oldest()) ?? [];
      return Array.from(rows, ({ slot, figures: [ms = 0] }) => ({
        at: new Date(startMs + slot * RTT_SLOT_MS),
        ms: Math.round(ms * 100) / 100,
      }));
    },
    reconnects: (wolfId) => Math.max(0, (kept.get(wolfId)?.tunnels ?? 0) - 1),
    get wolves() {
      return kept.size;
    },
  };
}
