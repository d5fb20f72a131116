/** The one place that makes a Prisma client: driver adapter, pool size, time-outs. */
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "../generated/client.ts";

export type Prisma = PrismaClient;

const POOL_CONNECTIONS = 10;
const CONNECT_TIMEOUT_MS = 5000;
const STATEMENT_TIMEOUT_MS = 15_000;

export function createPrisma(url: string): Prisma {
  const adapter = new PrismaPg({
    connectionString: url,
    max: POOL_CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    application_name: "wolfpack-control-plane",
  });
  // A transaction waits for a connection as long as a statement does, and not 2 s.
  const transactionOptions = { maxWait: 2 * CONNECT_TIMEOUT_MS };
  return new PrismaClient({ adapter, log: [], transactionOptions });
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
