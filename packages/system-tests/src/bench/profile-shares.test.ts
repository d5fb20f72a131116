/** Whose time a profile says was spent. */
import { describe, expect, it } from "@jest/globals";
import { type Profile, sharesOf } from "./profile-shares.ts";

const frames: [functionName: string, url: string][] = [
  ["(root)", ""],
  ["(idle)", ""],
  ["(garbage collector)", ""],
  ["writev", ""],
  ["(program)", ""],
  ["input", "file:///x/packages/revdial/dist/core.js"],
  ["startLoop", "file:///x/node_modules/.pnpm/ws@8/node_modules/ws/lib/receiver.js"],
  ["parserOnIncoming", "node:_http_server"],
  ["onStreamRead", "node:internal/stream_base_commons"],
  ["processTicksAndRejections", "node:internal/process/task_queues"],
  ["run", "file:///x/packages/system-tests/dist/bench/gateway.js"],
  ["elsewhere", "file:///x/other.js"],
];
const profile = (samples: number[], timeDeltas = samples.map(() => 100)): Profile => ({
  nodes: frames.map(([functionName, url], id) => ({ id, callFrame: { functionName, url } })),
  samples,
  timeDeltas,
});

describe("shares of a profile", () => {
  it("are of the busy time, the largest first, each under the name of its place", () => {
    expect(sharesOf(profile([1, 1, 1, 5, 5, 3, 2]))).toEqual([
      ["revdial", 0.5],
      ["system calls and C++", 0.25],
      ["garbage collector", 0.25],
    ]);
    expect(new Set(sharesOf(profile([4, 5, 6, 7, 8, 9, 10, 11])).map(([name]) => name))).toEqual(
      new Set([
        "outside JavaScript",
        "revdial",
        "ws",
        "Node's HTTP",
        "Node's sockets and streams",
        "Node's timers, promises, other",
        "the bench itself",
        "others",
      ]),
    );
  });

  it("weigh samples by their time, and take none that goes back", () => {
    expect(sharesOf(profile([5, 6, 6], [300, 100, -50]))).toEqual([
      ["revdial", 0.75],
      ["ws", 0.25],
    ]);
  });

  it("are none of a process that did nothing, and of samples of nodes that there are not", () => {
    expect(sharesOf(profile([1, 1]))).toEqual([]);
    expect(sharesOf(profile([]))).toEqual([]);
    expect(sharesOf(profile([99, 5], [100, 100]))).toEqual([["revdial", 1]]);
    expect(sharesOf(profile([5, 6], [100]))).toEqual([
      ["revdial", 1],
      ["ws", 0],
    ]);
  });
});
