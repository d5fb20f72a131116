/**
 * The file with the agent's key, in the folder that the state directory has for its wolf. What it holds opens this wolf's tunnels:
 * it is for its owner alone, of one control plane and one host. All errors are ConfigErrors that say how to go on.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import { AgentKeyId, WolfId, WolfName } from "@wolfpack/api-contract";
import { z } from "zod";
import { ConfigError } from "../config.ts";
import { publicKeyOf } from "./proof.ts";

const PrivateKey = z.string().refine(isPrivateKey, "is no private key of Ed25519");
const StoredKey = z.strictObject({
  id: AgentKeyId,
  private_key: PrivateKey,
  /** When it was received, by this host's clock. */
  issued_at: z.iso.datetime(),
  expires_at: z.iso.datetime(),
});
export type StoredKey = z.infer<typeof StoredKey>;

const KeyFile = z.strictObject({
  version: z.literal(1),
  /** Origin of --api-url. */
  control_plane: z.string(),
  wolf_name: WolfName,
  /** Null: not enrolled yet. */
  wolf_id: WolfId.nullable(),
  /** Of the host's /etc/machine-id; null where there is none. */
  host: z.string().nullable(),
  key: StoredKey.nullable(),
  /** The key before, until `key` has opened a tunnel. */
  previous: StoredKey.nullable(),
  /** A private key that waits to be enrolled: whoever has not heard the answer asks again with the same. */
  candidate: PrivateKey.nullable(),
});
export type KeyFile = z.infer<typeof KeyFile>;

export const KEY_FILE = "agent-key.json";
const FILE_BYTES_MAX = 64 * 1024;
const OTHERS = 0o077;

export interface KeyFilePlace {
  /** Of this wolf, in the state directory. */
  folder: string;
  /** Origin. */
  controlPlane: string;
  wolfName: string;
  /** `hostMark()`. */
  host: string | null;
}

/** What tells this host from another one with a copy of its state directory; null in most containers. */
export function hostMark(file = "/etc/machine-id"): string | null {
  try {
    const id = readFileSync(file, "utf8").trim();
    // machine-id(5): not to be shown to the network as it is.
    return /^[0-9a-f]{32}$/.test(id)
      ? createHash("sha256").update(`wolfpack agent host\n${id}`).digest("hex")
      : null;
  } catch {
    return null;
  }
}

/** Undefined: there is none yet. */
export function readKeyFile(place: KeyFilePlace): KeyFile | undefined {
  const { controlPlane, wolfName, host } = place;
  const name = path.join(place.folder, KEY_FILE);
  const text = readOwn(name, wolfName);
  if (text === undefined) return undefined;
  const file = parse(text);
  if (file === undefined) throw unusable(`The key file ${name} is damaged.`, wolfName);
  if (file.control_plane !== controlPlane)
    throw unusable(
      `The key file ${name} is of the control plane ${file.control_plane}, not of ${controlPlane}.`,
      wolfName,
    );
  if (file.wolf_name !== wolfName)
    throw unusable(
      `The key file ${name} is of the wolf ${file.wolf_name}, not of --wolf-id ${wolfName}.`,
      wolfName,
    );
  if (file.host !== null && host !== null && file.host !== host)
    throw unusable(
      `The key file ${name} was made on another host: a copied state directory does not make this host that wolf.`,
      wolfName,
    );
  return file;
}

/** For a host that is enrolled anew: the key there is stays until another one is enrolled; what cannot be used is written over. */
export function keyFileToReplace(place: KeyFilePlace): KeyFile {
  try {
    return readKeyFile(place) ?? emptyKeyFile(place);
  } catch {
    return emptyKeyFile(place);
  }
}

/** Whole or not at all, also when the power fails. Throws what the system says. */
export function writeKeyFile({ folder }: Pick<KeyFilePlace, "folder">, file: KeyFile): void {
  const name = path.join(folder, KEY_FILE);
  const draft = `${name}.${process.pid}`;
  rmSync(draft, { force: true });
  try {
    const descriptor = openSync(draft, "wx", 0o600);
    try {
      writeSync(descriptor, `${JSON.stringify(KeyFile.parse(file), null, 2)}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(draft, name);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  const around = openSync(folder, "r");
  try {
    fsyncSync(around);
  } finally {
    closeSync(around);
  }
}

export function emptyKeyFile({ controlPlane, wolfName, host }: KeyFilePlace): KeyFile {
  return {
    version: 1,
    control_plane: controlPlane,
    wolf_name: wolfName,
    wolf_id: null,
    host,
    key: null,
    previous: null,
    candidate: null,
  };
}

export function howToEnrol(wolfName: string): string {
  return `Enrol this host anew: wolf-revdial-client enroll --join-token-file <path>, with a join token that an admin made for ${wolfName}.`;
}

function readOwn(name: string, wolfName: string): string | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(name, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw unusable(`The key file ${name} cannot be read: ${message}.`, wolfName);
  }
  try {
    const { mode, uid, size } = fstatSync(descriptor);
    if (process.getuid !== undefined && uid !== process.getuid())
      throw new ConfigError(
        `The key file ${name} belongs to the user ${uid}, not to ${process.getuid()}, who runs the agent: run it as that user, or give the state directory to this one (chown -R).`,
      );
    if ((mode & OTHERS) !== 0)
      throw new ConfigError(
        `The key file ${name} can be read by others (mode ${(mode & 0o777).toString(8)}): its key may be in other hands. If that cannot be, chmod 600 it; else revoke the key. ${howToEnrol(wolfName)}`,
      );
    if (size > FILE_BYTES_MAX) throw unusable(`The key file ${name} is damaged.`, wolfName);
    return readFileSync(descriptor, "utf8");
  } finally {
    closeSync(descriptor);
  }
}

/** Without a cause: JSON's errors quote what they read, and that is a private key. */
function parse(text: string): KeyFile | undefined {
  try {
    return KeyFile.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function isPrivateKey(pem: string): boolean {
  try {
    return publicKeyOf(pem) !== "";
  } catch {
    return false;
  }
}

function unusable(what: string, wolfName: string): ConfigError {
  return new ConfigError(`${what} ${howToEnrol(wolfName)}`);
}
