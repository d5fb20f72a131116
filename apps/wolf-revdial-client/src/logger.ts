/** pino on stderr as JSON lines; stdout is for data. Credentials are redacted whatever they hang on. */
import { type DestinationStream, type Logger, pino } from "pino";
import { plainLine } from "./printable.ts";

export type Log = Logger;

export function createLogger(level: string, destination?: DestinationStream): Log {
  const secrets = ["token", "joinToken", "private_key", "candidate", "authorization"];
  const paths = [...secrets, ...secrets.map((name) => `*.${name}`), "*.*.authorization", "*.*.private_key"];
  return pino(
    { level, base: null, redact: { paths, censor: "[redacted]" }, hooks: { streamWrite: plainLine } },
    destination ?? pino.destination({ fd: 2, sync: true }),
  );
}
