/** The SQL between what the migrations make and what schema.prisma says: for the script that writes migrations, and for the test that both agree. */
import { migrate } from "./migrate.prisma.ts";
import { migrationSteps } from "./migration-files.ts";
import { withSchemaEngine } from "./schema-engine.prisma.ts";

/** What is kept beside the schema, about it. */
const books = ["public._prisma_migrations", "public.schema_step"];

/** Undefined when there is no difference. `url` names an empty database to work in. */
export async function nextMigration(
  url: string,
  folder: string,
  schema: string,
): Promise<string | undefined> {
  const datamodels: [string, string][] = [["schema.prisma", schema]];
  const files = [{ path: "schema.prisma", content: schema }];
  const fresh = migrationSteps(folder).length === 0;
  if (!fresh) await migrate(url, folder);
  return withSchemaEngine(url, datamodels, async (engine) => {
    const { stdout } = await engine.diff({
      from: fresh ? { tag: "empty" } : { tag: "schemaDatasource", files, configDir: "." },
      to: { tag: "schemaDatamodel", files, configDir: "." },
      script: true,
      shadowDatabaseUrl: null,
      exitCode: null,
      filters: { externalTables: books, externalEnums: [] },
    });
    const sql = stdout ?? "";
    return /^\s*(--[^\n]*\s*)*$/.test(sql) ? undefined : sql;
  });
}
