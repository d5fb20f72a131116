/**
 * The periodic comparison of wolves with what they run, for what no event has told. It gives way for a while: to agents that come back,
 * which are compared at once, and to users of a process that is late.
 */
import type { Clock } from "../clock.ts";
import type { SessionKeeper } from "./session-keeper.ts";

/** Thousands at once would keep everybody else waiting. */
export const AT_ONCE_MAX = 64;
export const WHILE_LATE_MAX = 4;

export interface Unseen {
  /** Wolves that were compared within this time, as when they came back, are passed over. */
  forMs: number;
  /** A round gives way for so long at most. */
  givesWayMs: number;
  /** Whether this process is late, asked before each comparison. */
  isLate: () => boolean;
}

export interface RoundOptions {
  keeper: Pick<SessionKeeper, "reconcileWolf" | "seenAt" | "isComparing">;
  clock: Clock;
}

export class ComparisonRound {
  private readonly options: RoundOptions;
  private active = 0;

  constructor(options: RoundOptions) {
    this.options = options;
  }

  /** Comparisons that are under way for no other reason. */
  get comparing(): number {
    return this.active;
  }

  /** Resolves when all have been compared; without `unseen`, whenever they last were. */
  async run(wolfIds: readonly string[], unseen?: Unseen): Promise<void> {
    const { clock } = this.options;
    const begunMs = clock.elapsedMs();
    const givesWay = () =>
      // Not for ever: what makes it late may last, and what happened to wolves that nobody looked at is not known.
      unseen?.isLate() === true && clock.elapsedMs() - begunMs < unseen.givesWayMs;
    const atOnce = () => (givesWay() ? WHILE_LATE_MAX : AT_ONCE_MAX);
    const left = wolfIds.values();
    let workers = 0;
    const work = async (): Promise<void> => {
      const others: Promise<void>[] = [];
      for (const wolfId of left) {
        if (unseen !== undefined && !this.isDue(wolfId, unseen.forMs)) continue;
        const comparison = this.counted(wolfId);
        // Those that went while it was late are back with the first that finds it in time.
        if (workers < atOnce()) others.push(started());
        await comparison;
        if (workers > atOnce()) break;
      }
      workers -= 1;
      await Promise.all(others);
    };
    const started = (): Promise<void> => {
      workers += 1;
      return work();
    };
    await started();
  }

  /** Asked when its turn comes: a round may take a while. */
  private isDue(wolfId: string, forMs: number): boolean {
    const { keeper, clock } = this.options;
    if (keeper.isComparing(wolfId)) return false;
    const sinceMs = clock.now().getTime() - (keeper.seenAt(wolfId)?.getTime() ?? 0);
    // The wall clock may have stepped back.
    return sinceMs >= forMs || sinceMs < 0;
  }

  private async counted(wolfId: string): Promise<void> {
    this.active += 1;
    await this.options.keeper.reconcileWolf(wolfId);
    this.active -= 1;
  }
}
