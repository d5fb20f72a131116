/** The agent's numbers in Prometheus' text format, for its health listener. */
import { createMeters, watchProcess } from "@wolfpack/telemetry";
import type { Condition, ConditionReport } from "./condition.ts";
import { lifeTransitions } from "./life.ts";
import type { Counter, Observed } from "./metrics.ts";
import { agentDefinitions, wolfStates } from "./metrics-definitions.ts";

export interface MetricsPage {
  text(): Promise<string>;
  readonly contentType: string;
  /** A time that was measured. */
  observed(what: Observed): void;
}

export interface MetricsPageOptions {
  condition: Pick<Condition, "report" | "totals">;
  counters: () => readonly Counter[];
  /** Ends the samples. */
  signal: AbortSignal;
  /** Calls again and again; gives what ends it. Default: a timer that keeps no process alive. */
  every?: (ms: number, run: () => void) => () => void;
}

const RTT_SAMPLE_MS = 10_000;

function everyMs(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms);
  timer.unref();
  return () => clearInterval(timer);
}

type Meters = ReturnType<typeof createMeters<typeof agentDefinitions>>;

export function createMetricsPage(options: MetricsPageOptions): MetricsPage {
  const { condition, counters, signal, every = everyMs } = options;
  const meters: Meters = createMeters(agentDefinitions);
  meters.onRead(() => {
    const report = condition.report();
    ofLife(meters, report);
    ofTunnels(meters, report, condition.totals());
    for (const { name, labels, value } of counters()) ofCounter(meters, name, labels, value);
  });
  const sampled = every(RTT_SAMPLE_MS, () => {
    const { rtt_ms } = condition.report();
    if (rtt_ms !== null) meters.observe("wolfpack_agent_tunnel_rtt_seconds", rtt_ms / 1000);
  });
  const process = watchProcess(meters, {
    every,
    onDelay: (seconds) => meters.observe("wolfpack_agent_event_loop_delay_seconds", seconds),
  });
  signal.addEventListener(
    "abort",
    () => {
      sampled();
      process.stop();
    },
    { once: true },
  );
  return {
    text: () => meters.text(),
    contentType: meters.contentType,
    observed(what) {
      const seconds = what.ms / 1000;
      if (what.name === "reconnect") meters.observe("wolfpack_agent_reconnect_duration_seconds", seconds);
      else if (what.name === "wolf")
        meters.observe("wolfpack_agent_wolf_duration_seconds", seconds, { outcome: what.outcome });
      else {
        const { service, outcome, code } = what;
        meters.observe("wolfpack_agent_request_duration_seconds", seconds, { service, outcome });
        if (code !== undefined) meters.observe("wolfpack_agent_refusal_duration_seconds", seconds, { code });
      }
    },
  };
}

function ofLife(meters: Meters, report: ConditionReport): void {
  meters.set("wolfpack_agent_info", 1, { version: report.version });
  meters.set("wolfpack_agent_uptime_seconds", report.uptime_s);
  meters.set("wolfpack_agent_ready", Number(report.ready));
  meters.set("wolfpack_agent_alive", Number(report.alive));
  meters.set("wolfpack_agent_events_wait_seconds", report.events_wait_s ?? 0);
  for (const state of Object.keys(lifeTransitions))
    meters.set("wolfpack_agent_state", Number(state === report.state), { state });
  for (const answers of wolfStates)
    meters.set("wolfpack_agent_wolf", Number(answers === report.wolf), { answers });
}

function ofTunnels(meters: Meters, report: ConditionReport, totals: ReturnType<Condition["totals"]>): void {
  meters.total("wolfpack_agent_tunnels_total", report.tunnels);
  for (const [cause, count] of Object.entries(report.endings))
    meters.total("wolfpack_agent_endings_total", count, { cause });
  meters.total("wolfpack_agent_requests_total", totals.openedInbound);
  meters.total("wolfpack_agent_requests_refused_total", totals.refusedInbound);
  for (const [code, count] of Object.entries(totals.resets))
    meters.total("wolfpack_agent_request_resets_total", count, { code });
  meters.total("wolfpack_agent_tunnel_sent_bytes_total", totals.bytesSent);
  meters.total("wolfpack_agent_tunnel_received_bytes_total", totals.bytesReceived);
  meters.total("wolfpack_agent_tunnel_pings_answered_total", totals.pingsAnswered);
  meters.total("wolfpack_agent_tunnel_credit_stalls_total", totals.creditStalls);
}

function ofCounter(meters: Meters, name: string, labels: Counter["labels"], value: number): void {
  if (name === "refusals")
    meters.total("wolfpack_agent_refusals_total", value, { code: labels.code ?? "other" });
  else if (name === "events_not_sent")
    meters.total("wolfpack_agent_events_not_sent_total", value, { why: labels.why ?? "other" });
  else if (name === "pickups_failed") meters.total("wolfpack_agent_pickups_failed_total", value);
}
