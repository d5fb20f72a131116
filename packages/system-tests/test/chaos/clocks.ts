/** A wall clock that can be set while a process runs: libfaketime of Debian, which leaves the steady clock alone. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";

const FOLDERS = [
  "/usr/lib",
  ...(existsSync("/usr/lib") ? readdirSync("/usr/lib").map((name) => `/usr/lib/${name}`) : []),
];

/** Undefined: not installed here. */
export const faketimeLibrary = FOLDERS.map((folder) =>
  path.join(folder, "faketime", "libfaketimeMT.so.1"),
).find((file) => existsSync(file));

/** The environment of a process whose wall clock is off by what `file` says. */
export function withClockOf(file: string): Record<string, string> {
  setClock(file, 0);
  return {
    LD_PRELOAD: faketimeLibrary ?? "",
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
}

/** From now on its wall clock is off by so many seconds. */
export function setClock(file: string, seconds: number): void {
  writeFileSync(file, `${seconds < 0 ? "" : "+"}${seconds}`);
}
