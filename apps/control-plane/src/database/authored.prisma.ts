/**
 * Prisma's adapter for PostgreSQL, whose statements say in front who makes them and why: triggers that write events read it with
 * `current_query()`. Costs no round trip, also where a statement is its own transaction.
 */
import { PrismaPg } from "@prisma/adapter-pg";
import { type Author, currentAuthor } from "../events/author.ts";

/** Nothing that could end a comment, or be taken for the next word. */
const TAME = /^[A-Za-z0-9._-]{1,64}$/;
const word = (text: string | null) => (text !== null && TAME.test(text) ? text : "-");

/** What no call and no task has a name for is still this program's own doing. */
const nobody: Record<keyof Author, string | null> = {
  actor: "system",
  actorId: null,
  cause: null,
  requestId: null,
};

export function signed(sql: string, author: Record<keyof Author, string | null> = nobody): string {
  const { actor, actorId, cause, requestId } = author;
  return `/* wolfpack ${word(actor)} ${word(actorId)} ${word(cause)} ${word(requestId)} */ ${sql}`;
}

type Adapter = Awaited<ReturnType<PrismaPg["connect"]>>;
type Queryable = Pick<Adapter, "queryRaw" | "executeRaw">;

function sign<Signed extends Queryable>(queryable: Signed): Signed {
  const queryRaw = queryable.queryRaw.bind(queryable);
  const executeRaw = queryable.executeRaw.bind(queryable);
  const by = (query: Parameters<Queryable["queryRaw"]>[0]) => ({
    ...query,
    sql: signed(query.sql, currentAuthor()),
  });
  queryable.queryRaw = (query) => queryRaw(by(query));
  queryable.executeRaw = (query) => executeRaw(by(query));
  return queryable;
}

export class AuthoredAdapter extends PrismaPg {
  override async connect(): ReturnType<PrismaPg["connect"]> {
    const adapter = sign(await super.connect());
    const startTransaction = adapter.startTransaction.bind(adapter);
    adapter.startTransaction = async (isolation) => sign(await startTransaction(isolation));
    return adapter;
  }
}
