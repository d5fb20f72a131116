/** A tunnel that comes to the end of its channel numbers, after some two thousand million requests, asks to be replaced in time. */
import { describe, expect, it } from "@jest/globals";
import type { Core } from "../src/core.ts";
import { createTunnelSet, type Tunnel } from "../src/index.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { requestHead, skipTo, Victim } from "./cores.ts";
import { failure, get, signal, until } from "./support.ts";

const LAST = 0xffff_fffe;
const KEPT = 8192;

const coreOf = (tunnel: Tunnel) => (tunnel as unknown as { core: Core }).core;

function ask(victim: Victim): number {
  const channel = victim.core.claimChannel();
  victim.do({ do: "open", channel, head: requestHead, end: true });
  return channel;
}

describe("a core whose channel numbers end", () => {
  it("goes away behind the OPEN that leaves fewer than 8,192 numbers, and not before", () => {
    const victim = new Victim();
    skipTo(victim.core, LAST - KEPT - 2);
    ask(victim);
    expect(victim.sent()).toMatchObject([{ type: "open" }]);
    ask(victim);
    expect(victim.sent()).toMatchObject([{ type: "open" }, { type: "goaway", code: 32 }]);
    expect(victim.core.draining).toBe(true);
    expect(() => victim.core.claimChannel()).toThrow("DRAINING");
  });

  it("never uses a number twice where nothing leaves, however many requests are given up", () => {
    const victim = new Victim();
    skipTo(victim.core, LAST - 2);
    for (const channel of [LAST - 2, LAST]) {
      expect(ask(victim)).toBe(channel);
      victim.do({ do: "reset", channel, code: "CANCELLED", reason: "" });
    }
    expect(() => victim.core.claimChannel()).toThrow("DRAINING");
    expect(victim.sent()).toMatchObject([{ type: "goaway" }]);
  });

  it("says nothing of it behind a violation of the peer", () => {
    const victim = new Victim();
    skipTo(victim.core, LAST);
    ask(victim);
    victim.do({ do: "text" });
    expect(victim.sent()).toMatchObject([{ type: "goaway", code: 83 }]);
  });
});

describe("a tunnel whose channel numbers end", () => {
  it("is going away, finishes what is in flight however long it takes, and a set asks another", async () => {
    const [old, young] = [tunnelPair(), tunnelPair()];
    const finish = signal();
    old.left.serve(async () => {
      await finish.seen;
      return { status: 200 };
    });
    young.left.serve(() => ({ status: 204 }));
    await Promise.all([old.ready, young.ready]);
    const set = createTunnelSet();
    set.add(old.right);
    await set.ready;
    skipTo(coreOf(old.right), LAST);
    const last = set.request(get("/"));
    expect(await old.right.goingAway).toEqual({ code: "CLOSED", reason: "few channel numbers are left" });
    expect((await old.left.goingAway).code).toBe("DRAINING");
    expect(old.right.draining).toBe(true);
    expect(await failure(set.request(get("/")))).toMatchObject({ code: "CLOSED", sent: "not-sent" });
    set.add(young.right);
    await until(() => set.members.length === 2);
    expect((await set.request({ ...get("/"), deadlineMs: 60_000 })).status).toBe(204);
    finish.give();
    expect((await last).status).toBe(200);
    expect((await old.right.closed).code).toBe("CLOSED");
    set.destroy();
    await Promise.all([set.closed, old.left.closed, young.left.closed]);
  });
});
