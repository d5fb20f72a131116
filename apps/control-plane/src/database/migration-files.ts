/** What lies in prisma/migrations: each step with its script, and who may run beside a schema that has it. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Programs that do not know a step may run beside it: all of them (it only adds), those that know the step `since` (it takes away
 * what nobody uses from there on), or none.
 */
export type Beside = { programs: "all" } | { programs: "since"; step: string } | { programs: "none" };

export interface MigrationStep {
  name: string;
  script: string;
  /** SHA-256 of the script, as Prisma keeps it. */
  checksum: string;
  beside: Beside;
}

/** From src/database and from dist/database alike. */
export const migrationsFolder = fileURLToPath(new URL("../../../../prisma/migrations", import.meta.url));

/** The script's first line says it: `-- expand`, or `-- contract since <step>`. */
export function besideOf(script: string): Beside {
  const [line = ""] = script.split("\n", 1);
  if (/^-- expand\s*$/.test(line)) return { programs: "all" };
  const [, step] = /^-- contract since (\w+)\s*$/.exec(line) ?? [];
  return step === undefined ? { programs: "none" } : { programs: "since", step };
}

/** Oldest first. */
export function migrationSteps(folder = migrationsFolder): MigrationStep[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => {
      const script = readFileSync(path.join(folder, name, "migration.sql"), "utf8");
      const checksum = createHash("sha256").update(script).digest("hex");
      return { name, script, checksum, beside: besideOf(script) };
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Tables that the steps make, also those that a later one removes. */
export const tablesOf = (steps: readonly MigrationStep[]): string[] =>
  steps.flatMap(({ script }) =>
    [...script.matchAll(/^CREATE TABLE "(\w+)"/gm)].map(([, name]) => name ?? ""),
  );
