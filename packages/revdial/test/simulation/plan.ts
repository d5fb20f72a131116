/** What an exchange is going to be: drawn before it begins, so that both of its ends and the judge know it. */
import type { Side } from "../../src/testing/index.ts";
import type { Dice } from "./dice.ts";

/** A body as its producer makes it. */
export interface Flow {
  /** Infinity: until somebody stops it. */
  bytes: number;
  chunkBytes: number;
  /** Pause before each chunk; 0: as fast as it is taken. */
  everyMs: number;
  /** Throws after this many bytes. */
  failsAtBytes?: number;
}

/** How the caller reads the answer's body. */
export interface Reading {
  /** Pause before each chunk. */
  everyMs: number;
  /** Leaves after this many bytes. */
  leaveAtBytes?: number;
  /** Does not look at the body for so long, and leaves then. */
  unreadMs?: number;
}

/** Codes, or one of the two ways in which an exchange succeeds: the whole answer was read, or its reader had enough. */
export type Outcome = string;

export const kinds = [
  "echo", // the answer's body is the request's
  "digest", // reads all, then answers its sum
  "download", // a body without a question
  "duplex", // reads and answers at the same time
  "pieces", // the same through `reply`, with interim heads
  "early", // answers before the upload has ended
  "never", // does not answer: somebody has to give up
  "refuse", // throws a code that travels
  "fail", // throws
  "silent", // returns without an answer
  "broken-answer", // the answer's producer throws
  "broken-upload", // the upload's producer throws
  "leave", // the reader has enough
  "unread", // nobody reads the answer
  "illegal", // may not travel
  "stillborn", // cancelled, or late, before it is sent
  "socket", // a byte stream, each direction to its end
  "socket-refused", // an ordinary answer to one who wants a byte stream
  "socket-broken", // a byte stream that one side destroys
] as const;
export type Kind = (typeof kinds)[number];

export interface Plan {
  id: number;
  kind: Kind;
  from: Side;
  upload: Flow | undefined;
  /** The upload is one Uint8Array. */
  whole: boolean;
  download: Flow;
  reading: Reading;
  interims: number;
  trailers: boolean;
  /** The handler waits before it begins. */
  waitMs: number;
  /** The handler goes on for so long after its work, whatever its signal says. */
  stubbornMs: number;
  /** The code the handler throws (`refuse`); who destroys the stream (`socket-broken`). */
  detail: string;
  cancelAtMs: number | undefined;
  deadlineMs: number | undefined;
  /** How it may end when nothing disturbs the tunnel. */
  expects: Set<Outcome>;
}

const ordinary: readonly Kind[] = ["echo", "digest", "download", "duplex", "pieces", "socket"];
const CHUNKS_MAX = 200;
/** What an endless body counts as, for the size of its chunks. */
const ENDLESS_BYTES = 60_000;
/** Longer than any exchange takes that nobody disturbs. */
const LONG_MS = 30_000;

function finite(dice: Dice, bytesMax: number): Flow {
  const bytes = dice.size(bytesMax);
  return inReason({ bytes, chunkBytes: dice.size(20_000), everyMs: dice.chance(0.2) ? dice.int(1, 20) : 0 });
}

function endless(dice: Dice): Flow {
  const everyMs = dice.int(1, 20); // It takes time, or there would be no end to it in none.
  return inReason({ bytes: Number.POSITIVE_INFINITY, chunkBytes: dice.size(20_000), everyMs });
}

/** Many tiny chunks would only take long. */
function inReason(flow: Flow): Flow {
  const bytes = Number.isFinite(flow.bytes) ? flow.bytes : ENDLESS_BYTES;
  return { ...flow, chunkBytes: Math.max(flow.chunkBytes, Math.ceil(bytes / CHUNKS_MAX), 1) };
}

