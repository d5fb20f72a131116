/**
 * The same for several objects: each is tried, each failure is said, and the first decides the exit code. Programs find as many documents
 * as objects, in their order: where one has failed, it says so.
 */
import { Ended, Interrupted, UsageError } from "../errors.ts";
import { codeOf, failureOf } from "../failure.ts";
import { sentenceLines } from "../output/output.ts";
import type { Run } from "../run.ts";

const MANY_MAX = 1000;

export async function eachOf(
  run: Run,
  names: readonly string[],
  act: (name: string) => Promise<void>,
): Promise<void> {
  if (names.length > MANY_MAX) throw new UsageError(`At most ${MANY_MAX} at once.`);
  let first: Ended | undefined;
  for (const name of new Set(names)) {
    try {
      await act(name);
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      const { exitCode, lines } = failureOf(error, run.target().url.origin);
      const [line = "", ...others] = lines;
      if (run.out.format === "json" || run.out.format === "yaml") {
        const failed = { code: codeOf(error) ?? null, detail: line, exit_code: exitCode };
        await run.out.one({ object: name, error: failed }, { name: () => name, text: () => "" });
      }
      // Of one alone it is plain which is meant.
      if (names.length === 1) throw error;
      const { stderr, env } = run.edges;
      const said = sentenceLines([`wolfctl: ${name}: ${line}`, ...others], stderr, env);
      await stderr.write(`${said.join("\n")}\n`);
      first ??= new Ended(exitCode);
    }
  }
  if (first !== undefined) throw first;
}
