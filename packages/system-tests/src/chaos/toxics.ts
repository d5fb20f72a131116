/** What a bad path does to the bytes of one direction: toxiproxy's verbs as a record of numbers, each with its unit. */

export interface Toxics {
  /** Milliseconds that every byte spends on its way. */
  latencyMs: number;
  /** At most so much more or less of it, by chance. The order stays. */
  jitterMs: number;
  /** Bytes per second, evenly. Absent: no limit. */
  bytesPerSecond?: number;
  /** Bytes per piece, on average; 0: as they come. A piece has from half to one and a half of it. */
  sliceBytes: number;
  /** Milliseconds between two pieces. */
  sliceDelayMs: number;
  /** Milliseconds by which the end of a direction comes after its last byte. */
  slowCloseMs: number;
  /** Nothing gets through any more, and after so many milliseconds the connection is closed; 0: never. What was sent is held. */
  timeoutMs?: number;
  /** So many bytes get through in all, then the connection is closed. */
  limitBytes?: number;
  /** The connection is reset after so many milliseconds. */
  resetAfterMs?: number;
  /** Loss, as TCP shows it when it gives up: a reset once in so many bytes, on average. */
  resetEveryBytes?: number;
}

export const noToxics: Toxics = { latencyMs: 0, jitterMs: 0, sliceBytes: 0, sliceDelayMs: 0, slowCloseMs: 0 };

/** Whole numbers: the smallest and the largest that makes sense. */
const ranges: Record<keyof Toxics, [min: number, max: number]> = {
  latencyMs: [0, 600_000],
  jitterMs: [0, 600_000],
  bytesPerSecond: [1, 1e11],
  sliceBytes: [0, 1e9],
  sliceDelayMs: [0, 600_000],
  slowCloseMs: [0, 600_000],
  timeoutMs: [0, 86_400_000],
  limitBytes: [0, 1e15],
  resetAfterMs: [0, 86_400_000],
  resetEveryBytes: [1, 1e15],
};

export const toxicNames = Object.keys(ranges) as (keyof Toxics)[];

/** From `latencyMs=80,jitterMs=20`. Throws a TypeError that names what is wrong. */
export function readToxics(text: string): Toxics {
  const toxics = { ...noToxics };
  for (const part of text.split(",").filter((one) => one !== "")) {
    const [name = "", value = "", more] = part.split("=");
    const range = Object.hasOwn(ranges, name) ? ranges[name as keyof Toxics] : undefined;
    if (range === undefined) throw new TypeError(`"${name}" is none of ${toxicNames.join(", ")}`);
    const [min, max] = range;
    const number = Number(value);
    if (more !== undefined || !/^\d+$/.test(value) || number < min || number > max)
      throw new TypeError(`${name} is a whole number from ${min} to ${max.toLocaleString("en")}`);
    toxics[name as keyof Toxics] = number;
  }
  return toxics;
}
