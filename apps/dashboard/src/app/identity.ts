/** Who this tab is signed in as: what was read as somebody else, or with another role, is not shown on. */
import type { QueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useMe } from "../api/queries.ts";

/** The browser's tabs share one cookie. */
const channel =
  typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("wolfpack-identity");

/** Somebody signed in or out here; the other tabs hear it, this one does not. */
export const tellOtherTabs = (): void => channel?.postMessage("changed");

/**
 * A word that changes with whoever is signed in and with what they may do, or undefined for the moment in which the cache is
 * emptied of what was read before: nothing may be drawn from it then.
 */
export function useIdentity(client: QueryClient): string | undefined {
  const me = useMe();
  const id = me?.id;
  const now = me && JSON.stringify([id, me.role, [...(me.actions ?? [])].sort()]);
  const [kept, keep] = useState({ id, word: now });
  // Whoever signs out is on the way to the login; until then they are who they were.
  const word = now ?? kept.word ?? "";
  const isOther = word !== (kept.word ?? word);

  useEffect(() => {
    if (!channel) return;
    const changed = () => reload(client);
    channel.addEventListener("message", changed);
    return () => channel.removeEventListener("message", changed);
  }, [client]);

  useEffect(() => {
    if (word === "" || word === kept.word) return;
    // A tab that did not hear that somebody else has signed in: its stream is of the one before, too.
    if (kept.id !== undefined && id !== kept.id) return reload(client);
    if (kept.word !== undefined)
      client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== "getMe" });
    keep({ id, word });
  }, [client, id, word, kept]);

  return isOther ? undefined : word;
}

function reload(client: QueryClient): void {
  client.clear();
  location.reload();
}
