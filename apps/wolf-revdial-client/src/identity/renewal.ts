/** Renews the agent's key at half of its life, through its own tunnel, until the signal aborts. */
import type { Tunnel } from "revdial";
import { backoffMs } from "../backoff.ts";
import { type Clock, pause } from "../clock.ts";
import type { Log } from "../logger.ts";
import { printable } from "../printable.ts";
import { sentence } from "../sentence.ts";
import type { Credential } from "./credential.ts";

export interface RenewalOptions {
  credential: Pick<Credential, "enrolled" | "keyed" | "renew">;
  /** The live tunnel; undefined: none is up. */
  tunnel: () => Tunnel | undefined;
  clock: Clock;
  /** Milliseconds since 1970. */
  wallClock: () => number;
  random: () => number;
  log: Log;
  onRenewed: () => void;
  signal: AbortSignal;
}

/** A host that slept has to see soon what time it is. */
const LOOK_MS = 60_000;
const BACKOFF_BASE_MS = 60_000;
const BACKOFF_CAP_MS = 3_600_000;

/** When a key is to be renewed, and from when on people have to hear that it is not: at a half and at three quarters of its life. */
export function renewalTimes({ issued_at, expires_at }: { issued_at: string; expires_at: string }): {
  dueMs: number;
  warnMs: number;
} {
  const [from, to] = [Date.parse(issued_at), Date.parse(expires_at)];
  return { dueMs: from + (to - from) / 2, warnMs: from + ((to - from) * 3) / 4 };
}

export async function keepRenewed(options: RenewalOptions): Promise<void> {
  const { credential, tunnel, clock, wallClock, random, log, onRenewed, signal } = options;
  for (let failures = 0; !signal.aborted; ) {
    const { enrolled, keyed } = credential;
    const live = tunnel();
    const waitMs = enrolled === undefined ? LOOK_MS : renewalTimes(enrolled).dueMs - wallClock();
    if (!keyed || enrolled === undefined || live === undefined || waitMs > 0) {
      await pause(Math.min(LOOK_MS, Math.max(waitMs, 1000)), clock, signal);
      continue;
    }
    try {
      await credential.renew(live, signal);
      failures = 0;
      log.info(
        { key_id: credential.enrolled?.id, expires_at: credential.enrolled?.expires_at },
        "key renewed",
      );
      onRenewed();
    } catch (error) {
      if (signal.aborted) return;
      const late = wallClock() >= renewalTimes(enrolled).warnMs;
      const reason = printable(sentence(error));
      log[late ? "warn" : "info"](
        { reason, expires_at: enrolled.expires_at },
        late
          ? "the agent's key ends soon and could not be renewed: without a new one this host leaves the fleet"
          : "the key could not be renewed yet",
      );
      await pause(
        1000 + backoffMs(failures, { baseMs: BACKOFF_BASE_MS, capMs: BACKOFF_CAP_MS, random }),
        clock,
        signal,
      );
      failures += 1;
    }
  }
}
