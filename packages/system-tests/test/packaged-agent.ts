/** The bundled agent as a process that gets the variables of its packaging and no others. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { agentBundle } from "../src/stack.ts";

export interface PackagedAgent {
  output: () => string;
  /** Resolves when it has said this; rejects when it ends before. */
  said(what: RegExp): Promise<void>;
  /** SIGTERM. */
  stop(): Promise<number | null>;
  exit: Promise<number | null>;
}

export function packagedAgent(args: readonly string[], env: Record<string, string>): PackagedAgent {
  const child = spawn(process.execPath, [agentBundle, ...args], {
    env: { PATH: process.env.PATH ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let hear: () => void = () => undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      hear();
    });
  }
  const exit = once(child, "close").then(([code]) => code as number | null);
  return {
    output: () => output,
    async said(what) {
      const heard = new Promise<boolean>((resolve) => {
        hear = () => what.test(output) && resolve(true);
        hear();
      });
      if (!(await Promise.race([heard, exit.then(() => what.test(output))])))
        throw new Error(`it ended without saying ${what}:\n${output}`);
    },
    stop() {
      child.kill("SIGTERM");
      return exit;
    },
    exit,
  };
}
