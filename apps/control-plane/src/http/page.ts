/** Pages: `limit` items after `cursor`, and a Link header (RFC 8288) to the next while there is one. */
import type { Request, Response } from "express";

/**
 * Stores are asked for `limit + 1` items; the one too many says that there is a next page. Cursors are ids, which are
 * ordered by time.
 */
export function sendPage<Item extends { id: string }>(
  req: Request,
  res: Response,
  items: readonly Item[],
  limit: number,
): void {
  const page = items.slice(0, limit);
  const last = page.at(-1);
  if (items.length > limit && last) {
    const url = new URL(req.originalUrl, "http://api");
    url.searchParams.set("limit", String(limit));
    url.searchParams.set("cursor", last.id);
    res.setHeader("link", `<${url.pathname}${url.search}>; rel="next"`);
  }
  res.json(page);
}
