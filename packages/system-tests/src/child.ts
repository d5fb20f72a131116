/** One process of the stack: started in a group of its own, logged to a file, and never left behind, even when we are killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";

export interface ChildOptions {
  name: string;
  command: readonly string[];
  /** Added to our environment; secrets go here, never into the command. */
  env?: Record<string, string>;
  logFile: string;
  /** Asked for each line of stdout until it says that the process is ready. Absent: ready once it is started. */
  isReady?: (line: string) => boolean;
  /** Hears each line of stdout. */
  onLine?: (line: string) => void;
}

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const STDERR_KEPT = 2000;

/**
 * Runs "$@" and ends it when our end of the pipe closes, by `stop` or by our death. A group of its own keeps the terminal's
 * Ctrl-C away: what stops first is ours to decide.
 */
export const WATCHDOG = `exec 3<&0 </dev/null
"$@" 3<&- & child=$!
( trap '' INT TERM HUP; read -r line <&3; kill -TERM "$child" 2>/dev/null ) & watcher=$!
trap '' INT TERM HUP
wait "$child"; code=$?
kill -KILL "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$code"`;

/** A process that did not get ready, in its own words. */
export class ChildFailed extends Error {
  override readonly name = "ChildFailed";
}

export class Child {
  readonly name: string;
  /** Settles with the exit code when it has ended, whatever the way. */
  readonly exited: Promise<number>;
  private readonly process: ChildProcess;
  private readonly log: WriteStream;
  private stderr = "";

  private constructor({ name, command, env, logFile }: ChildOptions) {
    this.name = name;
    this.log = createWriteStream(logFile, { flags: "a", mode: 0o600 });
    this.process = spawn("/bin/sh", ["-c", WATCHDOG, "wolfpack-child", ...command], {
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.process.stdin?.on("error", () => undefined);
    this.process.stdout?.pipe(this.log, { end: false });
    this.process.stderr?.pipe(this.log, { end: false });
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_KEPT);
    });
    this.exited = once(this.process, "close").then(([code]) => {
      this.log.end();
      return typeof code === "number" ? code : 1;
    });
  }

  /** Resolves when it is ready. Rejects with ChildFailed when it ends before, or takes more than a minute. */
  static async start(options: ChildOptions): Promise<Child> {
    const child = new Child(options);
    const { isReady, onLine } = options;
    if (isReady === undefined && onLine === undefined) return child;
    const lines = createInterface({ input: child.process.stdout as NodeJS.ReadableStream });
    if (onLine !== undefined) lines.on("line", onLine);
    if (isReady === undefined) return child;
    let timer: NodeJS.Timeout | undefined;
    const outcome = await Promise.race([
      new Promise<"ready">((resolve) => lines.on("line", (line) => isReady(line) && resolve("ready"))),
      child.exited.then(() => "ended" as const),
      new Promise<"late">((resolve) => {
        timer = setTimeout(() => resolve("late"), READY_TIMEOUT_MS);
      }),
    ]);
    clearTimeout(timer);
    if (outcome === "ready") return child;
    await child.stop();
    const said = sentenceOf(child.stderr);
    throw new ChildFailed(
      outcome === "late"
        ? `${options.name} was not ready within a minute.`
        : said || `${options.name} ended at once.`,
    );
  }

  /** An orderly end; SIGKILL for the whole group when that takes too long. */
  async stop(): Promise<void> {
    this.process.stdin?.end();
    const timer = setTimeout(() => this.kill(), STOP_TIMEOUT_MS);
    await this.exited;
    clearTimeout(timer);
  }

  /** SIGKILL: no word to anybody. */
  kill(): void {
    this.signal("SIGKILL");
  }

  /** It stands still, with its connections open, until `resume`. */
  pause(): void {
    this.signal("SIGSTOP");
  }

  resume(): void {
    this.signal("SIGCONT");
  }

  private signal(name: NodeJS.Signals): void {
    const { pid } = this.process;
    if (pid === undefined) return;
    try {
      process.kill(-pid, name);
    } catch {
      // It has just ended by itself.
    }
  }
}

/** Our programs end with one sentence; of a stack trace, the line that names the error. */
function sentenceOf(stderr: string): string {
  const lines = stderr.trim().split("\n");
  return lines.findLast((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1) ?? "";
}
