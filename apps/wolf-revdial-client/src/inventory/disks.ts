/** Which mounts are watched, how full they are, and when that is a warning or worse. */
import { readFileSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { type DiskLevel, type DiskUsage, hostLimits } from "@wolfpack/api-contract";

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
  return [...byDisk.values()].sort().slice(0, hostLimits.disksMax);
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
  list?: () => string[];
  stat?: (mount: string) => Promise<StatFs>;
}

/** Remembers levels between two readings. A mount that cannot be read is left out. */
export function diskWatch(options: DiskWatchOptions): () => Promise<DiskUsage[]> {
  const {
    mounts,
    thresholds,
    list = readMounts,
    stat = (mount) => statfs(mount, { bigint: true }),
  } = options;
  let levels = new Map<string, DiskLevel>();
  return async () => {
    const wanted = mounts ?? list();
    const found = await Promise.all(
      wanted.map(async (mount): Promise<DiskUsage | undefined> => {
        const figures = await stat(mount).then(figuresOf, () => undefined);
        if (figures === undefined) return undefined;
        return { mount, ...figures, level: diskLevel(figures, levels.get(mount) ?? "ok", thresholds) };
      }),
    );
    const disks = found.filter((disk) => disk !== undefined);
    levels = new Map(disks.map(({ mount, level }) => [mount, level]));
    return disks;
  };
}
