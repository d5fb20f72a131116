/** `wolfctl sessions screenshot` and `clipboard`: what is on a sandbox's screen, and what is copied there. Both come from a host: neither is trusted. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { reasonOf, writeWhole } from "../config/profiles.ts";
import { Failed, UsageError } from "../errors.ts";
import { readAll } from "../input.ts";
import { printableLines } from "../output/printable.ts";
import { size } from "../output/words.ts";
import type { Binder, Run } from "../run.ts";
import { sessionId } from "./sessions.ts";

const CLIPBOARD_BYTES_MAX = 48 * 1024;

export function screenCommands(sessions: Command, bind: Binder): void {
  sessions
    .command("screenshot")
    .description("Save what is on a session's screen")
    .argument("<session>", "id")
    .option("--file <file>", "Where to; - is stdout. Default: <session>.png or what it is")
    .action(bind<{ file?: string }, [string]>(screenshot));
  sessions
    .command("clipboard")
    .description("Print a session's clipboard, or set it")
    .argument("<session>", "id")
    .option("--set <file>", "Set it to what is in the file, at most 48 KiB of UTF-8; - is stdin")
    .action(bind<{ set?: string }, [string]>(clipboard));
}

async function screenshot(run: Run, { file }: { file?: string }, id: string): Promise<void> {
  if (file === "-" && run.edges.stdout.isTTY)
    throw new UsageError("An image is nothing for a terminal: say --file, or lead the output elsewhere.");
  const { body } = await run.connection().call("getScreenshot", { params: { id: sessionId(id) } });
  const kind = imageKind(body);
  if (kind === undefined)
    throw new Failed("What came is no image: it begins neither as PNG nor as JPEG nor as WebP.");
  if (file === "-") return run.out.write(body);
  const place = file ?? `${id}.${kind}`;
  writeWhole(place, body);
  if (run.out.format === "name") return run.out.write(`${place}\n`);
  await run.out.done(`${place} is written, ${size(body.byteLength)}.`);
}

/** By its first bytes, not by what somebody says. */
export function imageKind(bytes: Uint8Array): "png" | "jpg" | "webp" | undefined {
  const begins = (at: number, ...signature: number[]) =>
    signature.every((byte, index) => bytes[at + index] === byte);
  if (begins(0, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return "png";
  if (begins(0, 0xff, 0xd8, 0xff)) return "jpg";
  return begins(0, 0x52, 0x49, 0x46, 0x46) && begins(8, 0x57, 0x45, 0x42, 0x50) ? "webp" : undefined;
}

async function clipboard(run: Run, { set }: { set?: string }, id: string): Promise<void> {
  if (set !== undefined) {
    const text = await readText(run, set);
    await run.connection().call("setClipboard", { params: { id: sessionId(id) }, body: { text } });
    return run.out.done("The clipboard is set.");
  }
  const { body } = await run.connection().call("getClipboard", { params: { id: sessionId(id) } });
  if (run.out.format === "json" || run.out.format === "yaml")
    return run.out.one(body, { name: () => "", text: () => "" });
  // A file or a program gets every byte; a terminal would obey some of them.
  if (!run.edges.stdout.isTTY) return run.out.write(body.text);
  const shown = printableLines(body.text);
  await run.out.write(shown.endsWith("\n") || shown === "" ? shown : `${shown}\n`);
}

async function readText(run: Run, file: string): Promise<string> {
  let bytes: Uint8Array;
  if (file === "-") bytes = await readAll(run.edges.stdin, CLIPBOARD_BYTES_MAX, "The clipboard");
  else
    try {
      bytes = readFileSync(file);
    } catch (cause) {
      throw new UsageError(`${file} cannot be read: ${reasonOf(cause)}.`, { cause });
    }
  if (bytes.byteLength > CLIPBOARD_BYTES_MAX)
    throw new UsageError(`The clipboard takes at most 48 KiB; there are ${size(bytes.byteLength)}.`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new UsageError("The clipboard takes text, and this is not UTF-8.", { cause });
  }
}
