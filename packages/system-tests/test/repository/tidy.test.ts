import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { type Action, actionKind, actions, problemCodes, problems, roles } from "@wolfpack/api-contract";
import { revdialErrorCodes } from "revdial/testing";
import { projectFiles, read, root } from "./workspaces.ts";

const files = projectFiles();
const binary = /\.(png|ico|woff2?|wasm)$/;
const texts = files.filter((file) => !binary.test(file) && file !== "pnpm-lock.yaml");
const sources = files.filter(
  (file) => /^(apps|packages)\/.*\/src\/.*\.tsx?$/.test(file) && !file.endsWith(".test.ts"),
);
const tests = files.filter(
  (file) => /\.test\.ts$/.test(file) || /^(apps|packages)\/[^/]+\/test\/.*\.ts$/.test(file),
);
const here = "packages/system-tests/test/repository/";

describe("the repository", () => {
  it("has no source of more than 400 lines and no test file of more than 700", () => {
    const lines = (file: string) => read(file).split("\n").length;
    expect(sources.filter((file) => lines(file) > 400)).toEqual([]);
    expect(tests.filter((file) => lines(file) > 700)).toEqual([]);
  });

  it("has no folder that says nothing", () => {
    expect(files.filter((file) => /(^|\/)(utils?|common|shared|lib|helpers?)\//.test(file))).toEqual([]);
  });

  it("opens every source file with a comment that says what it is for", () => {
    expect(sources.filter((file) => !/^(#!.*\n)?(\/\*\*|\/\/)/.test(read(file)))).toEqual([]);
  });

  it("leaves nothing open and skips no test", () => {
    const open =
      /\b(TODO|FIXME|XXX|HACK)\b|\b(it|test|describe)\.(skip|only|todo)\(|\bx(it|describe)\(|\bf(it|describe)\(/;
    const code = files.filter((file) => /\.(tsx?|mjs)$/.test(file) && !file.startsWith(here));
    expect(code.filter((file) => open.test(read(file)))).toEqual([]);
  });

  it("names no folder of a developer's machine and no registry", () => {
    const foreign = /(^|[^\w.])\/(work|root|Users|farm)\/[a-z]|registry\.npmjs\.org|\.\.\/shared\//m;
    expect(texts.filter((file) => !file.startsWith(here) && foreign.test(read(file)))).toEqual([]);
    expect(/https?:\/\//.test(read("pnpm-lock.yaml").replaceAll(/deprecated: .*/g, ""))).toBe(false);
  });

  it("reads the environment only at its edges", () => {
    const edges = /\/(config|main|cli|start|demo|stack|child|browser)\.ts$/;
    expect(sources.filter((file) => /process\.env\b/.test(read(file)) && !edges.test(file))).toEqual([]);
  });

  it("ends a process only at its edges", () => {
    const edges = /\/(main|cli|start|demo|interrupt|bench\/process)\.ts$/;
    expect(sources.filter((file) => /process\.exit\(/.test(read(file)) && !edges.test(file))).toEqual([]);
  });

  it("has no dead relative link in its documents", () => {
    const dead: string[] = [];
    for (const file of files.filter((name) => name.endsWith(".md"))) {
      const prose = read(file).replaceAll(/```[\s\S]*?```/g, "");
      for (const [, target = ""] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(target) || target.startsWith("#")) continue;
        if (!existsSync(path.join(root, path.dirname(file), target.split("#")[0] ?? "")))
          dead.push(`${file}: ${target}`);
      }
    }
    expect(dead).toEqual([]);
  });

  it("keeps NOTICE files beside data that others made", () => {
    for (const file of files.filter(
      (name) => /(recorded|schema-generated|wolf-openapi|spec-20)/.test(name) && /\.(json|yaml)$/.test(name),
    )) {
      const folders = [path.dirname(file), path.dirname(path.dirname(file))];
      expect({ file, notice: folders.some((folder) => files.includes(`${folder}/NOTICE.txt`)) }).toEqual({
        file,
        notice: true,
      });
    }
  });
});

describe("the documents", () => {
  it("list every problem code with its status, and no other", () => {
    const rows = [...read("docs/errors.md").matchAll(/^\| `([a-z-]+)` \| (\d{3}) \|/gm)].map(
      ([, code, status]) => [code, Number(status)],
    );
    expect(rows.sort()).toEqual(problemCodes.map((code) => [code, problems[code].status]).sort());
  });

  it("say of every action who may, as the policy does", () => {
    const machineNames = { agent: "agent", joiner: "join token", runner: "runner token" };
    const rows = (Object.keys(actions) as Action[]).map((action) => {
      const { scope, changes, users, machines = [] } = actionKind(action);
      const who = roles.map((role) => users[role] ?? "–");
      const others = machines.map((machine) => machineNames[machine]).join(", ") || "–";
      return `| ${[`\`${action}\``, scope, changes ? "every call" : "denied calls", ...who, others].join(" | ")} |`;
    });
    const shown = read("docs/operations/access.md").split("\n");
    expect(shown.filter((line) => /^\| `[a-z-]+\.[a-z]+` \|/.test(line))).toEqual(rows);
    expect(shown).toContain(`| action | scope | audit event | ${roles.join(" | ")} | machines |`);
  });

  it("say of every problem code what the code and the OpenAPI document say", () => {
    const shown = new Map(
      [...read("docs/errors.md").matchAll(/^\| `([a-z-]+)` \| \d{3} \| (.*) \|$/gm)].map(
        ([, code = "", meaning = ""]) => [code, meaning],
      ),
    );
    expect(problemCodes.filter((code) => shown.get(code) !== problems[code].meaning)).toEqual([]);
  });

  it("list no problem code that nothing answers with", () => {
    // Whole strings: a code is written out where it is thrown, never put together.
    const written = new Set(
      sources
        .filter((file) => file.startsWith("apps/control-plane/src/"))
        .flatMap((file) => [...read(file).matchAll(/"([a-z]+(?:-[a-z]+)*)"/g)].map(([, text]) => text)),
    );
    expect(problemCodes.filter((code) => !written.has(code))).toEqual([]);
  });

  it("list every code of the tunnel library", () => {
    const text = read("docs/errors.md");
    expect(revdialErrorCodes.filter((code) => !text.includes(`\`${code}\``))).toEqual([]);
  });

  it("index every decision", () => {
    const index = read("docs/adr/README.md");
    const decisions = files
      .filter((file) => /^docs\/adr\/\d{4}-.*\.md$/.test(file))
      .map((file) => path.basename(file));
    expect(decisions.length).toBeGreaterThan(0);
    expect(decisions.filter((file) => !index.includes(`(${file})`))).toEqual([]);
  });

  it("explain every variable of the control plane and of the agent, and no other", () => {
    const variables = (file: string, pattern: RegExp) =>
      [...read(file).matchAll(pattern)].map(([, name]) => name as string);
    const controlPlane = variables("apps/control-plane/src/config.ts", /^ {2}([A-Z][A-Z0-9_]+): /gm);
    const agent = [
      ...read("apps/wolf-revdial-client/src/settings.ts").matchAll(/env: \[([^\]]*)\]/g),
    ].flatMap(([, list = ""]) => [...list.matchAll(/"([A-Z_]+)"/g)].map(([, name]) => name as string));
    expect(controlPlane.length).toBeGreaterThan(10);
    expect(agent.length).toBeGreaterThan(10);
    const documented = ["configuration", "agent"].flatMap((name) =>
      variables(`docs/operations/${name}.md`, /^\| `([A-Z][A-Z0-9_]+)`/gm),
    );
    expect([...new Set(documented)].sort()).toEqual([...new Set([...controlPlane, ...agent])].sort());
  });
});
