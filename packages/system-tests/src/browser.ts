/**
 * A browser for tests and benches: where this machine has one, how it gets one, and how it is started. A registry has no browsers,
 * so the one of the system is used.
 */
import { execFile } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { type Browser, chromium } from "playwright-core";

const run = promisify(execFile);
const places = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const INSTALL_MS_MAX = 240_000;
/** It asks nobody but the page it is given: no updates, no hints, no experiments. */
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** `CHROME_PATH` if it is set, whatever else there is; undefined: this machine has none. */
export function findBrowser(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const given = env.CHROME_PATH;
  if (given) return isProgram(given) ? given : undefined;
  const inPath = (env.PATH ?? "").split(path.delimiter).map((folder) => path.join(folder, "google-chrome"));
  return [...places, ...inPath].find(isProgram);
}

/**
 * What becomes of tests in a browser where none can be had. On somebody's own machine they are skipped, and that is said; where `CI` is
 * set, a green result would say more than was tested, unless `BROWSER_TESTS=optional` says that it is known.
 */
export function withoutBrowser(env: NodeJS.ProcessEnv = process.env): "skip" | "fail" {
  const isCi = !["", "0", "false"].includes((env.CI ?? "").toLowerCase());
  return isCi && env.BROWSER_TESTS !== "optional" ? "fail" : "skip";
}

/** Only root on Debian gets one. */
const canInstallBrowser = (): boolean => process.getuid?.() === 0 && existsSync("/etc/debian_version");

/** Where Debian can install one for us, it does, once; undefined, after a line that says why: there is none. */
export async function obtainBrowser(say: (line: string) => void): Promise<string | undefined> {
  const found = findBrowser();
  if (found !== undefined) return found;
  if (process.env.CHROME_PATH) say(`CHROME_PATH is no program: ${process.env.CHROME_PATH}`);
  else if (!canInstallBrowser())
    say("there is no Chromium here (set CHROME_PATH), and only root on Debian can install one");
  else {
    say("installing Chromium, once …");
    const apt = (...words: string[]) =>
      run("apt-get", ["-q", "-y", ...words], {
        timeout: INSTALL_MS_MAX / 2,
        env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      });
    try {
      await apt("update");
      await apt("install", "--no-install-recommends", "chromium", "fonts-dejavu-core");
    } catch (error) {
      say(`Chromium could not be installed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return findBrowser();
}

export const launchBrowser = (executablePath: string): Promise<Browser> =>
  chromium.launch({ executablePath, args: flags, headless: true });
