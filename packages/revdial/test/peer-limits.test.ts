/** Limits that a peer states in its HELLO: our side keeps to them, so that no mistake of a program ends the tunnel of all others. */
import { describe, expect, it } from "@jest/globals";
import type { Frame } from "../src/frame.ts";
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
