/** A process of the tests, started from a TypeScript file, asked over IPC, and gone with whoever started it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface Child {
  readonly pid: number;
  /** What the process answers; rejects with what it throws, or when it is gone. */
  ask<T>(call: string, ...args: readonly unknown[]): Promise<T>;
  signal(name: NodeJS.Signals): void;
  /** Closes the process's standard input, as our own end would. */
  abandon(): void;
  /** Ends the process and waits for that. */
  stop(): Promise<void>;
  /** Resolves when the process has ended. */
  readonly gone: Promise<void>;
}

interface Reply {
  id: number;
  result?: unknown;
  error?: string;
}

export function startChild(file: string, nodeArguments: readonly string[] = []): Child {
  const program = fileURLToPath(new URL(file, import.meta.url));
  // The child watches its standard input: it ends when we do, however we do.
  const child: ChildProcess = spawn(process.execPath, [...nodeArguments, program], {
    stdio: ["pipe", "ignore", "inherit", "ipc"],
  });
  const gone = once(child, "exit").then(() => undefined);
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let next = 1;
  child.on("message", ({ id, result, error }: Reply) => {
    const settle = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) settle?.resolve(result);
    else settle?.reject(new Error(error));
  });
  child.once("exit", (code, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`${file} has ended: ${code ?? signal}`));
  });
  return {
    pid: child.pid ?? 0,
    async ask<T>(call: string, ...args: readonly unknown[]): Promise<T> {
      const id = next;
      next += 1;
      const settle = Promise.withResolvers<unknown>();
      waiting.set(id, settle);
      child.send({ id, call, args });
      return (await settle.promise) as T;
    },
    signal: (name) => void child.kill(name),
    abandon: () => void child.stdin?.end(),
    gone,
    async stop() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}
