/** What the tests of the repository read: workspaces, tracked files, imports. Only reading, no running. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseSync } from "@swc/core";

export const root = fileURLToPath(new URL("../../../..", import.meta.url));

export interface Workspace {
  /** As the import rules call it. */
  name: string;
  /** Relative to the root, with forward slashes. */
  folder: string;
  manifest: {
    name: string;
    scripts: Record<string, string>;
    dependencies?: Record<string, string>;
    devDependencies?: Record<string, string>;
  };
}

export function workspaces(): Workspace[] {
  return ["apps", "packages"].flatMap((group) =>
    readdirSync(path.join(root, group))
      .filter((name) => existsSync(path.join(root, group, name, "package.json")))
      .map((name) => ({
        name,
        folder: `${group}/${name}`,
        manifest: JSON.parse(
          readFileSync(path.join(root, group, name, "package.json"), "utf8"),
        ) as Workspace["manifest"],
      })),
  );
}

/** Files that belong to the project: tracked, or new and not ignored. Sorted, relative to the root. */
export function projectFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  return [
    ...new Set(listed.split("\0").filter((file) => file !== "" && existsSync(path.join(root, file)))),
  ].sort();
}

export const read = (file: string): string => readFileSync(path.join(root, file), "utf8");

/** Every module a source names: imports, type imports, re-exports, dynamic imports with a literal. */
export function importsOf(source: string, tsx = false): string[] {
  const tree: unknown = parseSync(source, { syntax: "typescript", tsx, target: "es2024" });
  const found: string[] = [];
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (node === null || typeof node !== "object") return;
    const {
      type,
      source: from,
      callee,
      arguments: args,
      argument,
    } = node as Record<string, unknown> & { source?: { value?: string } };
    const declares =
      type === "ImportDeclaration" || type === "ExportNamedDeclaration" || type === "ExportAllDeclaration";
    if (declares && typeof from?.value === "string") found.push(from.value);
    if (type === "CallExpression" && (callee as { type?: string } | undefined)?.type === "Import") {
      const [first] = (args ?? []) as { expression?: { type?: string; value?: unknown } }[];
      const { type: kind, value } = first?.expression ?? {};
      if (kind === "StringLiteral" && typeof value === "string") found.push(value);
    }
    if (type === "TsImportType") {
      const { value } = argument as { value?: unknown };
      if (typeof value === "string") found.push(value);
    }
    for (const inner of Object.values(node)) visit(inner);
  };
  visit(tree);
  return found;
}
