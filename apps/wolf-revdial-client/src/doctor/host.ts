/** This host: Wolf, graphics, disks. Wolf is asked only what it answers without harm, one request per connection. */
import { createHash } from "node:crypto";
import { accessSync, constants, readdirSync, statfsSync, statSync } from "node:fs";
import path from "node:path";
import type { GpuType } from "@wolfpack/api-contract";
import { parseWolfJson, wolfRoutes } from "@wolfpack/wolf-api";
import type { AgentConfig } from "../config.ts";
import { askUpstream, UpstreamError, type UpstreamReply } from "../upstream.ts";
import { type Check, type Finding, failed, ok, warning } from "./run.ts";

export interface HostOptions {
  config: Pick<AgentConfig, "wolf" | "gpuType">;
  timeoutMs: number;
  detectGpu: () => GpuType;
  /** Folder of render nodes. */
  dri: string;
  /** What sandboxes fill; those that do not exist are left out. */
  folders: readonly string[];
  /** Used bytes of a folder's file system, in percent. */
  usedPercent?: (folder: string) => number;
}

const REPLY_BYTES_MAX = 4 * 1024 * 1024;
const DISK_WARNING_PERCENT = 85;
const DISK_FAILED_PERCENT = 95;

export function hostChecks(options: HostOptions): Check[] {
  const { config, timeoutMs } = options;
  const ask = (route: string, signal: AbortSignal): Promise<UpstreamReply> =>
    askUpstream({
      target: config.wolf,
      method: "GET",
      path: route,
      timeoutMs,
      replyBytesMax: REPLY_BYTES_MAX,
      signal,
    });
  const at = "socketPath" in config.wolf ? config.wolf.socketPath : `${config.wolf.host}:${config.wolf.port}`;
  return [
    {
      code: "D15",
      timeoutMs: timeoutMs + 1000,
      async run(signal) {
        try {
          const { status } = await ask("/api/v1/lobbies", signal);
          return ok(`${at} answers (status ${status})`);
        } catch (error) {
          if (!(error instanceof UpstreamError)) throw error;
          return failed(`${at}: ${error.message}`);
        }
      },
    },
    {
      code: "D16",
      needs: ["D15"],
      timeoutMs: timeoutMs + 1000,
      run: async (signal) => api(await ask("/api/v1/openapi-schema", signal)),
    },
    { code: "D17", timeoutMs, run: async () => gpu(options) },
    { code: "D18", timeoutMs, run: async () => disk(options) },
  ];
}

/** Wolf has no version: its routes are what it can be known by. */
function api({ status, body }: UpstreamReply): Finding {
  if (status !== 200) return failed(`/api/v1/openapi-schema was answered with status ${status}`);
  let routes: string[];
  try {
    const { paths } = parseWolfJson(body.toString("utf8")) as { paths?: Record<string, unknown> };
    routes = Object.keys(paths ?? {}).sort();
  } catch {
    return failed("/api/v1/openapi-schema is not JSON");
  }
  const needed = wolfRoutes.filter(({ closed }) => closed === undefined).map((route) => route.path);
  const missing = needed.filter((route) => !routes.includes(route));
  const generation = createHash("sha256").update(routes.join("\n")).digest("hex").slice(0, 8);
  if (missing.length > 0) return failed(`generation ${generation} lacks ${missing.join(", ")}`);
  return ok(`generation ${generation}, ${routes.length} routes, all that sandboxes need`);
}

function gpu({ config, detectGpu, dri }: HostOptions): Finding {
  const found = detectGpu();
  const wanted = config.gpuType ?? found;
  if (wanted === "none")
    return config.gpuType === "none" ? ok("none, as configured") : warning("none was found");
  if (found !== wanted) return failed(`--gpu-type is ${wanted}, found: ${found}`);
  const nodes = list(dri).filter((name) => /^renderD\d+$/.test(name));
  if (nodes.length === 0) return failed(`${found}, but ${dri} has no render node`);
  const closed = nodes.filter((name) => !isOpen(path.join(dri, name)));
  if (closed.length === nodes.length)
    return warning(`${found}, but ${nodes.join(", ")} is closed to this user`);
  return ok(`${found}, ${nodes.join(", ")}`);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isOpen(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function disk({ folders, usedPercent = usedPercentOf }: HostOptions): Finding {
  const seen = new Map<number, string>();
  for (const folder of folders) {
    const device = statSync(folder, { throwIfNoEntry: false })?.dev;
    if (device !== undefined && !seen.has(device)) seen.set(device, folder);
  }
  const used = [...seen.values()].map((folder) => ({ folder, percent: usedPercent(folder) }));
  const text = used.map(({ folder, percent }) => `${folder} ${Math.round(percent)} %`).join(", ");
  const worst = Math.max(0, ...used.map(({ percent }) => percent));
  if (worst >= DISK_FAILED_PERCENT) return failed(`used: ${text}`);
  return (worst >= DISK_WARNING_PERCENT ? warning : ok)(`used: ${text}`);
}

function usedPercentOf(folder: string): number {
  const { blocks, bfree, bavail } = statfsSync(folder);
  const used = blocks - bfree;
  // As df counts: what is kept for root is nobody's.
  return used + bavail === 0 ? 0 : (100 * used) / (used + bavail);
}
