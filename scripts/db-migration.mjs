// Writes the next prisma/migrations/<time>_<name>/migration.sql: the difference between what the migrations make and
// what schema.prisma says. Needs a build. CHECK constraints are added to the file by hand.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const name = process.argv[2] ?? "";
if (!/^[a-z][a-z0-9_]{2,59}$/.test(name)) {
  console.error("usage: pnpm db:migration <name>   (a-z 0-9 _, 3 to 60 characters)");
  process.exit(2);
}
const control = path.join(root, "apps/control-plane/dist/database");
const { startEmbeddedPostgres } = await import(path.join(control, "embedded-postgres.js"));
const { nextMigration } = await import(path.join(control, "next-migration.prisma.js"));
const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-migration-"));
const postgres = await startEmbeddedPostgres({ dataDir, durable: false });
try {
  const schema = readFileSync(path.join(root, "prisma/schema.prisma"), "utf8");
  const sql = await nextMigration(postgres.url, path.join(root, "prisma/migrations"), schema);
  if (sql === undefined) {
    console.error("The migrations already make what schema.prisma says.");
  } else {
    const stamp = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
    const folder = path.join(root, "prisma/migrations", `${stamp}_${name}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, "migration.sql"), sql);
    console.log(path.relative(process.cwd(), path.join(folder, "migration.sql")));
  }
} finally {
  await postgres.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
