/** The SQL between what the migrations make and what schema.prisma says: for the script that writes migrations, and for the test that both agree. */
import { noFilter, readMigrations, withSchemaEngine } from "./schema-engine.prisma.ts";

/** Undefined when there is no difference. `url` names an empty database to work in. */
export function nextMigration(url: string, folder: string, schema: string): Promise<string | undefined> {
  const datamodels: [string, string][] = [["schema.prisma", schema]];
  const files = [{ path: "schema.prisma", content: schema }];
  return withSchemaEngine(
    url,
    async (engine) => {
      const list = readMigrations(folder);
      const fresh = list.migrationDirectories.length === 0;
      if (!fresh) await engine.applyMigrations({ migrationsList: list, filters: noFilter });
      const { stdout } = await engine.diff({
        from: fresh ? { tag: "empty" } : { tag: "schemaDatasource", files, configDir: "." },
        to: { tag: "schemaDatamodel", files, configDir: "." },
        script: true,
        shadowDatabaseUrl: null,
        exitCode: null,
        filters: { externalTables: ["public._prisma_migrations"], externalEnums: [] },
      });
      const sql = stdout ?? "";
      return /^\s*(--[^\n]*\s*)*$/.test(sql) ? undefined : sql;
    },
    datamodels,
  );
}
