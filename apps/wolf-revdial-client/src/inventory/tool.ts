/** Runs a tool of the host: no shell, a time limit, bounded output, no inherited environment but the path. Never rejects. */
import { execFile } from "node:child_process";

export type ToolResult =
  | { outcome: "ran"; code: number; output: string }
  /** Not installed. */
  | { outcome: "absent" }
  /** Too slow, too much output, or could not be run. */
  | { outcome: "failed"; why: string };

export interface ToolOptions {
  path: string | undefined;
  timeoutMs: number;
  outputBytesMax: number;
  signal: AbortSignal;
}

export function runTool(file: string, args: readonly string[], options: ToolOptions): Promise<ToolResult> {
  const { path, timeoutMs, outputBytesMax, signal } = options;
  return new Promise((resolve) => {
    const settings = {
      env: { LC_ALL: "C", ...(path === undefined ? {} : { PATH: path }) },
      timeout: timeoutMs,
      killSignal: "SIGKILL" as const,
      maxBuffer: outputBytesMax,
      encoding: "utf8" as const,
    };
    if (signal.aborted) return resolve({ outcome: "failed", why: "ended by a signal" });
    // Node's own way to abort a process that could not be started signals process 0: the whole group of this agent.
    const abort = () => child.pid !== undefined && child.kill("SIGKILL");
    const child = execFile(file, [...args], settings, (error, stdout, stderr) => {
      signal.removeEventListener("abort", abort);
      const output = `${stdout}${stderr}`;
      if (error === null) return resolve({ outcome: "ran", code: 0, output });
      if (error.code === "ENOENT") return resolve({ outcome: "absent" });
      if (typeof error.code === "number") return resolve({ outcome: "ran", code: error.code, output });
      const why = error.killed
        ? `no answer within ${timeoutMs} ms`
        : String(error.code ?? "ended by a signal");
      resolve({ outcome: "failed", why });
    });
    signal.addEventListener("abort", abort, { once: true });
  });
}
