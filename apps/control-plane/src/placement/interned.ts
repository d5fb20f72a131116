/**
 * Values that many wolves share, each kept once under a small number, and what has been answered about them. A question is
 * put to each value once, however many wolves have it and however often the question comes back. Both the values and the
 * questions that are remembered are bounded: by who holds a value, and by `QUESTIONS_MAX`.
 */

const QUESTIONS_MAX = 128;
const CAPACITY_FIRST = 64;

interface Answers {
  byId: Uint8Array;
  /** Ids whose value is another one since. */
  stale: Set<number>;
}

export class Interned<Value> {
  /** By id; undefined where an id is free. */
  readonly #values: (Value | undefined)[] = [];
  readonly #signatures: string[] = [];
  readonly #holders: number[] = [];
  readonly #ids = new Map<string, number>();
  readonly #free: number[] = [];
  readonly #answers = new Map<string, Answers>();
  #capacity = CAPACITY_FIRST;

  /** Ids are below it. */
  get idsEnd(): number {
    return this.#values.length;
  }

  /** How many values are held. */
  get size(): number {
    return this.#ids.size;
  }

  get(id: number): Value | undefined {
    return this.#values[id];
  }

  /** By id, how many hold it; 0 where an id is free. */
  get holders(): readonly number[] {
    return this.#holders;
  }

  /** The same signature means the same value. */
  hold(signature: string, value: Value): number {
    const known = this.#ids.get(signature);
    if (known !== undefined) {
      this.#holders[known] = (this.#holders[known] ?? 0) + 1;
      return known;
    }
    const id = this.#free.pop() ?? this.#values.length;
    this.#values[id] = value;
    this.#signatures[id] = signature;
    this.#holders[id] = 1;
    this.#ids.set(signature, id);
    while (this.#capacity < this.#values.length) this.#capacity *= 2;
    for (const { stale } of this.#answers.values()) stale.add(id);
    return id;
  }

  drop(id: number): void {
    const holders = (this.#holders[id] ?? 0) - 1;
    this.#holders[id] = holders;
    if (holders > 0) return;
    this.#ids.delete(this.#signatures[id] ?? "");
    this.#values[id] = undefined;
    this.#signatures[id] = "";
    this.#free.push(id);
  }

  /** By id; what it says of a free id means nothing. `asker` is called only if there is something to ask. */
  answers(question: string, asker: () => (value: Value) => number): Uint8Array {
    const answers = this.#answers.get(question) ?? {
      byId: new Uint8Array(this.#capacity),
      stale: new Set(this.#ids.values()),
    };
    this.#answers.delete(question);
    this.#answers.set(question, answers);
    if (this.#answers.size > QUESTIONS_MAX)
      for (const oldest of this.#answers.keys()) {
        this.#answers.delete(oldest);
        break;
      }
    if (answers.byId.length < this.#capacity) {
      const longer = new Uint8Array(this.#capacity);
      longer.set(answers.byId);
      answers.byId = longer;
    }
    if (answers.stale.size > 0) {
      const ask = asker();
      for (const id of answers.stale) {
        const value = this.#values[id];
        if (value !== undefined) answers.byId[id] = ask(value);
      }
      answers.stale.clear();
    }
    return answers.byId;
  }
}
