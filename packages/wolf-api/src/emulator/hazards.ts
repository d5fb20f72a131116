/**
 * What ends, blocks or betrays a real Wolf, as measured (hazards H1 to H11). In hazard mode the emulator does the same, so that
 * a guard is proved by an upstream that would fall over without it.
 */
import { readFileSync } from "node:fs";
import { posix } from "node:path";
import { type Reader, readBody } from "./reader.ts";
import * as shapes from "./shapes.ts";
import type { WireReply, WireRequest } from "./wire.ts";
import type { World } from "./world.ts";

export interface Harm {
  hazard: "H1" | "H2" | "H3" | "H4" | "H5" | "H6" | "H9" | "H10";
  what: string;
  /** The process ends of it. */
  fatal: boolean;
}

const UINT64_MAX = 0xffff_ffff_ffff_ffffn;
const isId = (text: string) => /^\d{1,20}$/.test(text) && BigInt(text) <= UINT64_MAX;

/** Where an id is read as a number after the body has been understood. */
const idReaders: Record<string, [Reader<unknown>, "session_id" | "client_id"]> = {
  "POST /api/v1/sessions/stop": [shapes.sessionId, "session_id"],
  "POST /api/v1/sessions/pause": [shapes.sessionId, "session_id"],
  "POST /api/v1/sessions/start": [shapes.startSession, "session_id"],
  "POST /api/v1/sessions/input": [shapes.sessionInput, "session_id"],
  "POST /api/v1/runners/start": [shapes.startRunner, "session_id"],
  "POST /api/v1/clients/settings": [shapes.clientSettings, "client_id"],
  // Not measured; a client of Wolf has a comment about it.
  "POST /api/v1/sessions/add": [shapes.addSession, "client_id"],
};
const runnerReaders: Record<string, Reader<unknown>> = {
  "POST /api/v1/lobbies/create": shapes.createLobby,
  "POST /api/v1/runners/start": shapes.startRunner,
  "POST /api/v1/apps/add": shapes.app,
  "POST /api/v1/profiles/add": shapes.profile,
};

/** What this request does to Wolf beside its answer; the first that is fatal ends the list. */
export function harmsOf(route: string, request: WireRequest, world: World): Harm[] {
  if (request.lengthInvalid)
    return [{ hazard: "H4", what: "a Content-Length that is no number", fatal: true }];
  const [idReader, field] = idReaders[route] ?? [];
  if (idReader !== undefined && field !== undefined) {
    const read = readBody(request.body, idReader);
    const id = read.ok ? (read.value as Record<string, unknown>)[field] : undefined;
    if (typeof id === "string" && !isId(id))
      return [{ hazard: "H1", what: `${field} that is no number`, fatal: true }];
    if (
      route.endsWith("/sessions/start") &&
      typeof id === "string" &&
      !world.sessions.some((s) => s.id === id)
    )
      return [{ hazard: "H2", what: "a session that is not known", fatal: true }];
  }
  const runnerReader = runnerReaders[route];
  const read = runnerReader && readBody(request.body, runnerReader);
  const runners = read?.ok ? runnersOf(read.value as Holder).flatMap(runnerHarms) : [];
  return [...runners, ...folderOf(route, request).flatMap((folder) => folderHarms(folder, world))];
}

/** What below its state folder Wolf would mount, writable, into a container. */
function folderOf(route: string, { body }: WireRequest): string[] {
  if (route === "POST /api/v1/lobbies/create") {
    const read = readBody(body, shapes.createLobby);
    return read.ok ? [read.value.runner_state_folder] : [];
  }
  if (route !== "POST /api/v1/clients/settings") return [];
  const read = readBody(body, shapes.clientSettings);
  const folder = read.ok ? read.value.app_state_folder : undefined;
  return folder === undefined ? [] : [`${folder}/title`];
}

/** H10: a container that may write what Wolf trusts, or through whose links the next mount leads anywhere. */
function folderHarms(folder: string, world: World): Harm[] {
  const path = posix.join("/etc/wolf", folder);
  const harm = (what: string): Harm[] => [{ hazard: "H10", what, fatal: false }];
  if (folder.includes(":")) return harm(`a mount of the caller's choice: ${folder}`);
  if (!/^\/etc\/wolf\/(?!cfg(\/|$))[^/]/.test(path)) return harm(`Wolf's own files, writable: ${path}`);
  const within = [...world.lobbies.values()].some(({ request }) =>
    path.startsWith(`${posix.join("/etc/wolf", request.runner_state_folder)}/`),
  );
  if (within) return harm(`a folder in another sandbox, which may be a link: ${path}`);
  // Of a home Wolf mounts udev as well.
  const again = [...world.lobbies.values()].some(
    ({ request }) => path === posix.join("/etc/wolf", request.runner_state_folder),
  );
  return again ? harm(`the home of another sandbox, whose udev may be a link: ${path}`) : [];
}

