/** One command line from its words to its exit code. */
import { CommanderError } from "commander";
import type { Edges } from "./edges.ts";
import { type ExitCode, exitCodes, UsageError } from "./errors.ts";
import { failureOf } from "./failure.ts";
import { sentenceLines } from "./output/output.ts";
import { paintFor } from "./output/style.ts";
import { createProgram } from "./program.ts";
import type { Spoken } from "./run.ts";

const credential = /\b(wpk|wjt)_[A-Za-z0-9_-]{8,}/;

/** Never rejects. `words` are those after the program's name. */
export async function main(words: readonly string[], edges: Edges): Promise<ExitCode> {
  const spoken: Spoken = {};
  try {
    if (words.some((word) => credential.test(word)))
      throw new UsageError(
        "There is a key or token in the command line, where every user of this machine can read it: revoke it, and keep the next one in a file (wolfctl config set-key, --key-file).",
      );
    const program = createProgram(edges, spoken);
    if (words.length === 0) {
      await edges.stdout.write(program.helpInformation());
      return exitCodes.usage;
    }
    await program.parseAsync([...words], { from: "user" });
    return edges.signal.aborted ? exitCodes.interrupted : exitCodes.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    const { exitCode, lines } = failureOf(error, spoken.controlPlane);
    if (edges.signal.aborted) return exitCodes.interrupted;
    const [first, ...others] = lines;
    if (first === undefined) return exitCode;
    const paint = paintFor(edges.stderr.isTTY, edges.env);
    const text = sentenceLines([`wolfctl: ${first}`, ...others], edges.stderr, edges.env).join("\n");
    await edges.stderr.write(`${text.replace(/^wolfctl:/, paint("bad", "wolfctl:"))}\n`);
    return exitCode;
  }
}
