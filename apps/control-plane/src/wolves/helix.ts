/** Between Helix's words and ours: what its heartbeat daemon says of a host, and the disk history as its clients read it. Pure. */
import {
  DiskLevel,
  type DiskSample,
  type DiskUsage,
  type HeartbeatRequest,
  type HelixDiskHistory,
  type HelixDiskUsage,
  isOfHelix,
} from "@wolfpack/api-contract";
import { newId } from "../ids.ts";
import type { DaemonReport, Wolf } from "./wolf-store.ts";

const WARNING_PERCENT = 80;
const CRITICAL_PERCENT = 95;
const MIB = 2 ** 20;
/** What the daemon calls a host whose GPU renders nothing. */
const NO_RENDER_NODE = "SOFTWARE";

/** Undefined: the heartbeat is none of that daemon. */
export function daemonReportOf(beat: HeartbeatRequest): DaemonReport | undefined {
  if (!isOfHelix(beat)) return undefined;
  const { gpu_vendor, render_node, disk_usage } = beat;
  const disks = disk_usage?.map(toDisk);
  return {
    gpuType: render_node === NO_RENDER_NODE ? "none" : (gpu_vendor ?? undefined),
    disks: disks && {
      usage: {
        cpu_load: null,
        memory_available_bytes: null,
        gpu_state: null,
        gpu_detail: null,
        gpus: [],
        disks,
        disk_detail: null,
      },
      sampleIds: disks.map(() => newId("dsk")),
    },
  };
}

const percentOf = (total: number, used: number): number =>
  total === 0 ? 0 : Math.round((used / total) * 10_000) / 100;

function toDisk(disk: HelixDiskUsage): DiskUsage {
  const { total_bytes, used_bytes } = disk;
  const percent = disk.used_percent ?? percentOf(total_bytes, used_bytes);
  const said = DiskLevel.safeParse(disk.alert_level);
  const byPercent = percent >= CRITICAL_PERCENT ? "critical" : percent >= WARNING_PERCENT ? "warning" : "ok";
  return {
    mount: disk.mount_point,
    total_bytes,
    used_bytes,
    available_bytes: disk.avail_bytes,
    level: said.success ? said.data : byPercent,
  };
}

/** `samples`: oldest first. */
export function helixDiskHistory({ id, name }: Wolf, samples: readonly DiskSample[]): HelixDiskHistory {
  const mebibytes = (bytes: number) => Math.floor(bytes / MIB);
  return {
    wolf_instance_id: id,
    wolf_name: name,
    history: samples.map(({ at, mount, total_bytes, used_bytes, available_bytes, level }) => ({
      timestamp: at,
      mount_point: mount,
      total_mb: mebibytes(total_bytes),
      used_mb: mebibytes(used_bytes),
      avail_mb: mebibytes(available_bytes),
      used_percent: percentOf(total_bytes, used_bytes),
      alert_level: level,
    })),
    containers: [],
  };
}
