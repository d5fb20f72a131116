/** HELLO: what each side states about itself, what may be stated, and what follows for the other (SPEC §4, §8). */
import type { CoreOptions, PeerHello } from "./core-events.ts";
import { RevdialError } from "./errors.ts";
import { type Frame, PROTOCOL_VERSION } from "./frame.ts";
import { limitBounds, messageRoomFault, type TunnelLimits } from "./limits.ts";
import type { SendLimits } from "./scheduler.ts";

type HelloFrame = Frame & { type: "hello" };

/** A peer may begin without any window. */
const windowBytesMax = 0x7fff_ffff;
const statedSizes = ["headBytesMax", "dataBytesMax", "noticeBytesMax", "headersMax"] as const;

/** What is wrong with what a peer states, or undefined: outside these bounds nobody could keep to it. */
function statedLimitsFault(stated: HelloFrame): string | undefined {
  if (stated.channelsMax < 1) return "channelsMax is 0";
  if (stated.windowBytes > windowBytesMax) return "windowBytes is above 2^31 - 1";
  for (const name of statedSizes) {
    const [min, max] = limitBounds[name];
    if (stated[name] < min || stated[name] > max) return `${name} is not ${min} to ${max}`;
  }
  return messageRoomFault(stated);
}

export function helloFrame({ limits, agent, incarnation, features }: CoreOptions): HelloFrame {
  const { channelsMax, headBytesMax, dataBytesMax, noticeBytesMax, messageBytesMax } = limits;
  const { headersMax, interimHeadsMax, emptyDataMax } = limits;
  const sizes = { headBytesMax, dataBytesMax, noticeBytesMax, messageBytesMax };
  const windowBytes = limits.windowInitialBytes;
  return {
    type: "hello",
    version: PROTOCOL_VERSION,
    channelsMax,
    windowBytes,
    ...sizes,
    headersMax,
    interimHeadsMax,
    emptyDataMax,
    incarnation,
    agent,
    features,
  };
}

/** The peer as its HELLO shows it. Errors: PROTOCOL_VERSION, FRAME_MALFORMED. */
export function greet(frame: HelloFrame): PeerHello {
  const { version, agent, incarnation, features } = frame;
  if (version !== PROTOCOL_VERSION) throw new RevdialError("PROTOCOL_VERSION", `version ${version}`);
  const fault = statedLimitsFault(frame);
  if (fault !== undefined) throw new RevdialError("FRAME_MALFORMED", `HELLO: ${fault}`);
  return { version, agent, incarnation, features };
}

/** What we may send: never more than either side states. */
export function commonLimits(ours: TunnelLimits, theirs: HelloFrame): SendLimits {
  return {
    ...ours,
    headBytesMax: Math.min(ours.headBytesMax, theirs.headBytesMax),
    headersMax: Math.min(ours.headersMax, theirs.headersMax),
    dataBytesMax: Math.min(ours.dataBytesMax, theirs.dataBytesMax),
    noticeBytesMax: Math.min(ours.noticeBytesMax, theirs.noticeBytesMax),
  };
}
