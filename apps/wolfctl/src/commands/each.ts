/** The same for several objects: each is tried, each failure is said, and the first decides the exit code. */
import { Ended, Interrupted, UsageError } from "../errors.ts";
import { failureOf } from "../failure.ts";
import { sentenceLines } from "../output/output.ts";
import type { Run } from "../run.ts";

const MANY_MAX = 1000;

export async function eachOf(
  run: Run,
  names: readonly string[],
  act: (name: string) => Promise<void>,
): Promise<void> {
  if (names.length > MANY_MAX) throw new UsageError(`At most ${MANY_MAX} at once.`);
  const [only] = names;
  if (names.length === 1 && only !== undefined) return act(only);
  let first: Ended | undefined;
  for (const name of new Set(names)) {
    try {
      await act(name);
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      const { exitCode, lines } = failureOf(error, run.target().url.origin);
      const [line = "", ...others] = lines;
      const { stderr, env } = run.edges;
      const said = sentenceLines([`wolfctl: ${name}: ${line}`, ...others], stderr, env);
      await stderr.write(`${said.join("\n")}\n`);
      first ??= new Ended(exitCode);
    }
  }
  if (first !== undefined) throw first;
}
