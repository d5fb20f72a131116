/**
 * `--watch`: the same again and again, drawn over on a terminal; elsewhere printed whenever it has changed. That time passes, and that
 * figures go up and down with it, is no change there.
 */
import type { Edges } from "./edges.ts";
import { Interrupted, UsageError } from "./errors.ts";
import { failureOf, passes } from "./failure.ts";
import { shortened } from "./output/printable.ts";
import { duration } from "./output/words.ts";
import type { Run } from "./run.ts";

const EVERY_MS = 2000;
const HOME_AND_CLEAR = "\x1b[H\x1b[J";

export interface Drawn {
  text: string;
  /** What it shows: objects of the API. */
  shown: unknown;
}

/** Names of the API's fields that are another at nearly every look. A reason's detail has figures in it; its code says what it is. */
const restless = new Set([
  "last_heartbeat",
  "updated_at",
  "usage",
  "rtt_ms",
  "rtt_history",
  "channels",
  "requests_total",
  "bytes_in",
  "bytes_out",
  "detail",
]);
const newsOf = (shown: unknown): string =>
  JSON.stringify(shown, (name, value: unknown) => (restless.has(name) ? undefined : value)) ?? "";

/** `--watch` alone is true; with a value, seconds. */
export function watchMs(flag: string | boolean): number {
  if (typeof flag === "boolean") return EVERY_MS;
  const seconds = /^[0-9]{1,5}$/.test(flag) ? Number(flag) : 0;
  if (seconds < 1 || seconds > 86_400)
    throw new UsageError("--watch is a number of seconds from 1 to 86400.");
  return seconds * 1000;
}

/** Draws once; with a `flag`, until Ctrl-C. What passes, such as a control plane that restarts, is said and waited for. */
export async function watched(
  run: Run,
  flag: string | boolean | undefined,
  draw: () => Promise<Drawn>,
  none = "",
): Promise<void> {
  const { edges, out } = run;
  if (flag === undefined || flag === false) {
    const { text } = await draw();
    await out.write(text);
    if (text === "" && none !== "" && out.format === "table") await out.note(none);
    return;
  }
  const everyMs = watchMs(flag);
  let before: { text: string; news: string } | undefined;
  let failingSinceMs: number | undefined;
  for (;;) {
    try {
      const { text, shown } = await draw();
      const now = { text, news: newsOf(shown) };
      failingSinceMs = undefined;
      // Of names alone, most of what is new is not to be seen.
      const isSame = now.news === before?.news || text === before?.text;
      if (edges.stdout.isTTY)
        await out.write(HOME_AND_CLEAR + onScreen(text === "" ? `${none}\n` : text, edges));
      else if (!isSame) await out.write((before === undefined ? "" : "\n") + text);
      before = isSame ? before : now;
    } catch (error) {
      if (!passes(error) || before === undefined) throw error;
      const failure = failureOf(error, run.target().url.origin);
      if (failingSinceMs === undefined || edges.stdout.isTTY) {
        failingSinceMs ??= edges.now();
        const since = edges.stdout.isTTY ? ` Since ${duration(edges.now() - failingSinceMs)}.` : "";
        await out.note(`${failure.lines[0] ?? ""}${since} Tries again.`);
      }
    }
    await edges.pause(everyMs, edges.signal);
    if (edges.signal.aborted) throw new Interrupted();
  }
}

const ROWS_DEFAULT = 500;
/** What does not fit below the other would scroll what was drawn before away. */
function onScreen(text: string, { stdout }: Edges): string {
  const rows = (stdout.rows ?? ROWS_DEFAULT) - 1;
  const lines = text.split("\n").slice(0, -1);
  if (lines.length <= rows) return text;
  const rest = `… ${lines.length - rows + 1} more lines; make the terminal higher, or filter`;
  return `${[...lines.slice(0, rows - 1), shortened(rest, stdout.columns ?? 80)].join("\n")}\n`;
}
