/** Documents lead where they say, and name commands and runbooks that exist. */
import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { parse } from "yaml";
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

describe("runbooks", () => {
  const folder = "docs/operations/runbooks";
  const books = documents.filter((file) => path.dirname(file) === folder && !file.endsWith("/README.md"));

  it("exist for every alert, and are all in their list", () => {
    const { groups } = parse(read("deploy/prometheus/rules.yaml")) as {
      groups: { rules: { alert?: string; annotations?: { runbook?: string } }[] }[];
    };
    const alerts = groups.flatMap(({ rules }) => rules).filter(({ alert }) => alert !== undefined);
    for (const { alert, annotations } of alerts) {
      expect({ alert, books: books.includes(annotations?.runbook ?? "") }).toEqual({ alert, books: true });
      // Who reads it looks for the name of what rang.
      expect(read(annotations?.runbook ?? "")).toContain(`\`${alert}\``);
    }
    const listed = [...read(`${folder}/README.md`).matchAll(/\]\(([\w-]+\.md)\)/g)].map(
      ([, file]) => `${folder}/${file}`,
    );
    expect(listed.sort()).toEqual([...books].sort());
  });

  it.each(books)("%s says what is seen, how to be sure, what to do and when to stop", (book) => {
    const headings = [...read(book).matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    expect(headings).toEqual(["What is seen", "Confirm", "Do", "When to stop"]);
  });
});
