/** pino with one redaction list for the whole process: whatever looks like a credential never reaches a log. */
import { type DestinationStream, type Logger, pino, stdSerializers } from "pino";

export type Log = Logger;

/** Property names whose values are censored, at the top of a line and down to two objects below. */
const secrets = [
  "authorization",
  "cookie",
  "set-cookie",
  "key",
  "api_key",
  "apiKey",
  "token",
  "password",
  "pin",
];
const paths = secrets.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]);

/** API keys and join tokens by their form; what people recognise them by (`wpk_` and six characters) is shorter. */
const CREDENTIAL = /\b(wpk_|wjt_)[A-Za-z0-9_-]{20,}/g;

/** A credential where an id or a name belongs is logged, and kept in the audit log, like an honest mistake: without it. */
export function withoutCredentials(text: string): string {
  return text.replace(CREDENTIAL, "$1[redacted]");
}

/**
 * JSON escapes the controls below U+0020; terminals also obey those above U+007E, and show text backwards where it says so. None
 * of them occurs in a line outside of its strings, but for the newline at its end.
 */
const STEERING = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

function plain(line: string): string {
  return line.replace(STEERING, (sign) =>
    [...Array(sign.length).keys()]
      .map((at) => `\\u${sign.charCodeAt(at).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

/** Of a database's error the code stays: what it says besides may be a whole row, with whatever somebody has put into it. */
function withoutRows(error: Error): unknown {
  const { meta: _meta, detail: _detail, where: _where, ...shown } = stdSerializers.err(error);
  return shown;
}

/** Lines go to stdout unless `destination` says otherwise; written at once, so that the last line before an end is not lost. */
export function createLogger(level: string, destination: DestinationStream = stdout()): Log {
  const hooks = { streamWrite: (line: string) => plain(withoutCredentials(line)) };
  const serializers = { err: withoutRows };
  return pino(
    { level, base: null, redact: { paths, censor: "[redacted]" }, hooks, serializers },
    destination,
  );
}

function stdout(): DestinationStream {
  const stream = pino.destination({ fd: 1, sync: true });
  // Whoever read the log is gone (EPIPE): serving goes on.
  stream.on("error", () => undefined);
  return stream;
}
