/** Which variables the programs know, by their documents, which other tests compare with the programs. */
import { read } from "./repository/workspaces.ts";

const variablesOf = (file: string): ReadonlySet<string> =>
  new Set([...read(file).matchAll(/^\| `([A-Z][A-Z0-9_]*)`/gm)].map(([, name]) => name as string));

export const controlPlaneVariables = variablesOf("docs/operations/configuration.md");
export const agentVariables = variablesOf("docs/operations/agent.md");
