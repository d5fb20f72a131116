// The door to the project: `npm start`, `npm test`, `npm run demo|bench|chaos|simulate|faults|build|sbom`. It runs on any Node from 18 on with
// nothing installed, brings in what is missing, and hands over to the Node that the project pins.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const reports = path.join(root, ".reports");
/** Simulations of what is built first. */
const built = {
  api: "apps/control-plane/test/hostile/main.ts",
  fleet: "apps/control-plane/test/simulation/main.ts",
  guard: "apps/wolf-revdial-client/test/simulation/main.ts",
};
const commands = ["start", "test", "demo", "bench", "chaos", "simulate", "faults", "build", "sbom"];

/** The counts of all jest reports, plus what failed outside of them. */
export function addUp(jestReports, failedStages) {
  const sum = { passed: 0, failed: failedStages.length, skipped: 0 };
  for (const report of jestReports) {
    sum.passed += report.numPassedTests;
    // A file that could not even be loaded has no failed tests of its own.
    const unloaded = report.testResults.filter(
      (file) => file.status === "failed" && file.assertionResults.length === 0,
    ).length;
    sum.failed += report.numFailedTests + unloaded;
    sum.skipped += report.numPendingTests + report.numTodoTests;
  }
  return sum;
}

/** What was not tested here, by the first of its names, and how much of it. */
export function skippedIn(jestReports) {
  const counts = new Map();
  for (const file of jestReports.flatMap((report) => report.testResults))
    for (const { status, ancestorTitles = [], title } of file.assertionResults)
      if (status === "pending") {
        const name = ancestorTitles[0] ?? title;
        counts.set(name, (counts.get(name) ?? 0) + 1);
      }
  return [...counts].map(([name, tests]) => `${name} (${tests} ${tests === 1 ? "test" : "tests"})`);
}

export function summaryLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

const say = (text) => process.stderr.write(`${text}\n`);

class Stop extends Error {
  constructor(code, sentence) {
    super(sentence);
    this.exitCode = code;
  }
}

let current;
let interrupted;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    interrupted = signal;
    // The terminal sends Ctrl-C to the whole group; a signal from elsewhere reaches only us.
    if (current && (signal !== "SIGINT" || !process.stdin.isTTY)) current.kill(signal);
  });
}

/** Runs a program to its end; resolves to its exit code. With `quiet`, its output is returned and shown only by the caller. */
function run(command, args, { cwd = root, env = {}, quiet = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", ...env },
      stdio: quiet ? ["ignore", "pipe", "pipe"] : ["inherit", "inherit", "inherit"],
      shell: process.platform === "win32",
    });
    current = child;
    let output = "";
    child.stdout?.setEncoding("utf8").on("data", (text) => (output += text));
    child.stderr?.setEncoding("utf8").on("data", (text) => (output += text));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      current = undefined;
      resolve({ code: code ?? (signal === "SIGINT" ? 130 : 143), output });
    });
  });
}

/** A step that says one line and stays quiet unless it fails. */
async function stage(label, command, args, options = {}) {
  const startedAt = Date.now();
  say(`• ${label} …`);
  const { code, output } = await run(command, args, { quiet: true, ...options });
  if (interrupted) throw new Stop(interrupted === "SIGINT" ? 130 : 143, "Interrupted.");
  if (code === 0) say(`✓ ${label} (${((Date.now() - startedAt) / 1000).toFixed(1)} s)`);
  else say(`✗ ${label}\n${output.trimEnd()}`);
  return code === 0;
}

const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));

/** What the installed modules were made from. */
function installStamp() {
  const hash = createHash("sha256");
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"])
    hash.update(readFileSync(path.join(root, file)));
  return hash.digest("hex");
}

async function install() {
  const stampFile = path.join(root, "node_modules", ".wolfpack-installed");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === installStamp()) return;
  const { packageManager } = readJson(path.join(root, "package.json"));
  const ok = await stage(
    "Installing dependencies (once; half a minute)",
    "npx",
    ["--yes", packageManager, "install", "--frozen-lockfile"],
    {
      env: { CI: "true" },
    },
  );
  if (!ok) throw new Stop(1, "The dependencies could not be installed: is the npm registry reachable?");
  writeFileSync(stampFile, installStamp());
}

