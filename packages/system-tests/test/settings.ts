/** Which variables the programs know, by their documents, which other tests compare with the programs. */
import { read } from "./repository/workspaces.ts";

const variablesOf = (file: string): ReadonlySet<string> =>
  new Set([...read(file).matchAll(/^\| `([A-Z][A-Z0-9_]*)`/gm)].map(([, name]) => name as string));

/** WOLFPACK_REPLICA_URL comes with replicas. */
export const controlPlaneVariables: ReadonlySet<string> = new Set([
  ...variablesOf("docs/operations/configuration.md"),
  "WOLFPACK_REPLICA_URL",
]);
export const agentVariables = variablesOf("docs/operations/agent.md");
