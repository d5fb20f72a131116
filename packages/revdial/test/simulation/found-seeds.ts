/**
 * Seeds that once showed a fault, of the library or of the simulation, with a sentence about it. They run with every test.
 * What a seed stands for changes when the simulation draws in another order: then the sentence tells what to look for.
 */
export const foundSeeds: readonly (readonly [seed: number, sentence: string])[] = [
  [8, "a drain without time ends before its GOAWAY has left: the other side hears of the close only"],
  [12, "a window of one byte makes a round trip of every byte, and the run has to wait for it"],
  [181, "a side that stands still hears of the other's drain when the link is cut already"],
  [
    378,
    "a grown window holds part of the budget until its channel ends, and fewer first windows fit beside it",
  ],
  [1236, "a stalled upload is given up before the silent link is found dead"],
  [2118, "a link that breaks while the tunnel is probed excuses what the probe meets"],
  [2337, "a slow link ends after the second that a close handshake has, with an answer still under way"],
];
