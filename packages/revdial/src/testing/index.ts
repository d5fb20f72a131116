/** What tests of programs that use tunnels need: two tunnels joined in memory, faults from a seed, time by hand. */

export { ManualClock } from "./manual-clock.ts";
export { type Fault, type MemoryLink, memoryTransportPair, type Side } from "./memory-transport.ts";
export { seededRandom } from "./seeded-random.ts";
export { type TunnelPair, type TunnelPairOptions, tunnelPair } from "./tunnel-pair.ts";
