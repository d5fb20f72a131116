/**
 * Profiles: which control plane, and the file with the key for it. They are in one file of the user's; a key is in a file of its own
 * that nobody else can read, never in the profiles, a command line or a variable.
 */
import {
  chmodSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { z } from "zod";
import type { Edges } from "../edges.ts";
import { UsageError } from "../errors.ts";

const PROFILES_MAX = 100;
export const ProfileName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    "1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit",
  );
const Profile = z.strictObject({ url: z.string().max(2048), key_file: z.string().max(4096).nullable() });
export type Profile = z.infer<typeof Profile>;
const File = z.strictObject({
  format: z.literal(1),
  current: ProfileName.nullable(),
  profiles: z
    .record(ProfileName, Profile)
    .refine((all) => Object.keys(all).length <= PROFILES_MAX, `more than ${PROFILES_MAX} profiles`),
});
export type Profiles = z.infer<typeof File>;

type Place = Pick<Edges, "env" | "home">;

export function configFolder({ env, home }: Place): string {
  if (env.WOLFCTL_CONFIG_DIR) return path.resolve(env.WOLFCTL_CONFIG_DIR);
  return path.join(env.XDG_CONFIG_HOME || path.join(home, ".config"), "wolfctl");
}

export const profilesFile = (place: Place): string => path.join(configFolder(place), "profiles.json");
export const keyFileOf = (place: Place, profile: string): string =>
  path.join(configFolder(place), "keys", profile);

/** None where there is no file yet. Throws UsageError. */
export function readProfiles(place: Place): Profiles {
  const file = profilesFile(place);
  let text: string;
  try {
    const handle = openSync(file, "r");
    try {
      checkWriters(file, handle);
      text = readFileSync(handle, "utf8");
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { format: 1, current: null, profiles: {} };
    throw new UsageError(`The profiles in ${file} cannot be read: ${reasonOf(error)}.`, { cause: error });
  }
  try {
    return File.parse(JSON.parse(text));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause).replaceAll("\n", " ") : "it is no JSON";
    throw new UsageError(`${file} is no file of profiles: ${why}. Mend it, or move it away and begin anew.`, {
      cause,
    });
  }
}

/** Whoever can write it has keys sent where they like. Throws UsageError. */
function checkWriters(file: string, handle: number): void {
  const { mode, uid } = fstatSync(handle);
  const own = process.getuid?.();
  if (own === undefined) return;
  if (own !== 0 && uid !== own && uid !== 0)
    throw new UsageError(`The profiles in ${file} belong to another user.`);
  if ((mode & 0o022) !== 0)
    throw new UsageError(
      `The profiles in ${file} can be changed by others (mode ${(mode & 0o777).toString(8)}), who could have keys sent to them: chmod 600 ${file}`,
    );
}

export function writeProfiles(place: Place, profiles: Profiles): void {
  writeWhole(profilesFile(place), `${JSON.stringify(profiles, null, 2)}\n`);
}

/** Replaced as a whole, readable for its owner only. Throws UsageError. */
export function writeWhole(file: string, text: string | Uint8Array): void {
  const draft = `${file}.new-${process.pid}`;
  try {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(draft, text, { mode: 0o600, flag: "wx" });
    chmodSync(draft, 0o600);
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw new UsageError(`${file} cannot be written: ${reasonOf(error)}.`, { cause: error });
  }
}

/** In words, without the path that Node repeats. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const words: Record<string, string> = {
    ENOENT: "it does not exist",
    EACCES: "no permission",
    EPERM: "no permission",
    EISDIR: "it is a folder",
    ENOTDIR: "a part of its path is no folder",
    EEXIST: "it exists already",
    ENOSPC: "the disk is full",
    EROFS: "the file system is read-only",
  };
  return words[code ?? ""] ?? message;
}
