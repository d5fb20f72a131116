/** An API key in its file: read only where nobody else could have read or written it. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { UsageError } from "../errors.ts";
import { reasonOf } from "./profiles.ts";

const KEY_BYTES_MAX = 512;
const key = /^[\x21-\x7e]+$/;

/** Throws UsageError, which never repeats what is in the file. */
export function readKeyFile(file: string): string {
  let handle: number;
  try {
    // A named pipe without a writer is not waited for.
    handle = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new UsageError(`The key file ${file} cannot be read: ${reasonOf(cause)}.`, { cause });
  }
  try {
    const { mode, uid, size, isFile } = statOf(handle);
    if (!isFile) throw new UsageError(`The key file ${file} is not a file.`);
    const own = process.getuid?.();
    if (own !== undefined && own !== 0 && uid !== own && uid !== 0)
      throw new UsageError(`The key file ${file} belongs to another user.`);
    if (process.platform !== "win32" && (mode & 0o077) !== 0)
      throw new UsageError(
        `The key file ${file} is open to others (mode ${(mode & 0o777).toString(8)}): chmod 600 ${file}`,
      );
    if (size > KEY_BYTES_MAX)
      throw new UsageError(`The key file ${file} has more than ${KEY_BYTES_MAX} bytes: it holds no API key.`);
    const bytes = Buffer.alloc(KEY_BYTES_MAX);
    return readKey(bytes.subarray(0, readSync(handle, bytes)).toString("latin1"), `The key file ${file}`);
  } finally {
    closeSync(handle);
  }
}

/** `what` names where the text is from. */
export function readKey(text: string, what: string): string {
  const found = text.trim();
  if (found === "") throw new UsageError(`${what} is empty: it has to hold an API key, wpk_…`);
  if (!key.test(found) || found.length > KEY_BYTES_MAX)
    throw new UsageError(`${what} holds no API key: one line of visible ASCII characters, wpk_…`);
  return found;
}

function statOf(handle: number) {
  const stat = fstatSync(handle);
  return { mode: stat.mode, uid: stat.uid, size: stat.size, isFile: stat.isFile() };
}