/** `bytesMax`: of one body; windows of a few bytes need a round trip for each few. */
export function drawPlan(id: number, from: Side, dice: Dice, bytesMax: number): Plan {
  const kind = dice.chance(0.5) ? dice.pick(ordinary) : dice.pick(kinds);
  const plan: Plan = {
    id,
    kind,
    from,
    upload: dice.chance(0.7) ? finite(dice, bytesMax) : undefined,
    whole: dice.chance(0.3),
    download: finite(dice, bytesMax),
    reading: { everyMs: dice.chance(0.15) ? dice.int(1, 20) : 0 },
    interims: dice.chance(0.5) ? dice.int(1, 3) : 0,
    trailers: dice.chance(0.4),
    waitMs: dice.chance(0.3) ? dice.int(1, 50) : 0,
    stubbornMs: dice.chance(0.1) ? dice.int(1, 3000) : 0,
    detail: "",
    cancelAtMs: undefined,
    deadlineMs: undefined,
    expects: new Set(["answered"]),
  };
  shape[kind]?.(plan, dice, bytesMax);
  if (plan.kind === "illegal" || plan.kind === "stillborn") return plan;
  // From before the first byte leaves to long after the last has come.
  if (dice.chance(0.12)) plan.cancelAtMs = dice.size(400);
  if (dice.chance(0.12)) plan.deadlineMs = 1 + dice.size(1000);
  if (plan.kind === "never" && plan.cancelAtMs === undefined) plan.deadlineMs ??= dice.int(1, 2000);
  if (plan.cancelAtMs !== undefined) plan.expects.add("CANCELLED");
  if (plan.deadlineMs !== undefined) plan.expects.add("DEADLINE");
  return plan;
}

/** What is special about a kind. */
const shape: Partial<Record<Kind, (plan: Plan, dice: Dice, bytesMax: number) => void>> = {
  early(plan, dice, bytesMax) {
    plan.upload = dice.chance(0.5) ? endless(dice) : finite(dice, bytesMax);
    plan.whole = false;
  },
  never(plan) {
    plan.expects.clear();
  },
  refuse(plan, dice) {
    plan.detail = dice.pick(["REFUSED", "SERVICE_UNKNOWN", "CANCELLED"]);
    plan.expects = new Set([plan.detail]);
  },
  fail(plan) {
    plan.expects = new Set(["HANDLER_FAILED"]);
  },
  silent(plan) {
    plan.expects = new Set(["HANDLER_FAILED"]);
  },
  "broken-answer"(plan) {
    plan.download.failsAtBytes = Math.floor(plan.download.bytes / 2);
    plan.expects = new Set(["HANDLER_FAILED"]);
  },
  "broken-upload"(plan, dice, bytesMax) {
    plan.upload = finite(dice, bytesMax);
    plan.whole = false;
    plan.upload.failsAtBytes = Math.floor(plan.upload.bytes / 2);
    plan.expects = new Set(["CANCELLED"]);
  },
  leave(plan, dice, bytesMax) {
    plan.download = dice.chance(0.7) ? endless(dice) : { ...finite(dice, bytesMax), everyMs: 0 };
    plan.reading.leaveAtBytes = dice.size(bytesMax);
    plan.expects = new Set(Number.isFinite(plan.download.bytes) ? ["answered", "left"] : ["left"]);
  },
  unread(plan, dice, bytesMax) {
    plan.download = dice.chance(0.5) ? endless(dice) : finite(dice, bytesMax);
    plan.reading.unreadMs = dice.chance(0.3) ? LONG_MS : dice.int(1, 3000);
    plan.expects = new Set(["left"]);
  },
  illegal(plan) {
    plan.expects = new Set(["HEAD_INVALID"]);
  },
  stillborn(plan, dice) {
    plan.detail = dice.pick(["CANCELLED", "DEADLINE"]);
    plan.expects = new Set([plan.detail]);
  },
  socket(plan, dice, bytesMax) {
    plan.upload = finite(dice, bytesMax);
    plan.whole = false;
  },
  "socket-refused"(plan) {
    plan.expects = new Set(["SOCKET_REFUSED"]);
  },
  "socket-broken"(plan, dice, bytesMax) {
    plan.upload = endless(dice);
    plan.whole = false;
    plan.download = endless(dice);
    plan.detail = dice.pick(["caller", "handler"]);
    plan.reading.leaveAtBytes = dice.size(bytesMax);
    plan.expects = new Set(["left", "CANCELLED"]);
  },
};
