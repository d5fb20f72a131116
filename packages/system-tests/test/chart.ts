/** The chart as Helm would take it: its files, values over its defaults, and what comes out. */
import { Ajv } from "ajv";
import { parse, parseAllDocuments } from "yaml";
import { renderChart } from "./helm-templates.ts";
import { projectFiles, read } from "./repository/workspaces.ts";

const folder = "deploy/helm/wolfpack";
const templates = new Map(
  projectFiles()
    .filter((file) => file.startsWith(`${folder}/templates/`))
    .map((file) => [file.slice(`${folder}/templates/`.length), read(file)]),
);
export const chart = parse(read(`${folder}/Chart.yaml`)) as {
  name: string;
  version: string;
  appVersion: string;
  apiVersion: string;
};
export const defaults = parse(read(`${folder}/values.yaml`)) as Record<string, unknown>;
export const valuesSchema = JSON.parse(read(`${folder}/values.schema.json`)) as Record<string, unknown>;

// Strict about the schema itself, but for the types of unions and of what is beside `$ref`s, as Helm's validator is.
const validate = new Ajv({
  allErrors: true,
  strict: true,
  allowUnionTypes: true,
  strictRequired: false,
}).compile(valuesSchema);

/** What is wrong with values, one sentence each. */
export function valueFaults(values: unknown): string[] {
  validate(values);
  return (validate.errors ?? []).map(
    ({ instancePath, keyword, params }) => `${instancePath} breaks ${keyword} ${JSON.stringify(params)}`,
  );
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** As Helm lays values over defaults: maps are merged, lists replaced, null removes. */
export function merged(
  below: Record<string, unknown>,
  above: Record<string, unknown>,
): Record<string, unknown> {
  const result = { ...below };
  for (const [name, value] of Object.entries(above)) {
    const under = result[name];
    if (value === null) delete result[name];
    else result[name] = isMap(value) && isMap(under) ? merged(under, value) : value;
  }
  return result;
}

/** All objects that an installation would make; throws where the schema refuses the values, as Helm does. */
export function objectsOf(given: Record<string, unknown> = {}, release = "wolfpack", namespace = "wolfpack") {
  const values = merged(defaults, given);
  const faults = valueFaults(values);
  if (faults.length > 0) throw new Error(faults.join("\n"));
  const texts = renderChart(templates, {
    Values: values,
    Chart: { Name: chart.name, Version: chart.version, AppVersion: chart.appVersion },
    Release: { Name: release, Namespace: namespace, Service: "Helm" },
  });
  const notes = texts.get("NOTES.txt") ?? "";
  const objects = [...texts].flatMap(([name, text]) =>
    name.endsWith(".yaml")
      ? parseAllDocuments(text, { strict: true }).flatMap((document) => {
          if (document.errors.length > 0) throw new Error(`${name}: ${document.errors[0]?.message}`);
          return (document.toJS() as ClusterObject | null) ?? [];
        })
      : [],
  );
  return { objects, notes };
}

export interface ClusterObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  data?: Record<string, string>;
  automountServiceAccountToken?: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: the schemas of Kubernetes say what is in it; tests name what they look at.
  spec?: any;
}
