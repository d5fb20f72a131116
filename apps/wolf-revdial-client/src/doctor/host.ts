/** This host: Wolf, graphics, disks. Wolf is asked only what it answers without harm, one request per connection. */
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import path from "node:path";
import type { AgentCapabilities, DiskLevel, GpuType } from "@wolfpack/api-contract";
import { parseWolfJson } from "@wolfpack/wolf-api";
import { systemClock } from "../clock.ts";
import type { AgentConfig } from "../config.ts";
import { type DiskWatchOptions, diskWatch, usedPercent } from "../inventory/disks.ts";
import { closedToHelix, closedToSessions } from "../policy-closes.ts";
import { askUpstream, UpstreamError, type UpstreamReply } from "../upstream.ts";
import { CAPABILITIES_MS_MAX, probeCapabilities } from "../wolf-capabilities.ts";
import { isAnswer } from "../wolf-probe.ts";
import { type Check, type Finding, failed, ok, warning } from "./run.ts";

export interface HostOptions {
  config: Pick<AgentConfig, "wolf" | "protocol" | "policy" | "gpuType" | "disks" | "diskThresholds">;
  timeoutMs: number;
  detectGpu: () => GpuType;
  /** Folder of render nodes. */
  dri: string;
  /** How disks are read. Default: of this host. */
  disks?: Partial<Pick<DiskWatchOptions, "list" | "stat" | "clock">>;
}

const REPLY_BYTES_MAX = 4 * 1024 * 1024;
const LOBBIES = "/api/v1/lobbies";
const GIB = 2 ** 30;

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
          const { status } = await ask(LOBBIES, signal);
          return ok(`${at} answers (status ${status})`);
        } catch (error) {
          if (!(error instanceof UpstreamError)) throw error;
          if (isAnswer(error)) return ok(`${at} answers (status 200, a long reply that came broken)`);
          return failed(`${at}: ${error.message}`);
        }
      },
    },
    {
      code: "D16",
      needs: ["D15"],
      timeoutMs: CAPABILITIES_MS_MAX + timeoutMs,
      async run(signal) {
        const known = await probeCapabilities(config.wolf, signal);
        const found =
          known.schema_hash === null
            ? undescribed(await ask(LOBBIES, signal))
            : await listing(described(known), () => ask(LOBBIES, signal));
        const closed =
          closedToSessions(config.policy) ??
          (config.protocol === "helix" ? closedToHelix(config.policy) : undefined);
        return closed === undefined || found.status === "failed"
          ? found
          : warning(`${found.detail}; ${closed}`);
      },
    },
    { code: "D17", timeoutMs, run: async () => gpu(options) },
    { code: "D18", timeoutMs, run: (signal) => disks(options, signal) },
  ];
}

/** As the control plane judges it, and with its words: this Wolf gets sessions, or none. */
function described({ schema_hash, features, missing }: AgentCapabilities): Finding {
  if (missing.length > 0)
    return failed(
      `it lacks ${missing.join(", ")}: no session can be placed here (schema_hash ${schema_hash})`,
    );
  return ok(`schema_hash ${schema_hash}: ${features.join(", ")}`);
}

/** A Wolf that knows the route and does not serve it is out of order, as the agent would report it. */
async function listing(known: Finding, ask: () => Promise<UpstreamReply>): Promise<Finding> {
  if (known.status === "failed") return known;
  try {
    const { status } = await ask();
    return status === 200 ? known : failed(`${LOBBIES} was answered with status ${status} (${known.detail})`);
  } catch (error) {
    if (isAnswer(error)) return known;
    throw error;
  }
}

/** What is not known is not refused; but without a list of lobbies nothing can be placed there. */
function undescribed({ status, body }: UpstreamReply): Finding {
  if (status !== 200) return failed(`${LOBBIES} was answered with status ${status}: is that Wolf?`);
  try {
    const { lobbies } = parseWolfJson(body.toString("utf8")) as { lobbies?: unknown };
    if (Array.isArray(lobbies))
      return warning("it lists its lobbies, but does not say what else it can do (/api/v1/openapi-schema)");
  } catch {
    // Another server, as below.
  }
  return failed(`${LOBBIES} was answered with something else than lobbies: is that Wolf?`);
}

function gpu({ config, detectGpu, dri }: HostOptions): Finding {
  const found = detectGpu();
  const wanted = config.gpuType ?? found;
  if (wanted === "none")
    return config.gpuType === "none" ? ok("none, as configured") : warning("none was found");
  if (found !== wanted) return failed(`--gpu-type is ${wanted}, found: ${found}`);
  // Where the kernel shows a card, only a container is without the folder; that of the agent is to be.
  if (!existsSync(dri))
    return warning(`${found}; ${dri} is not in this container: Wolf needs it, the agent does not`);
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

const findingOf: Record<DiskLevel, (detail: string) => Finding> = { ok, warning, critical: failed };

/** The disks that the agent would watch, by the levels it would report. */
async function disks({ config, disks: how }: HostOptions, signal: AbortSignal): Promise<Finding> {
  const { disks: mounts, diskThresholds: thresholds } = config;
  const { disks: found, unread } = await diskWatch({
    mounts,
    thresholds,
    clock: systemClock,
    signal,
    ...how,
  })();
  // Of those that nobody named, some cannot be read by this user.
  const missed = unread.filter(({ hangs }) => hangs || mounts !== undefined);
  const texts = found.map((disk) => {
    const free = (disk.available_bytes / GIB).toFixed(1);
    return `${disk.mount} ${disk.level}, ${Math.floor(usedPercent(disk))} % used, ${free} GiB free`;
  });
  const text = [...texts, ...missed.map(({ mount, why }) => `${mount} cannot be read (${why})`)].join("; ");
  const worst = (["critical", "warning"] as const).find((level) =>
    found.some((disk) => disk.level === level),
  );
  if (worst !== "critical" && missed.length > 0) return warning(text);
  if (found.length === 0) return warning("no local disk is visible here: --disk names what to watch");
  return findingOf[worst ?? "ok"](text);
}
