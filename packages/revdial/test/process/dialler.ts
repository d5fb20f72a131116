/** The dialling side as a process: dials, asks, reads, and says what it holds. */
import { createHash } from "node:crypto";
import { type DialOptions, dialTunnel, type Tunnel } from "../../src/index.ts";
import { ManualClock } from "../../src/testing/index.ts";
import { abortMany, askMany, echo } from "./calls.ts";
import { answerParent, CountingClock, heldBytes, whatIsLeft } from "./parent.ts";

const clock = new ManualClock();
const counting = new CountingClock();
let tunnel: Tunnel | undefined;
const received = { bytes: 0, waiters: [] as { bytes: number; tell: () => void }[] };
let download: Promise<string> | undefined;

function theTunnel(): Tunnel {
  if (tunnel === undefined) throw new Error("there is no tunnel yet");
  return tunnel;
}

async function read(total: number): Promise<string> {
  const reply = await theTunnel().request({ service: "stream", method: "GET", path: `/stream/${total}` });
  const hash = createHash("sha256");
  for await (const chunk of reply.body) {
    hash.update(chunk);
    received.bytes += chunk.byteLength;
    while (received.waiters[0] && received.waiters[0].bytes <= received.bytes)
      received.waiters.shift()?.tell();
  }
  return hash.digest("hex");
}

answerParent({
  /** `byHand`: time stands still until `advance`. */
  async dial(url: string, options: DialOptions = {}, byHand = false) {
    const given = { clock: byHand ? clock : counting, ...options };
    tunnel = await dialTunnel(url, { handler: echo, onHandlerError: () => undefined, ...given });
  },
  /** Resolves when the first bytes have come; the download goes on. */
  async begin(total: number, firstBytes: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    received.waiters.push({ bytes: firstBytes, tell: resolve });
    download = read(total);
    await Promise.race([promise, download]);
  },
  finish: async () => ({ hash: await download, bytes: received.bytes }),
  ended: async () => (await theTunnel().closed).code,
  ask: (count: number, abortEvery: number) => askMany(theTunnel(), count, abortEvery),
  abort: (count: number, atOnce: number) => abortMany(theTunnel(), count, atOnce),
  load: () => theTunnel().load,
  advance: (ms: number) => clock.advance(ms),
  held: heldBytes,
  left: () => whatIsLeft(counting),
});
