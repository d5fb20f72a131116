/** Brings a database to the newest schema, once, however many replicas start at the same moment; or says why it cannot be used. */
import { DatabaseConnection, MIGRATION_WAIT_MS, messageOf, placeOf } from "./database-connection.ts";
import { missingSteps, requireUsable } from "./database-facts.ts";
import { DatabaseStartError } from "./database-start-error.ts";
import { migrationSteps, migrationsFolder } from "./migration-files.ts";

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
      // Nobody has to wait for a lock that has nothing to do: a look that is out of date is looked at again.
      if (missingSteps(steps, await database.appliedSteps()).length === 0) return [];
      await database.lock(lockWaitMs);
      const missing = missingSteps(steps, await database.appliedSteps());
      for (const step of missing) await database.apply(step);
      return missing.map(({ name }) => name);
    } finally {
      await database.end();
    }
  } catch (cause) {
    const code = cause instanceof DatabaseStartError ? cause.code : "UNREACHABLE";
    const why =
      cause instanceof DatabaseStartError ? cause.message : `cannot be prepared: ${messageOf(cause)}`;
    throw new DatabaseStartError(code, `The database at ${placeOf(url)} ${why}.`, { cause });
  }
}
