/** Whether a database can be used by this version, and what it lacks: a pure decision about what was read of it. */
import { DatabaseStartError, type DatabaseStartErrorCode } from "./database-start-error.ts";
import type { MigrationStep } from "./migration-files.ts";

/** The oldest major version that is supported; older ones lack what statements here use, or their makers' care. */
export const POSTGRES_MAJOR_MIN = 15;

export interface ServerFacts {
  /** `server_version_num`: 180004 is 18.4. */
  versionNumber: number;
  /** It follows another server, which takes the writes. */
  isStandby: boolean;
  isReadOnly: boolean;
}

/** A step as the database has it. */
export interface AppliedStep {
  name: string;
  isFinished: boolean;
  /** For a step that the program does not know; null: of all programs, undefined: of none that does not know it. */
  since: string | null | undefined;
}

const refuse = (code: DatabaseStartErrorCode, why: string) => new DatabaseStartError(code, why);

/** Throws what is wrong, in words that follow "The database at <host> ". */
export function requireUsable({ versionNumber, isStandby, isReadOnly }: ServerFacts): void {
  const major = Math.floor(versionNumber / 10_000);
  if (major < POSTGRES_MAJOR_MIN)
    throw refuse(
      "TOO_OLD",
      `is PostgreSQL ${major}, and ${POSTGRES_MAJOR_MIN} or newer is needed: upgrade it first`,
    );
  if (isStandby)
    throw refuse("READ_ONLY", "is a standby that takes no writes: DATABASE_URL has to name the primary");
  if (isReadOnly)
    throw refuse("READ_ONLY", "is read-only: default_transaction_read_only is on, for it or for this user");
}

/** The steps to take. Throws when the schema is newer than the program, or half a step was taken. */
export function missingSteps(
  known: readonly MigrationStep[],
  applied: readonly AppliedStep[],
): MigrationStep[] {
  const broken = applied.find(({ isFinished }) => !isFinished);
  if (broken !== undefined)
    throw refuse(
      "SCHEMA_BROKEN",
      `has the migration ${broken.name} begun and not ended: see docs/operations/running.md#a-migration-that-has-not-ended`,
    );
  const names = new Set(known.map(({ name }) => name));
  const newer = applied.find(
    ({ name, since }) => !names.has(name) && (since === undefined || (since !== null && !names.has(since))),
  );
  if (newer !== undefined)
    throw refuse(
      "SCHEMA_NEWER",
      `is of a newer version, for it has the migration ${newer.name}: start that version, or restore a backup of before`,
    );
  const done = new Set(applied.map(({ name }) => name));
  return known.filter(({ name }) => !done.has(name));
}

/** A replica whose lease runs, as the database has it. */
export interface LiveReplica {
  id: string;
  version: string;
  /** That its program knows; null: it is of a version that does not say so. */
  steps: readonly string[] | null;
}

/** Throws when one of the steps to take is none that all that live now may run beside. */
export function requireNobodyBehind(
  missing: readonly MigrationStep[],
  replicas: readonly LiveReplica[],
): void {
  for (const { name, beside } of missing) {
    if (beside.programs === "all") continue;
    const since = beside.programs === "since" ? beside.step : name;
    const behind = replicas.find(({ steps }) => steps?.includes(since) !== true);
    if (behind !== undefined)
      throw refuse(
        "REPLICA_OLDER",
        `is used by replica ${behind.id} of version ${behind.version}, beside which the migration ${name} may not be applied: stop it first, and one that was killed is forgotten when its lease has ended`,
      );
  }
}

/** Throws when there are tables that this user may not use. */
export function requireRights(closed: readonly string[]): void {
  if (closed.length > 0)
    throw refuse(
      "ACCESS_REFUSED",
      `has a user in DATABASE_URL who may not use its tables (${closed.join(", ")}): make that user their owner, or grant SELECT, INSERT, UPDATE and DELETE`,
    );
}
