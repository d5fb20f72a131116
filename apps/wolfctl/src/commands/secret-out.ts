/** A key or token that is shown once: into a file of its owner's alone, or to stdout. */
import { existsSync } from "node:fs";
import { writeWhole } from "../config/profiles.ts";
import { UsageError } from "../errors.ts";
import type { Run } from "../run.ts";

/** Before anything is made: what was there is not overwritten. Throws UsageError. */
export function checkSecretFile(file: string | undefined): void {
  if (file !== undefined && existsSync(file))
    throw new UsageError(`${file} exists already; name another file.`);
}

/** Into the file, and true; false where there is none. */
export async function secretWritten(
  run: Run,
  file: string | undefined,
  secret: string,
  what: string,
): Promise<boolean> {
  if (file === undefined) return false;
  writeWhole(file, `${secret}\n`);
  await run.out.note(`${what} is in ${file}, readable for you alone.`);
  return true;
}
