/** What follows from what a check has seen: pure, with every threshold and its unit. */
import { CLOCK_WARNING_SECONDS, clockWords, type Replica } from "@wolfpack/api-contract";
import type { FleetHealth } from "../wolves/eviction-valve.ts";
import type { Finding } from "./check.ts";
import type { AgentsSeen, CheckFacts, ClocksSeen, Some, WolvesSeen } from "./facts.ts";

export const thresholds = {
  databaseMs: { warning: 250, failed: 2000 },
  skewMs: { warning: 1000, failed: 30_000 },
  hostClockMs: { warning: CLOCK_WARNING_SECONDS * 1000 },
  loopP99Ms: { warning: 100, failed: 1000 },
  loopMaxMs: { warning: 1000 },
  queueShare: { warning: 0.8, failed: 1 },
  /** Of the time after which a wish is given up. */
  queueAgeShare: { warning: 0.5 },
  freeBytes: { warning: 2 * 1024 ** 3, failed: 512 * 1024 ** 2 },
  freeShare: { warning: 0.1, failed: 0.02 },
  /** Events are kept for 30 days, and removed every ten minutes. */
  eventAgeDays: { warning: 31 },
} as const;

type Gravity = "ok" | "warning" | "failed";
const graver = (first: Gravity, second: Gravity): Gravity => {
  const order = ["ok", "warning", "failed"] as const;
  return order[Math.max(order.indexOf(first), order.indexOf(second))] ?? "failed";
};

/** Above is worse. */
function above(figure: number, { warning, failed }: { warning: number; failed?: number }): Gravity {
  if (failed !== undefined && figure >= failed) return "failed";
  return figure >= warning ? "warning" : "ok";
}
const below = (figure: number, { warning, failed }: { warning: number; failed: number }): Gravity =>
  above(-figure, { warning: -warning, failed: -failed });

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

export function lasting(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 2 * MINUTE_MS) return `${Math.round(ms / 1000)} s`;
  if (ms < 2 * HOUR_MS) return `${Math.round(ms / MINUTE_MS)} min`;
  return ms < 2 * DAY_MS ? `${Math.round(ms / HOUR_MS)} h` : `${Math.round(ms / DAY_MS)} days`;
}

