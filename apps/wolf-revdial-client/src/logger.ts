/** pino on stderr as JSON lines; stdout is for data. Credentials are redacted whatever they hang on. */
import { type DestinationStream, type Logger, pino } from "pino";
import { plainLine } from "./printable.ts";

export type Log = Logger;

/** API keys and join tokens by their form, whatever they stand in. */
const CREDENTIAL = /\b(wpk_|wjt_)[A-Za-z0-9_-]{20,}/g;

export function createLogger(level: string, destination?: DestinationStream): Log {
  const secrets = ["token", "joinToken", "private_key", "candidate", "authorization"];
  const paths = [...secrets, ...secrets.map((name) => `*.${name}`), "*.*.authorization", "*.*.private_key"];
  const streamWrite = (line: string) => plainLine(line.replace(CREDENTIAL, "$1[redacted]"));
  return pino(
    { level, base: null, redact: { paths, censor: "[redacted]" }, hooks: { streamWrite } },
    destination ?? pino.destination({ fd: 2, sync: true }),
  );
}
