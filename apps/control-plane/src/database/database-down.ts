/** Which errors mean that the database is away, full, read-only or too slow, and that the same may succeed later. */

/** Codes of PostgreSQL, of its driver and of Prisma that say that the database cannot be reached, or cannot do it now. */
const databaseDown = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ETIMEDOUT",
  "EPIPE",
  "25006",
  "53000",
  "53100",
  "53200",
  "53400",
  "55P03",
  "57014",
  "58030",
  "57P01",
  "57P02",
  "57P03",
  "57P05",
  "53300",
  "3D000",
  "P1001",
  "P1002",
  "P1003",
  "P1008",
  "P1017",
  "P2024",
  // A transaction that could not begin, or that has ended under its statements.
  "P2028",
]);

/** The same in the words of Prisma's driver adapters. */
const adapterDown = new Set([
  "DatabaseNotReachable",
  "DatabaseDoesNotExist",
  "ConnectionClosed",
  "SocketTimeout",
  "TooManyConnections",
]);

export function isDatabaseDown(error: unknown, depth = 0): boolean {
  if (typeof error !== "object" || error === null || depth > 5) return false;
  const { code, cause, name, meta } = error as {
    code?: unknown;
    cause?: unknown;
    name?: unknown;
    meta?: { code?: unknown; driverAdapterError?: unknown };
  };
  if (typeof code === "string" && databaseDown.has(code)) return true;
  if (typeof meta?.code === "string" && databaseDown.has(meta.code)) return true;
  if (name === "PrismaClientInitializationError") return true;
  const kind = (cause as { kind?: unknown } | undefined)?.kind;
  if (name === "DriverAdapterError" && typeof kind === "string" && adapterDown.has(kind)) return true;
  return isDatabaseDown(cause, depth + 1) || isDatabaseDown(meta?.driverAdapterError, depth + 1);
}
