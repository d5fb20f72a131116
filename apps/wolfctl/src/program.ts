/** All commands with their global flags. Whoever builds it decides where output goes; nothing here ends the process. */
import { Command, Option } from "commander";
import { auditCommand } from "./commands/audit.ts";
import { completionCommands } from "./commands/completion.ts";
import { configCommand } from "./commands/config.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { eventsCommand } from "./commands/events.ts";
import { keysCommand } from "./commands/keys.ts";
import { placementsCommand } from "./commands/placements.ts";
import { queueCommand } from "./commands/queue.ts";
import { sessionsCommand } from "./commands/sessions.ts";
import { tokensCommand } from "./commands/tokens.ts";
import { usersCommand } from "./commands/users.ts";
import { wolvesCommand } from "./commands/wolves.ts";
import type { Edges } from "./edges.ts";
import { formats, sentenceLines, widthOf } from "./output/output.ts";
import { withoutCredentials } from "./output/printable.ts";
import { binder, type Spoken } from "./run.ts";

export function createProgram(edges: Edges, spoken: Spoken = {}): Command {
  const program = new Command("wolfctl")
    .description("Sees and steers a Wolfpack fleet")
    .version(edges.version, "-V, --version", "Print the version")
    .helpOption("-h, --help", "Say what there is")
    .helpCommand("help [command]", "Say what a command does")
    .addOption(new Option("-o, --output <form>", "What to print").choices(formats).default("table"))
    .option("--wide", "Cut nothing off, whatever the width")
    .option("--profile <profile>", "Use this profile (WOLFCTL_PROFILE)")
    .option("--url <url>", "The control plane (WOLFPACK_URL)")
    .option("--key-file <file>", "The file with the API key (WOLFPACK_API_KEY_FILE)")
    .option("-y, --yes", "Do not ask before what cannot be undone")
    .exitOverride()
    .showHelpAfterError("(--help says what there is)")
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true, subcommandTerm: (command) => termOf(command) })
    .configureOutput({
      writeOut: (text) => void edges.stdout.write(text),
      writeErr: (text) => void edges.stderr.write(text),
      outputError: (text, write) => {
        const sentence = text
          .trim()
          .replace(/^error: /, "")
          .replace(/\s*\n\s*/g, " ");
        const lines = sentenceLines([`wolfctl: ${withoutCredentials(sentence)}`], edges.stderr, edges.env);
        write(`${lines.join("\n")}\n`);
      },
      getOutHelpWidth: () => widthOf(edges.stdout.columns, edges.env.COLUMNS),
      getErrHelpWidth: () => widthOf(edges.stderr.columns, edges.env.COLUMNS),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .addHelpText("after", afterHelp);
  const bind = binder(edges, spoken);
  for (const add of [
    wolvesCommand,
    sessionsCommand,
    queueCommand,
    placementsCommand,
    eventsCommand,
    tokensCommand,
    usersCommand,
    keysCommand,
    auditCommand,
    doctorCommand,
    configCommand,
    completionCommands,
  ])
    add(program, bind);
  return program;
}

/** Without the arguments of a group's own, and without aliases: they are in each command's own help. */
function termOf(command: Command): string {
  const args = command.registeredArguments.map((one) => {
    const name = one.name() + (one.variadic ? "..." : "");
    return one.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...args].join(" ");
}

const afterHelp = `
First of all:
  wolfctl config set home --url https://wolfpack.example.com
  wolfctl config set-key
  wolfctl doctor

Exit codes: 0 done, 1 not done, 2 wrong usage or settings, 3 key refused,
4 not found, 5 not to be reached now, 130 interrupted.`;
