/** Why our own PostgreSQL does not start: a code for programs, one sentence for the person who can put it right. */

export type DatabaseStartErrorCode =
  | "DATA_DIR_UNUSABLE"
  | "DATA_DIR_IN_USE"
  | "DATA_DIR_OTHER_VERSION"
  | "PLATFORM_UNSUPPORTED"
  | "INITDB_FAILED"
  | "START_FAILED";

export class DatabaseStartError extends Error {
  readonly code: DatabaseStartErrorCode;
  constructor(code: DatabaseStartErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "DatabaseStartError";
    this.code = code;
  }
}
