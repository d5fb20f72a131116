/**
 * Names of users by their ids, for whoever may see something of theirs. Nothing of the program changes a name, so that each is asked
 * for once, those of one answer together; so many are kept, and the oldest make room.
 */
import type { IdentityStore } from "./identity-store.ts";

export interface UserNames {
  /** Null: there is no such user, or none any more. Rejects without a database, unless all of them are known. */
  of(ids: readonly string[]): Promise<(id: string) => string | null>;
}

/** Some hundred bytes each. */
const KEPT_MAX = 10_000;

export function createUserNames(
  store: Pick<IdentityStore, "userNames">,
  { keptMax = KEPT_MAX }: { keptMax?: number } = {},
): UserNames {
  const kept = new Map<string, string>();
  return {
    async of(ids) {
      const found = new Map<string, string>();
      const unknown = new Set<string>();
      for (const id of ids) {
        const name = kept.get(id);
        if (name === undefined) unknown.add(id);
        else found.set(id, name);
      }
      if (unknown.size > 0)
        for (const { id, name } of await store.userNames([...unknown])) {
          found.set(id, name);
          kept.set(id, name);
        }
      for (const oldest of kept.keys()) {
        if (kept.size <= keptMax) break;
        kept.delete(oldest);
      }
      return (id) => found.get(id) ?? null;
    },
  };
}
