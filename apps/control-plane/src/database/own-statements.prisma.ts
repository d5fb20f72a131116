/**
 * Statements written by hand, from the client straight to the driver's adapter. Prisma's client would plan each, wrap each value of the
 * answer and unwrap it again, which costs twice what the driver does; values and errors are the ones that it would give. Within
 * `$transaction` they are Prisma's (ADR 0026).
 */
import { ColumnTypeEnum } from "@prisma/driver-adapter-utils";
import { type PrismaClient, Prisma as Sql } from "../generated/client.ts";
import type { Queryable } from "./authored.prisma.ts";

interface OwnStatements {
  /** Rows, with their columns as `Result` says. */
  $queryRaw<Result = unknown>(query: TemplateStringsArray | Sql.Sql, ...values: unknown[]): Promise<Result>;
  /** Of rows that changed. */
  $executeRaw(query: TemplateStringsArray | Sql.Sql, ...values: unknown[]): Promise<number>;
}

export type WithOwnStatements = Omit<PrismaClient, keyof OwnStatements> & OwnStatements;

type Read = (value: never) => unknown;

const bigints: Read = (value: string | number) => BigInt(value);
const decimals: Read = (text: string) => new Sql.Decimal(text);
const dates: Read = (text: string) => new Date(text);
const times: Read = (text: string) => new Date(`1970-01-01T${text}Z`);
const bytes: Read = (buffer: Buffer) => new Uint8Array(buffer);
const json: Read = (text: string) => JSON.parse(text);
const eachOf =
  (read: Read): Read =>
  (list: never[]) =>
    list.map((value) => (value === null ? null : read(value)));

/** By type of the column, what the driver leaves as text; all else is given as it comes. */
const reads = new Map<number, Read>([
  [ColumnTypeEnum.Int64, bigints],
  [ColumnTypeEnum.Numeric, decimals],
  [ColumnTypeEnum.DateTime, dates],
  [ColumnTypeEnum.Date, dates],
  [ColumnTypeEnum.Time, times],
  [ColumnTypeEnum.Bytes, bytes],
  [ColumnTypeEnum.Json, json],
  [ColumnTypeEnum.Int64Array, eachOf(bigints)],
  [ColumnTypeEnum.NumericArray, eachOf(decimals)],
  [ColumnTypeEnum.DateTimeArray, eachOf(dates)],
  [ColumnTypeEnum.DateArray, eachOf(dates)],
  [ColumnTypeEnum.TimeArray, eachOf(times)],
  [ColumnTypeEnum.BytesArray, eachOf(bytes)],
  [ColumnTypeEnum.JsonArray, eachOf(json)],
]);

/** `connected`: the adapter once its client has connected. */
export function withOwnStatements(
  client: PrismaClient,
  connected: () => Queryable | Promise<Queryable>,
): WithOwnStatements {
  const own: OwnStatements = {
    async $queryRaw<Result>(query: TemplateStringsArray | Sql.Sql, ...values: unknown[]) {
      const adapter = await connected();
      return rowsOf(await adapter.queryRaw(statement(query, values)).catch(asPrismaWould)) as Result;
    },
    async $executeRaw(query, ...values) {
      const adapter = await connected();
      return adapter.executeRaw(statement(query, values)).catch(asPrismaWould);
    },
  };
  return new Proxy(client, {
    get(target, key) {
      if (Object.hasOwn(own, key)) return own[key as keyof OwnStatements];
      const value: unknown = Reflect.get(target, key);
      // The client's own methods ask what they are called on for the rest of it, which must not be this: transactions take it over.
      return typeof value === "function" ? value.bind(target) : value;
    },
  }) as unknown as WithOwnStatements;
}

function statement(query: TemplateStringsArray | Sql.Sql, given: unknown[]) {
  const { text, values } = query instanceof Sql.Sql ? query : Sql.sql(query, ...given);
  return {
    sql: text,
    args: values.map(said),
    argTypes: values.map((value) => ({
      scalarType: "unknown" as const,
      arity: Array.isArray(value) ? ("list" as const) : ("scalar" as const),
    })),
  };
}

/** As Prisma says it. */
function said(value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) return null;
  if (value instanceof Date && Number.isNaN(value.getTime()))
    throw new Sql.PrismaClientValidationError("A value of the statement is a date that is none.", {
      clientVersion: Sql.prismaVersion.client,
    });
  return Sql.Decimal.isDecimal(value) ? value.toString() : value;
}

type Answer = Awaited<ReturnType<Queryable["queryRaw"]>>;

function rowsOf({ columnNames, columnTypes, rows }: Answer): Record<string, unknown>[] {
  const readers = columnTypes.map((type) => reads.get(type));
  return rows.map((row) => {
    const found: Record<string, unknown> = {};
    for (let at = 0; at < columnNames.length; at += 1) {
      const value = row[at];
      const read = readers[at];
      found[columnNames[at] as string] = read === undefined || value === null ? value : read(value as never);
    }
    return found;
  });
}

interface Cause {
  kind?: string;
  originalCode?: string;
  originalMessage?: string;
  host?: string;
  port?: number;
  reason?: string;
}

/** What the adapter says of a statement that failed, as whoever catches errors of this client knows it. */
function asPrismaWould(error: unknown): never {
  const { name, message, cause, code } = error as Error & { cause?: Cause; code?: unknown };
  const { client: clientVersion } = Sql.prismaVersion;
  // Of Node, such as several addresses of which none could be reached.
  if (name !== "DriverAdapterError" && typeof code === "string")
    throw new Sql.PrismaClientKnownRequestError(message || code, { code, clientVersion, meta: {} });
  if (name !== "DriverAdapterError") throw error;
  const { originalCode = "N/A", originalMessage = inWords(cause) ?? message } = cause ?? {};
  throw new Sql.PrismaClientKnownRequestError(
    `Raw query failed. Code: \`${originalCode}\`. Message: \`${originalMessage}\``,
    { code: "P2010", clientVersion, meta: { driverAdapterError: error } },
  );
}

/** What PostgreSQL did not say itself. */
function inWords({ kind, host, port, reason }: Cause = {}): string | undefined {
  if (kind === "ConnectionClosed") return "Server has closed the connection.";
  if (kind === "SocketTimeout") return "Operation has timed out";
  if (kind === "TlsConnectionError") return `Error opening a TLS connection: ${reason}`;
  if (kind !== "DatabaseNotReachable") return undefined;
  const place = host !== undefined && port !== undefined ? `${host}:${port}` : host;
  return `Can't reach database server${place === undefined ? "" : ` at ${place}`}`;
}
