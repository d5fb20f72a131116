/** How wolves look: a row each, or one with all that is known of it. */
import {
  CLOCK_WARNING_SECONDS,
  clockWords,
  type DiskUsage,
  type Session,
  type WolfInstance,
  type WolfTunnelView,
} from "@wolfpack/api-contract";
import { type Fact, fact, factsText, type Section } from "../output/facts.ts";
import type { ListView, OneView } from "../output/output.ts";
import type { Paint, Tone } from "../output/style.ts";
import { type Cell, tableText } from "../output/table.ts";
import {
  age,
  bar,
  count,
  duration,
  labelsText,
  milliseconds,
  momentAnd,
  size,
  sparkline,
} from "../output/words.ts";
import { sessionColumns } from "./session-view.ts";

const tones: Record<WolfInstance["status"], Tone> = { online: "good", degraded: "warn", offline: "bad" };

/** What matters most of intent, connectivity, health and quarantine. */
export function stateOf(wolf: WolfInstance, nowMs: number): Cell {
  const { status, intent, connectivity, drain, quarantine, health_reasons: reasons } = wolf;
  if (intent === "retired" || intent === "pending") return { text: intent, tone: "faint" };
  const away = connectivity === "connected" ? "" : ` (${connectivity})`;
  if (intent === "draining" && drain)
    return {
      text: `draining, ${drain.sessions_left} left${away}`,
      tone: status === "offline" ? "bad" : "warn",
    };
  if (intent !== "active") return { text: `${intent}${away}`, tone: status === "offline" ? "bad" : "warn" };
  if (status === "offline") return { text: `offline ${age(wolf.last_heartbeat, nowMs)}`, tone: "bad" };
  if (quarantine && Date.parse(quarantine.until) > nowMs)
    return { text: `quarantine, ${duration(Date.parse(quarantine.until) - nowMs)}`, tone: "warn" };
  if (status === "degraded") {
    const [first] = reasons;
    const rest = reasons.length > 1 ? ` +${reasons.length - 1}` : "";
    return { text: `degraded${first === undefined ? away : `: ${first.code}${rest}`}`, tone: "warn" };
  }
  return { text: status, tone: tones[status] };
}

const gpuOf = ({ gpu_type, gpu_model }: WolfInstance): string =>
  gpu_model ? gpu_model.replace(/^NVIDIA (GeForce )?/i, "") : gpu_type;

export function wolfList(nowMs: number): ListView<WolfInstance> {
  return {
    none: "There are no wolves that fit.",
    name: ({ name }) => name,
    columns: [
      { title: "NAME", of: ({ name }) => name, shrinkTo: 16 },
      { title: "STATUS", of: (wolf) => stateOf(wolf, nowMs), shrinkTo: 14 },
      { title: "GPU", of: gpuOf, shrinkTo: 8 },
      {
        title: "SLOTS",
        of: ({ connected_sandboxes: used, max_sandboxes: max }) => ({
          text: `${bar(max === 0 ? 0 : used / max, 5)} ${used}/${max}`,
          tone: used >= max ? "warn" : "none",
        }),
      },
      { title: "RTT", of: ({ tunnel }) => milliseconds(tunnel?.rtt_ms), align: "right", spare: 2 },
      { title: "REGION", of: ({ region }) => region ?? "–", shrinkTo: 6, spare: 3 },
      { title: "SEEN", of: ({ last_heartbeat }) => age(last_heartbeat, nowMs), align: "right", spare: 1 },
      { title: "AGENT", of: ({ agent_version }) => agent_version ?? "–", shrinkTo: 6, spare: 4 },
    ],
  };
}

export interface WolfWithSessions {
  wolf: WolfInstance;
  sessions: Session[];
  moreSessions: boolean;
  /** Of its tunnel; null: not known. */
  line: WolfTunnelView | null;
}

