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

/** What says that nobody answers, whatever is asked: not that one statement took too long, or has no room. */
const unanswered = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ETIMEDOUT",
  "EPIPE",
  "57P01",
  "57P02",
  "57P03",
  "P1001",
  "P1002",
  "P1008",
  "P1017",
  "P2024",
]);
const adapterUnanswered = new Set(["DatabaseNotReachable", "ConnectionClosed", "SocketTimeout"]);

export function isDatabaseDown(error: unknown): boolean {
  return says(error, databaseDown, adapterDown);
}

export function isDatabaseUnanswered(error: unknown): boolean {
  return says(error, unanswered, adapterUnanswered);
}

function says(error: unknown, codes: ReadonlySet<string>, kinds: ReadonlySet<string>, depth = 0): boolean {
  if (typeof error !== "object" || error === null || depth > 5) return false;
  const { code, cause, name, meta } = error as {
    code?: unknown;
    cause?: unknown;
    name?: unknown;
    meta?: { code?: unknown; driverAdapterError?: unknown };
  };
  if (typeof code === "string" && codes.has(code)) return true;
  if (typeof meta?.code === "string" && codes.has(meta.code)) return true;
  if (name === "PrismaClientInitializationError") return true;
  const kind = (cause as { kind?: unknown } | undefined)?.kind;
  if (name === "DriverAdapterError" && typeof kind === "string" && kinds.has(kind)) return true;
  return says(cause, codes, kinds, depth + 1) || says(meta?.driverAdapterError, codes, kinds, depth + 1);
}
