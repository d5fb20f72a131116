/** Started by scripts/wolfpack.mjs; Node runs it as it is. */
import { simulateCommand } from "./command.ts";
import { simulate } from "./run.ts";

process.exitCode = await simulateCommand(
  process.argv.slice(2),
  { out: (text) => process.stdout.write(text), err: (text) => process.stderr.write(text) },
  simulate,
);
