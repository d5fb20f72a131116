/** `wolfctl completion`: the script for a shell; and the hidden command that those scripts ask. */
import { Argument, type Command } from "commander";
import { type Candidate, complete, type Known } from "../completion/candidates.ts";
import { completionScripts, shells } from "../completion/scripts.ts";
import { readProfiles } from "../config/profiles.ts";
import { liveSessions } from "../lookup.ts";
import { LARGE_PAGE, listed } from "../pages.ts";
import type { Binder, Run } from "../run.ts";

const KNOWN_MAX = 1000;
/** Whoever presses the key does not wait longer. */
const KNOWN_MS = 2000;
/** Nothing that a shell could take for more than a word. */
const harmless = /^[A-Za-z0-9_][A-Za-z0-9_.:@/=-]*$|^--?[a-z][a-z-]*(=[A-Za-z0-9_.-]*)?$/;

export function completionCommands(program: Command, bind: Binder): void {
  program
    .command("completion")
    .description("Print the script that completes commands in a shell")
    .addArgument(new Argument("<shell>", "which shell").choices(shells))
    .action(
      bind<object, [keyof typeof completionScripts]>((run, _flags, shell) =>
        run.out.write(completionScripts[shell]),
      ),
    );
  program
    .command("__complete", { hidden: true })
    .argument("[words...]")
    .action(bind<object, [string[]]>((run, _flags, words) => answer(run, program, words)));
}

async function answer(run: Run, program: Command, words: string[]): Promise<void> {
  const { candidates, known, files } = complete(program, words);
  const more = known === undefined ? [] : await knownWords(run, known).catch(() => []);
  const typed = words.at(-1) ?? "";
  const found = [...candidates, ...more.filter(({ word }) => word.startsWith(typed))]
    .filter(({ word }) => harmless.test(word))
    .map(({ word, about }) => `${word}\t${about.replace(/[^\x20-\x7e]/g, " ").replace(/[`$\\]/g, " ")}\n`);
  await run.out.write(found.join("") + (files ? ":files\n" : ""));
}

async function knownWords(run: Run, known: Known): Promise<Candidate[]> {
  if (known === "profiles")
    return Object.entries(readProfiles(run.edges).profiles).map(([word, { url }]) => ({ word, about: url }));
  const options = { timeoutMs: KNOWN_MS };
  if (known === "wolves") {
    const { items } = await listed(
      KNOWN_MAX,
      (page) => run.connection().call("listWolves", { query: page }, options),
      LARGE_PAGE,
    );
    return items.map(({ name, status }) => ({ word: name, about: status }));
  }
  const { items } = await liveSessions(run.connection(), {}, KNOWN_MAX);
  return items.map(({ id, name, status }) => ({ word: id, about: `${name} (${status})` }));
}
