/** The bench's processes: forked modules that answer calls over Node's IPC channel and die with their parent. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { Session } from "node:inspector/promises";
import { fileURLToPath } from "node:url";

/** What a process of the bench can be asked. Arguments and results are plain values. */
export type Calls = Record<string, (argument: never) => unknown>;

/**
 * For every process of every lane, and what the product's own processes run with: with the default of 16 to 32 MB of young
 * space, buffers of 64 KiB pile up outside the heap until a full collection is due, which costs a third of a gateway's time.
 */
const YOUNG_SPACE = "--max-semi-space-size=1";

interface Question {
  id: number;
  call: string;
  argument: unknown;
}

interface Answer {
  id: number;
  value?: unknown;
  error?: string;
}

export interface Usage {
  cpuMicros: number;
  rssBytes: number;
  rssPeakBytes: number;
}

/** In the child: serves calls until the parent is gone. Each process can be asked for its `usage`. */
export function serveCalls(calls: Calls): void {
  const all: Calls = { ...calls, usage, startProfile, writeProfile };
  process.on("disconnect", () => process.exit(0));
  // Ctrl-C goes to the whole group: the parent decides, and its end is ours.
  process.on("SIGINT", () => undefined);
  process.on("message", async (question: Question) => {
    const { id, call, argument } = question;
    let answer: Answer;
    try {
      const run = all[call];
      if (run === undefined) throw new Error(`no call ${call}`);
      answer = { id, value: await run(argument as never) };
    } catch (error) {
      answer = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    process.send?.(answer);
  });
  process.send?.({ id: 0 });
}

const inspector = new Session();

async function startProfile(): Promise<void> {
  inspector.connect();
  await inspector.post("Profiler.enable");
  await inspector.post("Profiler.setSamplingInterval", { interval: 1000 });
  await inspector.post("Profiler.start");
}

/** A file that Chromium's developer tools open. */
async function writeProfile(file: string): Promise<void> {
  const { profile } = await inspector.post("Profiler.stop");
  await writeFile(file, JSON.stringify(profile));
  inspector.disconnect();
}

function usage(): Usage {
  const { user, system } = process.cpuUsage();
  return {
    cpuMicros: user + system,
    rssBytes: process.memoryUsage.rss(),
    rssPeakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** In the parent: a running process. */
export class BenchProcess {
  readonly name: string;
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, PromiseWithResolvers<unknown>>();
  private next = 1;

  private constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.child = child;
    child.on("message", (message) => this.answered(message as Answer));
    child.on("exit", (code) => {
      for (const { reject } of this.waiting.values())
        reject(new Error(`${name} ended (${code}) before it answered`));
      this.waiting.clear();
    });
  }

  /** Resolves when its module has been loaded. */
  static async start(name: string, module: string, nodeFlags: readonly string[] = []): Promise<BenchProcess> {
    const file = fileURLToPath(new URL(`./${module}.js`, import.meta.url));
    const child = fork(file, { execArgv: [YOUNG_SPACE, ...nodeFlags], serialization: "json" });
    const started = new BenchProcess(name, child);
    await Promise.race([
      once(child, "message"),
      once(child, "exit").then(() => Promise.reject(new Error(`${name} did not start`))),
    ]);
    return started;
  }

  private answered({ id, value, error }: Answer): void {
    const waiter = this.waiting.get(id);
    if (waiter === undefined) return;
    this.waiting.delete(id);
    if (error === undefined) waiter.resolve(value);
    else waiter.reject(new Error(`${this.name}: ${error}`));
  }

  get pid(): number {
    return this.child.pid as number;
  }

  call<Value>(call: string, argument?: unknown): Promise<Value> {
    if (!this.child.connected) return Promise.reject(new Error(`${this.name} has ended`));
    const id = this.next;
    this.next += 1;
    const waiter = Promise.withResolvers<unknown>();
    this.waiting.set(id, waiter);
    this.child.send({ id, call, argument } satisfies Question);
    return waiter.promise as Promise<Value>;
  }

  usage(): Promise<Usage> {
    return this.call<Usage>("usage");
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, "exit");
    this.child.kill("SIGCONT");
    this.child.kill("SIGKILL");
    await gone;
  }
}
