/**
 * Who a credential belongs to, remembered for a short time, so that the database is not asked at every call, and so that somebody is
 * known while it is away. Nothing is remembered beyond its expiry or its revocation, and never that a credential is wrong.
 */
import type { Clock } from "../clock.ts";
import { isDatabaseDown } from "../database/database-down.ts";
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
  /** From the last look on, for as long as the database cannot be asked. Default 120,000. */
  awayMs?: number;
  /** Default 10,000; beyond it the one that was longest not asked for goes. */
  entriesMax?: number;
}

interface Entry<Value> extends Authentication<Value> {
  from: number;
  /** Milliseconds; from then on it is looked up again. */
  until: number;
  /** Milliseconds; not valid at this moment any more, whatever happens. */
  end: number;
}

/** A credential that is revoked again each time it is looked up is none. */
const LOADS_MAX = 3;

export function createAuthentications<Value>({
  revocations,
  clock,
  rememberedMs = 30_000,
  awayMs = 120_000,
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
      let found: Authentication<Value> | undefined;
      try {
        found = await load();
      } catch (error) {
        const last = isDatabaseDown(error) ? validEntry(hash) : undefined;
        if (last === undefined) throw error;
        return last.value;
      }
      entries.delete(hash);
      if (found === undefined) return undefined;
      // What was read may be from before.
      if (revocations.revokedSince(mark, found.objectIds)) continue;
      const expiry = found.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY;
      const [until, end] = [rememberedMs, awayMs].map((ms) => Math.min(from + ms, expiry)) as [
        number,
        number,
      ];
      keep(hash, { ...found, from, until, end });
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

  /** Not revoked, as far as was heard. */
  function validEntry(hash: string): Entry<Value> | undefined {
    const entry = entries.get(hash);
    if (entry === undefined) return undefined;
    const now = clock.now().getTime();
    entries.delete(hash);
    // The wall clock may step back: then nobody knows how old it is.
    if (now < entry.from || now >= entry.end) return undefined;
    entries.set(hash, entry);
    return entry;
  }

  return {
    find(hash, load) {
      const entry = validEntry(hash);
      if (entry !== undefined && clock.now().getTime() < entry.until && revocations.upToDate())
        return entry.value;
      return loaded(hash, load);
    },
  };
}
