/** A peer that ends its bodies while nobody reads them: whatever a channel's end frees, memory is not among it. */
import type { Duplex } from "node:stream";
import { RevdialError } from "../../src/errors.ts";
import type { Frame } from "../../src/frame.ts";
import type { Tunnel } from "../../src/tunnel.ts";
import { data, write } from "../cores.ts";
import { type Feed, turns } from "./feed.ts";

/** One of ours that reads until it is told to stop. */
export interface Reader {
  got: number;
  stop(): void;
  /** Leaves what it has not read. */
  drop(): void;
}

const call = { service: "peer", method: "GET", path: "/" };

/** Ways to read what a channel brings. Each opens one at once; an error is why it could not. */
const readers = {
  async dispatcher(tunnel: Tunnel): Promise<Reader> {
    let pause = () => {};
    let abort = () => {};
    const reader = { got: 0, stop: () => pause(), drop: () => abort() };
    await new Promise<void>((resolve, reject) => {
      tunnel.dispatcher("peer").dispatch(
        { ...call, method: "GET" },
        {
          onRequestStart(controller) {
            pause = () => controller.pause();
            abort = () => controller.abort(new Error("enough"));
            setImmediate(resolve);
          },
          onResponseStart() {},
          onResponseData(_controller, chunk) {
            reader.got += chunk.byteLength;
          },
          onResponseEnd() {},
          onResponseError: (_controller, error) => reject(error),
        },
      );
    });
    return reader;
  },

  async request(tunnel: Tunnel): Promise<Reader> {
    const answer = tunnel.request(call);
    let reading = true;
    let leave = () => {};
    const reader = {
      got: 0,
      stop() {
        reading = false;
      },
      drop: () => leave(),
    };
    const read = async () => {
      const chunks = (await answer).body[Symbol.asyncIterator]();
      leave = () => void chunks.return?.();
      while (reading) {
        const { value, done } = await chunks.next();
        if (done) return;
        reader.got += value.byteLength;
      }
    };
    await Promise.race([answer, turns(2)]);
    read().catch(() => undefined); // Nobody is left to be told of the end of the tunnel.
    return reader;
  },

  async socket(tunnel: Tunnel): Promise<Reader> {
    const connecting = tunnel.connect("peer");
    let socket: Duplex | undefined;
    const reader = { got: 0, stop: () => void socket?.pause(), drop: () => void socket?.destroy() };
    await Promise.race([connecting, turns(2)]);
    void connecting.then((connected) => {
      socket = connected;
      connected.end();
      connected.on("data", (chunk: Buffer) => {
        reader.got += chunk.byteLength;
      });
    });
    return reader;
  },
};

export type Way = keyof typeof readers;

/** All that the channel may be sent. No function that waits holds what it is made of, and is measured with it. */
function fill(feed: Feed, channel: number, end: boolean): void {
  let left = feed.credit.get(channel) ?? 0;
  feed.credit.set(channel, 0);
  while (left > 0) {
    const frames: Frame[] = [];
    while (left > 0 && frames.length < 15) {
      const bytes = Math.min(left, 65_536);
      left -= bytes;
      frames.push(data(channel, bytes, end && left === 0));
    }
    feed.hear(write(...frames));
  }
}

/** Turns in which a reader that keeps up has a window as large as any. */
const GROWING_TURNS = 8;

/** Has a body read until its window has grown, then fills that and ends. Undefined: the budget was used up. */
export async function endUnread(feed: Feed, way: Way): Promise<Reader | undefined> {
  let reader: Reader;
  try {
    reader = await readers[way](feed.tunnel);
  } catch (error) {
    if (error instanceof RevdialError && error.code === "REFUSED") return undefined;
    throw error;
  }
  await turns(2);
  const channel = feed.opened;
  const status = way === "socket" ? 101 : 200;
  feed.hear(write({ type: "head", channel, status, headers: [], end: false }));
  for (let turn = 0; turn < GROWING_TURNS; turn += 1) {
    await turns(2);
    fill(feed, channel, false);
  }
  await turns(2);
  reader.stop();
  await turns(1);
  fill(feed, channel, true);
  await turns(2);
  return reader;
}

/** Whether one more exchange gets an answer. */
export async function answersOnce(feed: Feed): Promise<number> {
  feed.hear(write({ type: "grant", channels: 1 }));
  const answer = feed.tunnel.request(call);
  await turns(2);
  feed.hear(write({ type: "head", channel: feed.opened, status: 204, headers: [], end: true }));
  return (await answer).status;
}
