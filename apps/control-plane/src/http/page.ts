/** Pages: `limit` items after `cursor`, and a Link header (RFC 8288) to the next while there is one. */

interface Page<Item> {
  status: 200;
  body: Item[];
  headers: Record<string, string>;
}

/**
 * Stores are asked for `limit + 1` items; the one too many says that there is a next page. Cursors are ids, which are
 * ordered by time.
 */
export function page<Item extends { id: string }>(
  url: string,
  items: readonly Item[],
  limit: number,
): Page<Item> {
  return pageBy(url, items, limit, ({ id }) => id);
}

/** Of a list with another order, whose store knows the place that a cursor names. */
export function pageBy<Item>(
  url: string,
  items: readonly Item[],
  limit: number,
  cursorOf: (item: Item) => string,
): Page<Item> {
  const body = items.slice(0, limit);
  const last = body.at(-1);
  if (items.length <= limit || last === undefined) return { status: 200, body, headers: {} };
  const next = new URL(url, "http://api");
  next.searchParams.set("limit", String(limit));
  next.searchParams.set("cursor", cursorOf(last));
  return { status: 200, body, headers: { link: `<${next.pathname}${next.search}>; rel="next"` } };
}
