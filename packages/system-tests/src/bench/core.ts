/** Process: codec and core of the tunnel library alone, without sockets. Started with a young space that no run fills: then what the heap grew by is what was allocated. */
import { defaultLimits } from "revdial";
import { Core, decodeMessage, encodeFrame, type Frame, type OpenHead } from "revdial/testing";
import { serveCalls } from "./process.ts";

export interface CoreRate {
  framesPerSecond: number;
  bytesAllocatedPerFrame: number;
}

const head: OpenHead = {
  kind: 0,
  service: "origin",
  method: "GET",
  path: "/api/v1/lobbies?limit=20",
  deadlineMs: 5000,
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  protocol: "",
  headers: [
    ["accept", "application/json"],
    ["accept-encoding", "gzip, br"],
    ["authorization", "Bearer 0123456789abcdef0123456789abcdef"],
    ["user-agent", "bench/1"],
  ],
};
const answer: [string, string][] = [
  ["content-type", "application/json"],
  ["date", "Thu, 01 Jan 1970 00:00:00 GMT"],
  ["cache-control", "no-store"],
];

const frames: Record<string, Frame> = {
  open: { type: "open", channel: 1, end: true, ...head },
  head: { type: "head", channel: 1, end: false, status: 200, headers: answer },
  data: { type: "data", channel: 1, end: true, bytes: new Uint8Array(550) },
  bulk: { type: "data", channel: 1, end: false, bytes: new Uint8Array(16 * 1024) },
  credit: { type: "credit", channel: 1, bytes: 32_768 },
};

/** `run` does `frames` frames; the allocation is measured over fewer, so that no collection falls into it. */
function rate(run: () => void, framesPerRun: number, runs: number): CoreRate {
  for (let i = 0; i < runs; i += 1) run();
  const measured = Math.ceil(runs / 10);
  globalThis.gc?.();
  const heapBefore = process.memoryUsage().heapUsed;
  for (let i = 0; i < measured; i += 1) run();
  const allocated = process.memoryUsage().heapUsed - heapBefore;
  const startedAt = performance.now();
  for (let i = 0; i < runs; i += 1) run();
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    framesPerSecond: (runs * framesPerRun) / seconds,
    bytesAllocatedPerFrame: allocated / (measured * framesPerRun),
  };
}

/** Encoded and decoded again. */
function codec({ frame, runs }: { frame: string; runs: number }): CoreRate {
  const one = frames[frame] as Frame;
  return rate(() => void decodeMessage(encodeFrame(one, defaultLimits), defaultLimits), 1, runs);
}

const newCore = (dialled: boolean) =>
  new Core(
    {
      limits: { ...defaultLimits, opensPerSecondMax: 1e9 },
      dialled,
      agent: "bench/1",
      incarnation: 0n,
      features: [],
      pingIntervalMs: 5000,
      deadAfterMs: 14_500,
    },
    0,
  );

/** Everything `from` has to say, as messages of `to`. */
function deliver(from: Core, to: Core): void {
  for (;;) {
    const { parts } = from.nextMessage(0);
    if (parts === undefined) return;
    to.input(parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts), 0);
  }
}

const FRAMES_PER_EXCHANGE = 3;

/** Two cores: a request, its answer with 550 bytes, and nothing in between but their messages. */
function exchange({ runs }: { runs: number }): CoreRate {
  const [asking, answering] = [newCore(true), newCore(false)];
  deliver(asking, answering);
  deliver(answering, asking);
  const body = new Uint8Array(550);
  return rate(
    () => {
      const channel = asking.claimChannel();
      asking.input({ do: "open", channel, head, end: true }, 0);
      deliver(asking, answering);
      answering.input({ do: "head", channel, status: 200, headers: answer, end: false }, 0);
      answering.input({ do: "data", channel, bytes: body }, 0);
      answering.input({ do: "end", channel, trailers: [] }, 0);
      answering.input({ do: "handled", channel }, 0);
      deliver(answering, asking);
      asking.input({ do: "consumed", channel, bytes: body.byteLength }, 0);
      if (asking.live + answering.live > 0) throw new Error("an exchange did not end");
    },
    FRAMES_PER_EXCHANGE,
    runs,
  );
}

serveCalls({ names: () => Object.keys(frames), codec, exchange });
