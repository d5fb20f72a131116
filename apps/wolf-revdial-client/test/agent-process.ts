/** The bundled agent as a process, with what it has said. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { TOKEN } from "./control-plane.ts";

export const bundle = fileURLToPath(new URL("../dist/wolf-revdial-client.mjs", import.meta.url));

export interface AgentProcess {
  process: ChildProcess;
  output: () => string;
  /** Resolves when it has said this; rejects when it ends before. */
  said(what: RegExp): Promise<void>;
  exit: Promise<number | null>;
}

export interface AgentProcessOptions {
  apiUrl: string;
  /** Beside a Wolf. */
  wolfSocket?: string;
  /** Inside a sandbox. */
  sessionId?: string;
  flags?: readonly string[];
  env?: Record<string, string>;
  file?: string;
  node?: string;
}

export function startAgent(options: AgentProcessOptions): AgentProcess {
  const { apiUrl, wolfSocket, sessionId, flags = [], file = bundle, node = process.execPath } = options;
  const env: Record<string, string> = { ...options.env };
  const defaults = {
    "--api-url": apiUrl,
    "--reconnect": "1",
    ...(sessionId === undefined ? {} : { "--session-id": sessionId }),
    ...(wolfSocket === undefined
      ? {}
      : { "--wolf-id": "wolf-1", "--local": `unix://${wolfSocket}`, "--gpu-type": "nvidia" }),
  };
  // A directory beside Wolf's socket, so that no test writes into the host's.
  if (wolfSocket !== undefined) env.WOLFPACK_STATE_DIR ??= path.join(path.dirname(wolfSocket), "state");
  const child = spawn(node, [file, ...Object.entries(defaults).flat(), ...flags], {
    env: { PATH: process.env.PATH ?? "", RUNNER_TOKEN: TOKEN, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const watchers = new Set<() => void>();
  const tell = () => {
    for (const look of [...watchers]) look();
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      tell();
    });
  }
  let ended = false;
  const exit = once(child, "close").then(([code]) => {
    ended = true;
    tell();
    return code as number | null;
  });
  return {
    process: child,
    output: () => output,
    said: (what) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (what.test(output)) resolve();
          else if (ended) reject(new Error(`it ended without saying ${what}:\n${output}`));
          else return;
          watchers.delete(look);
        };
        watchers.add(look);
        look();
      }),
    exit,
  };
}
