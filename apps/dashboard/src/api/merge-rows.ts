/** Rows that were read anew into those that are shown, as functions of values. Of two the newer by its own account is right. */

interface Row {
  id: string;
  /** ISO 8601, UTC. */
  updated_at: string;
}

/** `rows` with what was read of some: undefined where one is gone. Unknown ones come last. */
export function mergeFound<Some extends Row>(
  rows: readonly Some[],
  found: ReadonlyMap<string, Some | undefined>,
): Some[] {
  const gone = new Set<string>();
  const news: Some[] = [];
  for (const [id, row] of found) {
    if (row === undefined) gone.add(id);
    else news.push(row);
  }
  const kept = gone.size === 0 ? rows : rows.filter(({ id }) => !gone.has(id));
  return mergeRows(kept, news);
}

/** What is newer stays: a page may have been read before an event. */
export function mergeRows<Some extends Row>(rows: readonly Some[], news: readonly Some[]): Some[] {
  const byId = new Map(news.map((row) => [row.id, row]));
  const merged = rows.map((row) => {
    const newer = byId.get(row.id);
    byId.delete(row.id);
    return newer && newer.updated_at >= row.updated_at ? newer : row;
  });
  return byId.size === 0 ? merged : [...merged, ...byId.values()];
}

/** Only of rows that are known: what has been removed since a page was read does not come back with it. */
export function mergeKnown<Some extends Row>(rows: readonly Some[], news: readonly Some[]): Some[] {
  const known = new Set(rows.map(({ id }) => id));
  return mergeRows(
    rows,
    news.filter(({ id }) => known.has(id)),
  );
}

/** A list as it was read, except for rows that have been read anew since. */
export function keepNewer<Some extends Row>(list: readonly Some[], shown: readonly Some[] = []): Some[] {
  const byId = new Map(shown.map((row) => [row.id, row]));
  return list.map((row) => {
    const other = byId.get(row.id);
    return other && other.updated_at > row.updated_at ? other : row;
  });
}
