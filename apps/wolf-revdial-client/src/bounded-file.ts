/** Files of settings, which are short whatever they turn out to be. */
import { closeSync, openSync, readSync } from "node:fs";

const FILE_BYTES_MAX = 1024 * 1024;

/** Bounded while it reads: a device or a pipe may have no end. */
export function readBounded(descriptor: number): string {
  const buffer = Buffer.alloc(FILE_BYTES_MAX + 1);
  let bytes = 0;
  for (let read = -1; read !== 0 && bytes < buffer.length; bytes += read)
    read = readSync(descriptor, buffer, bytes, buffer.length - bytes, null);
  if (bytes > FILE_BYTES_MAX) throw new Error("it is larger than 1 MiB");
  return buffer.toString("utf8", 0, bytes);
}

export function readFile(path: string): string {
  const descriptor = openSync(path, "r");
  try {
    return readBounded(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
