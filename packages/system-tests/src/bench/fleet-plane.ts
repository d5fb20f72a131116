/** Process: a whole control plane as it is by default, behind a proxy that says whose connection each is. */
import { readdirSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import {
  type ControlPlane,
  compose,
  createLogger,
  migrate,
  newId,
  readConfig,
} from "@wolfpack/control-plane/parts";
import { serveCalls } from "./process.ts";

export interface PlaneSettings {
  url: string;
  dataDir: string;
  /** 0: any. */
  port: number;
  /** Beyond what stands here. */
  environment?: Record<string, string>;
}

export interface PlaneResources {
  rssBytes: number;
  heapBytes: number;
  /** Outside the heap: buffers. */
  externalBytes: number;
  /** What keeps a process alive, timers and requests left out. */
  handles: number;
  timers: number;
  files: number;
}

let plane: ControlPlane | undefined;
/** Keys of users that are not revoked yet. */
const usersKeys: string[] = [];
const nobody = {
  kind: "user",
  role: "admin",
  scopes: null,
  credentialId: newId("key"),
  userId: newId("usr"),
} as const;

async function open({ url, dataDir, port, environment }: PlaneSettings): Promise<number> {
  await migrate(url);
  const config = readConfig({
    PORT: String(port),
    HOST: "127.0.0.1",
    DATABASE_URL: url,
    DATA_DIR: dataDir,
    RUNNER_TOKEN: "a-runner-token-of-the-bench",
    LEGACY_RUNNER_TOKEN: "allow",
    API_KEY_SECRET: "a secret of the bench, which is not one",
    WOLFPACK_TRUSTED_PROXIES: "127.0.0.1",
    ...environment,
  });
  plane = compose(config, url, createLogger("error"));
  return plane.listen();
}

/** One for each of so many users, with what users may do by default. */
async function keys({ count, role }: { count: number; role: "user" | "admin" }): Promise<string[]> {
  if (plane === undefined) throw new Error("no control plane");
  const { identity } = plane;
  const made: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const name = `${role}-${newId("usr")}`.toLowerCase().replaceAll("_", "-");
    const { id: userId } = await identity.createUser({ name, role });
    const { key, record } = await identity.createApiKey({ ...nobody, userId }, { name });
    made.push(key);
    if (role === "user") usersKeys.push(record.id);
  }
  return made;
}

async function revokeUsers(): Promise<number> {
  const ids = usersKeys.splice(0);
  for (const id of ids) await plane?.identity.revokeApiKey(nobody, id);
  return ids.length;
}

/** After collecting garbage (`--expose-gc`), the least of each in some moments: what is on its way somewhere is no leak. */
async function resources(): Promise<PlaneResources> {
  const moments: PlaneResources[] = [];
  for (let at = 0; at < 5; at += 1) {
    globalThis.gc?.();
    await pause(100);
    const { rss, heapUsed, external } = process.memoryUsage();
    const active = process.getActiveResourcesInfo();
    const timers = active.filter((kind) => kind === "Timeout" || kind === "Immediate").length;
    moments.push({
      rssBytes: rss,
      heapBytes: heapUsed,
      externalBytes: external,
      handles: active.length - timers,
      timers,
      files: readdirSync("/proc/self/fd").length,
    });
  }
  const least = (of: (moment: PlaneResources) => number) => Math.min(...moments.map(of));
  return {
    rssBytes: least(({ rssBytes }) => rssBytes),
    heapBytes: least(({ heapBytes }) => heapBytes),
    externalBytes: least(({ externalBytes }) => externalBytes),
    handles: least(({ handles }) => handles),
    timers: least(({ timers }) => timers),
    files: least(({ files }) => files),
  };
}

serveCalls({ open, keys, revokeUsers, resources, stop: () => plane?.stop() });
