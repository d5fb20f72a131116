/** GOAWAY: of the peer, what has failed by it, what goes on, and that nothing is opened any more; of ours, that it arrives. */
import { describe, expect, it } from "@jest/globals";
import type { Frame } from "../src/frame.ts";
import { ManualClock, tunnelPair } from "../src/testing/index.ts";
import { hello, open, requestHead, Victim } from "./cores.ts";
import { get, until } from "./support.ts";

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

describe("a GOAWAY of ours", () => {
  it.each(["REPLACED", "REVOKED"] as const)(
    "leaves before the time for what is in flight is over, however short that is: %s",
    async (code) => {
      const clock = new ManualClock();
      const { left, right, ready } = tunnelPair({ both: { clock } });
      await ready;
      right.serve(() => new Promise(() => undefined));
      left.request(get("/")).catch(() => undefined);
      await until(() => right.load === 1);
      await clock.advance(0);
      void right.close({ code, reason: "why", drainMs: 0 });
      await clock.advance(0);
      await clock.advance(1000);
      expect(await left.closed).toMatchObject({ code, reason: "why" });
      expect((await right.closed).code).toBe("CLOSED");
    },
  );

  it("refuses what crosses it on its way, and counts it", () => {
    const victim = new Victim();
    victim.do({ do: "goaway", code: "DRAINING", retryAfterMs: 0, reason: "" });
    expect(victim.core.opensRefused).toBe(0);
    victim.say(open(1, { end: true }));
    expect(victim.core.opensRefused).toBe(1);
  });
});
