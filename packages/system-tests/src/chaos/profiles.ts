/**
 * Networks as they are found, as numbers: what each direction does to bytes, how often the link goes away, and when a middle box
 * forgets a connection. Up is from the agent or user to the control plane. Reasons and sources: docs/operations/chaos.md.
 */
import { noToxics, type Toxics } from "./toxics.ts";

/** A link that comes and goes: good first, then bad, and again. */
export interface Weather {
  goodMs: number;
  badMs: number;
  /** Bad: nothing gets through and nobody is told; or all connections are reset and none is taken. */
  bad: "silence" | "reset";
}

export interface Profile {
  up: Toxics;
  down: Toxics;
  weather?: Weather;
  /** A connection without a byte in either direction for so many milliseconds is forgotten: nothing gets through, nobody is told. */
  forgottenAfterMs?: number;
}

const MBIT = 125_000;
const both = (toxics: Partial<Toxics>): Pick<Profile, "up" | "down"> => ({
  up: { ...noToxics, ...toxics },
  down: { ...noToxics, ...toxics },
});

export const profiles = {
  /** One switch: a gigabit, and a round trip below what a timer can show. */
  lan: both({ bytesPerSecond: 1000 * MBIT }),
  /** Two sites of one country: 100 Mbit/s, 40 ms there and back. */
  wan: both({ latencyMs: 20, jitterMs: 4, bytesPerSecond: 100 * MBIT }),
  /** Frankfurt to Virginia: 50 Mbit/s, 90 ms there and back. */
  transatlantic: both({ latencyMs: 45, jitterMs: 5, bytesPerSecond: 50 * MBIT }),
  /** A hotel in the evening: 300 ms and much jitter, little of it upwards, pieces, stalls of seconds, and now and then a cut. */
  "bad-hotel": {
    up: {
      latencyMs: 150,
      jitterMs: 120,
      bytesPerSecond: 1 * MBIT,
      sliceBytes: 700,
      sliceDelayMs: 2,
      slowCloseMs: 1000,
      resetEveryBytes: 8_000_000,
    },
    down: {
      latencyMs: 150,
      jitterMs: 120,
      bytesPerSecond: 4 * MBIT,
      sliceBytes: 1400,
      sliceDelayMs: 1,
      slowCloseMs: 1000,
      resetEveryBytes: 8_000_000,
    },
    weather: { goodMs: 15_000, badMs: 4000, bad: "silence" },
  },
  /** A router that swallows everything for a minute: far beyond the 14.5 s after which a silent peer is dead. */
  blackhole: {
    ...both({ latencyMs: 20, jitterMs: 4, bytesPerSecond: 100 * MBIT }),
    weather: { goodMs: 30_000, badMs: 60_000, bad: "silence" },
  },
  /** A cable that is loose: gone for 6 s in every 36 s, and every connection with it. */
  flap: {
    ...both({ latencyMs: 20, jitterMs: 4, bytesPerSecond: 100 * MBIT }),
    weather: { goodMs: 30_000, badMs: 6000, bad: "reset" },
  },
  /** A home router that forgets a quiet connection after a minute, and tells nobody. */
  "nat-expiry": {
    ...both({ latencyMs: 20, jitterMs: 4, bytesPerSecond: 100 * MBIT }),
    forgottenAfterMs: 60_000,
  },
} satisfies Record<string, Profile>;

export type ProfileName = keyof typeof profiles;
export const profileNames = Object.keys(profiles) as ProfileName[];
export const isProfileName = (name: string): name is ProfileName => Object.hasOwn(profiles, name);

/** The same network with its periods times `factor`: for tests that cannot wait. Latencies and rates stay. */
export function scaled(profile: Profile, factor: number): Profile {
  const { weather, forgottenAfterMs } = profile;
  return {
    ...profile,
    ...(weather && {
      weather: { ...weather, goodMs: weather.goodMs * factor, badMs: weather.badMs * factor },
    }),
    ...(forgottenAfterMs !== undefined && { forgottenAfterMs: forgottenAfterMs * factor }),
  };
}

/** What the weather is after so many milliseconds of it, and after how many it changes. */
export function weatherAt(
  { goodMs, badMs }: Weather,
  sinceMs: number,
): { bad: boolean; changesInMs: number } {
  const at = sinceMs % (goodMs + badMs);
  return at < goodMs
    ? { bad: false, changesInMs: goodMs - at }
    : { bad: true, changesInMs: goodMs + badMs - at };
}
