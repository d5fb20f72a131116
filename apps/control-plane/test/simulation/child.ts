/** Seeds played for the tests in a process of its own, which asks for one after the other: inside jest each takes twice as long. */
import type { Options } from "./plan.ts";
import { type RunReport, simulate } from "./run.ts";
import { sabotages } from "./sabotage.ts";

export interface Asked extends Options {
  /** What is broken on purpose, by its words in `sabotages`. */
  sabotage?: string;
}
export type Answer = { report: RunReport } | { error: string };

async function play({ sabotage, ...options }: Asked): Promise<Answer> {
  try {
    if (sabotage === undefined) return { report: await simulate(options) };
    const found = sabotages.find(({ what }) => what === sabotage);
    if (found === undefined) throw new Error(`there is no sabotage that ${sabotage}`);
    return { report: await simulate(options, { alter: found.alter() }) };
  } catch (error) {
    return { error: (error as Error).stack ?? String(error) };
  }
}

process.on("message", async (asked: Asked) => void process.send?.(await play(asked)));
