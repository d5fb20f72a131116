/** The one PostgreSQL of a jest run: started before the first test file, stopped after the last. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import pg from "pg";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../src/database/embedded-postgres.ts";
import { migrate } from "../src/database/migrate.prisma.ts";

/** How the workers, which are other processes, find the server. */
export const URL_VARIABLE = "TEST_DATABASE_URL";
/** Migrated once; `CREATE DATABASE … TEMPLATE` copies it in a few milliseconds. */
export const TEMPLATE = "template_migrated";

let running: { postgres: EmbeddedPostgres; dataDir: string } | undefined;

export async function startPostgresOfTheRun(): Promise<void> {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-test-"));
  // What it suffers is seen by whatever test runs at that moment, and would stay a riddle.
  const onTrouble = (line: string) => void process.stderr.write(`PostgreSQL of this run: ${line}\n`);
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false, onTrouble });
  running = { postgres, dataDir };
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${TEMPLATE}`);
  await admin.end();
  const template = new URL(postgres.url);
  template.pathname = `/${TEMPLATE}`;
  await migrate(template.href);
  process.env[URL_VARIABLE] = postgres.url;
}

export async function stopPostgresOfTheRun(): Promise<void> {
  await running?.postgres.stop();
  if (running) rmSync(running.dataDir, { recursive: true, force: true });
  running = undefined;
}
