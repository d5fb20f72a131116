/** Why something was not answered as it was asked for, and when to ask again. */

/** Why there is no reply: a problem of the API, or `network-failed`, or `unexpected-reply`. */
export class ApiFailure extends Error {
  override readonly name = "ApiFailure";
  readonly code: string;
  readonly status: number;
  readonly title: string;
  /** All members of the problem. */
  readonly problem: Record<string, unknown>;
  readonly requestId: string | undefined;
  /** Not to be asked again before, as the server says. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: string,
    title: string,
    detail: string,
    status = 0,
    problem: Record<string, unknown> = {},
    retryAfterMs?: number,
  ) {
    super(detail);
    this.code = code;
    this.title = title;
    this.status = status;
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
    this.requestId = typeof problem.instance === "string" ? problem.instance : undefined;
  }
}

/** Longer is not believed: whoever looks would see nothing new. */
const PAUSE_MS_MAX = 60_000;

/** The control plane says it in seconds; a date, which a proxy may send, is left to the caller's own pace. */
export function retryAfterMs(headers: Headers): number | undefined {
  const said = headers.get("retry-after")?.trim() ?? "";
  return /^\d{1,9}$/.test(said) ? Math.min(Number(said) * 1000, PAUSE_MS_MAX) : undefined;
}
