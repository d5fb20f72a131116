/** Documents lead where they say, and name commands that exist. */
import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { projectFiles, read, root } from "./workspaces.ts";

const documents = projectFiles().filter((file) => file.endsWith(".md") && !file.includes("/vectors"));
const withoutCode = (text: string) =>
  text.replace(/^(```|~~~)[\s\S]*?^\1/gm, "").replace(/`[^`\n]*`/g, "code");

/** As GitHub makes them of headings. */
function anchors(text: string): Set<string> {
  const seen = new Map<string, number>();
  return new Set(
    [...text.replace(/^(```|~~~)[\s\S]*?^\1/gm, "").matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = ""]) => {
      const plain = heading.replace(/[`*]/g, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
      const slug = plain
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replace(/\s/g, "-");
      const times = seen.get(slug) ?? 0;
      seen.set(slug, times + 1);
      return times === 0 ? slug : `${slug}-${times}`;
    }),
  );
}

/** What a link of a document leads to, if it does not: "file → target". */
function deadLinks(file: string): string[] {
  const links = [...withoutCode(read(file)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return links
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [where = "", anchor] = target.split("#");
      const to = where === "" ? file : path.normalize(path.join(path.dirname(file), where));
      if (!existsSync(path.join(root, to))) return true;
      return anchor !== undefined && to.endsWith(".md") && !anchors(read(to)).has(anchor);
    })
    .map((target) => `${file} → ${target}`);
}

describe("documents", () => {
  it("have no link that leads nowhere", () => {
    expect(documents.length).toBeGreaterThan(40);
    expect(documents.flatMap(deadLinks)).toEqual([]);
  });

  it("name only commands that wolfctl has", () => {
    const table = [...read("docs/operations/wolfctl.md").matchAll(/^\| `([a-z]+(?: [a-z-]+)?)/gm)];
    const commands = new Set(table.map(([, command = ""]) => command));
    expect(commands).toContain("wolves list");
    const wrong = documents.flatMap((file) =>
      [...read(file).matchAll(/`wolfctl ([a-z]+)(?: ([a-z-]+))?/g)].flatMap(
        ([whole, group = "", verb = ""]) =>
          commands.has(`${group} ${verb}`) || commands.has(group) ? [] : [`${file}: ${whole}`],
      ),
    );
    expect(wrong).toEqual([]);
  });
});
