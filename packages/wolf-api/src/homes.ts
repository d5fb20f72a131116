/**
 * The homes that sandboxes have had. Of a sandbox's home Wolf also mounts `udev`, which whoever had that home before may have
 * made a link to anywhere on the host: none is given out twice.
 */

/** Some 10 MB of names; the oldest is forgotten. */
const HOMES_MAX = 100_000;

export interface Homes {
  /** False when a sandbox has had it. */
  take(home: string): boolean;
  /** No sandbox got it after all. */
  giveBack(home: string): void;
}

export function homesOnce(homesMax = HOMES_MAX): Homes {
  const taken = new Set<string>();
  return {
    take(home) {
      if (taken.has(home)) return false;
      taken.add(home);
      if (taken.size > homesMax) taken.delete(taken.values().next().value as string);
      return true;
    },
    giveBack: (home) => void taken.delete(home),
  };
}
