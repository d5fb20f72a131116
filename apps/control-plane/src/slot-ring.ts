/** Figures over time in a fixed amount of memory: a row for each slot of time, the oldest written over. */

/** A clock that was set back by more makes the rows say nothing: their times are those of another clock. */
const SLOTS_BACK_MAX = 2;

/**
 * Rows of `width` figures, 4 bytes each; NaN is unknown. What is put twice into one slot is the last of it, and a slot without a row
 * is left out, so that gaps show.
 */
export class SlotRing {
  readonly width: number;
  readonly capacity: number;
  private readonly cells: Float32Array;
  private first = Number.NaN;
  private newest = Number.NaN;

  constructor(width: number, capacity: number) {
    this.width = width;
    this.capacity = capacity;
    this.cells = new Float32Array(width * capacity).fill(Number.NaN);
  }

  get bytes(): number {
    return this.cells.byteLength;
  }

  /** NaN before the first row. */
  get newestSlot(): number {
    return this.newest;
  }

  /** How many rows it takes for one of this slot to write over no other: doubled as often as needed, `rowsMax` at most. */
  capacityAt(slot: number, rowsMax: number): number {
    let rows = this.capacity;
    while (slot - this.first >= rows && rows < rowsMax) rows = Math.min(rows * 2, rowsMax);
    return rows;
  }

  put(slot: number, figures: readonly number[]): void {
    if (Number.isNaN(this.newest) || slot <= this.newest - SLOTS_BACK_MAX) {
      this.cells.fill(Number.NaN);
      this.first = slot;
      this.newest = slot;
    }
    if (slot < this.newest) return;
    const skipped = Math.min(slot - this.newest, this.capacity);
    for (let empty = slot - skipped + 1; empty <= slot; empty += 1) this.fill(empty, []);
    this.newest = slot;
    this.fill(slot, figures);
  }

  /** Rows from this slot on, oldest first. */
  *rows(fromSlot: number): Generator<{ slot: number; figures: Float32Array }> {
    if (Number.isNaN(this.newest)) return;
    for (let slot = Math.max(fromSlot, this.newest - this.capacity + 1); slot <= this.newest; slot += 1) {
      const at = this.offset(slot);
      const figures = this.cells.subarray(at, at + this.width);
      if (!figures.every(Number.isNaN)) yield { slot, figures };
    }
  }

  /** The newest rows in a ring of another size; figures that a row did not have are unknown. */
  resized(width: number, capacity: number): SlotRing {
    const copy = new SlotRing(width, capacity);
    for (const { slot, figures } of this.rows(Number.NEGATIVE_INFINITY)) copy.put(slot, [...figures]);
    return copy;
  }

  private offset(slot: number): number {
    // Also of slots before the first one that was counted.
    return (((slot % this.capacity) + this.capacity) % this.capacity) * this.width;
  }

  private fill(slot: number, figures: readonly number[]): void {
    const at = this.offset(slot);
    for (let column = 0; column < this.width; column += 1)
      this.cells[at + column] = figures[column] ?? Number.NaN;
  }
}
