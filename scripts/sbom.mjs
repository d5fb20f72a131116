// `npm run sbom`: what is in each thing that we ship, as CycloneDX, from the lockfile and without a network.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const pnpm = path.join(root, "node_modules", ".bin", "pnpm");

/** What is installed on somebody's machine, by the name of its file. */
export const shipped = {
  "control-plane": "@wolfpack/control-plane",
  // Its packages are in the files that the control plane serves.
  dashboard: "@wolfpack/dashboard",
  agent: "@wolfpack/wolf-revdial-client",
  wolfctl: "@wolfpack/wolfctl",
};

/** The document as text. Throws when the lockfile does not fit the manifests, or there is no installation. */
export function sbomOf(workspace) {
  const format = ["--sbom-format", "cyclonedx", "--sbom-spec-version", "1.6", "--sbom-type", "application"];
  const args = ["--filter", workspace, "sbom", "--prod", "--lockfile-only", ...format];
  const { status, stdout, stderr, error } = spawnSync(pnpm, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error) throw new Error("pnpm does not run: install first, with npm run build", { cause: error });
  if (status !== 0) throw new Error(`pnpm sbom failed for ${workspace}: ${stderr.trim() || stdout.trim()}`);
  return stdout;
}

function write(name, workspace) {
  const folder = path.join(root, "sbom");
  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, `${name}.cdx.json`);
  const bill = JSON.parse(sbomOf(workspace));
  writeFileSync(file, `${JSON.stringify(bill, null, 2)}\n`);
  console.log(`${path.relative(process.cwd(), file)}: ${bill.components.length} components`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    for (const [name, workspace] of Object.entries(shipped)) write(name, workspace);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
