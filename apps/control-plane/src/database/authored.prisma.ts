/**
 * Prisma's adapter for PostgreSQL, whose statements say in front who makes them and why: triggers that write events read it with
 * `current_query()`. Costs no round trip, also where a statement is its own transaction.
 */
import { PrismaPg } from "@prisma/adapter-pg";
import { DriverAdapterError } from "@prisma/driver-adapter-utils";
import type pg from "pg";
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

/** Actor, its id, cause, request; "-" for what is not known. */
export function authorWords(author: Record<keyof Author, string | null> = nobody): string[] {
  const { actor, actorId, cause, requestId } = author;
  return [actor, actorId, cause, requestId].map(word);
}

export function signed(sql: string, author?: Record<keyof Author, string | null>): string {
  return `/* wolfpack ${authorWords(author).join(" ")} */ ${sql}`;
}

type Adapter = Awaited<ReturnType<PrismaPg["connect"]>>;
export type Queryable = Pick<Adapter, "queryRaw" | "executeRaw">;

function sign<Signed extends Queryable>(queryable: Signed, onBroken = () => {}): Signed {
  const queryRaw = queryable.queryRaw.bind(queryable);
  const executeRaw = queryable.executeRaw.bind(queryable);
  const by = (query: Parameters<Queryable["queryRaw"]>[0]) => ({
    ...query,
    sql: signed(query.sql, currentAuthor()),
  });
  queryable.queryRaw = (query) => queryRaw(by(query)).catch(noAnswer(onBroken));
  queryable.executeRaw = (query) => executeRaw(by(query)).catch(noAnswer(onBroken));
  return queryable;
}

/**
 * What the driver says of itself has no code: a connection that was cut, that did not come up, or a statement that nobody answered in
 * time. Whatever PostgreSQL answered, the adapter has made a DriverAdapterError of.
 */
function noAnswer(onBroken: () => void): (error: unknown) => never {
  return (error) => {
    const { name, message } = error as Error;
    if (name !== "Error") throw error;
    onBroken();
    throw new DriverAdapterError({ kind: "ConnectionClosed", cause: message } as never);
  };
}

/** The adapter does not show it. */
const clientOf = (transaction: unknown): pg.PoolClient & { end(): Promise<void> } =>
  (transaction as { client: pg.PoolClient & { end(): Promise<void> } }).client;

export class AuthoredAdapter extends PrismaPg {
  /** As long as its client is connected. */
  connected: Queryable | undefined;

  override async connect(): ReturnType<PrismaPg["connect"]> {
    const adapter = sign(await super.connect());
    const dispose = adapter.dispose.bind(adapter);
    adapter.dispose = () => {
      this.connected = undefined;
      return dispose();
    };
    const startTransaction = adapter.startTransaction.bind(adapter);
    adapter.startTransaction = async (isolation) => {
      const transaction = await startTransaction(isolation).catch(noAnswer(() => {}));
      // Its connection still waits for the answer, and must not go back into the pool: whoever got it next would wait too.
      return sign(
        transaction,
        () =>
          void clientOf(transaction)
            .end()
            .catch(() => undefined),
      );
    };
    this.connected = adapter;
    return adapter;
  }
}
