/** Which mounts are watched, how full they are, and when that is a warning or worse. */
import { readFileSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import type { DiskLevel, DiskUsage } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { type BoundedSource, boundedSource } from "./bounded.ts";

export interface DiskThresholds {
  warningPercent: number;
  criticalPercent: number;
  /** Less than this is critical at any percentage; of a small mount a tenth counts instead. */
  freeBytesMin: number;
}

/** File systems of local disks. Those of a network are left out: a server that is gone would hold the call for ever. */
const localTypes = new Set(
  "bcachefs btrfs exfat ext2 ext3 ext4 f2fs jfs ntfs3 overlay reiserfs vfat xfs zfs".split(" "),
);
/** Boot loaders' own, which are small and full by design. */
const bootMounts = /^\/(boot|efi)(\/|$)/;
const MOUNT_CHARACTERS_MAX = 255;
/** More than a heartbeat tells: which are left out is decided by their levels. */
const MOUNTS_MAX = 256;
/** A level is left only when usage has gone this far below its threshold. */
const HYSTERESIS_POINTS = 2;
const FREE_HYSTERESIS = 1.1;

/**
 * Mounts of local disks in /proc/self/mountinfo (proc_pid_mountinfo(5)), each disk once, by its shortest path. Files that
 * are mounted, as Docker does with /etc/hosts, are none: `isFolder` tells them apart.
 */
export function localMounts(mountinfo: string, isFolder: (mount: string) => boolean): string[] {
  const mounts = mountinfo.split("\n").flatMap((line) => readLine(line) ?? []);
  // A container's runtime takes this file from the disk on which it keeps the layers: that disk is the container's root.
  const layers = mounts.find(({ mount }) => mount === "/etc/resolv.conf")?.disk;
  const byDisk = new Map<string, string>();
  for (const { mount, type, disk } of mounts) {
    const key = type === "overlay" ? (layers ?? disk) : disk;
    const before = byDisk.get(key);
    if ((before === undefined || mount.length < before.length) && isFolder(mount)) byDisk.set(key, mount);
  }
  return [...byDisk.values()].sort().slice(0, MOUNTS_MAX);
}

function readLine(line: string): { mount: string; type: string; disk: string } | undefined {
  const [fields = "", origin = ""] = line.split(" - ", 2);
  const [, , device, , escaped = ""] = fields.split(" ");
  const [type = "", source = ""] = origin.split(" ");
  // Space, tab, newline and backslash are written in octal.
  const mount = escaped.replace(/\\([0-7]{3})/g, (_, octal) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  const usable =
    device !== undefined &&
    localTypes.has(type) &&
    mount.startsWith("/") &&
    mount.length <= MOUNT_CHARACTERS_MAX &&
    !/\p{Cc}/u.test(mount) &&
    mount.isWellFormed() &&
    !bootMounts.test(mount) &&
    // Layers of containers are the disk below them; only the agent's own root is of interest.
    (type !== "overlay" || mount === "/");
  // Subvolumes of btrfs have device numbers of their own, but share the disk.
  return usable ? { mount, type, disk: type === "btrfs" ? source : device } : undefined;
}

export function readMounts(file = "/proc/self/mountinfo"): string[] {
  try {
    return localMounts(readFileSync(file, "utf8"), isFolder);
  } catch {
    return [];
  }
}

/** Of the root of a mount, whose inode the kernel has in memory: a disk that does not answer is not asked. */
function isFolder(mount: string): boolean {
  try {
    return statSync(mount).isDirectory();
  } catch {
    return false;
  }
}

export interface StatFs {
  bsize: bigint;
  blocks: bigint;
  bfree: bigint;
  bavail: bigint;
}

export type DiskFigures = Omit<DiskUsage, "mount" | "level">;

/** Bytes as `df` counts them; undefined for what is no disk or not to be believed. */
export function figuresOf({ bsize, blocks, bfree, bavail }: StatFs): DiskFigures | undefined {
  const [total, free, available] = [blocks, bfree, bavail].map((count) => Number(count * bsize)) as [
    number,
    number,
    number,
  ];
  const sane =
    Number.isSafeInteger(total) &&
    total > 0 &&
    free >= 0 &&
    free <= total &&
    available >= 0 &&
    available <= free;
  return sane ? { total_bytes: total, used_bytes: total - free, available_bytes: available } : undefined;
}

/** As `df` says it: of what is in use and what programs may still take, not of the root user's reserve. Nothing at all is full. */
export function usedPercent({ used_bytes, available_bytes }: DiskFigures): number {
  const all = used_bytes + available_bytes;
  return all === 0 ? 100 : (used_bytes / all) * 100;
}

export function diskLevel(figures: DiskFigures, before: DiskLevel, thresholds: DiskThresholds): DiskLevel {
  const percent = usedPercent(figures);
  const freeMin = Math.min(thresholds.freeBytesMin, figures.total_bytes / 10);
  const isCritical = (points: number, factor: number) =>
    percent >= thresholds.criticalPercent - points || figures.available_bytes < freeMin * factor;
  const was = before === "critical";
  if (was ? isCritical(HYSTERESIS_POINTS, FREE_HYSTERESIS) : isCritical(0, 1)) return "critical";
  const points = before === "ok" ? 0 : HYSTERESIS_POINTS;
  return percent >= thresholds.warningPercent - points ? "warning" : "ok";
}

export interface DiskWatchOptions {
  /** Undefined: every local disk. */
  mounts: readonly string[] | undefined;
  thresholds: DiskThresholds;
  clock: Clock;
  /** Ends the waiting for a disk. */
  signal: AbortSignal;
  list?: () => string[];
  stat?: (mount: string) => Promise<StatFs>;
}

export interface DiskReading {
  /** Figures that are not older than `DISK_KEPT_MS`. */
  disks: DiskUsage[];
  unread: UnreadDisk[];
}

export interface UnreadDisk {
  mount: string;
  why: string;
  hangs: boolean;
  /** It was read before, or hangs, and has given no figures for `DISK_KEPT_MS`: nothing is known of it. */
  lost: boolean;
}

/** Figures outlive one reading that fails, and are no news after three of them. */
export const DISK_KEPT_MS = 3 * 60_000;
export const DISK_DEADLINE_MS = 3000;
/** Each holds one of the four threads that Node also resolves names with. */
const HANGING_MAX = 2;

interface Watched {
  source: BoundedSource<StatFs>;
  usage: DiskUsage | undefined;
  /** When the figures were read; until then, when they were first asked for. */
  at: number;
}

/** Remembers figures and levels between two readings. One disk after the other, so that few can hang at once. */
export function diskWatch(options: DiskWatchOptions): () => Promise<DiskReading> {
  const { mounts, thresholds, clock, signal, list = readMounts } = options;
  const { stat = (mount: string) => statfs(mount, { bigint: true }) } = options;
  let watched = new Map<string, Watched>();

  const begin = (mount: string): Watched => ({
    source: boundedSource(() => stat(mount), { clock, signal, deadlineMs: DISK_DEADLINE_MS }),
    usage: undefined,
    at: clock.now(),
  });

  /** Why there are no new figures. */
  async function look(mount: string, disk: Watched): Promise<string | undefined> {
    const hanging = [...watched.values()].filter(({ source }) => source.hangs).length;
    if (hanging >= HANGING_MAX && !disk.source.hangs) return "not asked while others do not answer";
    const reading = await disk.source.read();
    if (reading.outcome === "hangs") return `no answer within ${DISK_DEADLINE_MS / 1000} s`;
    if (reading.outcome === "failed") return (reading.error as NodeJS.ErrnoException).code ?? "failed";
    const figures = figuresOf(reading.value);
    if (figures === undefined) return "no figures of a disk";
    disk.usage = { mount, ...figures, level: diskLevel(figures, disk.usage?.level ?? "ok", thresholds) };
    disk.at = clock.now();
    return undefined;
  }

  return async () => {
    const wanted = mounts ?? list();
    const kept = [...watched].filter(([mount, { source }]) => wanted.includes(mount) || source.hangs);
    watched = new Map(kept);
    const reading: DiskReading = { disks: [], unread: [] };
    for (const mount of wanted) {
      const disk = watched.get(mount) ?? begin(mount);
      watched.set(mount, disk);
      const why = await look(mount, disk);
      const old = clock.now() - disk.at >= DISK_KEPT_MS;
      const { hangs } = disk.source;
      if (disk.usage !== undefined && !old) reading.disks.push(disk.usage);
      if (why !== undefined)
        reading.unread.push({ mount, why, hangs, lost: old && (hangs || disk.usage !== undefined) });
    }
    return reading;
  };
}
