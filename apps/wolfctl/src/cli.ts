/** The process edge: the only file that knows streams, signals and the environment, and the only one that ends the process. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { ask } from "./ask.ts";
import { reasonOf } from "./config/profiles.ts";
import type { Terminal } from "./edges.ts";
import { exitCodes } from "./errors.ts";
import { main } from "./main.ts";

/** Set by the bundler from package.json. */
declare const WOLFCTL_VERSION: string | undefined;
const version =
  typeof WOLFCTL_VERSION === "string"
    ? WOLFCTL_VERSION
    : (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
        .version;

const stop = new AbortController();
let isUnread = false;

process.on("SIGINT", () => {
  // Whoever presses it twice does not want to wait for an orderly end.
  if (stop.signal.aborted) process.exit(exitCodes.interrupted);
  stop.abort();
});
process.on("SIGTERM", () => stop.abort());
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") {
    // What was printed is not all: whoever reads it has to know.
    process.stderr.write(`wolfctl: What was to be printed could not be written: ${reasonOf(error)}.\n`);
    process.exit(exitCodes.failed);
  }
  // Whoever read it, such as head, has seen enough.
  isUnread = true;
  stop.abort();
});
// Remarks that nobody can read change nothing of what is done.
process.stderr.on("error", () => undefined);

function terminal(stream: NodeJS.WriteStream): Terminal {
  return {
    isTTY: stream.isTTY === true,
    get columns() {
      return stream.isTTY ? stream.columns : undefined;
    },
    get rows() {
      return stream.isTTY ? stream.rows : undefined;
    },
    write: (data) =>
      new Promise((resolve) => {
        if (isUnread || stream.write(data)) return resolve();
        stream
          .once("drain", resolve)
          .once("close", resolve)
          .once("error", () => resolve());
      }),
  };
}

const stdout = terminal(process.stdout);
const stderr = terminal(process.stderr);
const code = await main(process.argv.slice(2), {
  version,
  env: process.env,
  home: homedir(),
  stdin: Object.assign(process.stdin, { isTTY: process.stdin.isTTY === true }),
  stdout,
  stderr,
  fetch,
  now: Date.now,
  random: Math.random,
  pause: (ms, signal) =>
    new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener("abort", end);
      if (signal.aborted) end();
    }),
  limit: (ms) => AbortSignal.timeout(ms),
  ask: (question, options) =>
    ask(
      {
        input: process.stdin,
        output: process.stderr,
        signal: stop.signal,
        onInterrupt: () => stop.abort(),
      },
      question,
      options,
    ),
  newId: randomUUID,
  signal: stop.signal,
});
// What is written is on its way before the process ends.
await new Promise<void>((resolve) => (isUnread ? resolve() : process.stdout.write("", () => resolve())));
process.exit(isUnread ? exitCodes.ok : code);
