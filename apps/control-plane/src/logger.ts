/** pino with one redaction list for the whole process: whatever looks like a credential never reaches a log. */
import { type DestinationStream, type Logger, pino } from "pino";

export type Log = Logger;

const secrets = ["authorization", "cookie", "set-cookie", "key", "api_key", "token", "password", "pin"];

export function createLogger(level: string, destination?: DestinationStream): Log {
  const paths = secrets
    .flatMap((name) => [name, `*.${name}`, `*.*.${name}`])
    .map((path) => path.replace("set-cookie", '["set-cookie"]').replace('.["', '["'));
  return pino(
    { level, base: null, redact: { paths, censor: "[redacted]" } },
    destination ?? pino.destination({ fd: 1, sync: true }),
  );
}
