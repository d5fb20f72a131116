/** Lists without end over real sockets: readers that read slowly, stop, or leave, and sources that fail. */
import { once } from "node:events";
import { createServer, get, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "@jest/globals";
import express, { type Response } from "express";
import { eventually } from "../../test/host.ts";
import { sendLines } from "./stream.ts";

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  if (server) await once(server, "close");
});

interface Served {
  answer: () => Promise<IncomingMessage>;
  response: () => Response;
  /** What sendLines came to. */
  done: Promise<unknown>;
}

async function serve(pages: AsyncIterable<readonly unknown[]>, stalledMs?: number): Promise<Served> {
  let current: Response | undefined;
  const done = Promise.withResolvers<unknown>();
  const app = express();
  app.get("/", (_request, response) => {
    current = response;
    sendLines(pages, response, stalledMs).then(
      () => done.resolve("done"),
      (error: unknown) => {
        done.resolve(error);
        if (response.headersSent) response.destroy();
        else response.status(500).end("problem");
      },
    );
  });
  server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    answer: async () => (await once(get({ port, agent: false }), "response"))[0] as IncomingMessage,
    response: () => current as Response,
    done: done.promise,
  };
}

/** Pages of a megabyte, for ever; says how many were asked for and when it was ended. */
function endless() {
  const seen = { asked: 0, ended: Promise.withResolvers<void>() };
  async function* pages() {
    try {
      for (;;) {
        seen.asked += 1;
        yield [{ page: seen.asked, text: "x".repeat(1_000_000) }];
      }
    } finally {
      seen.ended.resolve();
    }
  }
  return { seen, pages: pages() };
}

async function* some(...pages: (object[] | Error)[]) {
  for (const page of pages) {
    if (page instanceof Error) throw page;
    yield page;
  }
}

describe("lines of JSON", () => {
  it("are all items of all pages, one a line, whatever is in them", async () => {
    const { answer, done } = await serve(some([{ a: 1 }, { b: "two\nlines" }], [], [{ c: "\u2028" }]));
    const response = await answer();
    expect(response.headers["content-type"]).toBe("application/x-ndjson");
    expect((await text(response)).split("\n")).toEqual([
      '{"a":1}',
      JSON.stringify({ b: "two\nlines" }),
      JSON.stringify({ c: "\u2028" }),
      "",
    ]);
    expect(await done).toBe("done");
  });

  it("are none of an empty list", async () => {
    const { answer } = await serve(some());
    const response = await answer();
    expect([response.statusCode, await text(response)]).toEqual([200, ""]);
  });

  it("are asked of their source as they are read, and the source ends when the reader leaves", async () => {
    const { seen, pages } = endless();
    const { answer, response, done } = await serve(pages);
    const reader = await answer();
    await eventually(
      () => response(),
      (one) => one.writableNeedDrain,
    );
    const before = seen.asked;
    for (let turns = 0; turns < 50; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    // Nobody reads: what fits into the sockets' buffers is on its way, and no more is made.
    expect(seen.asked - before).toBeLessThanOrEqual(1);
    expect(seen.asked).toBeLessThan(30);
    let read = 0;
    reader.on("data", (chunk: Buffer) => {
      read += chunk.length;
      if (read > 40_000_000) reader.destroy();
    });
    await seen.ended.promise;
    expect(seen.asked).toBeGreaterThan(before);
    expect(await done).toBe("done");
  });

  it("end for a reader that takes nothing for too long", async () => {
    const { seen, pages } = endless();
    const { answer, done } = await serve(pages, 20);
    const reader = await answer();
    reader.on("error", () => undefined);
    await seen.ended.promise;
    expect(await done).toBe("done");
    reader.destroy();
  });

  it("of a source that fails at once are an ordinary problem", async () => {
    const { answer, done } = await serve(some(new Error("down")));
    const response = await answer();
    expect([response.statusCode, await text(response)]).toEqual([500, "problem"]);
    expect(await done).toEqual(new Error("down"));
  });

  it("of a source that fails later are cut off, so that nobody takes them for all", async () => {
    const { answer, done } = await serve(some([{ a: 1 }], new Error("down")));
    const response = await answer();
    await expect(text(response)).rejects.toThrow("aborted");
    expect(await done).toEqual(new Error("down"));
  });
});
