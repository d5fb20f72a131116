/** Limits that a peer states in its HELLO: our side keeps to them, so that no mistake of a program ends the tunnel of all others. */
import { describe, expect, it } from "@jest/globals";
import type { Frame } from "../src/frame.ts";
import { defaultLimits } from "../src/limits.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { hello, open, requestHead, Victim } from "./cores.ts";
import { failure, get } from "./support.ts";

/** An accepting core whose peer has said this in its HELLO. */
function greetedWith(stated: Partial<Frame & { type: "hello" }>): Victim {
  const victim = new Victim({}, false);
  victim.say({ ...hello, ...stated } as Frame);
  victim.sent();
  return victim;
}

const fields = (count: number) => Array.from({ length: count }, (_, n) => [`x-${n}`, "1"] as const);

describe("the number of fields that a peer takes", () => {
  it("bounds a request, which is refused here", () => {
    const victim = greetedWith({ headersMax: 8 });
    const request = (count: number) =>
      victim.do({
        do: "open",
        channel: victim.core.claimChannel(),
        head: { ...requestHead, headers: fields(count) },
        end: true,
      });
    request(8);
    expect(() => request(9)).toThrow("HEAD_TOO_LARGE");
    expect(victim.sent()).toMatchObject([{ type: "open", channel: 2 }]);
    expect(victim.core.live).toBe(1);
  });

  it("bounds a request that was made before it was known", () => {
    const victim = new Victim({}, false);
    const channel = victim.core.claimChannel();
    victim.do({ do: "open", channel, head: { ...requestHead, headers: fields(9) }, end: true });
    expect(victim.say({ ...hello, headersMax: 8 } as Frame)).toContainEqual(
      expect.objectContaining({ effect: "reset", channel, code: "HEAD_TOO_LARGE", sent: "not-sent" }),
    );
    expect(victim.sent()).toEqual([]);
  });

  it("bounds an answer and its trailers", () => {
    const victim = greetedWith({ headersMax: 8 });
    victim.say(open(1, { end: true }));
    const head = (count: number) =>
      victim.do({ do: "head", channel: 1, status: 200, headers: fields(count), end: false });
    expect(() => head(9)).toThrow("HEAD_TOO_LARGE");
    head(8);
    expect(() => victim.do({ do: "end", channel: 1, trailers: fields(9) })).toThrow("HEAD_TOO_LARGE");
    victim.do({ do: "end", channel: 1, trailers: fields(8) });
    expect(victim.sent()).toMatchObject([{ type: "head" }, { type: "end" }]);
  });

  it("costs a caller that exceeds it its own request, and nobody else anything", async () => {
    const { left, right, ready } = tunnelPair({ left: { limits: { headersMax: 8 } } });
    await ready;
    left.serve(() => ({ status: 204 }));
    const large = { ...get("/"), headers: fields(9) };
    expect(await failure(right.request(large))).toMatchObject({ code: "HEAD_TOO_LARGE", sent: "not-sent" });
    expect((await right.request(get("/"))).status).toBe(204);
    left.destroy();
    await right.closed;
  });
});

describe("the number of interim heads that a peer takes", () => {
  const interim = (victim: Victim) =>
    victim.do({ do: "head", channel: 1, status: 103, headers: [], end: false });

  it("bounds those of an answer: more are dropped, and the answer still comes", () => {
    const victim = greetedWith({ interimHeadsMax: 2 });
    victim.say(open(1, { end: true }));
    for (let n = 0; n < 5; n += 1) interim(victim);
    victim.do({ do: "head", channel: 1, status: 200, headers: [], end: true });
    expect(victim.sent()).toMatchObject([{ status: 103 }, { status: 103 }, { status: 200 }]);
  });

  it("may be none", () => {
    const victim = greetedWith({ interimHeadsMax: 0 });
    victim.say(open(1, { end: true }));
    interim(victim);
    expect(victim.sent()).toEqual([]);
  });

  it("does not open a way for heads that may not travel, or come too late", () => {
    const victim = greetedWith({ interimHeadsMax: 0 });
    victim.say(open(1, { end: true }));
    const switching = () => victim.do({ do: "head", channel: 1, status: 101, headers: [], end: false });
    expect(switching).toThrow("HEAD_INVALID");
    victim.do({ do: "head", channel: 1, status: 200, headers: [], end: false });
    expect(() => interim(victim)).toThrow("CHANNEL_STATE");
  });

  it("lets an origin that sends thousands cost nobody else anything", async () => {
    const { left, right, ready } = tunnelPair();
    await ready;
    let heard = 0;
    left.serve((_request, reply) => {
      for (let n = 0; n < 5000; n += 1) reply.interim(102);
      return { status: 200 };
    });
    const onInterim = () => {
      heard += 1;
    };
    expect((await right.request({ ...get("/"), onInterim })).status).toBe(200);
    expect(heard).toBe(defaultLimits.interimHeadsMax);
    expect((await right.request(get("/"))).status).toBe(200);
    left.destroy();
    await right.closed;
  });
});
