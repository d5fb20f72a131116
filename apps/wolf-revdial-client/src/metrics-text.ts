/** The agent's numbers in Prometheus' text format 0.0.4. Pure. */
import type { Condition, ConditionReport } from "./condition.ts";
import { lifeTransitions } from "./life.ts";

export interface Sample {
  name: string;
  labels?: Readonly<Record<string, string>>;
  value: number;
}

interface Family {
  name: string;
  type: "counter" | "gauge";
  help: string;
  samples: readonly Omit<Sample, "name">[];
}

const wolfStates = ["ok", "slow", "stuck", "unreachable", "unknown"] as const;

export function metricsText(
  report: ConditionReport,
  totals: ReturnType<Condition["totals"]>,
  more: readonly Sample[] = [],
): string {
  const one = (value: number) => [{ value }];
  const oneOf = (label: string, all: readonly string[], current: string) =>
    all.map((name) => ({ labels: { [label]: name }, value: name === current ? 1 : 0 }));
  const by = (label: string, counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).map(([name, value]) => ({ labels: { [label]: name }, value }));
  const counter = (name: string, help: string, samples: Family["samples"]): Family => ({
    name: `wolf_agent_${name}_total`,
    type: "counter",
    help,
    samples,
  });
  const gauge = (name: string, help: string, samples: Family["samples"]): Family => ({
    name: `wolf_agent_${name}`,
    type: "gauge",
    help,
    samples,
  });
  const families: Family[] = [
    gauge("info", "Always 1.", [{ labels: { version: report.version, ...whose(report) }, value: 1 }]),
    gauge("uptime_seconds", "Since the agent started.", one(report.uptime_s)),
    gauge(
      "state",
      "1 for the state of the agent's life.",
      oneOf("state", Object.keys(lifeTransitions), report.state),
    ),
    gauge("ready", "1 while the tunnel takes requests.", one(Number(report.ready))),
    gauge("alive", "0 when only a restart helps.", one(Number(report.alive))),
    gauge("wolf", "1 for the way Wolf answers.", oneOf("answers", wolfStates, report.wolf)),
    gauge(
      "events_wait_seconds",
      "How long the turn at Wolf's events has been waited for; 0 when they are ours.",
      one(report.events_wait_s ?? 0),
    ),
    gauge(
      "tunnel_rtt_seconds",
      "Last round trip to the control plane.",
      report.rtt_ms === null ? [] : one(report.rtt_ms / 1000),
    ),
    counter("tunnels", "Tunnels that came up.", one(report.tunnels)),
    counter("endings", "Tries and tunnels that ended, by cause.", by("cause", report.endings)),
    counter("requests", "Requests of the control plane.", one(totals.openedInbound)),
    counter(
      "requests_refused",
      "Requests refused before they began: no memory, or on the way out.",
      one(totals.refusedInbound),
    ),
    counter("request_resets", "Requests that ended before their time, by code.", by("code", totals.resets)),
    counter("tunnel_sent_bytes", "Bytes of messages sent.", one(totals.bytesSent)),
    counter("tunnel_received_bytes", "Bytes of messages received.", one(totals.bytesReceived)),
    counter("tunnel_pings_answered", "Pings that the control plane answered.", one(totals.pingsAnswered)),
    counter("tunnel_credit_stalls", "Times a reply had to wait for its reader.", one(totals.creditStalls)),
  ];
  const known = new Map<string, Family & { samples: Omit<Sample, "name">[] }>();
  for (const { name, ...sample } of more) {
    const family = known.get(name) ?? {
      ...counter(name, "Counted where it happens.", []),
      samples: [],
    };
    family.samples.push(sample);
    known.set(name, family);
  }
  return [...families, ...known.values()].map(familyText).join("");
}

const whose = ({ wolf_id, session_id }: ConditionReport) =>
  session_id === null ? { wolf_id } : { session_id };

function familyText({ name, type, help, samples }: Family): string {
  if (samples.length === 0) return "";
  const lines = samples.map(({ labels = {}, value }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
    return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

const escaped = (text: string) =>
  text.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
