// Runs jest in the calling workspace as native ESM and leaves a JSON report that the test summary adds up.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const { name } = JSON.parse(readFileSync("package.json", "utf8"));
const report = path.join(root, ".reports", `${name.replaceAll("/", "-")}.json`);
mkdirSync(path.dirname(report), { recursive: true });
const jest = createRequire(path.join(root, "package.json")).resolve("jest/bin/jest");
const { status } = spawnSync(
  process.execPath,
  [
    "--experimental-vm-modules",
    "--no-warnings=ExperimentalWarning",
    jest,
    "--json",
    `--outputFile=${report}`,
    ...process.argv.slice(2),
  ],
  // jest prints its JSON report on stdout even when it writes the file; people read the reporter on stderr.
  { stdio: ["ignore", "ignore", "inherit"] },
);
process.exit(status ?? 1);
