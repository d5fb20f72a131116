/**
 * How many screens are looked at at once: each answer is whole in memory until it has gone, and a sandbox decides how large
 * it is. A place is one of its session's, and so many of the host's bytes: the most it may have, then those it has.
 */
import { Semaphore } from "@wolfpack/wolf-api";

export const screenLimits = {
  sessionMax: 2,
  sessionWaitingMax: 16,
  hostBytesMax: 96 * 1024 * 1024,
  hostWaitingMax: 32,
  /** Of the 10 s for waiting and answer together: what waits longer has too little time left. */
  waitMs: 9000,
} as const;

export interface ScreenPlaces {
  /** Undefined when too many wait, for too long, or the caller gave up. */
  take(sessionId: string, bytesMax: number, signal: AbortSignal): Promise<ScreenPlace | undefined>;
}

export interface ScreenPlace {
  /** The answer is here, and has so many bytes. */
  answered(bytes: number): void;
  giveBack(): void;
}

export function screenPlaces(): ScreenPlaces {
  const host = new Semaphore(screenLimits.hostBytesMax, screenLimits.hostWaitingMax);
  /** Only those in use. */
  const sessions = new Map<string, { places: Semaphore; users: number }>();

  function enter(sessionId: string) {
    const { sessionMax, sessionWaitingMax } = screenLimits;
    const session = sessions.get(sessionId) ?? {
      places: new Semaphore(sessionMax, sessionWaitingMax),
      users: 0,
    };
    session.users += 1;
    sessions.set(sessionId, session);
    const leave = () => {
      session.users -= 1;
      if (session.users === 0) sessions.delete(sessionId);
    };
    return { places: session.places, leave };
  }

  return {
    async take(sessionId, bytesMax, signal) {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(screenLimits.waitMs)]);
      const session = enter(sessionId);
      const ofSession = await session.places.take(patience);
      const ofHost = ofSession && (await host.take(patience, { count: bytesMax }));
      const giveBack = () => {
        ofHost?.();
        ofSession?.();
        session.leave();
      };
      if (ofHost !== undefined) return { giveBack, answered: (bytes) => ofHost(bytesMax - bytes) };
      giveBack();
      return undefined;
    },
  };
}
