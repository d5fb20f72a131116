/**
 * What tests of programs that use tunnels need: two tunnels joined in memory, faults from a seed, time by hand, a proxy that
 * misbehaves, certificates. And, for benches and other implementations, codec and core alone.
 */

export { Core } from "../core.ts";
export type { CoreOptions, Effect, LocalEvent } from "../core-events.ts";
export { decodeMessage } from "../decode.ts";
export { encodeFrame } from "../encode.ts";
export { revdialErrorCodes } from "../errors.ts";
export type { Frame, OpenHead } from "../frame.ts";
export { type BadProxy, type BadProxyModes, badProxy } from "./bad-proxy.ts";
export { type CertificateOptions, type MadeCertificate, makeCertificate } from "./certificate.ts";
export { ManualClock } from "./manual-clock.ts";
export { type Fault, type MemoryLink, memoryTransportPair, type Side } from "./memory-transport.ts";
export { seededRandom } from "./seeded-random.ts";
export { type TunnelPair, type TunnelPairOptions, tunnelPair } from "./tunnel-pair.ts";