interface Holder {
  runner?: shapes.Runner;
  apps?: Holder[];
}
const runnersOf = ({ runner, apps = [] }: Holder): shapes.Runner[] => [
  ...(runner ? [runner] : []),
  ...apps.flatMap(runnersOf),
];

function runnerHarms(runner: shapes.Runner): Harm[] {
  if (runner.type === "process")
    return [{ hazard: "H10", what: `a command as root: ${runner.run_cmd}`, fatal: false }];
  const pair = (entry: string) => entry.includes(":");
  const ports = runner.ports.every((entry) => {
    const [host = "", container = ""] = entry.split(":");
    return pair(entry) && /^\d+$/.test(host) && /^\d+$/.test(container);
  });
  if (!ports || !runner.mounts.every(pair) || !runner.devices.every(pair))
    return [{ hazard: "H3", what: "a mount, device or port that cannot be split", fatal: true }];
  if (runner.base_create_json !== undefined)
    return [{ hazard: "H10", what: "a container of the caller's making: root on the host", fatal: false }];
  // Seen in the source: with this variable, a mount at such a path gets Wolf's own socket as its source.
  const socket =
    runner.env.some((entry) => entry.includes("WOLF_SOCKET_PATH")) &&
    runner.mounts.some((entry) => entry.split(":")[1]?.includes("wolf.sock"));
  return socket ? [{ hazard: "H10", what: "Wolf's own socket in a sandbox", fatal: false }] : [];
}

const WHOLE_BYTES_MAX = 64 * 1024;
const BROKEN_SHARE = 0.75;
/** How many are corrupted and how many cut was not measured: half of each. */
const CUT_FROM = BROKEN_SHARE / 2;

/** H6: three of four replies above 64 KiB come corrupted or cut behind them, since their buffer is freed before the second write. */
export function corrupted(reply: WireReply, random: () => number): WireReply | undefined {
  const body = Buffer.from(reply.body as string);
  if (body.length <= WHOLE_BYTES_MAX) return undefined;
  const thrown = random();
  if (thrown >= BROKEN_SHARE) return undefined;
  if (thrown >= CUT_FROM) return { ...reply, cutAfterBytes: WHOLE_BYTES_MAX };
  body.fill(0xfe, WHOLE_BYTES_MAX);
  return { ...reply, body };
}

/** H9: any file that root can read, as an image; a URL would be fetched. */
export function iconOf(path: string): { reply?: WireReply; harm?: Harm } {
  if (/^https?:/i.test(path)) return { harm: { hazard: "H9", what: `fetched ${path}`, fatal: false } };
  // Below its state folder, as seen in the source; here nothing lies there.
  if (path.startsWith("cfg/"))
    return { harm: { hazard: "H9", what: `read Wolf's own ${path}`, fatal: false } };
  if (!path.startsWith("/")) return {};
  try {
    const reply = {
      status: 200,
      headers: [["Content-Type", "image/png"]] as [string, string][],
      body: readFileSync(path),
    };
    return { reply, harm: { hazard: "H9", what: `read ${path}`, fatal: false } };
  } catch {
    return {};
  }
}

/** Wolf's handler threads: a request that finds none free waits (H7). Without hazards there are always enough. */
export class Threads {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(threads: number) {
    this.free = threads;
  }

  /** Runs it now or later; it calls `leave` when its thread is free again. */
  enter(run: (leave: () => void) => void): void {
    const start = () => run(() => this.leave());
    if (this.free > 0) {
      this.free -= 1;
      start();
    } else this.waiting.push(start);
  }

  private leave(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.free += 1;
  }
}

/** H5: once an earlier one of several subscribers has left, the next event ends the process. */
export class Broadcast<Subscriber> {
  private readonly order: Subscriber[] = [];
  broken = false;

  joined(subscriber: Subscriber): void {
    this.order.push(subscriber);
  }

  left(subscriber: Subscriber): void {
    const at = this.order.indexOf(subscriber);
    if (at >= 0 && at < this.order.length - 1) this.broken = true;
    if (at >= 0) this.order.splice(at, 1);
  }
}
