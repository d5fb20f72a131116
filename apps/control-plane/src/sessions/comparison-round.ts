/**
 * The periodic comparison of wolves with what they run, for what no event has told. It gives way: to agents that come back, which are
 * compared at once, and to users of a process that is late.
 */

/** Thousands at once would keep everybody else waiting. */
export const AT_ONCE_MAX = 64;
/** Not none: what makes it late may be something else, and may last. */
export const WHILE_LATE_MAX = 4;

export class ComparisonRound {
  private readonly compare: (wolfId: string) => Promise<void>;
  private active = 0;

  /** `compare` never rejects. */
  constructor(compare: (wolfId: string) => Promise<void>) {
    this.compare = compare;
  }

  /** Comparisons that are under way for no other reason. */
  get comparing(): number {
    return this.active;
  }

  /** Resolves when all have been compared. `isLate`: whether this process is, asked before each comparison. */
  async run(wolfIds: readonly string[], isLate: () => boolean = () => false): Promise<void> {
    const left = wolfIds.values();
    let workers = 0;
    const atOnce = () => (isLate() ? WHILE_LATE_MAX : AT_ONCE_MAX);
    const work = async (): Promise<void> => {
      const others: Promise<void>[] = [];
      for (const wolfId of left) {
        // Those that went while it was late are back with the first that finds it in time.
        if (workers < atOnce()) others.push(started());
        await this.counted(wolfId);
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

  private async counted(wolfId: string): Promise<void> {
    this.active += 1;
    await this.compare(wolfId);
    this.active -= 1;
  }
}
