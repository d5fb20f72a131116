/** Counters and times of this process, as plain values: whoever shows them reads them. */

export interface Counter {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** A time that was measured, with words from fixed sets. */
export type Observed = { ms: number } & (
  | {
      name: "request";
      service: string;
      outcome: "answered" | "refused" | "failed";
      /** Of a refusal. */
      code: string | undefined;
    }
  | { name: "wolf"; outcome: string }
  | { name: "reconnect" }
);

export interface Metrics {
  /** Adds one. Labels are few and from fixed sets: they never hold what a caller wrote. */
  count(name: string, labels?: Readonly<Record<string, string>>): void;
  /** As they are now, by name and labels. */
  counters(): Counter[];
  observed(what: Observed): void;
  /** One listener to what was observed; without it nobody wants to know. */
  onObserved(listener: (what: Observed) => void): void;
}

export function createMetrics(): Metrics {
  const counted = new Map<string, Counter>();
  let tell: (what: Observed) => void = () => undefined;
  return {
    observed: (what) => tell(what),
    onObserved(listener) {
      tell = listener;
    },
    count(name, labels = {}) {
      const key = `${name} ${JSON.stringify(Object.entries(labels).toSorted())}`;
      const counter = counted.get(key);
      if (counter) counter.value += 1;
      else counted.set(key, { name, labels: { ...labels }, value: 1 });
    },
    counters: () =>
      [...counted].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, counter]) => ({ ...counter })),
  };
}
