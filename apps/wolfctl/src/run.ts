/** One command's run: its global flags, the connection that it opens when it needs one, its output, questions before what cannot be undone. */
import type { Command } from "commander";
import { readKeyFile } from "./config/key-file.ts";
import { readProfiles } from "./config/profiles.ts";
import { type Target, targetOf } from "./config/target.ts";
import { type Connection, connect } from "./connection.ts";
import type { Edges } from "./edges.ts";
import { Failed, Interrupted, UsageError } from "./errors.ts";
import { createOutput, type Format, type Output, sentenceLines } from "./output/output.ts";
import { printable } from "./output/printable.ts";

export interface GlobalFlags {
  output: Format;
  wide?: boolean;
  profile?: string;
  url?: string;
  keyFile?: string;
  yes?: boolean;
}

export interface Run {
  readonly edges: Edges;
  readonly flags: GlobalFlags;
  readonly out: Output;
  /** The control plane that is meant. Throws UsageError. */
  target(): Target;
  /** The same with its key. Throws UsageError. */
  connection(): Connection;
  /** Asks on the terminal, unless --yes said so. Throws Failed where the answer is no, UsageError where nobody can be asked. */
  confirm(question: string): Promise<void>;
}

/** What a failure names the control plane, once it is known. */
export interface Spoken {
  controlPlane?: string;
}

export function runOf(edges: Edges, flags: GlobalFlags, spoken: Spoken): Run {
  const out = createOutput(edges, { format: flags.output, wide: flags.wide ?? false });
  let target: Target | undefined;
  let connection: Connection | undefined;
  const run: Run = {
    edges,
    flags,
    out,
    target() {
      target ??= targetOf(flags, edges.env, readProfiles(edges));
      spoken.controlPlane = target.url.origin;
      return target;
    },
    connection() {
      if (connection !== undefined) return connection;
      const meant = run.target();
      if (meant.keyFile === null)
        throw new UsageError(
          `There is no API key for ${meant.url.origin}: wolfctl config set-key, or WOLFPACK_API_KEY_FILE or --key-file.`,
        );
      for (const warning of meant.warnings) void out.note(`warning: ${warning}`);
      connection = connect(meant, readKeyFile(meant.keyFile), edges);
      return connection;
    },
    async confirm(question) {
      if (flags.yes) return;
      if (!edges.stdin.isTTY || !edges.stderr.isTTY)
        throw new UsageError(`${printable(question)} Nobody can be asked here: say --yes if it is meant.`);
      const lines = sentenceLines([`${question} [y/N]`], edges.stderr, edges.env);
      const answer = await edges.ask(`${lines.join("\n")} `, { hidden: false });
      if (edges.signal.aborted) throw new Interrupted();
      if (!/^y(es)?$/i.test(answer.trim())) throw new Failed("Nothing was changed.");
    },
  };
  return run;
}

export type Handler<Flags, Args extends unknown[]> = (run: Run, flags: Flags, ...args: Args) => Promise<void>;

/** How commands reach their edges: an action for commander, which hands over arguments, flags and the command. */
export type Binder = <Flags, Args extends unknown[]>(
  handler: Handler<Flags, Args>,
) => (...given: unknown[]) => Promise<void>;

export const binder =
  (edges: Edges, spoken: Spoken): Binder =>
  (handler) =>
  async (...given) => {
    const command = given.at(-1) as Command;
    const args = given.slice(0, -2);
    const flags = command.optsWithGlobals() as GlobalFlags;
    // biome-ignore lint/suspicious/noExplicitAny: commander has no types for what it hands over
    await handler(runOf(edges, flags, spoken), flags as any, ...(args as any));
  };
