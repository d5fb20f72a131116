/** `connect`, what runs without a subcommand: reads the configuration, then runs the agent until it is told to stop. */
import { startTracing } from "@wolfpack/telemetry";
import { Command } from "commander";
import { runAgent } from "../agent.ts";
import { systemClock } from "../clock.ts";
import { type Condition, createCondition } from "../condition.ts";
import { type AgentConfig, ConfigError, readConfig } from "../config.ts";
import { serveHealth } from "../health.ts";
import { type HostState, openHostState, StateFolderUnusable } from "../host-state.ts";
import { createLogger, type Log } from "../logger.ts";
import { createMetrics, type Metrics } from "../metrics.ts";
import { createMetricsPage, type MetricsPage } from "../metrics-page.ts";
import { OtherWolfId } from "../seat.ts";
import { createServiceManager } from "../service-manager.ts";
import { describeSetting, type Flags, settingNames } from "../settings.ts";
import { addSettings } from "./settings-options.ts";

export interface CommandEdges {
  version: string;
  env: NodeJS.ProcessEnv;
  /** Ends the process at once. */
  exit: (code: number) => void;
}

export function connectCommand(edges: CommandEdges): Command {
  const command = new Command("connect").description(
    "Dial the control plane and serve the local Wolf through the tunnel",
  );
  return addSettings(command, settingNames).action((flags: Flags) => connect(flags, edges));
}

async function connect(flags: Flags, { version, env, exit }: CommandEdges): Promise<void> {
  const config = readConfig({ flags, env });
  const log = createLogger(config.logLevel);
  for (const warning of config.warnings) log.warn(warning);
  const stop = new AbortController();
  const ended = new AbortController();
  const host = await hostStateOf(config, log, ended.signal);
  const metrics = createMetrics();
  const condition = createCondition({
    wolfId: config.wolfId,
    sessionId: config.sessionId,
    controlPlane: config.apiUrl.host,
    version,
    now: systemClock.now,
  });
  const manager = createServiceManager({ env, condition, log });
  const onSignal = (signal: NodeJS.Signals) => {
    if (stop.signal.aborted) return exit(signal === "SIGINT" ? 130 : 143);
    log.info({ signal }, "stopping");
    manager.stopping();
    stop.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  manager.start(ended.signal);
  if (config.healthListen !== undefined)
    void serveHealth({
      listen: config.healthListen,
      condition,
      page: pageOf(condition, metrics, ended.signal),
      log,
      signal: ended.signal,
    }).catch((error) => log.error({ err: error }, "the health listener does not start"));
  const tracing = await startTracing(config.tracing, {
    service: "wolfpack-agent",
    version,
    onFailure: (err) =>
      log.warn({ err }, "traces are not taken: OTEL_EXPORTER_OTLP_ENDPOINT is to be looked at"),
  });
  try {
    const edges = {
      log,
      tracing,
      random: Math.random,
      clock: systemClock,
      version,
      host,
      condition,
      metrics,
      path: env.PATH,
    };
    await runAgent(config, { ...edges, signal: stop.signal });
  } finally {
    ended.abort();
    await Promise.all([manager.spoken(), tracing.stop()]);
  }
  log.info("stopped");
}

function pageOf(condition: Condition, metrics: Metrics, signal: AbortSignal): MetricsPage {
  const page = createMetricsPage({ condition, counters: metrics.counters, signal });
  metrics.onObserved(page.observed);
  return page;
}

async function hostStateOf(
  { stateDir, wolfId, sessionId, wolf, protocol }: AgentConfig,
  log: Log,
  signal: AbortSignal,
): Promise<HostState> {
  const nowMs = Date.now();
  // Inside a sandbox there is no Wolf whose events two agents could want, and for a Helix control plane nobody wants them.
  if (sessionId !== undefined || protocol === "helix") return { incarnation: nowMs, seat: undefined };
  try {
    return await openHostState({
      folder: stateDir.path,
      wolfId,
      wolf,
      nowMs,
      clock: systemClock,
      log,
      signal,
    });
  } catch (error) {
    if (error instanceof OtherWolfId)
      throw new ConfigError(
        `${describeSetting("wolfId")} is ${wolfId}, but ${error.message}: end that one first, then this one can be the same Wolf by its new name.`,
        { cause: error },
      );
    if (!(error instanceof StateFolderUnusable)) throw error;
    if (stateDir.given) {
      const why = `${describeSetting("stateDir")}: ${error.message}.`;
      // A service manager tries that again, and a wrong setting not.
      throw error.passes ? new Error(why, { cause: error }) : new ConfigError(why, { cause: error });
    }
    log.warn(
      { reason: error.message },
      "runs without a state directory: it cannot keep a key of its own, and a newer agent of this host cannot take over by itself",
    );
    return { incarnation: nowMs, seat: undefined };
  }
}
