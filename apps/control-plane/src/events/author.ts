/**
 * Who makes a change and why, for the events of it. It goes with the call that makes it, through every await; statements say it to
 * PostgreSQL, whose triggers write the events (database/authored.prisma.ts).
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { AuditActor, FleetEventCause } from "@wolfpack/api-contract";
import type { Principal } from "../identity/principal.ts";

export type AuthorKind = Exclude<AuditActor, "anonymous">;

export interface Author {
  actor: AuthorKind;
  /** Of the user, the agent's wolf, the join token. */
  actorId: string | null;
  cause: FleetEventCause;
  requestId: string | null;
}

const current = new AsyncLocalStorage<Author>();

/** What `run` does, and all that it begins, is the control plane's own doing; an inner author is the one that counts. */
export function because<Result>(cause: FleetEventCause, run: () => Result): Result {
  return current.run({ actor: "system", actorId: null, cause, requestId: null }, run);
}

/** The same for what comes of something: with its request, if it had one. */
export function thereby<Result>(cause: FleetEventCause, run: () => Result): Result {
  const requestId = current.getStore()?.requestId ?? null;
  return current.run({ actor: "system", actorId: null, cause, requestId }, run);
}

/** The same for what an agent says of its wolf. */
export function becauseAgent<Result>(wolfId: string, cause: FleetEventCause, run: () => Result): Result {
  return current.run({ actor: "agent", actorId: wolfId, cause, requestId: null }, run);
}

export const currentAuthor = (): Author | undefined => current.getStore();

/** The same for what a caller asks for. Nobody was authenticated: there is nobody to name. */
export function onBehalfOf<Result>(
  { principal, requestId }: { principal: Principal | undefined; requestId: string },
  run: () => Result,
  cause: FleetEventCause = "requested",
): Result {
  const author = authorOf(principal, { cause, requestId });
  return author ? current.run(author, run) : run();
}

function authorOf(
  principal: Principal | undefined,
  same: Pick<Author, "cause" | "requestId">,
): Author | undefined {
  switch (principal?.kind) {
    case "user":
      return { actor: "user", actorId: principal.userId, ...same };
    case "agent":
      return { actor: "agent", actorId: principal.wolfId, ...same };
    case "joiner":
      return { actor: "join-token", actorId: principal.credentialId, ...same };
    case "runner":
      return { actor: "runner-token", actorId: null, ...same };
    case undefined:
      return undefined;
  }
}
