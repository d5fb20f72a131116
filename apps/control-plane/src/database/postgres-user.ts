/** PostgreSQL refuses to run as root: as whom its programs run then, and how they still reach a folder that only root may enter. */
import { spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import { DatabaseStartError } from "./database-start-error.ts";

export interface Ids {
  uid: number;
  gid: number;
}

export interface PostgresUser {
  /** Command that the program's own command line follows; may be empty. */
  prefix: readonly string[];
  /** For `spawn`, when no prefix changes the user. */
  spawnIds: Ids | Record<string, never>;
  /** Who has to own the files; undefined: whoever runs this process. */
  owner: Ids | undefined;
}

/** `places` are what PostgreSQL has to reach; `owner` is who owns an existing data directory. */
export function choosePostgresUser(places: readonly string[], owner?: Ids): PostgresUser {
  if (process.getuid?.() !== 0) return { prefix: [], spawnIds: {}, owner: undefined };
  const ids = owner && owner.uid > 0 ? owner : unprivilegedUser();
  if (places.every(openToAll)) return { prefix: [], spawnIds: ids, owner: ids };
  // Below a folder like /root only root may pass; this one capability lets PostgreSQL reach its own files there.
  if (spawnSync("setpriv", ["--version"]).status === 0) {
    const user = ["--reuid", String(ids.uid), "--regid", String(ids.gid), "--clear-groups"];
    const capability = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"];
    return { prefix: ["setpriv", ...user, ...capability, "--"], spawnIds: {}, owner: ids };
  }
  throw new DatabaseStartError(
    "START_FAILED",
    "PostgreSQL does not run as root, and its own user cannot enter this folder: run as another user, or move to where everybody may enter.",
  );
}

function openToAll(place: string): boolean {
  for (let at = path.resolve(place); ; at = path.dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

/** The `nobody` of systems without an /etc/passwd entry for it. */
const NOBODY: Ids = { uid: 65_534, gid: 65_534 };

function unprivilegedUser(): Ids {
  let users: string[][] = [];
  try {
    users = readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .map((line) => line.split(":"));
  } catch {
    return NOBODY;
  }
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = users.find(([user]) => user === name) ?? [];
    if (Number(uid) > 0 && Number(gid) > 0) return { uid: Number(uid), gid: Number(gid) };
  }
  return NOBODY;
}
