/** Rows that were read anew into those that are shown, as a function of values. */
import type { WolfInstance } from "@wolfpack/api-contract";

/** What is newer by its own account stays: a page may have been read before an event. */
export function mergeRows(rows: readonly WolfInstance[], news: readonly WolfInstance[]): WolfInstance[] {
  const byId = new Map(news.map((wolf) => [wolf.id, wolf]));
  const merged = rows.map((wolf) => {
    const newer = byId.get(wolf.id);
    byId.delete(wolf.id);
    return newer && newer.updated_at >= wolf.updated_at ? newer : wolf;
  });
  return byId.size === 0 ? merged : [...merged, ...byId.values()];
}
