/** What can follow the words of a command line that is not finished: a pure function of the tree of commands. */
import type { Argument, Command, Option } from "commander";

export interface Candidate {
  word: string;
  about: string;
}
/** What only the control plane knows. */
export type Known = "wolves" | "sessions" | "profiles";
export interface Completion {
  candidates: Candidate[];
  /** Asked for besides. */
  known?: Known;
  /** Names of files fit. */
  files?: boolean;
}

const nothing: Completion = { candidates: [] };

/** `words` without the program's name; the last one is being typed and may be empty. */
export function complete(program: Command, words: readonly string[]): Completion {
  const typed = words.at(-1) ?? "";
  let command = program;
  let position = 0;
  let open: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (open !== undefined) {
      open = undefined;
      continue;
    }
    if (word.startsWith("-")) {
      const option = optionsOf(command).find((one) => one.long === word || one.short === word);
      open = option?.required ? option : undefined;
      continue;
    }
    const next = command.commands.find((one) => one.name() === word || one.aliases().includes(word));
    // No command is called that: nothing can follow.
    if (next === undefined && command.commands.length > 0) return nothing;
    if (next === undefined) position += 1;
    else command = next;
  }
  if (open !== undefined) return forValue(open, typed);
  const [, flag, given] = /^(--[a-z-]+)=(.*)$/.exec(typed) ?? [];
  if (flag !== undefined) {
    const option = optionsOf(command).find((one) => one.long === flag);
    if (option === undefined) return nothing;
    const { candidates, ...rest } = forValue(option, given ?? "");
    return { ...rest, candidates: candidates.map(({ word, about }) => ({ word: `${flag}=${word}`, about })) };
  }
  if (typed.startsWith("-"))
    return matching(
      typed,
      optionsOf(command)
        .filter(({ hidden }) => !hidden)
        .map(({ long, short, description }) => ({ word: long ?? short ?? "", about: description })),
    );
  if (command.commands.length > 0)
    return matching(
      typed,
      command.commands
        .filter((one) => !isHidden(one))
        .map((one) => ({ word: one.name(), about: one.description() })),
    );
  return forArgument(command.registeredArguments, position, typed);
}

const optionsOf = (command: Command): Option[] => {
  const found: Option[] = [];
  for (let one: Command | null = command; one !== null; one = one.parent) found.push(...one.options);
  return found;
};

// Commander keeps it to itself.
const isHidden = (command: Command): boolean =>
  (command as unknown as { _hidden?: boolean })._hidden === true;

const matching = (typed: string, all: readonly Candidate[]): Completion => ({
  candidates: all.filter(({ word }) => word.startsWith(typed)),
});

function forValue({ argChoices, flags }: Option, typed: string): Completion {
  if (argChoices !== undefined)
    return matching(
      typed,
      argChoices.map((word) => ({ word, about: "" })),
    );
  const [, kind] = /<([^>]*)>/.exec(flags) ?? [];
  if (kind === "file" || kind === "folder") return { candidates: [], files: true };
  return kind === undefined ? nothing : known(kind);
}

function forArgument(args: readonly Argument[], position: number, typed: string): Completion {
  const last = args.at(-1);
  const argument = args[position] ?? (last?.variadic ? last : undefined);
  if (argument === undefined) return nothing;
  if (argument.argChoices !== undefined)
    return matching(
      typed,
      argument.argChoices.map((word) => ({ word, about: "" })),
    );
  return known(argument.name());
}

function known(name: string): Completion {
  const kinds: Record<string, Known> = { wolf: "wolves", session: "sessions", profile: "profiles" };
  const kind = kinds[name];
  return kind === undefined ? nothing : { candidates: [], known: kind };
}
