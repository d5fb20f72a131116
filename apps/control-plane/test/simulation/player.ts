/** The test's end of `child.ts`. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Answer, Asked } from "./child.ts";
import type { RunReport } from "./run.ts";

export class Player {
  private readonly child: ChildProcess;
  private readonly gone: Promise<never>;

  constructor() {
    const child = fileURLToPath(new URL("child.ts", import.meta.url));
    // As Node takes it: without what jest's own process was started with.
    this.child = fork(child, { execArgv: [], serialization: "advanced" });
    this.gone = once(this.child, "exit").then(([code, signal]) => {
      throw new Error(`the process of the simulation ended with ${code ?? signal}`);
    });
    this.gone.catch(() => undefined);
  }

  /** One at a time. Rejects with what the run itself failed with, or when its process has ended. */
  async play(asked: Asked): Promise<RunReport> {
    const answered = once(this.child, "message");
    this.child.send(asked);
    const [answer] = (await Promise.race([answered, this.gone])) as [Answer];
    if ("error" in answer) throw new Error(answer.error);
    return answer.report;
  }

  async stop(): Promise<void> {
    this.child.kill();
    await this.gone.catch(() => undefined);
  }
}
