/** HELLO: what each side states about itself, what may be stated, and what follows for the other (SPEC §4, §8). */
import type { CoreOptions, PeerHello } from "./core-events.ts";
import { RevdialError } from "./errors.ts";
import { type Frame, PROTOCOL_VERSION } from "./frame.ts";
import type { TunnelLimits } from "./limits.ts";
import type { SendLimits } from "./scheduler.ts";

type HelloFrame = Frame & { type: "hello" };

/** A HELLO must leave room for a head and a full round of bodies in one message (SPEC §8). */
const messageRoomBytesMin = 128 * 1024;
const windowBytesMax = 0x7fff_ffff;

/** The limits a side states in its HELLO: all that a peer could break without knowing them. */
type StatedLimits = Pick<
  TunnelLimits,
  | "channelsMax"
  | "headBytesMax"
  | "dataBytesMax"
  | "noticeBytesMax"
  | "messageBytesMax"
  | "headersMax"
  | "interimHeadsMax"
  | "emptyDataMax"
> & { windowBytes: number };

/** What is wrong with limits that one side states, or undefined: below these floors no peer could keep to them. */
function statedLimitsFault(limits: StatedLimits): string | undefined {
  if (limits.channelsMax < 1) return "channelsMax is 0";
  if (limits.windowBytes > windowBytesMax) return "windowBytes is above 2^31 - 1";
  for (const name of ["headBytesMax", "dataBytesMax", "noticeBytesMax"] as const) {
    if (limits[name] < 1024) return `${name} is below 1,024`;
    if (limits[name] > 0xff_ffff) return `${name} is above 2^24 - 1`;
  }
  if (limits.headersMax < 1) return "headersMax is 0";
  if (limits.headersMax > 0xffff) return "headersMax is above 65,535";
  const largest = Math.max(limits.headBytesMax, limits.dataBytesMax, limits.noticeBytesMax);
  if (limits.messageBytesMax < largest + messageRoomBytesMin)
    return "messageBytesMax is below a frame and 131,072";
  return undefined;
}

/** Error: ARGUMENT. */
export function checkOwnLimits(limits: TunnelLimits): void {
  const fault = statedLimitsFault({ ...limits, windowBytes: limits.windowInitialBytes });
  if (fault !== undefined) throw new RevdialError("ARGUMENT", fault);
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
    messageBytesMax: Math.min(ours.messageBytesMax, theirs.messageBytesMax),
  };
}