const GIB = 1024 ** 3;
const size = (bytes: number) =>
  bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${Math.round(bytes / 1024 ** 2)} MiB`;

const counted = (count: number, one: string, many: string) => `${count} ${count === 1 ? one : many}`;

function named({ count, names }: Some): string {
  const more = count - names.length;
  return `${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

export function databaseFinding(ms: number): Finding {
  return { status: above(ms, thresholds.databaseMs), detail: `PostgreSQL answered after ${lasting(ms)}.` };
}

export function migrationsFinding(
  known: readonly string[],
  begun: Awaited<ReturnType<CheckFacts["migrations"]>>,
): Finding {
  const finished = new Set(begun.filter((migration) => migration.finished).map(({ name }) => name));
  const open = begun.filter((migration) => !migration.finished).map(({ name }) => name);
  const missing = known.filter((name) => !finished.has(name) && !open.includes(name));
  const foreign = [...finished].filter((name) => !known.includes(name));
  if (open.length > 0) return { status: "failed", detail: `Not finished: ${open.join(", ")}.` };
  if (missing.length > 0) return { status: "failed", detail: `Not applied: ${missing.join(", ")}.` };
  if (foreign.length > 0)
    return {
      status: "warning",
      detail: `Applied by another version, and not known to this one: ${foreign.join(", ")}.`,
      advice: "Another version has prepared this database: bring every replica to that version.",
    };
  return { status: "ok", detail: `All ${known.length} are applied.` };
}

/** `askedAt` and `answeredAt`: our clock around the question; the answer was true somewhere in between. */
export function skewFinding(askedAt: Date, answeredAt: Date, theirs: Date): Finding {
  const [from, to, at] = [askedAt.getTime(), answeredAt.getTime(), theirs.getTime()];
  const skewMs = at < from ? from - at : Math.max(0, at - to);
  const status = above(skewMs, thresholds.skewMs);
  if (skewMs === 0) return { status, detail: "The clocks agree." };
  const which = at < from ? "behind" : "ahead of";
  return { status, detail: `PostgreSQL's clock is ${lasting(skewMs)} ${which} this replica's.` };
}

export function replicasFinding(replicas: readonly Replica[]): Finding {
  const versions = [...new Set(replicas.map(({ version }) => version))].sort();
  const [only] = replicas;
  if (replicas.length === 1 && only?.is_self)
    return {
      status: "skipped",
      detail: `This replica has version ${only.version}, and knows of no other.`,
      advice: "Where several share the database, compare the version that each answers at /healthz.",
    };
  const how = counted(replicas.length, "replica", "replicas");
  if (versions.length > 1)
    return { status: "warning", detail: `${how} of different versions: ${versions.join(", ")}.` };
  return { status: "ok", detail: `${how}, version ${versions.join()}.` };
}

export function loopFinding({ p99Ms, maxMs }: { p99Ms: number; maxMs: number }): Finding {
  const status = graver(above(p99Ms, thresholds.loopP99Ms), above(maxMs, thresholds.loopMaxMs));
  const detail = `Of the last two minutes: 99 of 100 turns were at most ${lasting(p99Ms)} late, the worst ${lasting(maxMs)}.`;
  return { status, detail };
}

export function queueFinding(
  { length, oldestAt }: Awaited<ReturnType<CheckFacts["queue"]>>,
  { now, lengthMax, waitMs }: { now: Date; lengthMax: number; waitMs: number },
): Finding {
  if (length === 0 || oldestAt === null) return { status: "ok", detail: "Nobody waits." };
  const ageMs = Math.max(0, now.getTime() - oldestAt.getTime());
  // Nobody is to wait where the limit is 0: what still does has been there before.
  const full = lengthMax === 0 ? 0 : length / lengthMax;
  const status = graver(above(full, thresholds.queueShare), above(ageMs / waitMs, thresholds.queueAgeShare));
  const detail = `${length} of at most ${lengthMax} wait, the first for ${lasting(ageMs)} of at most ${lasting(waitMs)}.`;
  return { status, detail };
}

export function evictionsFinding({ frozenSince, overrideUntil }: FleetHealth, now: Date): Finding {
  if (frozenSince !== null)
    return {
      status: "failed",
      detail: `Frozen for ${lasting(now.getTime() - frozenSince.getTime())}: no lost wolf's session is given up.`,
    };
  if (overrideUntil !== null && overrideUntil > now)
    return {
      status: "warning",
      detail: `Not frozen: an operator lifts the freeze for another ${lasting(overrideUntil.getTime() - now.getTime())}.`,
      advice: "Nothing: this ends by itself.",
    };
  return { status: "ok", detail: "Not frozen." };
}

export function wolvesFinding({ expected, connected, away, unwell }: WolvesSeen): Finding {
  if (expected === 0) return { status: "ok", detail: "No wolf is expected." };
  const parts = [`${connected} of ${expected} wolves are connected.`];
  if (away.count > 0) parts.push(`Suspect or lost: ${named(away)}.`);
  if (unwell.count > 0) parts.push(`Not well: ${named(unwell)}.`);
  const status = away.count * 2 > expected ? "failed" : away.count + unwell.count > 0 ? "warning" : "ok";
  return { status, detail: parts.join(" ") };
}

type Version = readonly [major: number, minor: number, patch: number];

export function versionOf(text: string): Version | undefined {
  const [, major, minor, patch] = /^v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})(?:[-+.]|$)/.exec(text) ?? [];
  return patch === undefined ? undefined : [Number(major), Number(minor), Number(patch)];
}

export function isOlder(one: Version, other: Version): boolean {
  const at = one.findIndex((part, index) => part !== other[index]);
  return at !== -1 && (one[at] ?? 0) < (other[at] ?? 0);
}

