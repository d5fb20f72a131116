/** Brings a database to the newest schema, once, however many replicas start at the same moment. */
import { fileURLToPath } from "node:url";
import pg from "pg";
import { noFilter, readMigrations, withSchemaEngine } from "./schema-engine.prisma.ts";

/** Any number that nothing else in this database locks on. */
const MIGRATION_LOCK = 7_301_990_411;
const CONNECT_TIMEOUT_MS = 10_000;
/** From src/database and from dist/database alike. */
export const migrationsFolder = fileURLToPath(new URL("../../../../prisma/migrations", import.meta.url));

/** Names of those that this version comes with. */
export const migrationNames = (folder = migrationsFolder): string[] =>
  readMigrations(folder).migrationDirectories.map(({ path }) => path);

/** Returns the names of the migrations it applied. Rejects when the database cannot be reached or a migration fails. */
export async function migrate(url: string, folder = migrationsFolder): Promise<string[]> {
  const lock = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  lock.on("error", () => undefined);
  await lock.connect();
  try {
    await lock.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
    const input = { migrationsList: readMigrations(folder), filters: noFilter };
    return await withSchemaEngine(
      url,
      async (engine) => (await engine.applyMigrations(input)).appliedMigrationNames,
    );
  } finally {
    await lock.end();
  }
}
