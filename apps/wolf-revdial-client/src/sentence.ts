/** An error as one sentence for people: what failed, and the reason that only its innermost cause knows. */
import { RevdialError } from "revdial";

/** The body of a refusal may be a whole page of some proxy. */
const DETAIL_CHARACTERS_MAX = 300;
/** OpenSSL's words: thread, number, library, function, reason, source file, line. People need the reason. */
const OPENSSL = /[0-9A-F]+:error:[0-9A-F]{8}:[^:]*:[^:]*:([^:]+):[^:]+:\d+:\s*/g;
/** Below the outermost error; an error may even be its own cause. */
const CAUSES_MAX = 8;

/** Not yet fit to print: others may have written parts of it. */
export function sentence(error: unknown): string {
  if (!(error instanceof Error)) return readable(String(error));
  const problem = problemOf(error);
  if (problem !== undefined) return problem.detail.slice(0, DETAIL_CHARACTERS_MAX);
  const own = wordsOf(error);
  const reason = wordsOf(innermost(error));
  const detail = error instanceof RevdialError && error.detail ? ` ${error.detail}` : "";
  return `${own.includes(reason) ? own : `${own} (${reason})`}${detail.slice(0, DETAIL_CHARACTERS_MAX)}`;
}

/** What the control plane itself said of its refusal of a tunnel (RFC 9457); undefined for what somebody else said. */
export function problemOf(
  error: unknown,
): { code: string; detail: string; serverTime: string | undefined } | undefined {
  if (!(error instanceof RevdialError) || error.detail === undefined) return undefined;
  try {
    const { code, detail, server_time } = (JSON.parse(error.detail) ?? {}) as Record<string, unknown>;
    if (typeof code !== "string" || typeof detail !== "string") return undefined;
    return { code, detail, serverTime: typeof server_time === "string" ? server_time : undefined };
  } catch {
    return undefined;
  }
}

function innermost(error: Error): Error {
  let inner = error;
  for (let causes = 0; causes < CAUSES_MAX && inner.cause instanceof Error; causes += 1) inner = inner.cause;
  return inner;
}

/** Node's error for several addresses has no message of its own. */
function wordsOf(error: Error): string {
  return readable(
    error instanceof AggregateError && error.message === ""
      ? error.errors.map((one) => (one instanceof Error ? one.message : String(one))).join("; ")
      : error.message,
  );
}

const readable = (words: string) => words.replace(OPENSSL, "TLS: $1");
