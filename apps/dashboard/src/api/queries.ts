/** Reading and commanding in components: one hook for any operation that reads, one for any that changes. */

import { actionUsers } from "virtual:contract";
import { type UseQueryOptions, type UseQueryResult, useMutation, useQuery } from "@tanstack/react-query";
import type { Action, CallInput, CallReply, OperationId, User } from "@wolfpack/api-contract";
import { ApiFailure, call } from "./client.ts";

export type Body<Id extends OperationId> = CallReply<Id>["body"];
type ReadOptions<Id extends OperationId> = Omit<
  UseQueryOptions<Body<Id>, ApiFailure>,
  "queryKey" | "queryFn"
>;

/** How the cache names a read; live events find it by the operation and the id in its parameters. */
export const keyOf = <Id extends OperationId>(id: Id, input?: CallInput<Id>) => [id, input ?? {}] as const;

/** `useRead("getWolf", { params: { id } })`: kept while shown, read anew when an event concerns it (see live.ts). */
export function useRead<Id extends OperationId>(
  id: Id,
  input?: CallInput<Id>,
  options: ReadOptions<Id> = {},
): UseQueryResult<Body<Id>, ApiFailure> {
  return useQuery<Body<Id>, ApiFailure>({
    queryKey: keyOf(id, input),
    queryFn: async ({ signal }) => (await call(id, input, { signal })).body as Body<Id>,
    ...options,
  });
}

/** `const stop = useCommand("stopSession"); stop.mutate({ params: { id } })`. Failures are the mutation's `error`. */
export function useCommand<Id extends OperationId>(id: Id) {
  return useMutation<CallReply<Id>, ApiFailure, CallInput<Id>>({ mutationFn: (input) => call(id, input) });
}

/** Once more only where that may help, and not for long. */
export function worthRetrying(failures: number, error: Error): boolean {
  if (failures >= 2) return false;
  if (!(error instanceof ApiFailure)) return false;
  return error.code === "network-failed" || error.status === 429 || error.status >= 500;
}

/** When: as the server says, else after 1 s and 2 s. */
export function retryDelay(failures: number, error: Error): number {
  const said = error instanceof ApiFailure ? error.retryAfterMs : undefined;
  return said ?? 1000 * 2 ** failures;
}

/** Answers of later versions say what their caller may do; before, the role does. */
export type Me = User & { actions?: readonly string[] };

/** Whoever is signed in. Inside the shell it is there; `undefined` only while it loads. */
export function useMe(): Me | undefined {
  return useRead("getMe", undefined, { staleTime: 60_000 }).data as Me | undefined;
}

export function mayDo(me: Me | undefined, action: Action): boolean {
  if (me === undefined) return false;
  return me.actions ? me.actions.includes(action) : actionUsers[action][me.role] !== undefined;
}

/** Whether to offer something. The control plane decides again when it is done. */
export function useMay(action: Action): boolean {
  return mayDo(useMe(), action);
}
