/** The built control plane as a process of its own, with its own PostgreSQL, for attacks from outside of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export interface ControlPlaneProcess {
  child: ChildProcess;
  port: number;
  adminKey: string;
  runnerToken: string;
  /** Lines of the log so far. */
  lines: string[];
  stderr: () => string;
  /** Ends it with SIGTERM; resolves to its exit code. */
  stop(): Promise<number | null>;
}

export async function startProcess(
  nodeFlags: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<ControlPlaneProcess> {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-hostile-"));
  const child = spawn(process.execPath, [...nodeFlags, MAIN], {
    env: {
      PATH: process.env.PATH ?? "",
      DATA_DIR: dataDir,
      PORT: "0",
      HOST: "127.0.0.1",
      // Every case comes from one address.
      WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: "1000000",
      WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: "1000000",
      WOLFPACK_UNAUTHENTICATED_PER_MINUTE_PER_ADDRESS: "1000000",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const ended = once(child, "close").then(async ([code]) => {
    // After a crash its PostgreSQL ends a moment later.
    const lock = path.join(dataDir, "postgres", "postmaster.pid");
    for (let left = 500; existsSync(lock) && left > 0; left -= 1)
      await new Promise((resolve) => setTimeout(resolve, 20));
    rmSync(dataDir, { recursive: true, force: true });
    return code as number | null;
  });
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      lines.push(line);
      const { msg, port: found } = JSON.parse(line) as { msg: string; port?: number };
      if (msg === "ready" && found !== undefined) resolve(found);
    });
    void ended.then((code) => reject(new Error(`it ended with ${code}: ${stderr}`)));
  });
  const secret = (name: string) => readFileSync(path.join(dataDir, name), "utf8").trim();
  return {
    child,
    port,
    adminKey: secret("admin-api-key"),
    runnerToken: secret("runner-token"),
    lines,
    stderr: () => stderr,
    stop() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}
