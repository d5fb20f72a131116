/** The SQL between what the migrations make and what schema.prisma says; for the script that writes migrations, and for the test that both agree. */
import { PrismaPg } from "@prisma/adapter-pg";
import { bindMigrationAwareSqlAdapterFactory } from "@prisma/driver-adapter-utils";
import { createSchemaEngine, noFilter, readMigrations } from "./schema-engine.ts";

/** Undefined when there is no difference. `url` names an empty database to work in. */
export async function nextMigration(url: string, folder: string, schema: string): Promise<string | undefined> {
  const datamodels: [string, string][] = [["schema.prisma", schema]];
  const engine = await createSchemaEngine(bindMigrationAwareSqlAdapterFactory(new PrismaPg({ connectionString: url })), datamodels);
  try {
    const list = readMigrations(folder);
    if (list.migrationDirectories.length > 0) await engine.applyMigrations({ migrationsList: list, filters: noFilter });
    const files = [{ path: "schema.prisma", content: schema }];
    const { stdout } = await engine.diff({
      from: list.migrationDirectories.length > 0 ? { tag: "schemaDatasource", files, configDir: "." } : { tag: "empty" },
      to: { tag: "schemaDatamodel", files, configDir: "." },
      script: true,
      shadowDatabaseUrl: null,
      exitCode: null,
      filters: { externalTables: ["public._prisma_migrations"], externalEnums: [] },
    });
    const sql = stdout ?? "";
    return /^\s*(--[^\n]*\s*)*$/.test(sql) ? undefined : sql;
  } finally {
    engine.free();
  }
}