export function agentsFinding(seen: readonly AgentsSeen[], own: string): Finding {
  const ours = versionOf(own);
  const sum = (some: readonly AgentsSeen[]) => some.reduce((total, { agents }) => total + agents.count, 0);
  const helix = seen.filter(({ protocol }) => protocol === "helix");
  const native = seen.filter(({ protocol }) => protocol !== "helix");
  const known = native.map((some) => ({ ...some, parsed: versionOf(some.version ?? "") }));
  const older = known.filter(({ parsed }) => parsed && ours && isOlder(parsed, ours));
  const newer = known.filter(({ parsed }) => parsed && ours && isOlder(ours, parsed));
  const unknown = known.filter(({ parsed }) => parsed === undefined);
  const connected = counted(sum(native), "agent is connected", "agents are connected");
  const parts = [`${connected}, this control plane is ${own}.`];
  const list = (some: readonly AgentsSeen[]) =>
    some.map(({ version, agents }) => `${version ?? "none"} (${named(agents)})`).join("; ");
  if (older.length > 0) parts.push(`${counted(sum(older), "is", "are")} older: ${list(older)}.`);
  if (newer.length > 0) parts.push(`${counted(sum(newer), "is", "are")} newer: ${list(newer)}.`);
  if (unknown.length > 0) parts.push(`Of ${sum(unknown)} the version is not known: ${list(unknown)}.`);
  if (helix.length > 0) parts.push(`Not compared: ${counted(sum(helix), "agent", "agents")} of Helix.`);
  const isSkewed = older.length + newer.length + unknown.length > 0;
  return { status: isSkewed ? "warning" : "ok", detail: parts.join(" ") };
}

export interface Disk {
  freeBytes: number;
  totalBytes: number;
}

/** `disk`: the one of the embedded database. Undefined: the database is another machine's matter. */
export function storageFinding(
  { databaseBytes, oldestEventAt }: Awaited<ReturnType<CheckFacts["storage"]>>,
  { now, disk }: { now: Date; disk: Disk | undefined },
): Finding {
  const ageMs = oldestEventAt === null ? 0 : now.getTime() - oldestEventAt.getTime();
  const late = above(ageMs / DAY_MS, thresholds.eventAgeDays);
  const parts = [`The database has ${size(databaseBytes)}.`];
  if (late !== "ok")
    parts.push(`The oldest event is ${lasting(ageMs)} old: what has expired is not removed.`);
  if (disk === undefined) return { status: late, detail: parts.join(" ") };
  const share = disk.totalBytes > 0 ? disk.freeBytes / disk.totalBytes : 0;
  parts.push(`Its disk has ${size(disk.freeBytes)} of ${size(disk.totalBytes)} left.`);
  // A small part of a large disk is room enough, and so is a large part of a small one.
  const failed =
    below(disk.freeBytes, thresholds.freeBytes) === "failed" || share < thresholds.freeShare.failed;
  const low = disk.freeBytes < thresholds.freeBytes.warning || share < thresholds.freeShare.warning;
  return { status: graver(late, failed ? "failed" : low ? "warning" : "ok"), detail: parts.join(" ") };
}

export function clocksFinding({ known, off, worst }: ClocksSeen): Finding {
  if (worst === undefined)
    return {
      status: "skipped",
      detail: "No agent is connected with a key of its own, so no host's clock is known.",
      advice: "Enrol hosts with join tokens: such an agent signs its time.",
    };
  const status = above(Math.abs(worst.offsetMs), thresholds.hostClockMs);
  const whose =
    known === 1 ? `The clock of ${worst.name} is` : `Of ${known} clocks that of ${worst.name} is worst,`;
  const limit = lasting(thresholds.hostClockMs.warning);
  const others = off.count > 1 ? ` ${off.count} are off by ${limit} or more: ${named(off)}.` : "";
  return { status, detail: `${whose} ${clockWords(worst.offsetMs)}.${others}` };
}

export function legacyFinding(tunnels: Some, allowed: boolean): Finding {
  if (tunnels.count > 0)
    return {
      status: "warning",
      detail: `${counted(tunnels.count, "tunnel was", "tunnels were")} opened with the RUNNER_TOKEN, which all hosts share: ${named(tunnels)}.`,
    };
  if (allowed)
    return {
      status: "warning",
      detail: "LEGACY_RUNNER_TOKEN=allow, and no tunnel needs it.",
      advice: "Remove LEGACY_RUNNER_TOKEN, and RUNNER_TOKEN if no script uses it.",
    };
  return { status: "ok", detail: "None is in use." };
}
