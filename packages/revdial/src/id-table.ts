/**
 * Channel numbers to what belongs to them. A Map would do, but V8 links every table it has outgrown to the next one: with
 * channels coming and going by the thousand, dead tables in old space keep all later channels alive through every minor
 * collection (measured: scavenges of 18 ms instead of 1, 100 MB more). Here nothing outgrown points to anything.
 */

const CAPACITY_MIN = 8;
/** An empty table keeps no more places than this. */
const CAPACITY_EMPTY_MAX = 256;

export class IdTable<Value> {
  size = 0;
  /** Linear probing; 0 is no channel, so it marks a free place. */
  private ids: number[] = new Array<number>(CAPACITY_MIN).fill(0);
  private slots: (Value | undefined)[] = new Array<Value | undefined>(CAPACITY_MIN).fill(undefined);
  private mask = CAPACITY_MIN - 1;
  private almostEmpty = 0;

  /** Where an id is, or the free place where it would go. Ids of one side rise by two: neighbours get neighbouring places. */
  private place(id: number): number {
    const { ids, mask } = this;
    let at = (id >>> 1) & mask;
    for (;;) {
      const found = ids[at];
      if (found === id || found === 0) return at;
      at = (at + 1) & mask;
    }
  }

  get(id: number): Value | undefined {
    return this.slots[this.place(id)];
  }

  has(id: number): boolean {
    return this.ids[this.place(id)] === id;
  }

  set(id: number, value: Value): void {
    let at = this.place(id);
    if (this.ids[at] === 0) {
      if ((this.size + 1) * 2 > this.mask + 1) {
        this.resize((this.mask + 1) * 2);
        at = this.place(id);
      }
      this.ids[at] = id;
      this.size += 1;
    }
    this.slots[at] = value;
  }

  delete(id: number): boolean {
    let hole = this.place(id);
    const { ids, slots, mask } = this;
    if (ids[hole] !== id) return false;
    // Close the gap: an entry that probed past this place must still be found.
    for (let at = (hole + 1) & mask; ids[at] !== 0; at = (at + 1) & mask) {
      const home = ((ids[at] as number) >>> 1) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      ids[hole] = ids[at] as number;
      slots[hole] = slots[at];
      hole = at;
    }
    ids[hole] = 0;
    slots[hole] = undefined;
    this.size -= 1;
    this.shrink();
    return true;
  }

  /** Not at once: a load that swings between few and many would rebuild the table all the time. */
  private shrink(): void {
    const capacity = this.mask + 1;
    this.almostEmpty = this.size * 8 < capacity ? this.almostEmpty + 1 : 0;
    const empty = this.size === 0 && capacity > CAPACITY_EMPTY_MAX;
    if (!empty && this.almostEmpty < capacity) return;
    this.almostEmpty = 0;
    let enough = CAPACITY_MIN;
    while (enough < this.size * 4) enough *= 2;
    if (enough < capacity) this.resize(enough);
  }

  private resize(capacity: number, ids = this.ids): void {
    const { slots } = this;
    this.ids = new Array<number>(capacity).fill(0);
    this.slots = new Array<Value | undefined>(capacity).fill(undefined);
    this.mask = capacity - 1;
    for (const [index, id] of ids.entries()) {
      if (id === 0) continue;
      const at = this.place(id);
      this.ids[at] = id;
      this.slots[at] = slots[index];
    }
  }

  clear(): void {
    this.resize(CAPACITY_MIN, []);
    this.size = 0;
  }

  /** Copies, in rising order: the caller may add and delete while it looks at them. */
  keys(): number[] {
    return this.ids.filter((id) => id !== 0).toSorted((a, b) => a - b);
  }

  values(): Value[] {
    return this.keys().map((id) => this.get(id) as Value);
  }
}
