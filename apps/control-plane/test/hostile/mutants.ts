/** Hostile requests from hostile requests: bytes flipped, cut, doubled and mixed, as a seed says. */
import type { HostileCase } from "./http-cases.ts";

/** Small and repeatable (mulberry32). */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * sides);
  };
}

const odd = [
  "\u0000",
  "\r",
  "\n",
  "\r\n",
  "\r\n\r\n",
  " ",
  "\t",
  ":",
  "%00",
  "%",
  "/",
  "..",
  "{",
  '"',
  ",",
  "\u00ff",
  "chunked",
  "0\r\n\r\n",
  "Host: y\r\n",
];

export function* mutants(
  corpus: readonly HostileCase[],
  seed: number,
  count: number,
): Generator<HostileCase> {
  const throwDie = dice(seed);
  const one = () => corpus[throwDie(corpus.length)] as HostileCase;
  for (let number = 1; number <= count; number += 1) {
    const parent = one();
    let bytes = parent.bytes;
    for (let left = 1 + throwDie(4); left > 0; left -= 1) bytes = mutate(bytes, throwDie, one().bytes);
    yield { kind: "mutants", name: `mutant ${number} of ${parent.kind}, ${parent.name}`, bytes };
  }
}

function mutate(bytes: Buffer, throwDie: (sides: number) => number, other: Buffer): Buffer {
  const at = throwDie(bytes.length + 1);
  const to = Math.min(bytes.length, at + 1 + throwDie(40));
  switch (throwDie(5)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = throwDie(256);
      return flipped;
    }
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), other.subarray(throwDie(other.length + 1))]);
    default: {
      const piece = odd[throwDie(odd.length)] ?? "";
      return Buffer.concat([bytes.subarray(0, at), Buffer.from(piece, "latin1"), bytes.subarray(at)]);
    }
  }
}
