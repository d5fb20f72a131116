/** Any error as what a person reads of it: a sentence, the code and the request's id, what else the problem says; and the exit code. */
import { type Problem, WolfpackApiError } from "@wolfpack/api-contract";
import { causeCodes, chainOf } from "./connection.ts";
import { Ended, type ExitCode, exitCodes, Failed, Interrupted, NotFound, UsageError } from "./errors.ts";
import { printable, withoutCredentials } from "./output/printable.ts";

export interface Failure {
  exitCode: ExitCode;
  /** Printable; empty where all is said. */
  lines: string[];
}

const DETAIL_CHARACTERS_MAX = 500;
const LINES_MAX = 12;

export function failureOf(error: unknown, controlPlane: string | undefined): Failure {
  const lines = (...texts: string[]) => texts.map((text) => withoutCredentials(printable(text)));
  if (error instanceof Ended) return { exitCode: error.exitCode, lines: [] };
  if (error instanceof Interrupted) return { exitCode: exitCodes.interrupted, lines: [] };
  if (error instanceof UsageError) return { exitCode: exitCodes.usage, lines: lines(error.message) };
  if (error instanceof NotFound)
    return { exitCode: exitCodes.notFound, lines: lines(withCode(error.message, error.code)) };
  if (error instanceof Failed)
    return {
      exitCode: isLate(error) ? exitCodes.unavailable : exitCodes.failed,
      lines: lines(error.message),
    };
  if (error instanceof WolfpackApiError)
    return { exitCode: exitCodeOf(error), lines: lines(...apiLines(error, controlPlane)) };
  const what = error instanceof Error ? error.message : String(error);
  return { exitCode: exitCodes.failed, lines: lines(what.slice(0, DETAIL_CHARACTERS_MAX)) };
}

const isLate = ({ cause }: Failed): boolean =>
  cause instanceof WolfpackApiError && cause.code === "network-failed";

/** Whether whoever has all day waits for it: there was no whole reply, or the server, or a proxy before it, is not well. */
export function passes(error: unknown): boolean {
  if (error instanceof Failed) return isLate(error);
  return (
    error instanceof WolfpackApiError && (error.code === "network-failed" || isPassing(error.status ?? 0))
  );
}
export const isPassing = (status: number): boolean => status >= 500 || status === 429;

/** What programs know it by, where it has such a code. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof WolfpackApiError || error instanceof NotFound ? error.code : undefined;

function exitCodeOf({ code, status }: WolfpackApiError): ExitCode {
  if (code === "network-failed") return exitCodes.unavailable;
  if (code === "quota-exceeded") return exitCodes.failed;
  if (status === 401 || status === 403) return exitCodes.credential;
  if (status === 404) return exitCodes.notFound;
  if (status === 400 || code === "invalid-request") return exitCodes.usage;
  return status === 429 || status === 503 || status === 504 ? exitCodes.unavailable : exitCodes.failed;
}

function apiLines(error: WolfpackApiError, controlPlane = "The control plane"): string[] {
  const { code, problem } = error;
  if (code === "network-failed")
    return [`${sentence(`${controlPlane} cannot be reached: ${networkReason(error)}`)} (${code})`];
  const said = error.message.slice(code.length + 2).slice(0, DETAIL_CHARACTERS_MAX);
  if (problem === undefined) {
    if (code !== "unexpected-reply") return [`${sentence(said)} (${code})`];
    const whose =
      error.status !== undefined && error.status >= 400
        ? `${controlPlane} answered ${error.status} in words that are not Wolfpack's: is that its address?`
        : `${controlPlane} answered what this version does not understand: ${said.split("\n")[0]}.`;
    return [`${whose} (${code})`];
  }
  return [
    `${sentence(said)} (${code}, request ${problem.instance})`,
    ...detailLines(problem),
    ...advice(code),
  ];
}

const withCode = (text: string, code: string | undefined) =>
  code === undefined ? text : `${text} (${code})`;
const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`);

/** What some problems say besides: where a field is wrong, what there is, what would fit. */
function detailLines(problem: Problem): string[] {
  const found: string[] = [];
  const errors = (problem.errors ?? []).filter(({ message }) => !problem.detail.includes(message));
  for (const { path, message } of errors) found.push(`  ${path === "" ? "request" : path}: ${message}`);
  const { counterfactuals, removed, allowed, limit, current } = problem as Record<string, unknown>;
  for (const one of listOf(counterfactuals)) {
    const { text } = one as { text?: unknown };
    if (typeof text === "string") found.push(`  ${text}`);
  }
  // Where a field is to blame, that is said already.
  for (const one of errors.length > 0 ? [] : listOf(removed)) {
    const { filter, count } = one as { filter?: unknown; count?: unknown };
    if (typeof filter === "string") found.push(`  left out by ${filter}: ${String(count)}`);
  }
  if (allowed !== undefined && allowed !== null) found.push(`  allowed: ${readable(allowed)}`);
  if (typeof limit === "number" && typeof current === "number")
    found.push(`  in use: ${current} of ${limit}`);
  return found.slice(0, LINES_MAX).map((line) => line.slice(0, DETAIL_CHARACTERS_MAX));
}

const listOf = (value: unknown): unknown[] =>
  (Array.isArray(value) ? value : []).filter((one) => one !== null);

function readable(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join(", ");
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .map(([name, one]) => `${name} ${readable(one)}`)
    .join("; ");
}

const advice = (code: string): string[] =>
  code === "unauthenticated"
    ? ["  wolfctl doctor says more; a new key is set with wolfctl config set-key."]
    : [];

const reasons: Record<string, string> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "its name is not known",
  EAI_AGAIN: "the name service does not answer",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no network",
  ECONNRESET: "the connection was cut off",
  UND_ERR_SOCKET: "the connection was cut off",
  ETIMEDOUT: "no answer",
  UND_ERR_CONNECT_TIMEOUT: "no answer",
  UND_ERR_HEADERS_TIMEOUT: "no answer",
  DEPTH_ZERO_SELF_SIGNED_CERT:
    "its certificate is signed by nobody this machine knows (NODE_EXTRA_CA_CERTS names a file with the authority's)",
  SELF_SIGNED_CERT_IN_CHAIN:
    "its certificate is signed by nobody this machine knows (NODE_EXTRA_CA_CERTS names a file with the authority's)",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "its certificate is signed by nobody this machine knows (NODE_EXTRA_CA_CERTS names a file with the authority's)",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "its certificate is signed by nobody this machine knows (NODE_EXTRA_CA_CERTS names a file with the authority's)",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; is this machine's clock right?",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
  EPROTO: "it does not speak TLS there",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS there; is it http://?",
  HPE_INVALID_CONSTANT: "what answers is no HTTP server",
};

/** Why there was no whole reply. */
export function networkReason(error: unknown): string {
  for (const code of causeCodes(error)) {
    const reason = reasons[code];
    if (reason !== undefined) return reason;
  }
  const messages = chainOf(error).map(({ message }) => message);
  const words = messages.findLast((one) => typeof one === "string" && one !== "") as string | undefined;
  if (words === undefined) return "no reason is known";
  if (words === "bad port") return "its port is one that no HTTP client asks";
  return words.replace(/\.$/, "").slice(0, DETAIL_CHARACTERS_MAX);
}
