/**
 * All wolves that placement may choose from, as columns of numbers in the order of their ids, so that a decision over ten
 * thousand of them is one pass over a few arrays. Hides how a wolf becomes a row. Not for more than one thread, and nothing in
 * it waits.
 */
import { type Candidate, costOf, freeOf, loadOf, NOTHING, nearnessOf, UNLIMITED } from "./candidate.ts";
import { Interned } from "./interned.ts";
import { type Profile, profileSignature } from "./profile.ts";
import type { Wish } from "./wish.ts";

type Claims = Pick<Wish, "vramMb" | "encoderSessions">;

const ROWS_FIRST = 64;

function columnsOf(rows: number) {
  return {
    /** Id in `profiles`. */
    profile: new Int32Array(rows),
    /** Id in `imageSets`. */
    images: new Int32Array(rows),
    load: new Float64Array(rows),
    slotsClaimed: new Float64Array(rows),
    slotsFree: new Int32Array(rows),
    vramFreeMb: new Int32Array(rows),
    encoderFree: new Int32Array(rows),
    cost: new Float64Array(rows),
    nearness: new Float64Array(rows),
    quarantinedUntilMs: new Float64Array(rows),
  };
}

/** Where a decision writes while it lasts. */
const scratchOf = (rows: number) => ({
  fits: new Int32Array(rows),
  /** Of each that fits, in the same order. */
  tiers: new Uint8Array(rows),
  /** By row. */
  score: new Float64Array(rows),
  /** By row, where a wish singles out wolves. */
  verdicts: new Uint8Array(rows),
  rows: Int32Array.from({ length: rows }, (_, row) => row),
});

export class Fleet {
  /** The parts below are for the decision only; nobody else reads rows. */
  readonly profiles = new Interned<Profile>();
  readonly imageSets = new Interned<readonly string[]>();
  readonly candidates: Candidate[] = [];
  columns = columnsOf(ROWS_FIRST);
  scratch = scratchOf(ROWS_FIRST);

  readonly #ids: string[] = [];
  /** What `reserve` has added to a wolf's claims since its last `put`. */
  readonly #reserved = new Map<string, Claims & { slots: number }>();

  get size(): number {
    return this.#ids.length;
  }

  ids(): Iterable<string> {
    return this.#ids.values();
  }

  /** With its claims as they are now. */
  get(id: string): Candidate | undefined {
    const row = this.#rowOf(id);
    return this.#ids[row] === id ? this.candidates[row] : undefined;
  }

  /** Undefined where there is no such wolf. */
  row(id: string): number | undefined {
    const row = this.#rowOf(id);
    return this.#ids[row] === id ? row : undefined;
  }

  /** Inserts or replaces. A new one costs least when its id is above all others, as of the newest wolf. */
  put(candidate: Candidate): void {
    this.#reserved.delete(candidate.id);
    const row = this.#rowOf(candidate.id);
    const isNew = this.#ids[row] !== candidate.id;
    if (isNew) this.#insert(row, candidate);
    const { columns } = this;
    const [profileBefore, imagesBefore] = [columns.profile[row] as number, columns.images[row] as number];
    const images = candidate.images === null ? [] : [...candidate.images].sort();
    columns.profile[row] = this.profiles.hold(profileSignature(candidate), candidate);
    columns.images[row] = this.imageSets.hold(JSON.stringify(images), images);
    if (!isNew) this.#drop(profileBefore, imagesBefore);
    columns.cost[row] = costOf(candidate);
    columns.nearness[row] = nearnessOf(candidate);
    columns.quarantinedUntilMs[row] = candidate.quarantinedUntilMs ?? Number.NEGATIVE_INFINITY;
    this.#writeClaims(row, candidate);
  }

  remove(id: string): void {
    const row = this.row(id);
    if (row === undefined) return;
    this.#drop(this.columns.profile[row] as number, this.columns.images[row] as number);
    for (const column of Object.values(this.columns)) column.copyWithin(row, row + 1, this.size);
    this.#ids.splice(row, 1);
    this.candidates.splice(row, 1);
    this.#reserved.delete(id);
  }

  /** Counts a claim that is on its way, until the next `put` of that wolf says what is true. */
  reserve(id: string, { vramMb, encoderSessions }: Claims): void {
    const before = this.#reserved.get(id) ?? { slots: 0, vramMb: 0, encoderSessions: 0 };
    this.#changeReserved(id, {
      slots: before.slots + 1,
      vramMb: before.vramMb + vramMb,
      encoderSessions: before.encoderSessions + encoderSessions,
    });
  }

  /** Undoes a `reserve`. What the last `put` said is the floor: it may have been said after the reservation. */
  release(id: string, { vramMb, encoderSessions }: Claims): void {
    const before = this.#reserved.get(id);
    if (before === undefined) return;
    this.#changeReserved(id, {
      slots: Math.max(0, before.slots - 1),
      vramMb: Math.max(0, before.vramMb - vramMb),
      encoderSessions: Math.max(0, before.encoderSessions - encoderSessions),
    });
  }

  #changeReserved(id: string, reserved: Claims & { slots: number }): void {
    const row = this.row(id);
    const candidate = row === undefined ? undefined : this.candidates[row];
    if (row === undefined || candidate === undefined) return;
    const before = this.#reserved.get(id) ?? { slots: 0, vramMb: 0, encoderSessions: 0 };
    if (reserved.slots > 0) this.#reserved.set(id, reserved);
    else this.#reserved.delete(id);
    const now = reserved.slots > 0 ? reserved : { slots: 0, vramMb: 0, encoderSessions: 0 };
    const { slots, vramMb, encoderSessions } = candidate;
    this.#writeClaims(row, {
      ...candidate,
      slots: { ...slots, claimed: slots.claimed + now.slots - before.slots },
      vramMb: { ...vramMb, claimed: vramMb.claimed + now.vramMb - before.vramMb },
      encoderSessions: {
        ...encoderSessions,
        claimed: encoderSessions.claimed + now.encoderSessions - before.encoderSessions,
      },
    });
  }

  #writeClaims(row: number, candidate: Candidate): void {
    const { columns } = this;
    this.candidates[row] = candidate;
    columns.load[row] = loadOf(candidate);
    columns.slotsClaimed[row] = candidate.slots.claimed;
    columns.slotsFree[row] = freeOf(candidate.slots, NOTHING);
    columns.vramFreeMb[row] = freeOf(candidate.vramMb, NOTHING);
    columns.encoderFree[row] = freeOf(candidate.encoderSessions, UNLIMITED);
  }

  #insert(row: number, candidate: Candidate): void {
    const rows = this.columns.profile.length;
    if (this.size === rows) {
      const before = this.columns;
      this.columns = columnsOf(rows * 2);
      this.scratch = scratchOf(rows * 2);
      for (const name of Object.keys(before) as (keyof typeof before)[]) this.columns[name].set(before[name]);
    }
    for (const column of Object.values(this.columns)) column.copyWithin(row + 1, row, this.size);
    this.#ids.splice(row, 0, candidate.id);
    this.candidates.splice(row, 0, candidate);
  }

  #drop(profile: number, images: number): void {
    this.profiles.drop(profile);
    this.imageSets.drop(images);
  }

  /** Of the first id that is not below. */
  #rowOf(id: string): number {
    let [low, high] = [0, this.#ids.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ids[middle] as string) < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
