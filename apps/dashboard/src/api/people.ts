/** What the caller may do with what is whose. */

import { actionUsers } from "virtual:contract";
import type { Action } from "@wolfpack/api-contract";
import { mayDo, useMe } from "./queries.ts";

/** Some actions reach only what is one's own. Undefined while it is not known whose it is. */
export function useMayWith(action: Action, ownerId: string | undefined): boolean {
  const me = useMe();
  if (!me || ownerId === undefined || !mayDo(me, action)) return false;
  return actionUsers[action][me.role] === "any" || me.id === ownerId;
}
