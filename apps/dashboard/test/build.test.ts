import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const FIRST_LOAD_BYTES_MAX = 300_000;
/** Of a page with what only it needs. */
const PAGE_BYTES_MAX = 120_000;

interface Chunk {
  file: string;
  isEntry?: boolean;
  imports?: string[];
  dynamicImports?: string[];
  css?: string[];
}
const manifest = JSON.parse(readFileSync(path.join(dist, "manifest.json"), "utf8")) as Record<string, Chunk>;
const gzipBytes = (file: string) => statSync(path.join(dist, `${file}.gz`)).size;

/** What is loaded with a chunk before it can run. */
function filesOf(name: string, seen = new Set<string>()): Set<string> {
  const chunk = manifest[name];
  if (chunk === undefined || seen.has(chunk.file)) return seen;
  seen.add(chunk.file);
  for (const css of chunk.css ?? []) seen.add(css);
  for (const more of chunk.imports ?? []) filesOf(more, seen);
  return seen;
}
const bytesOf = (files: Iterable<string>) => [...files].reduce((sum, file) => sum + gzipBytes(file), 0);

describe("the build", () => {
  const pages = Object.keys(manifest).filter((name) => /^src\/pages\/[a-z-]+\/[a-z-]+-page\.tsx$/.test(name));
  const entry = Object.keys(manifest).find((name) => manifest[name]?.isEntry) ?? "";

  it("loads less than 300 KB with gzip before the fleet can be seen", () => {
    const files = filesOf("src/pages/fleet/fleet-page.tsx", filesOf(entry));
    for (const shell of ["theme.js", "favicon.svg"]) files.add(shell);
    expect(files.size).toBeGreaterThan(3);
    expect(bytesOf(files)).toBeLessThan(FIRST_LOAD_BYTES_MAX);
  });

  it("adds little for any other page", () => {
    expect(pages.length).toBeGreaterThanOrEqual(11);
    const first = filesOf(entry);
    for (const page of pages) {
      const more = [...filesOf(page)].filter((file) => !first.has(file));
      expect({ page, fits: bytesOf(more) < PAGE_BYTES_MAX }).toEqual({ page, fits: true });
    }
  });

  it("leaves charts and schemas out of what everybody loads", () => {
    const first = [...filesOf("src/pages/fleet/fleet-page.tsx", filesOf(entry))]
      .filter((file) => file.endsWith(".js"))
      .map((file) => readFileSync(path.join(dist, file), "utf8"))
      .join("\n");
    expect(first).not.toContain("u-over");
    expect(first).not.toContain("ZodError");
  });

  it("holds nothing that the page's policy would refuse, and no address of elsewhere to load from", () => {
    const page = readFileSync(path.join(dist, "index.html"), "utf8");
    expect(page).not.toMatch(/<script(?![^>]*\bsrc=)|\son[a-z]+=|\sstyle=|https?:\/\//);
    expect(page).toContain("%%NONCE%%");
    for (const name of readdirSync(path.join(dist, "assets")).filter((file) => file.endsWith(".css")))
      expect(readFileSync(path.join(dist, "assets", name), "utf8")).not.toMatch(/url\(|@import/);
  });

  it("has each text beside its compressed forms, and no source map", () => {
    const files = readdirSync(dist, { recursive: true, encoding: "utf8" });
    expect(files.filter((file) => file.endsWith(".map"))).toEqual([]);
    for (const file of files.filter((name) => /\.(js|css)$/.test(name)))
      expect({ file, both: existsSync(path.join(dist, `${file}.br`)) && gzipBytes(file) > 0 }).toEqual({
        file,
        both: true,
      });
  });
});
