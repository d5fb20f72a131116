/** An agent that speaks the tunnel's protocol until it is asked something; what it says then is bytes of our choice. */

import { defaultLimits } from "revdial";
import { Core, encodeFrame, type Frame } from "revdial/testing";
import { WebSocket } from "ws";

/** What a hostile peer may write: no limits of its own. */
const unbounded = {
  ...defaultLimits,
  headBytesMax: 0xff_ffff,
  headersMax: 0xffff,
  dataBytesMax: 0xff_ffff,
  noticeBytesMax: 0xff_ffff,
};

export const bytesOfFrames = (...frames: Frame[]): Buffer =>
  Buffer.concat(frames.map((frame) => encodeFrame(frame, unbounded)));

/** The same bytes with `from` made `to`; both have the same length, so that all around them stays true. */
export function patched(bytes: Buffer, from: string, to: string): Buffer {
  const at = bytes.indexOf(from, 0, "latin1");
  if (at < 0 || from.length !== to.length) throw new Error(`${from} is not to be patched`);
  const copy = Buffer.from(bytes);
  copy.write(to, at, "latin1");
  return copy;
}

export interface RawAgent {
  /** Messages sent for the next request, given its channel. A text is sent as a text message. */
  script: (channel: number) => Iterable<Buffer | string>;
  /** Resolves when the WebSocket is closed. */
  closed: Promise<void>;
  /** Says that it leaves, and why, and does. */
  goAway(reason: string): void;
  close(): void;
}

/** Rejects when the upgrade is refused. Resolves when both sides have said HELLO. */
export async function rawAgent(url: string, authorization: string, name = "evil/1"): Promise<RawAgent> {
  const socket = new WebSocket(url, "revdial.v3", { headers: { authorization }, perMessageDeflate: false });
  const core = new Core(
    {
      limits: defaultLimits,
      dialled: true,
      agent: name,
      incarnation: 1n,
      features: [],
      pingIntervalMs: 5000,
      deadAfterMs: 15_000,
    },
    0,
  );
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const goAway = (reason: string) => {
    socket.send(bytesOfFrames({ type: "goaway", lastChannel: 0, code: 0, retryAfterMs: 0, reason }));
    socket.close();
  };
  const agent: RawAgent = { script: () => [], closed, close: () => socket.terminate(), goAway };
  const flush = () => {
    for (let next = core.nextMessage(0); next.parts !== undefined; next = core.nextMessage(0))
      socket.send(Buffer.concat(next.parts));
  };
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("open", flush);
    socket.on("message", (message) => {
      for (const effect of core.input(new Uint8Array(message as Buffer), 0)) {
        if (effect.effect === "ready") resolve();
        if (effect.effect !== "incoming") continue;
        for (const bytes of agent.script(effect.channel)) {
          if (socket.readyState !== WebSocket.OPEN) break;
          socket.send(bytes);
        }
      }
      flush();
    });
    void closed.then(() => reject(new Error("closed before it was ready")));
  });
  socket.on("error", () => undefined);
  return agent;
}
