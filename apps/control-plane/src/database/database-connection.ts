/** The one connection that looks at a database before anything else does, and brings it up to date: every way it can fail as one sentence. */
import pg from "pg";
import type { AppliedStep, LiveReplica, ServerFacts } from "./database-facts.ts";
import { DatabaseStartError, type DatabaseStartErrorCode } from "./database-start-error.ts";
import type { MigrationStep } from "./migration-files.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const READ_TIMEOUT_MS = 10_000;
const END_TIMEOUT_MS = 1000;
/** A step that cannot lock its tables lets those go on that it held up, and tries again. */
const TABLE_LOCK_MS = 5000;
const TABLE_LOCK_TRIES = 12;
/** Any number that nothing else in this database locks on. */
const MIGRATION_LOCK = 7_301_990_411;

/** Of the one that migrates, until another gives up waiting for it. */
export const MIGRATION_WAIT_MS = 120_000;

/** What this program knows of a database's address, for sentences: no password, and no user. */
export function placeOf(url: string): string {
  const { host, searchParams } = new URL(url);
  return host || searchParams.get("host") || "localhost";
}

export class DatabaseConnection {
  private readonly client: pg.Client;

  private constructor(client: pg.Client) {
    this.client = client;
  }

  /** Rejects with a DatabaseStartError whose words follow "The database at <host> ". */
  static async open(url: string, connectTimeoutMs = CONNECT_TIMEOUT_MS): Promise<DatabaseConnection> {
    let client: pg.Client;
    try {
      // Names files of certificates, which are read at once.
      client = new pg.Client({
        connectionString: url,
        connectionTimeoutMillis: connectTimeoutMs,
        application_name: "wolfpack-migration",
      });
    } catch (cause) {
      throw new DatabaseStartError("URL_UNUSABLE", `cannot be reached by DATABASE_URL: ${messageOf(cause)}`, {
        cause,
      });
    }
    client.on("error", () => undefined);
    try {
      await client.connect();
      // A script takes as long as it takes, whatever this user's statements may otherwise.
      await client.query("SET statement_timeout = 0");
      return new DatabaseConnection(client);
    } catch (cause) {
      // Of what never was a connection, nobody waits for the end.
      void client.end().catch(() => undefined);
      throw connectError(cause, connectTimeoutMs);
    }
  }

  async serverFacts(): Promise<ServerFacts> {
    interface Row {
      version: number;
      standby: boolean;
      read_only: boolean;
    }
    const [row] = await this.ask<Row>(
      `SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby,
         current_setting('transaction_read_only') = 'on' AS read_only`,
    );
    const { version, standby, read_only } = row as Row;
    return { versionNumber: version, isStandby: standby, isReadOnly: read_only };
  }

  /** Until this connection ends; rejects with MIGRATION_BUSY. */
  async lock(waitMs = MIGRATION_WAIT_MS): Promise<void> {
    await this.client.query(`SET lock_timeout = ${waitMs}`);
    try {
      await this.client.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
    } catch (cause) {
      if (codeOf(cause) !== LOCK_TIMEOUT) throw cause;
      const why = `has been migrated by another process for ${waitMs / 1000} s: wait for it, or end it`;
      throw new DatabaseStartError("MIGRATION_BUSY", why, { cause });
    }
  }

  /** What the database has, whoever applied it: the table is that of Prisma's own tools. */
  async appliedSteps(): Promise<AppliedStep[]> {
    if (!(await this.has("_prisma_migrations"))) return [];
    const beside = (await this.has("schema_step"))
      ? "LEFT JOIN schema_step ON schema_step.migration_name = m.migration_name"
      : "CROSS JOIN (SELECT NULL AS migration_name, NULL AS since) AS schema_step";
    interface Row {
      name: string;
      finished: boolean;
      declared: boolean;
      since: string | null;
    }
    const rows = await this.ask<Row>(
      `SELECT m.migration_name AS name, bool_or(m.finished_at IS NOT NULL) AS finished,
         bool_or(schema_step.migration_name IS NOT NULL) AS declared, max(schema_step.since) AS since
       FROM _prisma_migrations AS m ${beside} WHERE m.rolled_back_at IS NULL GROUP BY 1 ORDER BY 1`,
    );
    return rows.map(({ name, finished, declared, since }) => ({
      name,
      isFinished: finished,
      since: declared ? since : undefined,
    }));
  }

  /** Replicas of whatever version that live now. */
  async liveReplicas(): Promise<LiveReplica[]> {
    if (!(await this.has("replica"))) return [];
    // As JSON, for the column is not there before its migration.
    return this.ask<LiveReplica>(
      "SELECT id, version, to_jsonb(replica) -> 'steps' AS steps FROM replica WHERE lease_until > now() ORDER BY id",
    );
  }

