/** Who somebody is, and what the caller may do with what is theirs. */

import { actionUsers } from "virtual:contract";
import type { Action } from "@wolfpack/api-contract";
import { useMemo } from "react";
import { plain, shortId } from "../ui/text.ts";
import { mayDo, useMe, useRead } from "./queries.ts";

const SHOWN = 200;

/** A name for an id: for those who may read users; else the id, and for everybody their own. */
export function useOwnerOf(): (id: string) => string {
  const me = useMe();
  const { data } = useRead(
    "listUsers",
    { query: { limit: SHOWN } },
    { enabled: mayDo(me, "user.read"), staleTime: 60_000 },
  );
  return useMemo(() => {
    const names = new Map(data?.map(({ id, name }) => [id, name]));
    return (id) => {
      const name = id === me?.id ? me.name : names.get(id);
      return plain(name) || shortId(id);
    };
  }, [data, me?.id, me?.name]);
}

/** Some actions reach only what is one's own. Undefined while it is not known whose it is. */
export function useMayWith(action: Action, ownerId: string | undefined): boolean {
  const me = useMe();
  if (!me || ownerId === undefined || !mayDo(me, action)) return false;
  return actionUsers[action][me.role] === "any" || me.id === ownerId;
}
