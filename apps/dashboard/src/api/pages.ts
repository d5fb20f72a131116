/** Lists that come in pages and are shown as one: read anew when an event concerns them, as every read is (see live.ts). */

import { type InfiniteData, useInfiniteQuery } from "@tanstack/react-query";
import type { OperationId } from "@wolfpack/api-contract";
import { useEffect, useMemo } from "react";
import { type ApiFailure, readPage } from "./client.ts";

const PAGE = 200;
/** So many come by themselves, so that what is searched is whole; the rest when the end of the list is in sight. */
const PAGES_READ = 10;

interface PagesOptions {
  /** Rows of a page. Default: 200. */
  page?: number;
  /** How often all that was read is read anew, whatever events say. */
  refetchMs?: number;
}

/** `usePages<User>("listUsers", { role: "admin" })`. */
export function usePages<Row>(
  operation: OperationId,
  query: Record<string, string | undefined> = {},
  { page = PAGE, refetchMs }: PagesOptions = {},
) {
  const pages = useInfiniteQuery<
    { rows: Row[]; next: string | undefined },
    ApiFailure,
    InfiniteData<{ rows: Row[] }>,
    readonly unknown[],
    string | undefined
  >({
    // Another than of a read of one page (keyOf), whose data has no pages.
    queryKey: [operation, { query, inPages: true }],
    queryFn: ({ pageParam, signal }) =>
      readPage<Row>(operation, { ...query, limit: page, cursor: pageParam }, signal),
    initialPageParam: undefined,
    getNextPageParam: ({ next }) => next,
    refetchInterval: refetchMs ?? false,
  });
  const rows = useMemo(() => pages.data?.pages.flatMap((one) => one.rows), [pages.data]);
  const { hasNextPage, isFetching, isFetchingNextPage, fetchNextPage } = pages;
  const number = pages.data?.pages.length ?? 0;
  useEffect(() => {
    if (number < PAGES_READ && hasNextPage && !isFetching) void fetchNextPage();
  }, [number, hasNextPage, isFetching, fetchNextPage]);
  return {
    rows,
    error: pages.error,
    refetch: pages.refetch,
    complete: !hasNextPage,
    more: () => {
      if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
    },
  };
}
