/** Lists of the API beyond one page. */
import { UsageError } from "./errors.ts";

const PAGE = 200;
/** Of wolves and sessions. */
export const LARGE_PAGE = 1000;
export const ALL = Number.POSITIVE_INFINITY;

export interface Listed<Item> {
  items: Item[];
  /** There are more than were asked for. */
  more: boolean;
}

interface Reply<Item> {
  body: readonly Item[];
  headers: Headers;
}

/** As many as wanted, page by page; the cursor is what the server's link to the next page names. */
export async function listed<Item>(
  wanted: number,
  fetchPage: (page: { limit: number; cursor?: string }) => Promise<Reply<Item>>,
  pageMax = PAGE,
): Promise<Listed<Item>> {
  const items: Item[] = [];
  let cursor: string | undefined;
  for (;;) {
    const limit = Math.min(pageMax, wanted - items.length);
    const { body, headers } = await fetchPage({ limit, ...(cursor === undefined ? {} : { cursor }) });
    items.push(...body);
    const next = nextCursor(headers.get("link"));
    if (next === undefined) return { items, more: false };
    // A link that leads nowhere new would be followed for ever.
    if (items.length >= wanted || next === cursor || body.length === 0) return { items, more: true };
    cursor = next;
  }
}

function nextCursor(link: string | null): string | undefined {
  const [, target] = /<([^>]*)>\s*;\s*rel="next"/.exec(link ?? "") ?? [];
  return target === undefined
    ? undefined
    : (URL.parse(target, "http://api")?.searchParams.get("cursor") ?? undefined);
}

/** What `--limit` says. */
export function readLimit(text: string): number {
  if (text === "all") return ALL;
  const found = /^[0-9]{1,7}$/.test(text) ? Number(text) : 0;
  if (found < 1) throw new UsageError("--limit is a number from 1, or all.");
  return found;
}
