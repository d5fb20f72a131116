/** The command line: parse, call, print. The only file that ends the process; errors become exit codes here. */
import { readFileSync } from "node:fs";
import { Command, CommanderError, type OutputConfiguration } from "commander";
import { CredentialRefused } from "./agent.ts";
import { connectCommand } from "./commands/connect.ts";
import { EnrollInterrupted, enrollCommand } from "./commands/enroll.ts";
import { NotServing, statusCommand } from "./commands/status.ts";
import { ConfigError } from "./config.ts";
import { DoctorEnd, doctorCommand } from "./doctor/command.ts";
import { modernise } from "./spelling.ts";

/** Set by the bundler from package.json. */
declare const AGENT_VERSION: string | undefined;
const version =
  typeof AGENT_VERSION === "string"
    ? AGENT_VERSION
    : (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
        .version;

/** What a wrong setting is answered with, by command. */
const usages: Record<string, string> = {
  connect:
    "[connect] --api-url <url> --wolf-id <name> [--join-token-file <path>] [--local <target>]; see --help",
  enroll: "enroll --api-url <url> --wolf-id <name> --join-token-file <path>; see enroll --help",
  doctor: "doctor --api-url <url> [--wolf-id <name>] [--local <target>]; see doctor --help",
  status: "status --health-listen <address>; see status --help",
};
const exitCodes = { failed: 1, usage: 2, credential: 3, interrupted: 130 } as const;

/** A token that stands where none belongs is not repeated into whatever keeps the output. */
const output: OutputConfiguration = {
  outputError: (text, write) => write(text.replace(/\b(wjt|wpk)_[A-Za-z0-9_-]+/g, "[token]")),
};

async function main(): Promise<number> {
  const edges = { version, env: process.env, exit: (code: number) => process.exit(code) };
  const connect = connectCommand(edges);
  const program = new Command("wolf-revdial-client")
    .description(
      "The agent beside a Wolf: dials out to the control plane and serves Wolf's API through the tunnel",
    )
    .version(version)
    .addCommand(connect, { isDefault: true })
    .addCommand(
      enrollCommand({
        version,
        env: process.env,
        print: (text) => void process.stdout.write(text),
        warn: (text) => void process.stderr.write(`${text}\n`),
      }),
    )
    .addCommand(
      doctorCommand({ version, env: process.env, print: (text) => void process.stdout.write(text) }),
    )
    .addCommand(statusCommand(edges))
    .addHelpText("after", () => `\nWithout a command it is connect:\n\n${connect.helpInformation()}`)
    .exitOverride()
    .configureOutput(output);
  let running = connect.name();
  program.hook("preAction", (_program, command) => {
    running = command.name();
  });
  for (const command of program.commands)
    command.exitOverride().configureOutput(output).showHelpAfterError("(see --help)");
  // Whoever read it, such as head, has seen enough; the exit code is still wanted.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  try {
    await program.parseAsync(modernise(process.argv.slice(2)), { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage;
    if (error instanceof DoctorEnd) return error.exitCode;
    if (error instanceof EnrollInterrupted) return exitCodes.interrupted;
    if (error instanceof NotServing) {
      process.stderr.write(`${error.message}\n`);
      return exitCodes.failed;
    }
    if (error instanceof ConfigError) {
      process.stderr.write(`${error.message}\nusage: wolf-revdial-client ${usages[running]}\n`);
      return exitCodes.usage;
    }
    if (error instanceof CredentialRefused) {
      process.stderr.write(`The control plane refused this agent: ${error.message}\n`);
      return exitCodes.credential;
    }
    process.stderr.write(`wolf-revdial-client: ${error instanceof Error ? error.message : String(error)}\n`);
    return exitCodes.failed;
  }
}

process.exit(await main());
