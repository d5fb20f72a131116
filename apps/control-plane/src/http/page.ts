/** Pages: `limit` items after `cursor`, and a Link header (RFC 8288) to the next while there is one. */

/**
 * Stores are asked for `limit + 1` items; the one too many says that there is a next page. Cursors are ids, which are
 * ordered by time.
 */
export function page<Item extends { id: string }>(
  url: string,
  items: readonly Item[],
  limit: number,
): { status: 200; body: Item[]; headers: Record<string, string> } {
  const body = items.slice(0, limit);
  const last = body.at(-1);
  if (items.length <= limit || !last) return { status: 200, body, headers: {} };
  const next = new URL(url, "http://api");
  next.searchParams.set("limit", String(limit));
  next.searchParams.set("cursor", last.id);
  return { status: 200, body, headers: { link: `<${next.pathname}${next.search}>; rel="next"` } };
}
