/** What expressions of PromQL name, as far as the tests of the rules and dashboards look at it. */
import type { Definition, Definitions } from "@wolfpack/telemetry";

/** Labels that Prometheus itself gives. */
const everywhere = new Set(["job", "instance", "le"]);
/** Numbers of Prometheus itself. */
const foreign = new Set(["up"]);

/** The row of a series' name: a histogram has three. */
function rowOf(definitions: Definitions, series: string): Definition | undefined {
  const own = definitions[series];
  if (own !== undefined) return own.type === "histogram" ? undefined : own;
  const [, base = ""] = /^(.+)_(?:bucket|sum|count)$/.exec(series) ?? [];
  const histogram = definitions[base];
  return histogram?.type === "histogram" ? histogram : undefined;
}

/** What an expression says that is not so: metrics, labels and values that do not exist. `recorded`: names of recording rules. */
export function faultsOf(
  expression: string,
  definitions: Definitions,
  recorded: ReadonlySet<string>,
): string[] {
  const faults: string[] = [];
  let depth = 0;
  for (const sign of expression.replaceAll(/"[^"]*"/g, "")) {
    if ("([{".includes(sign)) depth += 1;
    if (")]}".includes(sign)) depth -= 1;
    if (depth < 0) break;
  }
  if (depth !== 0) faults.push("brackets do not match");
  const named = /\b((?:wolfpack|process|nodejs)[a-z0-9_:]*|up)\b(?:\{([^}]*)\})?/g;
  let found = 0;
  for (const [, series = "", matchers = ""] of expression.matchAll(named)) {
    if (expression.includes(`"${series}"`) || foreign.has(series)) {
      found += 1;
      continue;
    }
    found += 1;
    if (recorded.has(series)) continue;
    const row = rowOf(definitions, series);
    if (row === undefined) faults.push(`there is no ${series}`);
    else faults.push(...wrongMatchers(series, row, matchers));
  }
  if (found === 0) faults.push("it names no metric");
  return faults;
}

function wrongMatchers(series: string, { labels = {} }: Definition, matchers: string): string[] {
  return [...matchers.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)].flatMap(
    ([, label = "", operator, value = ""]) => {
      if (everywhere.has(label)) return [];
      const known = labels[label];
      if (known === undefined) return [`${series} has no label ${label}`];
      const values = operator?.includes("~") ? value.split("|") : [value];
      return values.filter((one) => !known.includes(one)).map((one) => `${series} has no ${label} "${one}"`);
    },
  );
}

/** Labels by which an expression groups, which have to be on some metric. */
export function groupedBy(expression: string): string[] {
  return [...expression.matchAll(/\b(?:by|without) \(([^)]*)\)/g)].flatMap(([, list = ""]) =>
    list.split(",").map((label) => label.trim()),
  );
}

/** The labels' column of docs/metrics.md: values where they are few. */
export function labelsText({ labels = {} }: Definition): string {
  const VALUES_MAX = 14;
  const texts = Object.entries(labels).map(([label, values]) =>
    values.length === 0 || values.length > VALUES_MAX ? `\`${label}\`` : `\`${label}\`: ${values.join(", ")}`,
  );
  return texts.join("; ") || "–";
}

export const rowText = (name: string, definition: Definition): string =>
  `| \`${name}\` | ${definition.type} | ${labelsText(definition)} | ${definition.help} |`;
