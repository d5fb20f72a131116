/** Runbooks: every alert leads to one, and what they tell people to type or to look at exists. */
import { describe, expect, it } from "@jest/globals";
import { definitions } from "@wolfpack/control-plane/parts";
import { agentDefinitions } from "@wolfpack/wolf-revdial-client/parts";
import { parse } from "yaml";
import { agentVariables, controlPlaneVariables } from "../settings.ts";
import { projectFiles, read } from "./workspaces.ts";

const folder = "docs/operations/runbooks/";
const runbooks = projectFiles().filter((file) => file.startsWith(folder) && !file.endsWith("README.md"));
const documents = [
  ...runbooks,
  ...["upgrade", "deployment", "verification"].map((name) => `docs/operations/${name}.md`),
  "docs/migration-from-local-wolf.md",
];
interface Rule {
  alert?: string;
  record?: string;
  annotations?: Record<string, string>;
}
const rules = (parse(read("deploy/prometheus/rules.yaml")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const alerts = rules.filter(({ alert }) => alert !== undefined);

describe("the runbooks", () => {
  it("are where every alert leads, which each names", () => {
    for (const { alert = "", annotations } of alerts) {
      const file = annotations?.runbook_url ?? "";
      expect({ alert, known: runbooks.includes(file) }).toEqual({ alert, known: true });
      expect({ alert, named: read(file).includes(`\`${alert}\``) }).toEqual({ alert, named: true });
    }
  });

  it("name no alert that does not exist, and stand in the index", () => {
    const known = new Set(alerts.map(({ alert }) => alert));
    for (const file of runbooks) {
      for (const [, alert] of read(file).matchAll(/`(Wolfpack[A-Z]\w+)`/g)) expect(known).toContain(alert);
      expect(read(`${folder}README.md`)).toContain(`(${file.slice(folder.length)})`);
    }
  });

  it.each(runbooks)("%s says what is seen, how to be sure, what to do and when to stop", (file) => {
    const headings = [...read(file).matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    expect(headings).toEqual(["What you see", "How to be sure", "What to do", "When to stop"]);
  });

  it.each(documents)("%s names commands, flags, numbers and settings that exist", (file) => {
    const text = read(file);
    const rows = [
      ...read("docs/operations/wolfctl.md").matchAll(
        /^\| `([a-z]+(?: [a-z-]+)?)[^`]*` \| [^|]* \| (.*) \|$/gm,
      ),
    ];
    const flags = new Map(rows.map(([, command = "", own = ""]) => [command, own]));
    const faults: string[] = [];
    for (const [, first = "", second = "", rest = ""] of text.matchAll(
      /\bwolfctl ([a-z]+)(?: ([a-z-]+))?([^\n`]*)/g,
    )) {
      const command = flags.has(`${first} ${second}`) ? `${first} ${second}` : first;
      if (!flags.has(command)) faults.push(`wolfctl ${first} ${second}`);
      for (const [, flag] of rest.matchAll(/\s--([a-z-]+)/g))
        if (!flags.get(command)?.includes(`--${flag}`)) faults.push(`wolfctl ${command} --${flag}`);
    }
    const numbers = new Set([
      ...Object.keys(definitions),
      ...Object.keys(agentDefinitions),
      ...rules.flatMap(({ record }) => record ?? []),
    ]);
    for (const [, name = ""] of text.matchAll(/`((?:wolfpack|process|nodejs)[_:][a-z0-9_:]+)(?=[`{])/g))
      if (!numbers.has(name)) faults.push(name);
    for (const [, name = ""] of text.matchAll(/\b(WOLFPACK_[A-Z_]+)\b/g))
      if (!controlPlaneVariables.has(name) && !agentVariables.has(name) && name !== "WOLFPACK_VERSION")
        faults.push(name);
    expect(faults).toEqual([]);
  });
});