export function wolfOne(nowMs: number): OneView<WolfWithSessions> {
  return {
    name: ({ wolf }) => wolf.name,
    text: (shown, options) =>
      factsText(
        [
          ...identity(shown.wolf, nowMs, shown.line),
          host(shown.wolf),
          disks(shown.wolf),
          sessionsOf(shown, nowMs, options),
        ],
        options,
      ),
  };
}

function identity(wolf: WolfInstance, nowMs: number, line: WolfTunnelView | null): Section[] {
  const { tunnel, capacity, drain, quarantine } = wolf;
  const state = stateOf(wolf, nowMs);
  const slots = capacity?.slots ?? { max: wolf.max_sandboxes, claimed: wolf.connected_sandboxes, other: 0 };
  return [
    {
      title: wolf.name,
      facts: [
        fact("id", wolf.id),
        fact(
          "status",
          `${wolf.status}: ${wolf.connectivity}, health ${wolf.health}, ${wolf.intent}`,
          typeof state === "string" ? "none" : state.tone,
        ),
        fact("reason", wolf.intent_reason),
        ...wolf.health_reasons.map(({ code, detail }) => fact("health", `${code}: ${detail}`, "warn")),
        fact(
          "quarantine",
          quarantine && `${quarantine.reason}, until ${momentAnd(quarantine.until, nowMs)}`,
          "warn",
        ),
        fact(
          "drain",
          drain &&
            `${drain.sessions_left} of ${count(drain.sessions_at_start, "session")} left, until ${momentAnd(drain.deadline, nowMs)}, then ${drain.then}`,
          "warn",
        ),
        fact(
          "slots",
          `${bar(slots.max === 0 ? 0 : slots.claimed / slots.max)} ${slots.claimed} of ${slots.max} taken${slots.other > 0 ? `, ${slots.other} by others` : ""}`,
        ),
        fact("seen", momentAnd(wolf.last_heartbeat, nowMs)),
        fact("region", wolf.region),
        fact("labels", labelsText(wolf.labels)),
        fact("address", wolf.address),
        fact("cost", wolf.cost_per_hour === null ? null : `${wolf.cost_per_hour} per hour`),
        fact("joined", momentAnd(wolf.created_at, nowMs)),
      ],
    },
    {
      title: "Tunnel",
      facts:
        tunnel === null
          ? [fact("tunnel", "none now", "bad")]
          : [
              fact("since", momentAnd(tunnel.since, nowMs)),
              fact("epoch", String(tunnel.epoch)),
              fact("round trip", tunnel.rtt_ms === null ? "not measured yet" : milliseconds(tunnel.rtt_ms)),
              ...lineFacts(line),
              clockFact(tunnel.clock_offset_ms),
              fact("protocol", tunnel.protocol),
              fact(
                "credential",
                wolf.legacy_credential ? "the RUNNER_TOKEN, which all hosts share" : undefined,
                "warn",
              ),
              fact("agent", wolf.agent_version),
            ],
    },
  ];
}

/** As the tunnel was opened. Undefined also where the control plane is of an earlier version. */
function clockFact(offsetMs: number | null | undefined): Fact | undefined {
  if (offsetMs === null || offsetMs === undefined) return undefined;
  const isOff = Math.abs(offsetMs) >= CLOCK_WARNING_SECONDS * 1000;
  return fact("clock", clockWords(offsetMs), isOff ? "warn" : "none");
}

const HISTORY_SIGNS = 30;

function lineFacts(line: WolfTunnelView | null): (Fact | undefined)[] {
  if (line === null) return [];
  const times = line.rtt_history.map(({ ms }) => ms);
  const [least, most] = [Math.min(...times), Math.max(...times)];
  const shares = times.map((ms) => (most === least ? 0 : ((ms - least) / (most - least)) * 0.99));
  return [
    fact(
      "last hour",
      times.length < 2
        ? undefined
        : `${sparkline(shares, HISTORY_SIGNS)} ${milliseconds(least)} to ${milliseconds(most)}`,
    ),
    fact(
      "carried",
      `${size(line.bytes_in)} in, ${size(line.bytes_out)} out, ${count(line.requests_total, "request")}, ${line.channels} now`,
    ),
    fact("reconnects", line.reconnects > 0 ? String(line.reconnects) : undefined),
    fact("transport", line.transport),
  ];
}

