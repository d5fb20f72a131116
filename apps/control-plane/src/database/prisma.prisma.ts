/** The one place that makes a Prisma client: driver adapter, pool size, time-outs. */
import { PrismaClient } from "../generated/client.ts";
import { AuthoredAdapter, type Queryable } from "./authored.prisma.ts";
import { type WithOwnStatements, withOwnStatements } from "./own-statements.prisma.ts";
import { type PoolWatch, WatchedPool } from "./watched-pool.ts";

export type Prisma = WithOwnStatements;

export const POOL_CONNECTIONS = 10;
const CONNECT_TIMEOUT_MS = 5000;
const STATEMENT_TIMEOUT_MS = 15_000;
/** Also where the network swallows what is sent: then nobody else ends the wait. */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 1000;
/** Of a connection that is idle, until its other end is asked whether it is there. */
export const KEEP_ALIVE_MS = 10_000;

/**
 * A transaction that says nothing for so long is ended, and its locks with it: who vanished amid one is missed by nobody else. Shorter than
 * a statement may take, so that those who wait for its locks get them.
 */
export const IDLE_TRANSACTION_MS = 10_000;

export function createPrisma(url: string, watch?: PoolWatch): Prisma {
  const config = {
    connectionString: url,
    max: POOL_CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    application_name: "wolfpack-control-plane",
  };
  const adapter = watch
    ? new AuthoredAdapter(new WatchedPool(config, watch), { disposeExternalPool: true })
    : new AuthoredAdapter(config);
  // A transaction waits for a connection as long as a statement does, and not 2 s.
  const transactionOptions = { maxWait: 2 * CONNECT_TIMEOUT_MS };
  const client = new PrismaClient({ adapter, log: [], transactionOptions });
  return withOwnStatements(client, () => adapter.connected ?? connect(client, adapter));
}

/** Again where it was disconnected meanwhile, as Prisma does with statements of its own. */
async function connect(client: PrismaClient, adapter: AuthoredAdapter): Promise<Queryable> {
  do await client.$connect();
  while (adapter.connected === undefined);
  return adapter.connected;
}

const PING_TIMEOUT_MS = 2000;

/** Rejects when the database does not answer within two seconds. */
export async function pingDatabase(prisma: Prisma): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PING_TIMEOUT_MS} ms`)), PING_TIMEOUT_MS);
  });
  const ping = prisma.$queryRaw`SELECT 1`;
  try {
    await Promise.race([ping, late]);
  } finally {
    clearTimeout(timer);
  }
}
