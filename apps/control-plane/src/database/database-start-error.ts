/** Why a database cannot be used, our own or another: a code for programs, one sentence for the person who can put it right. */

export type DatabaseStartErrorCode =
  | "DATA_DIR_UNUSABLE"
  | "DATA_DIR_IN_USE"
  | "DATA_DIR_OTHER_VERSION"
  | "PLATFORM_UNSUPPORTED"
  | "INITDB_FAILED"
  | "START_FAILED"
  | "URL_UNUSABLE"
  | "HOST_UNKNOWN"
  | "UNREACHABLE"
  | "ACCESS_REFUSED"
  | "DATABASE_MISSING"
  | "READ_ONLY"
  | "TOO_OLD"
  | "SCHEMA_NEWER"
  | "SCHEMA_BROKEN"
  | "REPLICA_OLDER"
  | "MIGRATION_BUSY"
  | "MIGRATION_FAILED";

export class DatabaseStartError extends Error {
  readonly code: DatabaseStartErrorCode;
  constructor(code: DatabaseStartErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "DatabaseStartError";
    this.code = code;
  }
}
