/** How a command ends other than well: each kind with its exit code, which docs/operations/wolfctl.md lists. */

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  credential: 3,
  notFound: 4,
  unavailable: 5,
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What was typed, set or configured cannot be used. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** There is no such object, where that is found out here. */
export class NotFound extends Error {
  override readonly name = "NotFound";
  /** The one that the control plane has for it. */
  readonly code: string | undefined;
  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/** It was not done, and the sentence says why. */
export class Failed extends Error {
  override readonly name = "Failed";
}

/** Ctrl-C. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** Everything is said already. */
export class Ended extends Error {
  override readonly name = "Ended";
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode) {
    super(`ends with ${exitCode}`);
    this.exitCode = exitCode;
  }
}
