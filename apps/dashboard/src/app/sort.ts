/** How a table is sorted, kept in the address: `-load` is the load, the highest first. */
import { useMemo } from "react";
import type { Sort } from "../ui/table.tsx";
import { useSearchField } from "./search.ts";

/** Apart from "", which is the page's own order. */
const UNSORTED = "none";

export function useSort(fallback: string): readonly [Sort | undefined, (sort: Sort | undefined) => void] {
  const [order, setOrder] = useSearchField("sort", fallback);
  const sort = useMemo(
    () =>
      order === "" || order === UNSORTED
        ? undefined
        : { id: order.replace(/^-/, ""), desc: order.startsWith("-") },
    [order],
  );
  return [sort, (next) => setOrder(next === undefined ? UNSORTED : `${next.desc ? "-" : ""}${next.id}`)];
}
