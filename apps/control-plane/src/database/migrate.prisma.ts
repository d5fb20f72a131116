/** Brings a database to the newest schema, once, however many replicas start at the same moment; or says why it cannot be used. */
import {
  DatabaseConnection,
  isRefusal,
  MIGRATION_WAIT_MS,
  messageOf,
  placeOf,
} from "./database-connection.ts";
import { missingSteps, requireNobodyBehind, requireRights, requireUsable } from "./database-facts.ts";
import { DatabaseStartError } from "./database-start-error.ts";
import { migrationSteps, migrationsFolder, tablesOf } from "./migration-files.ts";

export { migrationsFolder } from "./migration-files.ts";

/** Names of those that this version comes with. */
export const migrationNames = (folder = migrationsFolder): string[] =>
  migrationSteps(folder).map(({ name }) => name);

export interface MigrateOptions {
  connectTimeoutMs?: number;
  /** Default 120,000. */
  lockWaitMs?: number;
}

/** Returns the names of the migrations it applied. Rejects with a DatabaseStartError that is one whole sentence. */
export async function migrate(
  url: string,
  folder = migrationsFolder,
  { connectTimeoutMs, lockWaitMs = MIGRATION_WAIT_MS }: MigrateOptions = {},
): Promise<string[]> {
  const steps = migrationSteps(folder);
  try {
    const database = await DatabaseConnection.open(url, connectTimeoutMs);
    try {
      requireUsable(await database.serverFacts());
      const before = missingSteps(steps, await database.appliedSteps());
      requireRights(await database.closedTables(tablesOf(steps)));
      // Nobody has to wait for a lock that has nothing to do: a look that is out of date is looked at again.
      if (before.length === 0) return [];
      await database.lock(lockWaitMs);
      const missing = missingSteps(steps, await database.appliedSteps());
      requireNobodyBehind(missing, await database.liveReplicas());
      for (const step of missing) await database.apply(step);
      return missing.map(({ name }) => name);
    } finally {
      await database.end();
    }
  } catch (cause) {
    const { code, message } = cause instanceof DatabaseStartError ? cause : unexpected(cause);
    throw new DatabaseStartError(code, `The database at ${placeOf(url)} ${message}.`, { cause });
  }
}

const unexpected = (cause: unknown) =>
  isRefusal(cause)
    ? new DatabaseStartError(
        "ACCESS_REFUSED",
        `lets this user in, who may not read it (${messageOf(cause)}): make that user the owner of its tables`,
      )
    : new DatabaseStartError("UNREACHABLE", `cannot be prepared: ${messageOf(cause)}`);

/**
 * Whatever failed of a start after that, as one sentence: Prisma's messages are several lines, of which the last says why. Undefined: it
 * was not the database.
 */
export function databaseSentence(error: unknown, url: string): string | undefined {
  if (!(error instanceof Error) || !/^(PrismaClient|DriverAdapter)/.test(error.name)) return undefined;
  const why = error.message.trim().split("\n").at(-1)?.replace(/\.$/, "");
  return `The database at ${placeOf(url)} fails: ${why}.`;
}