function host({
  host: facts,
  usage,
  gpu_type,
  wolf_capabilities,
  wolf_restarts,
  images,
}: WolfInstance): Section {
  const gpus = (facts?.gpus ?? []).map((gpu) => {
    const used = usage?.gpus.find(({ id }) => id === gpu.id);
    const vram =
      gpu.vram_bytes === null
        ? ""
        : `, ${used?.vram_used_bytes == null ? "" : `${size(used.vram_used_bytes)} of `}${size(gpu.vram_bytes)}`;
    const busy = used?.utilisation_percent == null ? "" : `, ${Math.round(used.utilisation_percent)} % busy`;
    return fact(
      "gpu",
      `${gpu.model ?? gpu.vendor} (${gpu.id})${vram}${busy}${gpu.driver === null ? "" : `, driver ${gpu.driver}`}`,
    );
  });
  return {
    title: "Host",
    facts: [
      ...(gpus.length === 0 ? [fact("gpu", gpu_type)] : gpus),
      fact(
        "processor",
        facts &&
          `${facts.cpu_model ?? "unknown"}, ${count(facts.cpu_count, "core")}${usage?.cpu_load == null ? "" : `, load ${usage.cpu_load.toFixed(2)}`}`,
      ),
      fact(
        "memory",
        facts &&
          `${usage?.memory_available_bytes == null ? "" : `${size(usage.memory_available_bytes)} of `}${size(facts.memory_bytes)}${usage?.memory_available_bytes == null ? "" : " available"}`,
      ),
      fact(
        "Wolf",
        wolf_capabilities &&
          (wolf_capabilities.missing.length === 0
            ? `has all that sessions need (${count(wolf_capabilities.features.length, "feature")})`
            : `lacks ${wolf_capabilities.missing.join(", ")}`),
        wolf_capabilities?.missing.length ? "bad" : "none",
      ),
      fact("restarts", wolf_restarts ? `${wolf_restarts} of Wolf, since the agent started` : undefined),
      fact(
        "images",
        images && `${images.filter(({ state }) => state === "present").length} of ${images.length} present`,
      ),
    ],
  };
}

export const levelTones: Record<string, Tone> = { ok: "good", warning: "warn", critical: "bad" };
/** Of what those who are not root may have, as `df` and the dashboard say it: a file system keeps some for root. */
export const share = ({ used_bytes, available_bytes }: Pick<DiskUsage, "used_bytes" | "available_bytes">) =>
  used_bytes === 0 ? 0 : used_bytes / (used_bytes + available_bytes);

function disks({ usage }: WolfInstance): Section {
  return {
    title: "Disks",
    facts: [
      ...(usage?.disks ?? []).map(({ mount, total_bytes, used_bytes, available_bytes, level }) =>
        fact(
          mount.length > 24 ? `…${mount.slice(-23)}` : mount,
          `${bar(share({ used_bytes, available_bytes }))} ${size(used_bytes)} of ${size(total_bytes)}, ${size(available_bytes)} available, ${level}`,
          level === "ok" ? "none" : levelTones[level],
        ),
      ),
      fact("unknown", usage?.disk_detail, "warn"),
    ],
  };
}

function sessionsOf(
  { sessions, moreSessions }: WolfWithSessions,
  nowMs: number,
  { width, paint }: { width: number | undefined; paint: Paint },
): Section {
  const live = sessions.filter(({ ended_at }) => ended_at === null);
  if (live.length === 0)
    return {
      title: "Sessions",
      text: `${moreSessions ? "More than are shown here." : "None now."}\n`,
    };
  const columns = sessionColumns(nowMs, new Map()).filter(({ title }) => title !== "WOLF");
  return {
    title: "Sessions",
    text: tableText(columns, live, { width: width === undefined ? undefined : width - 2, paint }),
  };
}
