/** What the documents, the rules and the dashboards say of metrics is what the programs have. */
import { describe, expect, it } from "@jest/globals";
import { definitions } from "@wolfpack/control-plane/parts";
import type { Definitions } from "@wolfpack/telemetry";
import { agentDefinitions } from "@wolfpack/wolf-revdial-client/parts";
import { parse } from "yaml";
import { faultsOf, groupedBy, rowText } from "./metric-names.ts";
import { projectFiles, read } from "./workspaces.ts";

interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

const all: Definitions = { ...definitions, ...agentDefinitions };
const { groups } = parse(read("deploy/prometheus/rules.yaml")) as {
  groups: { name: string; rules: Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);
const recorded = new Set(rules.flatMap(({ record }) => record ?? []));

interface Panel {
  id: number;
  title: string;
  type: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string }[];
}
const dashboards = projectFiles().filter((file) => /^deploy\/grafana\/.*\.json$/.test(file));
const panelsOf = (file: string) => (JSON.parse(read(file)) as { panels: Panel[] }).panels;

describe("docs/metrics.md", () => {
  it("lists every number of both programs as they have it, and no other", () => {
    const [, controlPlane = "", agent = ""] = read("docs/metrics.md").split(
      /^## (?=The control plane|The agent)/m,
    );
    const rows = (text: string) =>
      text.split("\n").filter((line) => /^\| `[a-z0-9_]+` \| (?:counter|gauge|histogram) \|/.test(line));
    const texts = (table: Definitions) => Object.entries(table).map(([name, row]) => rowText(name, row));
    expect(rows(controlPlane)).toEqual(texts(definitions));
    expect(rows(agent)).toEqual(texts(agentDefinitions));
  });
});

describe("the names of metrics", () => {
  it("are as Prometheus wants them, with their unit, and a sentence each", () => {
    const wrong = Object.entries(all).filter(([name, { type, help }]) => {
      const isNamed = /^(wolfpack|process|nodejs)_[a-z0-9_]+$/.test(name);
      const hasUnit = type !== "counter" ? !name.endsWith("_total") : name.endsWith("_total");
      const isTimed = type !== "histogram" || name.endsWith("_seconds");
      return !isNamed || !hasUnit || !isTimed || !/^[A-Z0-9].*\.$/.test(help);
    });
    expect(wrong.map(([name]) => name)).toEqual([]);
  });

  it("have labels with few values, and none for what a fleet has many of", () => {
    const labels = Object.entries(all).flatMap(([name, { labels: own = {} }]) =>
      Object.entries(own).map(([label, values]) => ({ name, label, values })),
    );
    expect(labels.length).toBeGreaterThan(20);
    const many = /wolf_?(id|name)|session|user|key|path|url|address|host|region|image/;
    expect(labels.filter(({ label }) => many.test(label))).toEqual([]);
    expect(labels.filter(({ values }) => values.length > 120)).toEqual([]);
    expect(labels.filter(({ values }) => new Set(values).size < values.length)).toEqual([]);
  });

  it("have buckets that rise", () => {
    for (const [name, { buckets = [] }] of Object.entries(all))
      expect({ name, buckets: [...buckets] }).toEqual({ name, buckets: [...buckets].sort((a, b) => a - b) });
  });
});

describe("the rules of Prometheus", () => {
  it.each(rules.map((rule) => [rule.record ?? rule.alert ?? "", rule] as const))(
    "%s names what exists",
    (_name, { expr }) => {
      expect(faultsOf(expr, all, recorded)).toEqual([]);
    },
  );

  it("record each name once, and no name that a program has", () => {
    const names = rules.flatMap(({ record, alert }) => record ?? alert ?? []);
    expect(new Set(names).size).toBe(names.length);
    expect([...recorded].filter((name) => !/^wolfpack:[a-z_]+:[a-z0-9_]+$/.test(name))).toEqual([]);
  });

  it("say with every alert how bad it is, what is, and what to do", () => {
    const alerts = rules.filter(({ alert }) => alert !== undefined);
    expect(alerts.length).toBeGreaterThan(15);
    const bare = alerts.filter(
      (rule) =>
        !/^(critical|warning)$/.test(rule.labels?.severity ?? "") ||
        !/\.$/.test(rule.annotations?.summary ?? "") ||
        !/\.$/.test(rule.annotations?.description ?? "") ||
        !/^\d+m$/.test(rule.for ?? "") ||
        !/^Wolfpack[A-Z][A-Za-z]+$/.test(rule.alert ?? ""),
    );
    expect(bare.map(({ alert }) => alert)).toEqual([]);
  });

  it("watch each thing that has a time: every histogram of both programs is in a rule or on a dashboard", () => {
    const shown = [
      ...rules.map(({ expr }) => expr),
      ...dashboards.flatMap((file) =>
        panelsOf(file).flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
      ),
    ].join("\n");
    const histograms = Object.entries(all).filter(([, { type }]) => type === "histogram");
    for (const prefix of ["wolfpack_agent_", "wolfpack_tunnel_"])
      expect(histograms.some(([name]) => name.startsWith(prefix))).toBe(true);
    expect(histograms.map(([name]) => name).filter((name) => !shown.includes(`${name}_`))).toEqual([]);
  });
});

describe("the dashboards of Grafana", () => {
  it.each(dashboards)("%s names what exists, with a place for each panel", (file) => {
    const panels = panelsOf(file);
    expect(panels.length).toBeGreaterThan(10);
    const faults = panels.flatMap(({ title, targets = [] }) =>
      targets.flatMap(({ expr }) =>
        faultsOf(expr.replaceAll("$__rate_interval", "5m"), all, recorded).map(
          (fault) => `${title}: ${fault}`,
        ),
      ),
    );
    expect(faults).toEqual([]);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([]);
  });

  it("and the rules group by labels that some number has", () => {
    const known = new Set([
      "le",
      "instance",
      "job",
      ...Object.values(all).flatMap(({ labels = {} }) => Object.keys(labels)),
    ]);
    const expressions = [
      ...rules.map(({ expr }) => expr),
      ...dashboards.flatMap((file) =>
        panelsOf(file).flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
      ),
    ];
    expect(expressions.flatMap(groupedBy).filter((label) => !known.has(label))).toEqual([]);
  });
});

describe("the check of expressions", () => {
  it.each([
    ["sum(wolfpack_wolfs)", "there is no wolfpack_wolfs"],
    ["wolfpack_http_request_duration_seconds > 1", "there is no wolfpack_http_request_duration_seconds"],
    ['wolfpack_wolves{state="lost"}', "wolfpack_wolves has no label state"],
    ['wolfpack_wolves{connectivity="gone"}', 'wolfpack_wolves has no connectivity "gone"'],
    ['wolfpack_sessions{status=~"queued|waits"}', 'wolfpack_sessions has no status "waits"'],
    ["wolfpack:not_recorded:rate5m > 1", "there is no wolfpack:not_recorded:rate5m"],
    ["sum(wolfpack_tunnels", "brackets do not match"],
    ["1 > 0", "it names no metric"],
  ])("finds what is wrong with %s", (expression, fault) => {
    expect(faultsOf(expression, all, recorded)).toContain(fault);
  });
});
