/** What a page shows, kept in its address: a link shows the same to whoever follows it. Always plain strings. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback } from "react";
import type { Search } from "./search-text.ts";

export type { Search };

/** One field of the address: `const [status, setStatus] = useSearchField("status")`. */
export function useSearchField(name: string, fallback = ""): readonly [string, (value: string) => void] {
  const search = useSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  const set = useCallback(
    (value: string) =>
      void navigate({
        to: ".",
        search: (before: Search) => ({
          ...before,
          [name]: value === "" || value === fallback ? undefined : value,
        }),
        replace: true,
        resetScroll: false,
      } as never),
    [navigate, name, fallback],
  );
  return [search[name] ?? fallback, set];
}
