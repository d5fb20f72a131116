/**
 * Virtual time of one run: events in the order of their moments, and of their making where moments are equal. Nothing else makes
 * time pass, so an hour takes as long as what happens in it.
 */

export interface Planned {
  cancel(): void;
}

interface Event {
  atMs: number;
  order: number;
  run: () => void;
  cancelled: boolean;
}

/** A heap of fewer events is not worth cleaning. */
const CLEANED_ABOVE = 1024;

export class Timeline {
  /** Since the beginning of the run. */
  nowMs = 0;
  private heap: Event[] = [];
  private made = 0;
  private cancelled = 0;

  get pending(): number {
    return this.heap.length - this.cancelled;
  }

  after(ms: number, run: () => void): Planned {
    this.made += 1;
    const event = { atMs: this.nowMs + Math.max(0, ms), order: this.made, run, cancelled: false };
    this.heap.push(event);
    this.rise(this.heap.length - 1);
    return {
      cancel: () => {
        if (event.cancelled) return;
        event.cancelled = true;
        this.cancelled += 1;
        // Deadlines of what was done in time are most of what is planned: without this the heap would be full of them.
        if (this.heap.length > CLEANED_ABOVE && this.cancelled * 2 > this.heap.length) this.clean();
      },
    };
  }

  /** Moves to the next event and runs it; false when there is none until `untilMs`, where time stands then. */
  step(untilMs: number): boolean {
    for (;;) {
      const event = this.heap[0];
      if (event === undefined || event.atMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return false;
      }
      this.pop();
      if (event.cancelled) {
        this.cancelled -= 1;
        continue;
      }
      // Cancelled from now on means nothing: it has run.
      event.cancelled = true;
      this.nowMs = event.atMs;
      event.run();
      return true;
    }
  }

  private clean(): void {
    this.heap = this.heap.filter((event) => !event.cancelled);
    this.cancelled = 0;
    // A sorted array is a heap.
    this.heap.sort((a, b) => (before(a, b) ? -1 : 1));
  }

  private pop(): void {
    const last = this.heap.pop();
    if (last === undefined || this.heap.length === 0) return;
    this.heap[0] = last;
    this.sink();
  }

  private rise(index: number): void {
    const { heap } = this;
    const event = heap[index] as Event;
    let at = index;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Event;
      if (before(parent, event)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = event;
  }

  private sink(): void {
    const { heap } = this;
    const event = heap[0] as Event;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && before(heap[below + 1] as Event, heap[below] as Event)) below += 1;
      const child = heap[below] as Event;
      if (before(event, child)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = event;
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
