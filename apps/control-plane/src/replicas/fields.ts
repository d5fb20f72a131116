/** HTTP's fields between replicas: as pairs, without what belongs to one hop or to us. */
import type { HeaderList } from "revdial";
import { OURS } from "./internal-wire.ts";

const ofOneHop = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "date",
  "expect",
]);

export function pairsOf(raw: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2)
    pairs.push([(raw[at] ?? "").toLowerCase(), raw[at + 1] ?? ""]);
  return pairs;
}

export function travelling(headers: HeaderList): [string, string][] {
  const pairs = Array.from(headers, ([name, value]): [string, string] => [name.toLowerCase(), value]);
  const named = new Set(
    pairs
      .filter(([name]) => name === "connection")
      .flatMap(([, value]) =>
        value
          .toLowerCase()
          .split(",")
          .map((option) => option.trim()),
      ),
  );
  return pairs.filter(([name]) => !ofOneHop.has(name) && !named.has(name) && !name.startsWith(OURS));
}
