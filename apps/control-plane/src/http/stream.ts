/** A list of any length as lines of JSON (application/x-ndjson), read from its source as fast as its reader reads. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Response } from "express";

/** A reader that takes nothing for so long has left, whatever its connection says. */
const STALLED_MS = 60_000;

/**
 * `pages` are written one at a time. A source that fails at once rejects before anything is sent; one that fails later leaves an
 * answer that is cut off. A reader that leaves ends the source, and is nobody's error.
 */
export async function sendLines(
  pages: AsyncIterable<readonly unknown[]>,
  response: Response,
  stalledMs = STALLED_MS,
): Promise<void> {
  const source = pages[Symbol.asyncIterator]();
  const first = await source.next();
  response.type("application/x-ndjson");
  response.setTimeout(stalledMs, () => response.destroy());
  if (response.req.method === "HEAD") {
    await source.return?.();
    return void response.end();
  }
  let failure: unknown;
  const next = () =>
    source.next().catch((cause: unknown) => {
      failure = cause;
      throw cause;
    });
  async function* text() {
    for (let page = first; page.done !== true; page = await next())
      yield page.value.map((item) => `${JSON.stringify(item)}\n`).join("");
  }
  // One page waits here while the one before it is on its way.
  const lines = Readable.from(text(), { highWaterMark: 1 });
  await pipeline(lines, response).catch(() => undefined);
  await source.return?.();
  if (failure !== undefined) throw failure;
}
