/** Ids of what somebody has called by its name in a filter: logs know ids. */

import { useQuery } from "@tanstack/react-query";
import { ApiFailure, call } from "../api/client.ts";
import { useMay } from "../api/queries.ts";
import { isAnyId, isWolfId } from "./ids.ts";

export type Resolution =
  | { state: "ready"; wolf: string; actor: string }
  | { state: "loading" }
  | { state: "unknown"; what: "wolf" | "actor"; name: string }
  | { state: "failed"; error: Error; retry: () => void };

async function wolfOf(name: string, signal: AbortSignal): Promise<string | null> {
  try {
    return (await call("getWolf", { params: { id: name } }, { signal })).body.id;
  } catch (error) {
    // A name that no wolf can have is none either.
    if (error instanceof ApiFailure && [400, 404].includes(error.status)) return null;
    throw error;
  }
}

async function actorOf(name: string, mayReadUsers: boolean, signal: AbortSignal): Promise<string | null> {
  if (mayReadUsers) {
    const { body } = await call("listUsers", { query: { name, limit: 1 } }, { signal });
    if (body[0]) return body[0].id;
  }
  return wolfOf(name, signal);
}

/** Empty stays empty, ids stay what they are. */
export function useResolved(wolf: string, actor: string): Resolution {
  const mayReadUsers = useMay("user.read");
  const wolfByName = wolf !== "" && !isWolfId(wolf);
  const actorByName = actor !== "" && !isAnyId(actor);
  const foundWolf = useQuery({
    queryKey: ["wolf-id", wolf],
    queryFn: ({ signal }) => wolfOf(wolf, signal),
    enabled: wolfByName,
  });
  const foundActor = useQuery({
    queryKey: ["actor-id", actor, mayReadUsers],
    queryFn: ({ signal }) => actorOf(actor, mayReadUsers, signal),
    enabled: actorByName,
  });
  for (const found of [foundWolf, foundActor])
    if (found.error && found.data === undefined)
      return { state: "failed", error: found.error, retry: () => void found.refetch() };
  if (wolfByName && foundWolf.data === null) return { state: "unknown", what: "wolf", name: wolf };
  if (actorByName && foundActor.data === null) return { state: "unknown", what: "actor", name: actor };
  const wolfId = wolfByName ? foundWolf.data : wolf;
  const actorId = actorByName ? foundActor.data : actor;
  if (typeof wolfId !== "string" || typeof actorId !== "string") return { state: "loading" };
  return { state: "ready", wolf: wolfId, actor: actorId };
}
