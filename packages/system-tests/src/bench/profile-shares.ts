/** A CPU profile, as V8's inspector writes it, as shares of who spent the time. */

export interface Profile {
  nodes: readonly { id: number; callFrame: { functionName: string; url: string } }[];
  /** Ids of nodes. */
  samples: readonly number[];
  /** Microseconds before each sample. */
  timeDeltas: readonly number[];
}

/** By the file of a function; the first that fits. Without a file: what V8 and Node's C++ do, system calls among it. */
const places: readonly (readonly [name: string, file: RegExp])[] = [
  ["revdial", /\/packages\/revdial\//],
  ["ws", /\/node_modules\/ws\//],
  ["undici", /\/node_modules\/undici\/|^node:internal\/deps\/undici/],
  ["the bench itself", /\/packages\/system-tests\//],
  ["Node's HTTP", /^node:(_http|internal\/http)/],
  [
    "Node's sockets and streams",
    /^node:(net|stream|buffer|events|internal\/(stream|streams|buffer|js_stream))/,
  ],
  ["Node's timers, promises, other", /^node:/],
];
const NATIVE = "system calls and C++";
const native: Record<string, string | undefined> = {
  "(garbage collector)": "garbage collector",
  "(program)": "outside JavaScript",
};

/** From 0 to 1, of the time that the process was busy; the largest first. Empty: it did nothing. */
export function sharesOf({ nodes, samples, timeDeltas }: Profile): [name: string, share: number][] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const spent = new Map<string, number>();
  let busy = 0;
  for (const [at, id] of samples.entries()) {
    const name = names.get(id);
    const micros = Math.max(0, timeDeltas[at] ?? 0);
    if (name === undefined) continue;
    spent.set(name, (spent.get(name) ?? 0) + micros);
    busy += micros;
  }
  return [...spent]
    .map(([name, micros]): [string, number] => [name, micros / busy])
    .sort(([, a], [, b]) => b - a);
}

/** Undefined: nothing was done. */
function nameOf({ functionName, url }: Profile["nodes"][number]["callFrame"]): string | undefined {
  if (functionName === "(idle)") return undefined;
  if (url === "") return native[functionName] ?? NATIVE;
  return places.find(([, file]) => file.test(url))?.[0] ?? "others";
}