  /** Of these tables, those that are there and that this user may not use. */
  async closedTables(tables: readonly string[]): Promise<string[]> {
    const rights = ["SELECT", "INSERT", "UPDATE", "DELETE"].map(
      (right) => `has_table_privilege(to_regclass(name), '${right}')`,
    );
    const rows = await this.ask<{ name: string }>(
      `SELECT name FROM unnest($1::text[]) AS name WHERE NOT (${rights.join(" AND ")}) ORDER BY 1`,
      [tables],
    );
    return rows.map(({ name }) => name);
  }

  private async has(table: string): Promise<boolean> {
    const [row] = await this.ask<{ there: boolean }>(`SELECT to_regclass('${table}') IS NOT NULL AS there`);
    return row?.there === true;
  }

  /** Reads; bounded also where the network swallows what is sent. */
  private async ask<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    const asked = { text, values, query_timeout: READ_TIMEOUT_MS };
    return (await this.client.query<Row>(asked)).rows;
  }

  /** The step and the word that it was taken, both or neither, whenever this process ends. Rejects with MIGRATION_FAILED. */
  async apply(step: MigrationStep): Promise<void> {
    await this.client.query(`${BOOKS} SET lock_timeout = ${TABLE_LOCK_MS}`);
    for (let tries = 1; ; tries += 1) {
      try {
        await this.client.query("BEGIN");
        await this.client.query(step.script);
        await this.write(step);
        await this.client.query("COMMIT");
        return;
      } catch (cause) {
        await this.client.query("ROLLBACK").catch(() => undefined);
        if (codeOf(cause) === LOCK_TIMEOUT && tries < TABLE_LOCK_TRIES) continue;
        const why = `refuses the migration ${step.name} (${messageOf(cause)}) and is as it was before it`;
        throw new DatabaseStartError("MIGRATION_FAILED", why, { cause });
      }
    }
  }

  private async write({ name, checksum, beside }: MigrationStep): Promise<void> {
    await this.client.query(
      `INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
       VALUES (gen_random_uuid()::text, $1, $2, now(), clock_timestamp(), 1)`,
      [checksum, name],
    );
    if (beside.programs === "none") return;
    const since = beside.programs === "since" ? beside.step : null;
    await this.client.query("INSERT INTO schema_step (migration_name, since) VALUES ($1, $2)", [name, since]);
  }

  /** Bounded: whoever is not there any more is not waited for. What was not committed never was. */
  async end(): Promise<void> {
    const ended = this.client.end().catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, END_TIMEOUT_MS);
    });
    await Promise.race([ended, late]);
    clearTimeout(timer);
  }
}

/** As Prisma's tools make it; and beside it, which programs may run that do not know a step. */
const BOOKS = `
  CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz, migration_name varchar(255) NOT NULL,
    logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(),
    applied_steps_count integer NOT NULL DEFAULT 0);
  CREATE TABLE IF NOT EXISTS schema_step (migration_name text PRIMARY KEY, since text);`;

const LOCK_TIMEOUT = "55P03";
const NO_RIGHT = "42501";
export const isRefusal = (error: unknown): boolean => codeOf(error) === NO_RIGHT;
const codeOf = (error: unknown) => (error as { code?: string } | undefined)?.code ?? "";

/** The innermost reason; drivers wrap it, some in an AggregateError without a message. */
export function messageOf(error: unknown): string {
  const { message, errors } = Object(error) as { message?: unknown; errors?: unknown };
  if (!message && Array.isArray(errors) && errors.length > 0) return messageOf(errors[0]);
  return String(message || error).replaceAll(/\s*\n\s*/g, ": ");
}

/** By codes of Node and of PostgreSQL (its manual, appendix A). */
const connectErrors: Record<string, [DatabaseStartErrorCode, string]> = {
  ENOTFOUND: ["HOST_UNKNOWN", "has a name that nobody knows: is DATABASE_URL right?"],
  EAI_AGAIN: ["HOST_UNKNOWN", "has a name that could not be looked up now: does DNS answer?"],
  "28P01": ["ACCESS_REFUSED", "refuses the user or the password of DATABASE_URL"],
  "28000": [
    "ACCESS_REFUSED",
    "does not let this user in from here: does it exist, and does pg_hba.conf allow it?",
  ],
  "3D000": ["DATABASE_MISSING", "has no database of the name in DATABASE_URL: create it first"],
  "53300": ["UNREACHABLE", "has no connection left: raise max_connections, or end some"],
  "57P03": ["UNREACHABLE", "is starting or shutting down: try again"],
};

function connectError(cause: unknown, timeoutMs: number): DatabaseStartError {
  const [first = cause] = (cause as { errors?: unknown[] }).errors ?? [];
  const known = connectErrors[codeOf(first)];
  if (known !== undefined) return new DatabaseStartError(known[0], known[1], { cause });
  if (cause instanceof pg.DatabaseError)
    return new DatabaseStartError("ACCESS_REFUSED", `refuses us: ${messageOf(cause)}`, { cause });
  const said = messageOf(cause);
  const why = /timeout/i.test(said) ? `no answer within ${timeoutMs / 1000} s` : said;
  return new DatabaseStartError("UNREACHABLE", `cannot be reached: ${why}`, { cause });
}
