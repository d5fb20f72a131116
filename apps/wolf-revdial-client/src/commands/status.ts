/** `status`: asks the running agent's health listener, for people and for container health checks. */
import { Command, Option } from "commander";
import { z } from "zod";
import type { ConditionReport } from "../condition.ts";
import { ConfigError, readHealthListen } from "../config.ts";
import { trustingFetch } from "../control-plane.ts";
import { printable } from "../printable.ts";
import { sentence } from "../sentence.ts";
import { describeSetting, type Flags } from "../settings.ts";
import type { CommandEdges } from "./connect.ts";
import { addSettings } from "./settings-options.ts";

const ASK_TIMEOUT_MS = 5000;
const LINE_WIDTH = 80;

/** Exit code 1: the agent does not serve, or cannot be asked. The sentence says why. */
export class NotServing extends Error {
  override readonly name = "NotServing";
}

export function statusCommand({ env }: CommandEdges): Command {
  const command = new Command("status").description(
    "Ask the running agent how it is; exit code 1 unless it serves",
  );
  return addSettings(command, ["healthListen", "healthRemote"])
    .addOption(new Option("--alive", "Exit code 1 only when a restart would help"))
    .addOption(new Option("--json", "The report of /readyz as JSON"))
    .action((flags: Flags & { json?: boolean; alive?: boolean }) => status(flags, env));
}

/** Far ends of another version may say more. */
const Report = z.object({
  state: z.string(),
  ready: z.boolean(),
  alive: z.boolean(),
  wolf_id: z.string(),
  session_id: z.string().nullable().default(null),
  control_plane: z.string(),
  version: z.string(),
  uptime_s: z.number(),
  state_s: z.number(),
  transport: z.string().nullable(),
  rtt_ms: z.number().nullable(),
  tunnels: z.number(),
  endings: z.record(z.string(), z.number()),
  wolf: z.enum(["ok", "slow", "stuck", "unreachable", "unknown"]),
  events_wait_s: z.number().nullable().default(null),
  last_problem: z.string().nullable(),
});

async function status(
  flags: Flags & { json?: boolean; alive?: boolean },
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const flag = typeof flags.healthListen === "string" ? flags.healthListen : undefined;
  const address = flag ?? (env.WOLFPACK_HEALTH_LISTEN || undefined);
  const wrong = (why: string) => new ConfigError(`${describeSetting("healthListen")} ${why}.`);
  const listen = readHealthListen(address, true, wrong);
  if (listen === undefined) throw wrong("is missing: the running agent's address");
  const host = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
  let report: ConditionReport;
  try {
    // Not the built-in fetch, which has ports that it never asks.
    const reply = await trustingFetch({ ca: undefined, insecure: false })(
      `http://${host}:${listen.port}/readyz`,
      { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) },
    );
    report = Report.parse(await reply.json()) as ConditionReport;
  } catch (error) {
    const why =
      error instanceof z.ZodError || error instanceof SyntaxError ? "it is no agent" : sentence(error);
    throw new NotServing(`No agent answers at ${host}:${listen.port}: ${why}`);
  }
  process.stdout.write(flags.json === true ? `${JSON.stringify(report)}\n` : statusText(report));
  if (flags.alive === true ? !report.alive : !report.ready)
    throw new NotServing(report.alive ? "The agent does not serve." : "The agent is stuck: restart it.");
}

/** At most 80 columns wide. */
export function statusText(report: ConditionReport): string {
  const rows: [string, string][] = [
    ["state", `${report.state} for ${duration(report.state_s)}${report.alive ? "" : ", STUCK"}`],
    report.session_id === null
      ? ["wolf", `${report.wolf_id}: ${wolfWords[report.wolf]}`]
      : ["session", report.session_id],
    ...eventsRow(report),
    ["control plane", report.control_plane],
    ["tunnel", tunnelWords(report)],
    [
      "before",
      Object.entries(report.endings)
        .map(([cause, count]) => `${count} × ${cause}`)
        .join(", ") || "nothing ended",
    ],
    ["last problem", report.last_problem ?? "none"],
    ["agent", `version ${report.version}, up for ${duration(report.uptime_s)}`],
  ];
  return rows.map(([name, value]) => `${shortened(`${name.padEnd(15)}${printable(value)}`)}\n`).join("");
}

const eventsRow = ({ events_wait_s: waited }: ConditionReport): [string, string][] =>
  waited === null ? [] : [["events", `not heard for ${duration(waited)}: waits for its turn`]];

const wolfWords: Record<ConditionReport["wolf"], string> = {
  ok: "answers",
  slow: "answers slowly",
  stuck: "takes connections and does not answer",
  unreachable: "does not answer",
  unknown: "not asked yet",
};

function tunnelWords({ ready, transport, rtt_ms, tunnels }: ConditionReport): string {
  if (transport === null) return `none now, ${tunnels} so far`;
  const rtt = rtt_ms === null ? "" : `, round trip ${rtt_ms} ms`;
  return `${transport}${rtt}, number ${tunnels}${ready ? "" : ", takes no requests"}`;
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

const shortened = (line: string) => (line.length <= LINE_WIDTH ? line : `${line.slice(0, LINE_WIDTH - 1)}…`);
