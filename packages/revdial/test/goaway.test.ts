/** GOAWAY of the peer: what has failed by it, what goes on, and that nothing is opened any more. */
import { describe, expect, it } from "@jest/globals";
import type { Frame } from "../src/frame.ts";
import { hello, requestHead, Victim } from "./cores.ts";

const goaway = (lastChannel: number): Frame => ({
  type: "goaway",
  lastChannel,
  code: 32,
  retryAfterMs: 0,
  reason: "",
});

function ask(victim: Victim): number {
  const channel = victim.core.claimChannel();
  victim.do({ do: "open", channel, head: requestHead, end: true });
  return channel;
}

const failed = (channel: number) =>
  expect.objectContaining({ effect: "reset", channel, code: "DRAINING", sent: "not-sent" });

describe("a GOAWAY of the peer", () => {
  it.each([
    ["the highest number there is", 0xffff_fffe],
    ["a number of the other parity", 0xffff_ffff],
  ])("fails what waits for HELLO, though it names %s", (_name, lastChannel) => {
    const victim = new Victim({}, false);
    const channel = ask(victim);
    expect(victim.say(goaway(lastChannel))).toContainEqual(failed(channel));
    victim.say(hello);
    expect(victim.sent().map(({ type }) => type)).not.toContain("open");
  });

  it("fails what waits for the socket, and leaves alone what has left before", () => {
    const victim = new Victim();
    const before = ask(victim);
    expect(victim.sent()).toMatchObject([{ type: "open", channel: before }]);
    const waits = ask(victim);
    expect(victim.say(goaway(waits))).toEqual([expect.objectContaining({ effect: "goaway" }), failed(waits)]);
    expect(victim.sent()).toEqual([]);
    expect(victim.core.live).toBe(1);
  });

  it.each([0, 3, 7, 0xffff_ffff])("is no violation when it names %i, which nobody has opened", (named) => {
    const victim = new Victim();
    const channel = ask(victim);
    victim.sent();
    const effects = victim.say(goaway(named));
    expect(effects.some(({ effect }) => effect === "reset")).toBe(named < channel);
    expect(victim.core.live).toBe(named < channel ? 0 : 1);
  });
});
