/**
 * Metrics from a table that names each of them with its help and its labels. A label has the values that the table gives it and no
 * others: what strangers make up counts as `other`, so that the number of series is known before the process starts.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** The value of a label that is none of its own. */
export const OTHER = "other";

/** Of a label that has one value in the life of a process, such as its version. */
export const ownText: readonly string[] = Object.freeze([]);

export interface Definition {
  type: "counter" | "gauge" | "histogram";
  help: string;
  /** Values by label. */
  labels?: Readonly<Record<string, readonly string[]>>;
  /** Of a histogram: upper bounds, rising. */
  buckets?: readonly number[];
}

export type Definitions = Readonly<Record<string, Definition>>;

type NameOf<Table extends Definitions, Type extends Definition["type"]> = {
  [Name in keyof Table]: Table[Name]["type"] extends Type ? Name : never;
}[keyof Table] &
  string;
type LabelsOf<Row extends Definition> =
  Row["labels"] extends Readonly<Record<string, readonly string[]>>
    ? { [Label in keyof Row["labels"]]: string }
    : undefined;
type Given<Row extends Definition> =
  LabelsOf<Row> extends undefined ? [value?: number] : [value: number, labels: LabelsOf<Row>];

export interface Meters<Table extends Definitions> {
  /** Adds to a counter, 1 unless `value` says otherwise. */
  add<Name extends NameOf<Table, "counter">>(name: Name, ...given: Given<Table[Name]>): void;
  set<Name extends NameOf<Table, "gauge">>(name: Name, ...given: Given<Table[Name]>): void;
  observe<Name extends NameOf<Table, "histogram">>(name: Name, ...given: Given<Table[Name]>): void;
  /** Sets a counter that is kept elsewhere to what it is there. */
  total<Name extends NameOf<Table, "counter">>(name: Name, ...given: Given<Table[Name]>): void;
  /** Forgets the series of a gauge: what is not set again is not shown. */
  clear(name: NameOf<Table, "counter" | "gauge">): void;
  /** Called before each reading. A rejection is its own: the other numbers are shown. */
  onRead(collect: () => void | Promise<void>): void;
  /** In Prometheus' text format. Those who ask at once share one reading. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Without buckets of its own a histogram counts in those of a request, 5 ms to 2 minutes. */
const REQUEST_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120] as const;

export function createMeters<Table extends Definitions>(
  definitions: Table,
  { onReadFailed = () => undefined }: { onReadFailed?: (error: unknown) => void } = {},
): Meters<Table> {
  const registry = new Registry();
  const made = new Map<string, Counter | Gauge | Histogram>();
  for (const [name, definition] of Object.entries(definitions))
    made.set(name, make(registry, name, definition));
  const collectors: (() => void | Promise<void>)[] = [];
  let reading: Promise<string> | undefined;

  const closed = (name: string, labels: Readonly<Record<string, string>> = {}) =>
    Object.fromEntries(
      Object.entries(definitions[name]?.labels ?? {}).map(([label, values]) => {
        const value = labels[label] ?? OTHER;
        return [label, values === ownText || values.includes(value) ? value : OTHER];
      }),
    );

  async function read(): Promise<string> {
    const results = await Promise.allSettled(collectors.map(async (collect) => collect()));
    for (const result of results) if (result.status === "rejected") onReadFailed(result.reason);
    return registry.metrics();
  }

  return {
    add: (name, value = 1, labels?: object) =>
      (made.get(name) as Counter).inc(closed(name, labels as Record<string, string>), value),
    set: (name, value = 1, labels?: object) =>
      (made.get(name) as Gauge).set(closed(name, labels as Record<string, string>), value),
    observe: (name, value = 0, labels?: object) =>
      (made.get(name) as Histogram).observe(closed(name, labels as Record<string, string>), value),
    total(name, value = 0, labels?: object) {
      const counter = made.get(name) as Counter;
      const own = closed(name, labels as Record<string, string>);
      counter.remove(own);
      counter.inc(own, value);
    },
    clear(name) {
      const meter = made.get(name) as Counter | Gauge;
      // Without labels a reset would say 0.
      if (definitions[name]?.labels === undefined) meter.remove();
      else meter.reset();
    },
    onRead: (collect) => void collectors.push(collect),
    text() {
      reading ??= read().finally(() => {
        reading = undefined;
      });
      return reading;
    },
    contentType: registry.contentType,
  };
}

function make(registry: Registry, name: string, definition: Definition): Counter | Gauge | Histogram {
  const { type, help, labels = {}, buckets = REQUEST_BUCKETS } = definition;
  const common = { name, help, labelNames: Object.keys(labels), registers: [registry] };
  if (type === "counter") return new Counter(common);
  if (type === "gauge") return new Gauge(common);
  return new Histogram({ ...common, buckets: [...buckets] });
}
