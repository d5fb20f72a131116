/** One end of a byte stream: writes its own body, reads the other's, each to its end, unless it is the one to break it. */
import type { Duplex } from "node:stream";
import type { Direction } from "./content.ts";
import type { Flow } from "./plan.ts";
import type { Exchange, World } from "./world.ts";

interface Part {
  flow: Flow;
  /** Destroys the stream after so many bytes of the other. */
  leaveAtBytes: number | undefined;
}

function room(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
  });
}

async function write(stream: Duplex, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (stream.destroyed) return;
    if (stream.write(chunk)) continue;
    await room(stream);
  }
  stream.end();
}

/** Resolves when the stream is over and its producer has stopped; rejects with what ended it before its time. */
export async function talk(
  world: World,
  exchange: Exchange,
  stream: Duplex,
  { flow, leaveAtBytes }: Part,
  mine: Direction = "down",
): Promise<"answered" | "left"> {
  const theirs: Direction = mine === "down" ? "up" : "down";
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  let error: unknown;
  stream.on("error", (reason) => {
    error = reason;
  });
  const written = write(stream, world.produce(exchange, mine, flow));
  let left = false;
  stream.on("data", (chunk: Uint8Array) => {
    if (left) return;
    world.took(exchange, theirs, chunk);
    if (leaveAtBytes === undefined || exchange[theirs].takenBytes < leaveAtBytes) return;
    left = true;
    exchange[theirs].left = true;
    stream.destroy();
  });
  stream.once("end", () => {
    exchange[theirs].complete = true;
  });
  await Promise.all([written, closed]);
  if (error !== undefined) throw error;
  return left ? "left" : "answered";
}
