#!/usr/bin/env node
/**
 * The process edge: configuration, database, listening, and an orderly end. Whatever a person can put right is one
 * sentence on stderr: exit 2 for the command line and the environment, 1 for everything else.
 */
import { chmodSync, existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { startTracing } from "@wolfpack/telemetry";
import { type ControlPlane, compose } from "./compose.ts";
import { type Config, ConfigError, readConfig } from "./config.ts";
import {
  DatabaseStartError,
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from "./database/embedded-postgres.ts";
import { databaseSentence, migrate } from "./database/migrate.prisma.ts";
import { ListenError } from "./http/listening.ts";
import { createLogger, type Log } from "./logger.ts";
import { RefusedReplica } from "./replicas/membership.ts";
import { version } from "./version.ts";

const USAGE = `usage: wolfpack-control-plane [--reset-admin-key]

  Settings come from the environment; docs/operations/configuration.md lists them.
  --reset-admin-key   write a new admin key to DATA_DIR/admin-api-key and exit; earlier keys stay valid`;

/** A sentence for people, and the exit code that goes with it. */
class ExitError extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** npm and terminals may deliver one Ctrl-C twice; only a signal after this time is a second one. */
const SAME_SIGNAL_MS = 1000;

/** Resolves at the first SIGTERM or SIGINT; the second ends the process at once (PostgreSQL's watchdog ends PostgreSQL). */
function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    const onSignal = (signal: NodeJS.Signals) => {
      if (firstAt === undefined) firstAt = Date.now();
      else if (Date.now() - firstAt >= SAME_SIGNAL_MS) process.exit(1);
      resolve(signal);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}

async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const resetAdminKey = args.length === 1 && args[0] === "--reset-admin-key";
  if (args.length > 0 && !resetAdminKey) throw new ExitError(2, USAGE);
  const config = readConfig(env);
  const log = createLogger(config.logLevel);
  process.on("uncaughtException", (err) => {
    log.fatal({ err }, "uncaught");
    process.exit(1);
  });
  const signal = stopSignal();
  const postgres =
    config.databaseUrl === undefined
      ? await startEmbeddedPostgres({
          dataDir: config.dataDir,
          onTrouble: (said) => log.error({ said }, "the embedded PostgreSQL is in trouble"),
        })
      : undefined;
  try {
    await serve(config, config.databaseUrl ?? postgres?.url ?? "", postgres, log, { signal, resetAdminKey });
  } finally {
    await postgres?.stop();
  }
}

interface Run {
  signal: Promise<NodeJS.Signals>;
  resetAdminKey: boolean;
}

async function serve(
  config: Config,
  url: string,
  postgres: EmbeddedPostgres | undefined,
  log: Log,
  run: Run,
): Promise<void> {
  const applied = await migrate(url);
  if (applied.length > 0) log.info({ migrations: applied }, "database migrated");
  const tracing = await startTracing(config.tracing, {
    service: "wolfpack-control-plane",
    version,
    onFailure: (err) =>
      log.warn({ err }, "traces are not taken: OTEL_EXPORTER_OTLP_ENDPOINT is to be looked at"),
  });
  const plane = compose(config, url, log, { tracing });
  try {
    if (run.resetAdminKey) return await plane.identity.resetAdminKey((key) => keepAdminKey(config, key));
    await bootstrap(plane, config, log);
    const port = await plane.listen();
    log.info({ port, url: `http://${hostInUrl(config.host)}:${port}` }, "ready");
    const why = await Promise.race([
      run.signal,
      ...(postgres ? [postgres.exited.then(() => "database" as const)] : []),
    ]);
    log.info({ why }, "stopping");
    if (why === "database")
      throw new ExitError(1, "The embedded PostgreSQL has ended by itself; start again.");
  } catch (cause) {
    const sentence = startSentence(cause, config, url);
    throw sentence === undefined ? cause : new ExitError(1, sentence, { cause });
  } finally {
    await plane.stop();
    log.info("stopped");
  }
}

/** A key for the admin on the first boot; afterwards only a word when nobody kept it. */
async function bootstrap(plane: ControlPlane, config: Config, log: Log): Promise<void> {
  const file = adminKeyFile(config);
  let shown: string | undefined;
  const made = await plane.identity.bootstrap((key) => {
    keepAdminKey(config, key);
    shown = key;
  });
  if (made) {
    log.info({ file }, "admin key written");
    // Once, to a person at a terminal; never into a log that somebody collects.
    if (process.stdout.isTTY) process.stdout.write(`Admin API key: ${shown}\n`);
  } else if (!existsSync(file)) {
    log.info({ file }, "the admin key's file is gone; --reset-admin-key writes another key");
  }
}

const adminKeyFile = (config: Config): string => path.join(config.dataDir, "admin-api-key");

/** Whole or not at all, and never readable by others. */
function keepAdminKey(config: Config, key: string): void {
  const file = adminKeyFile(config);
  const fresh = `${file}.new`;
  try {
    mkdirSync(config.dataDir, { recursive: true });
    writeFileSync(fresh, `${key}\n`, { mode: 0o600 });
    chmodSync(fresh, 0o600);
    renameSync(fresh, file);
  } catch (cause) {
    throw new ExitError(1, `${file} cannot be written: set DATA_DIR to a folder that can be.`, { cause });
  }
}

/** What a person can put right; undefined: it is said already, or a fault of ours. */
function startSentence(cause: unknown, config: Config, url: string): string | undefined {
  if (cause instanceof RefusedReplica) return cause.message;
  if (cause instanceof ListenError) return listenSentence(cause, config);
  return databaseSentence(cause, url);
}

function listenSentence({ code, message }: ListenError, { host, port }: Config): string {
  if (code === "EADDRINUSE")
    return `Port ${port} is in use: stop the program that uses it, or set PORT to another.`;
  if (code === "EACCES") return `Port ${port} is not open to this user: set PORT to one above 1023.`;
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return `HOST ${host} is not an address of this machine.`;
  return `Cannot listen on ${host}:${port}: ${message}.`;
}

function hostInUrl(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}

try {
  await main(process.argv.slice(2), process.env);
  process.exit(0);
} catch (error) {
  if (error instanceof ConfigError) fail(2, error.message);
  if (error instanceof ExitError) fail(error.exitCode, error.message);
  if (error instanceof DatabaseStartError) fail(1, error.message);
  process.stderr.write(
    `wolfpack: unexpected failure: ${error instanceof Error ? error.stack : String(error)}\n`,
  );
  process.exit(1);
}

function fail(exitCode: number, sentence: string): never {
  process.stderr.write(`wolfpack: ${sentence}\n`);
  process.exit(exitCode);
}
