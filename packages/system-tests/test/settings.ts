/** Which variables the programs know and how long they take, by their documents, which other tests compare with the programs. */
import { readConfig } from "@wolfpack/control-plane/parts";
import { read } from "./repository/workspaces.ts";

const variablesOf = (file: string): ReadonlySet<string> =>
  new Set([...read(file).matchAll(/^\| `([A-Z][A-Z0-9_]*)`/gm)].map(([, name]) => name as string));

export const controlPlaneVariables = variablesOf("docs/operations/configuration.md");
export const agentVariables = variablesOf("docs/operations/agent.md");

const leaving = Number(/\band (\d+) s at most\b/.exec(read("docs/operations/replicas.md"))?.[1]);
const { drainNoticeMs } = readConfig({
  DATABASE_URL: "postgresql://x",
  API_KEY_SECRET: "x".repeat(32),
  WOLFPACK_PUBLIC_URL: "https://x",
});
/** What a replica takes at most from SIGTERM to its end, with the notice that it is given. */
export const leavesWithinSeconds = (noticeSeconds = drainNoticeMs / 1000): number =>
  leaving - drainNoticeMs / 1000 + noticeSeconds;
/** Beyond that, before somebody kills it: for a machine that is busy. */
export const LEAVING_ROOM_SECONDS = 15;
