/** Brings a database to the newest schema, once, however many replicas start at the same moment. */
import { fileURLToPath } from "node:url";
import { PrismaPg } from "@prisma/adapter-pg";
import { bindMigrationAwareSqlAdapterFactory } from "@prisma/driver-adapter-utils";
import pg from "pg";
import { createSchemaEngine, noFilter, readMigrations } from "./schema-engine.ts";

/** Any number that nothing else in this database locks on. */
const MIGRATION_LOCK = 7_301_990_411;
/** From src/database and from dist/database alike. */
export const migrationsFolder = fileURLToPath(new URL("../../../../prisma/migrations", import.meta.url));

/** Returns the names of the migrations it applied. Rejects when the database cannot be reached or a migration fails. */
export async function migrate(url: string, folder = migrationsFolder): Promise<string[]> {
  const lock = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  lock.on("error", () => undefined);
  await lock.connect();
  try {
    await lock.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
    const engine = await createSchemaEngine(bindMigrationAwareSqlAdapterFactory(new PrismaPg({ connectionString: url })));
    try {
      const { appliedMigrationNames } = await engine.applyMigrations({ migrationsList: readMigrations(folder), filters: noFilter });
      return appliedMigrationNames;
    } finally {
      engine.free();
    }
  } finally {
    await lock.end();
  }
}
