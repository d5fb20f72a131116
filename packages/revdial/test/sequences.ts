/** Runs one of the vectors' `sequences.json` on a core: what comes in, what happens on our side, and what has to go out. */
import { readFileSync } from "node:fs";
import type { Core } from "../src/core.ts";
import type { LocalEvent } from "../src/core-events.ts";
import { decodeMessage } from "../src/decode.ts";
import type { RevdialError, WireCodeName } from "../src/errors.ts";
import type { Frame, OpenHead } from "../src/frame.ts";
import { defaultLimits, type TunnelLimits } from "../src/limits.ts";
import { newCore } from "./cores.ts";

type PlainFrame = Record<string, unknown>;

export interface Step {
  receive?: string;
  times?: number;
  text?: true;
  passMs?: number;
  open?: OpenHead & { channel: number; end: boolean };
  head?: { channel: number; status: number; length?: number; end: boolean };
  data?: { channel: number; bytes: number };
  end?: { channel: number };
  reset?: { channel: number; code: WireCodeName };
  read?: { channel: number; bytes: number };
  notice?: { notice: string; bytes: number };
  handled?: { channel: number };
  goaway?: { code: WireCodeName; retryAfterMs: number };
  sent?: PlainFrame[];
  sentAll?: PlainFrame[];
  closed?: string;
}

export interface Sequence {
  name: string;
  role: "acceptor" | "dialler";
  limits?: Partial<TunnelLimits>;
  steps: Step[];
}

export const sequencesOf = (folder: "vectors" | "vectors-previous") =>
  (
    JSON.parse(readFileSync(new URL(`../${folder}/sequences.json`, import.meta.url), "utf8")) as {
      sequences: Sequence[];
    }
  ).sequences;

/** What a frame says and nobody has to say in the same words. */
const free: ReadonlySet<string> = new Set(["reason", "agent", "incarnation", "features"]);

/** A frame in the form of the vectors, bodies by their length. */
function plain(frame: Frame): PlainFrame {
  if (frame.type === "ping") return { type: frame.type };
  const said = Object.entries(frame).filter(([name, value]) => !free.has(name) && value !== undefined);
  return Object.fromEntries(said.map(([name, value]) => [name, plainValue(value)]));
}

function plainValue(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.byteLength;
  return typeof value === "bigint" ? value.toString() : value;
}

/** Every step that says what must have happened, beside what has. */
export function play({ role, limits = {}, steps }: Sequence): { wanted: Step[]; got: Step[] } {
  const core = newCore(role === "dialler", limits);
  let now = 0;
  let closed: string | undefined;
  const put = (event: Parameters<Core["input"]>[0]) => {
    for (const effect of core.input(event, now)) if (effect.effect === "close") closed = effect.code;
  };
  const tell = ({ notice, bytes }: { notice: string; bytes: number }) => {
    try {
      put({ do: "notice", notice, payload: new Uint8Array(bytes) });
    } catch (error) {
      if ((error as RevdialError).code !== "NOTICE_DROPPED") throw error;
    }
  };
  const sent = (all: boolean): PlainFrame[] => {
    const frames: PlainFrame[] = [];
    for (;;) {
      const { parts, effects } = core.nextMessage(now);
      for (const effect of effects) if (effect.effect === "close") closed = effect.code;
      if (parts === undefined) return frames;
      // Pings come by the clock and say nothing about the rest.
      for (const part of decodeMessage(new Uint8Array(Buffer.concat(parts)), defaultLimits))
        if (all || (part.type !== "ping" && part.type !== "hello")) frames.push(plain(part));
    }
  };
  const wanted: Step[] = [];
  const got: Step[] = [];
  for (const step of steps) {
    for (let times = step.times ?? 1; step.receive !== undefined && times > 0; times -= 1)
      put(new Uint8Array(Buffer.from(step.receive, "hex")));
    const until = now + (step.passMs ?? 0);
    while (step.passMs !== undefined && core.wakeAt <= until) {
      now = core.wakeAt;
      put({ do: "tick" });
    }
    now = until;
    if (step.open && core.claimChannel() !== step.open.channel) throw new Error("another channel is next");
    for (const event of localEvents(step)) put(event);
    if (step.notice) tell(step.notice);
    if (step.sent) {
      wanted.push({ sent: step.sent });
      got.push({ sent: sent(false) });
    }
    if (step.sentAll) {
      wanted.push({ sentAll: step.sentAll });
      got.push({ sentAll: sent(true) });
    }
    if (step.closed) {
      wanted.push({ closed: step.closed });
      got.push(closed === undefined ? {} : { closed });
    }
  }
  return { wanted, got };
}

function localEvents(step: Step): LocalEvent[] {
  const { text, open, head, data, end, reset, read, handled, goaway } = step;
  const events: LocalEvent[] = [];
  if (text) events.push({ do: "text" });
  if (open) {
    const { channel, end: ended, ...more } = open;
    events.push({ do: "open", channel, head: more, end: ended });
  }
  if (head) events.push({ do: "head", headers: [], ...head });
  if (data) events.push({ do: "data", channel: data.channel, bytes: new Uint8Array(data.bytes) });
  if (end) events.push({ do: "end", channel: end.channel, trailers: [] });
  if (reset) events.push({ do: "reset", reason: "", ...reset });
  if (read) events.push({ do: "consumed", ...read });
  if (handled) events.push({ do: "handled", ...handled });
  if (goaway) events.push({ do: "goaway", reason: "", ...goaway });
  return events;
}
