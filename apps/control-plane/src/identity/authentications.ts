/**
 * Who a credential belongs to, remembered for a short time, so that the database is not asked at every call. Nothing is remembered
 * beyond its expiry or its revocation, and never that a credential is wrong.
 */
import type { Clock } from "../clock.ts";
import type { Revocations } from "./revocations.ts";

export interface Authentication<Value> {
  value: Value;
  /** From then on it is none. */
  expiresAt: Date | null;
  /** Whatever it stands and falls with: the ids of key, web session, user. */
  objectIds: readonly string[];
}

export interface Authentications<Value> {
  /** The remembered value of this credential's hash, or what `load` finds; that it finds nothing is not remembered. */
  find(
    hash: string,
    load: () => Promise<Authentication<Value> | undefined>,
  ): Promise<Value | undefined> | Value;
}

export interface AuthenticationsOptions {
  revocations: Pick<Revocations, "mark" | "revokedSince" | "onRevoked" | "upToDate">;
  clock: Clock;
  /** Default 30,000. */
  rememberedMs?: number;
  /** Default 10,000; beyond it the one that was longest not asked for goes. */
  entriesMax?: number;
}

interface Entry<Value> extends Authentication<Value> {
  from: number;
  /** Milliseconds; not valid at this moment any more. */
  until: number;
}

/** A credential that is revoked again each time it is looked up is none. */
const LOADS_MAX = 3;

export function createAuthentications<Value>({
  revocations,
  clock,
  rememberedMs = 30_000,
  entriesMax = 10_000,
}: AuthenticationsOptions): Authentications<Value> {
  /** The one longest not asked for comes first. */
  const entries = new Map<string, Entry<Value>>();

  revocations.onRevoked((_kind, objectId) => {
    for (const [hash, { objectIds }] of entries) {
      if (objectIds.includes(objectId)) entries.delete(hash);
    }
  });

  async function loaded(
    hash: string,
    load: () => Promise<Authentication<Value> | undefined>,
  ): Promise<Value | undefined> {
    for (let tries = 0; tries < LOADS_MAX; tries += 1) {
      const mark = revocations.mark();
      const from = clock.now().getTime();
      const found = await load();
      if (found === undefined) return undefined;
      // What was read may be from before.
      if (revocations.revokedSince(mark, found.objectIds)) continue;
      const expiry = found.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY;
      keep(hash, { ...found, from, until: Math.min(from + rememberedMs, expiry) });
      return found.value;
    }
    return undefined;
  }

  function keep(hash: string, entry: Entry<Value>): void {
    entries.delete(hash);
    entries.set(hash, entry);
    for (const oldest of entries.keys()) {
      if (entries.size <= entriesMax) break;
      entries.delete(oldest);
    }
  }

  return {
    find(hash, load) {
      const entry = entries.get(hash);
      if (entry !== undefined) {
        const now = clock.now().getTime();
        entries.delete(hash);
        // The wall clock may step back: then nobody knows how old it is.
        if (now >= entry.from && now < entry.until && revocations.upToDate()) {
          entries.set(hash, entry);
          return entry.value;
        }
      }
      return loaded(hash, load);
    },
  };
}
