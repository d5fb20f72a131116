// Runs jest in the calling workspace as native ESM and leaves a JSON report that the test summary adds up.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** Files of the stacks' tests that take as long together as the others. */
const firstStacks =
  "/(dashboard|bench|balance|wolfctl|deploy|rolling|demo|start|full-disk)[^/]*\\.test\\.ts$";
/** With all their files, the largest workspaces run as two halves at once, each with a PostgreSQL of its own. */
const halves = new Map([
  ["@wolfpack/control-plane", [["--shard=1/2"], ["--shard=2/2"]]],
  [
    "@wolfpack/system-tests",
    [
      ["--testPathPatterns", firstStacks],
      ["--testPathIgnorePatterns", firstStacks],
    ],
  ],
]);

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const { name } = JSON.parse(readFileSync("package.json", "utf8"));
const report = path.join(root, ".reports", `${name.replaceAll("/", "-")}.json`);
mkdirSync(path.dirname(report), { recursive: true });
const jest = createRequire(path.join(root, "package.json")).resolve("jest/bin/jest");
const given = process.argv.slice(2);

/** Resolves to its exit code. */
function run(outputFile, args) {
  const flags = ["--experimental-vm-modules", "--no-warnings=ExperimentalWarning"];
  const child = spawn(
    process.execPath,
    [...flags, jest, "--json", `--outputFile=${outputFile}`, ...args],
    // jest prints its JSON report on stdout even when it writes the file; people read the reporter on stderr.
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  return new Promise((resolve) => {
    child.once("error", () => resolve(1));
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

/** One report of all. */
function merge(files) {
  const [first, ...others] = files.map((file) => JSON.parse(readFileSync(file, "utf8")));
  for (const other of others) {
    first.testResults.push(...other.testResults);
    for (const [key, value] of Object.entries(other)) if (/^num[A-Z]/.test(key)) first[key] += value;
    first.success &&= other.success;
  }
  writeFileSync(report, JSON.stringify(first));
}

rmSync(report, { force: true });
const parts = given.length === 0 ? halves.get(name) : undefined;
if (parts !== undefined) {
  const files = parts.map((_, at) => report.replace(/json$/, `${at + 1}-of-2.json`));
  const codes = await Promise.all(files.map((file, at) => run(file, parts[at])));
  // A half that has left none has crashed: then there is none of the whole, which is said.
  merge(files);
  for (const file of files) rmSync(file, { force: true });
  process.exitCode = codes.find((code) => code !== 0) ?? 0;
} else process.exitCode = await run(report, given);