function bin(name) {
  return path.join(root, "node_modules", ".bin", process.platform === "win32" ? `${name}.cmd` : name);
}

/** The project's own Node first on the PATH of everything that follows. */
function usePinnedNode() {
  process.env.PATH = `${path.join(root, "node_modules", ".bin")}${path.delimiter}${process.env.PATH ?? ""}`;
}

const turbo = (task, ...more) => [
  bin("turbo"),
  ["run", task, "--output-logs=errors-only", "--no-update-notifier", ...more],
];

async function build() {
  if (!(await stage("Building", ...turbo("build")))) throw new Stop(1, "The build failed; see above.");
}

function jestWorkspaces() {
  return ["apps", "packages"].flatMap((folder) =>
    readdirSync(path.join(root, folder))
      .map((name) => path.join(root, folder, name, "package.json"))
      .filter((file) => existsSync(file))
      .map((file) => readJson(file).name),
  );
}

const reportFile = (workspace) => path.join(reports, `${workspace.replaceAll("/", "-")}.json`);

async function test() {
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  const failed = [];
  const stages = [
    ["Checking format and lint", bin("biome"), ["ci", "--error-on-warnings", "--colors=off", "."]],
    ["Checking types", ...turbo("typecheck")],
  ];
  if (!(await stage("Building", ...turbo("build")))) failed.push("build");
  for (const [label, command, args] of stages) if (!(await stage(label, command, args))) failed.push(label);
  say("• Testing …");
  // Two workspaces at a time, for jest keeps one core busy in each; those that start whole stacks come after, in two halves.
  const [stacks, others] = ["@wolfpack/system-tests", "!@wolfpack/system-tests"].map(
    (name) => `--filter=${name}`,
  );
  let code = 0;
  for (const some of [
    [others, "--concurrency=2"],
    [stacks, "--concurrency=1"],
  ]) {
    code = (await run(...turbo("test", ...some, "--continue", "--only"), {})).code || code;
    if (interrupted) throw new Stop(interrupted === "SIGINT" ? 130 : 143, "Interrupted.");
  }
  const jestReports = [];
  for (const workspace of jestWorkspaces()) {
    if (existsSync(reportFile(workspace))) jestReports.push(readJson(reportFile(workspace)));
    else failed.push(`${workspace} left no report`);
  }
  const sum = addUp(jestReports, failed);
  // Jest may fail without a failed test: a handle left open, a crash after the last one.
  if (code !== 0 && sum.failed === 0) {
    failed.push("test run");
    sum.failed += 1;
  }
  for (const what of skippedIn(jestReports)) say(`– skipped: ${what}`);
  for (const what of failed) say(`✗ ${what}`);
  process.stdout.write(`${summaryLine(sum)}\n`);
  return sum.failed === 0 ? 0 : 1;
}

async function main([command, ...args]) {
  if (!commands.includes(command))
    throw new Stop(2, `usage: node scripts/wolfpack.mjs ${commands.join("|")}`);
  if (Number(process.versions.node.split(".")[0]) < 18)
    throw new Stop(1, `Node ${process.versions.node} is too old: 18 or newer is needed.`);
  await install();
  usePinnedNode();
  if (command === "test") return test();
  if (command === "build") {
    await build();
    return 0;
  }
  if (command === "faults") {
    await build();
    const jest = path.join(root, "scripts", "jest.mjs");
    const long = { cwd: path.join(root, "packages", "system-tests"), env: { FAULTS: "long" } };
    return (await run("node", [jest, "faults", ...args], long)).code;
  }
  if (command === "sbom") return (await run("node", [path.join(root, "scripts/sbom.mjs"), ...args])).code;
  // Simulations run from their sources: Node takes them as they are. Some need the packages they are about.
  const simulated = command === "simulate" ? built[args[0]] : undefined;
  if (simulated) args.shift();
  const simulation =
    command === "simulate" ? (simulated ?? "packages/revdial/test/simulation/main.ts") : undefined;
  if (simulation === undefined || simulated) await build();
  const program = simulation ?? `packages/system-tests/dist/${command}.js`;
  const { code } = await run("node", [path.join(root, program), ...args]);
  return code;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    say(error.message);
    process.exitCode = error.exitCode;
  }
}
