/** Peers that break the protocol, one by one, by name: each ends its own tunnel with the right code and costs nothing else. */
import { describe, expect, it } from "@jest/globals";
import { decodeMessage } from "../src/decode.ts";
import { wireCodes } from "../src/errors.ts";
import type { Frame } from "../src/frame.ts";
import { defaultLimits } from "../src/limits.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { data, hello, newCore, open, requestHead, Victim, write } from "./cores.ts";
import { failure, get, signal, untilAborted } from "./support.ts";

const { windowInitialBytes } = defaultLimits;

const end = (channel: number): Frame => ({ type: "end", channel, trailers: [] });
const reset = (channel: number, code = 2): Frame => ({ type: "reset", channel, code, reason: "" });
const credit = (channel: number, bytes: number): Frame => ({ type: "credit", channel, bytes });
const head = (channel: number): Frame => ({ type: "head", channel, end: false, status: 200, headers: [] });
const ping: Frame = { type: "ping", token: 1n };
const unknown = (type: number) => Buffer.from([0, 0, 0, type, 0, 0, 0, 0, 0]);

/** Frames of the peer, after which the core must end with the code. Channel 2 is one of ours, and open. */
const violations: [name: string, frames: Frame[], code: keyof typeof wireCodes][] = [
  ["a second HELLO", [hello], "HELLO_REPEATED"],
  ["an OPEN of our own parity", [open(4)], "CHANNEL_ID"],
  ["an OPEN of a channel that is open", [open(1), open(1)], "CHANNEL_ID"],
  ["an OPEN of a channel that was reset", [open(1), reset(1), open(1)], "CHANNEL_ID"],
  ["an OPEN below an earlier one", [open(5), open(3)], "CHANNEL_ID"],
  ["DATA before OPEN", [data(1, 1)], "CHANNEL_ID"],
  ["END before OPEN", [end(1)], "CHANNEL_ID"],
  ["RESET before OPEN", [reset(1)], "CHANNEL_ID"],
  ["CREDIT before OPEN", [credit(1, 1)], "CHANNEL_ID"],
  ["HEAD on a channel of ours that does not exist", [head(8)], "CHANNEL_ID"],
  ["HEAD on a number above the one that we have opened", [head(4)], "CHANNEL_ID"],
  ["HEAD on its own channel", [open(1), head(1)], "CHANNEL_STATE"],
  ["DATA before HEAD", [data(2, 1)], "CHANNEL_STATE"],
  ["END before HEAD", [end(2)], "CHANNEL_STATE"],
  ["a second HEAD", [head(2), head(2)], "CHANNEL_STATE"],
  ["an interim HEAD after the HEAD", [head(2), { ...head(2), status: 103 } as Frame], "CHANNEL_STATE"],
  ["DATA after END", [open(1), end(1), data(1, 1)], "CHANNEL_STATE"],
  ["DATA after OPEN with END", [open(1, { end: true }), data(1, 1)], "CHANNEL_STATE"],
  ["empty DATA after DATA with END", [open(1), data(1, 1, true), data(1, 0)], "CHANNEL_STATE"],
  ["a second END", [open(1), end(1), end(1)], "CHANNEL_STATE"],
  ["DATA one byte beyond the window", [open(1), data(1, windowInitialBytes), data(1, 1)], "WINDOW_EXCEEDED"],
  [
    "one DATA frame larger than what is left",
    [open(1), data(1, 1), data(1, windowInitialBytes)],
    "WINDOW_EXCEEDED",
  ],
  ["a frame longer than the window", [open(1), data(1, windowInitialBytes + 1)], "WINDOW_EXCEEDED"],
  ["DATA above the frame limit", [open(1), data(1, 65_537)], "FRAME_TOO_LARGE"],
  ["a CREDIT of nothing", [credit(2, 0)], "CREDIT_INVALID"],
  ["a CREDIT that overflows", [credit(2, 0x7fff_ffff)], "CREDIT_INVALID"],
  [
    "CREDITs that overflow together",
    [credit(2, 0x7fff_0000 - 65_536), credit(2, 0xffff), credit(2, 1)],
    "CREDIT_INVALID",
  ],
  [
    "2,100 headers",
    [open(1, { headers: Array.from({ length: 2100 }, () => ["a", ""] as const) })],
    "HEAD_TOO_LARGE",
  ],
  ["a head of 40 KiB", [open(1, { headers: [["a", "x".repeat(40_000)]] })], "HEAD_TOO_LARGE"],
  [
    "33 interim heads",
    Array.from({ length: 33 }, () => ({ ...head(2), status: 103 }) as Frame),
    "INTERIM_FLOOD",
  ],
  ["status 101 on a request", [{ ...head(2), status: 101 } as Frame], "HEAD_INVALID"],
  [
    "trailers on a socket",
    [open(1, { kind: 1 }), { type: "end", channel: 1, trailers: [["a", "b"]] }],
    "HEAD_INVALID",
  ],
  ["65 empty DATA in a row", [open(1), ...Array.from({ length: 65 }, () => data(1, 0))], "EMPTY_FLOOD"],
  ["20,000 empty DATA", [open(1), ...Array.from({ length: 20_000 }, () => data(1, 0))], "EMPTY_FLOOD"],
];

/** A victim with channel 2 opened by ours and sent. */
function withOpenChannel(): Victim {
  const victim = new Victim();
  victim.do({ do: "open", channel: victim.core.claimChannel(), head: requestHead, end: false });
  expect(victim.sent()).toMatchObject([{ type: "open", channel: 2 }]);
  return victim;
}

describe("a hostile peer", () => {
  it.each(violations)("ends its tunnel with %s", (_name, frames, code) => {
    const victim = withOpenChannel();
    const effects = victim.say(...frames);
    expect(effects.at(-1)).toMatchObject({ effect: "close", code });
    expect(victim.sent()).toMatchObject([{ type: "goaway", code: wireCodes[code] }]);
    // Nothing comes out any more, whatever goes in.
    expect(victim.say(open(99))).toEqual([]);
    expect(victim.do({ do: "tick" })).toEqual([]);
    expect(victim.sent()).toEqual([]);
    expect(victim.core.wakeAt).toBe(Number.POSITIVE_INFINITY);
    // Somebody may go on holding the tunnel: it holds nothing any more.
    expect(victim.do({ do: "stop" })).toEqual([]);
    expect(victim.core.size).toEqual({ live: 0, slots: 0, budgetUsedBytes: 0 });
  });

  it.each([
    ["an unknown frame", unknown(0x0c), "FRAME_TYPE_UNKNOWN"],
    ["an unknown frame at the end of the closed range", unknown(0x3f), "FRAME_TYPE_UNKNOWN"],
    ["noise", Buffer.from("ffffffffffff", "hex"), "FRAME_TRUNCATED"],
  ])("ends its tunnel with %s", (_name, bytes, code) => {
    const victim = withOpenChannel();
    expect(victim.core.input(bytes, 0)).toMatchObject([{ effect: "close", code }]);
  });

  it("may send frames of later versions, which are skipped", () => {
    const victim = withOpenChannel();
    expect(victim.core.input(unknown(0x40), 0)).toEqual([]);
    expect(victim.core.input(unknown(0xff), 0)).toEqual([]);
  });

  it.each([
    ["PING", [ping], "HELLO_EXPECTED"],
    ["OPEN", [open(1)], "HELLO_EXPECTED"],
    ["a HELLO of version 2", [{ ...hello, version: 2 }], "PROTOCOL_VERSION"],
    ["a HELLO that takes no channel", [{ ...hello, channelsMax: 0 }], "FRAME_MALFORMED"],
    ["a HELLO with an endless window", [{ ...hello, windowBytes: 0x8000_0000 }], "FRAME_MALFORMED"],
    ["a HELLO that takes no heads", [{ ...hello, headBytesMax: 1023 }], "FRAME_MALFORMED"],
    [
      "a HELLO that takes heads no frame can hold",
      [{ ...hello, headBytesMax: 0x100_0000 }],
      "FRAME_MALFORMED",
    ],
    ["a HELLO that takes no header fields", [{ ...hello, headersMax: 0 }], "FRAME_MALFORMED"],
    ["a HELLO whose messages hold no frame", [{ ...hello, messageBytesMax: 65_536 }], "FRAME_MALFORMED"],
  ] as [string, Frame[], string][])("ends its tunnel when it begins with %s", (_name, frames, code) => {
    expect(new Victim({}, false).say(...frames).at(-1)).toMatchObject({ effect: "close", code });
  });

  it("does not get a request back that is still waiting for its HELLO", () => {
    const victim = new Victim({}, false);
    victim.do({ do: "open", channel: victim.core.claimChannel(), head: requestHead, end: true });
    expect(victim.say(hello, head(2)).at(-1)).toMatchObject({ effect: "close", code: "CHANNEL_ID" });
  });

  it("may open and reset as fast as it can, but no more than there are slots, since no handler has stopped", () => {
    const victim = new Victim();
    let opened = 0;
    let effects = victim.say(open(1));
    for (let id = 3; effects.at(-1)?.effect !== "close" && opened < 1_000_000; id += 2) {
      opened += 1;
      effects = victim.say(reset(id - 2), open(id));
      victim.sent();
      expect(victim.core.size.slots).toBeLessThanOrEqual(defaultLimits.channelsMax);
    }
    expect(effects.at(-1)).toMatchObject({ effect: "close", code: "OPEN_FLOOD" });
    expect(opened).toBe(defaultLimits.channelsMax);
  });

  it("is not blamed for refusing what we open, however often", () => {
    const victim = new Victim({ resetsPerWindowMax: 10 });
    for (let round = 0; round < 100; round += 1) {
      const channel = victim.core.claimChannel();
      victim.do({ do: "open", channel, head: requestHead, end: true });
      victim.sent();
      expect(victim.say(reset(channel, wireCodes.REFUSED))).toMatchObject([
        { effect: "reset", sent: "not-sent" },
      ]);
    }
  });

  it("may open and reset slowly for ever, but holds no more slots than it has", () => {
    const victim = new Victim({ channelsMax: 8 });
    let started = 0;
    let last = "";
    for (let id = 1; last !== "close"; id += 2) {
      victim.now += 60_000;
      const effects = victim.say(open(id), reset(id));
      started += effects.filter((effect) => effect.effect === "incoming").length;
      last = effects.at(-1)?.effect ?? "";
      expect(victim.core.size).toMatchObject({ live: 0, budgetUsedBytes: 0 });
    }
    expect(started).toBe(8); // No handler of ours has stopped.
    expect(victim.core.size.slots).toBe(8);
    expect(victim.sent()).toMatchObject([{ type: "goaway", code: wireCodes.OPEN_FLOOD }]);
  });

  it("that pings and does not read is cut off at a bounded queue", () => {
    const victim = new Victim();
    const pings = write(...Array.from({ length: 10_000 }, () => ping));
    let effects = victim.core.input(pings, 0);
    let rounds = 1;
    while (effects.length === 0 && rounds < 100) {
      effects = victim.core.input(pings, 0);
      rounds += 1;
    }
    expect(effects).toMatchObject([{ effect: "close", code: "CONTROL_FLOOD" }]);
    expect(rounds).toBe(Math.ceil((defaultLimits.controlQueuedBytesMax + 1) / (10_000 * 17)));
  });

  it("hears our HELLO first, however much it asks before that has left", () => {
    const core = newCore(false);
    core.input(write(hello, ping, open(1, { kind: 2 })), 0);
    const { parts } = core.nextMessage(0);
    const frames = decodeMessage(new Uint8Array(Buffer.concat(parts ?? [])), defaultLimits);
    expect(frames.map(({ type }) => type)).toEqual(["hello", "pong", "reset"]);
  });

  it("is not blamed for what we cancel, however much at once", () => {
    const channels = 50_000;
    const victim = new Victim({ receiveBudgetBytes: 2 ** 40 }, false);
    victim.say({ ...hello, channelsMax: channels } as Frame);
    const ours = Array.from({ length: channels }, () => {
      const channel = victim.core.claimChannel();
      victim.do({ do: "open", channel, head: requestHead, end: true });
      return channel;
    });
    victim.sent();
    const reason = "the caller has lost its patience";
    for (const channel of ours)
      expect(victim.do({ do: "reset", channel, code: "CANCELLED", reason })).toMatchObject([
        { effect: "reset" },
      ]);
    expect(victim.say(ping)).toEqual([]);
    const sent = victim.sent();
    expect(sent[0]).toMatchObject({ type: "pong" }); // Ahead of everything else.
    expect(sent.filter(({ type }) => type === "reset")).toHaveLength(channels);
  });

  it("is refused more open bodies than the budget has room for, and nothing else", () => {
    const victim = new Victim({ receiveBudgetBytes: 3 * windowInitialBytes });
    const ids = [1, 3, 5, 7, 9];
    victim.say(...ids.map((id) => open(id)));
    const refused = victim.sent().filter((frame) => frame.type === "reset");
    expect(refused).toMatchObject([7, 9].map((channel) => ({ channel, code: wireCodes.REFUSED })));
    expect(victim.core.size.budgetUsedBytes).toBe(3 * windowInitialBytes);
    // A request without a body needs no window, and DATA for what was refused is ignored.
    expect(victim.say(data(7, 60_000), data(7, 60_000), open(11, { end: true }))).toMatchObject([
      { effect: "incoming" },
    ]);
    expect(() =>
      victim.do({ do: "open", channel: victim.core.claimChannel(), head: requestHead, end: true }),
    ).toThrow("REFUSED");
  });

  it("is refused kinds of channels that do not exist yet", () => {
    const victim = new Victim();
    expect(victim.say(open(1, { kind: 2 }), open(3, { kind: 200 }), data(1, 5))).toEqual([]);
    expect(victim.sent()).toMatchObject([
      { type: "reset", channel: 1, code: wireCodes.KIND_UNSUPPORTED },
      { type: "reset", channel: 3, code: wireCodes.KIND_UNSUPPORTED },
    ]);
  });

  it("may go on sending on a channel that we have reset, without effect", () => {
    const victim = new Victim();
    victim.say(open(1));
    victim.do({ do: "reset", channel: 1, code: "CANCELLED", reason: "" });
    expect(victim.say(data(1, 65_000), data(1, 65_000), credit(1, 0xffff_ffff), end(1), reset(1))).toEqual(
      [],
    );
    expect(victim.core.size.live).toBe(0);
  });

  it("is refused what it opens after our GOAWAY", () => {
    const victim = new Victim();
    victim.say(open(1));
    victim.do({ do: "goaway", code: "DRAINING", retryAfterMs: 5, reason: "bye" });
    expect(victim.say(open(3), data(3, 10))).toEqual([]);
    const sent = victim.sent();
    expect(sent).toContainEqual({ type: "goaway", lastChannel: 1, code: 32, retryAfterMs: 5, reason: "bye" });
    expect(sent).toContainEqual(
      expect.objectContaining({ type: "reset", channel: 3, code: wireCodes.DRAINING }),
    );
  });

  it.each([
    ["opens twice", [open(3), open(3)]],
    ["opens below another", [open(5), open(3)]],
    ["never opened", [open(3), data(5, 10)]],
  ])("ends its tunnel with what it %s after our GOAWAY", (_name, frames) => {
    const victim = new Victim();
    victim.say(open(1));
    victim.do({ do: "goaway", code: "DRAINING", retryAfterMs: 5, reason: "bye" });
    expect(victim.say(...frames).at(-1)).toMatchObject({ effect: "close", code: "CHANNEL_ID" });
  });

  it("may write on a number that it left out, without effect", () => {
    const victim = new Victim();
    victim.say(open(5));
    expect(victim.say(data(3, 10), end(3), reset(1), credit(1, 0))).toEqual([]);
    expect(victim.core.live).toBe(1);
  });

  it.each([
    [
      "could not open",
      (victim: Victim, channel: number) =>
        expect(() =>
          victim.do({ do: "open", channel, head: { ...requestHead, path: "no slash" }, end: true }),
        ).toThrow("HEAD_INVALID"),
    ],
    [
      "gave up before it left",
      (victim: Victim, channel: number) => {
        victim.do({ do: "open", channel, head: requestHead, end: true });
        victim.do({ do: "reset", channel, code: "CANCELLED", reason: "" });
      },
    ],
  ])("ends its tunnel with an answer to what we %s", (_name, fail) => {
    const victim = new Victim();
    fail(victim, victim.core.claimChannel());
    victim.sent();
    expect(victim.say(head(2)).at(-1)).toMatchObject({ effect: "close", code: "CHANNEL_ID" });
  });

  it("that goes away 49,000 times in one message is heard no more than 16 times, though 1,000 of our channels wait", () => {
    const victim = new Victim();
    for (let count = 0; count < 1000; count += 1)
      victim.do({ do: "open", channel: victim.core.claimChannel(), head: requestHead, end: true });
    victim.sent();
    const goaways = Array.from(
      { length: 49_000 },
      (_, at): Frame => ({
        type: "goaway",
        lastChannel: 0xffff_ffff - at,
        code: 32,
        retryAfterMs: 0,
        reason: "",
      }),
    );
    const effects = victim.say(...goaways);
    expect(effects.map(({ effect }) => effect)).toEqual([...Array(16).fill("goaway"), "close"]);
    expect(effects.at(-1)).toMatchObject({ code: "CONTROL_FLOOD" });
  });

  it("does not answer NOT_NEEDED before its answer is complete", () => {
    const victim = withOpenChannel();
    expect(victim.say(head(2), reset(2, wireCodes.NOT_NEEDED))).toContainEqual(
      expect.objectContaining({ effect: "reset", channel: 2, code: "NOT_NEEDED", sent: "may-have-run" }),
    );
  });

  it.each([
    [wireCodes.REFUSED, "REFUSED", "not-sent"],
    [wireCodes.SERVICE_UNKNOWN, "SERVICE_UNKNOWN", "not-sent"],
    [wireCodes.KIND_UNSUPPORTED, "KIND_UNSUPPORTED", "not-sent"],
    [wireCodes.DRAINING, "DRAINING", "not-sent"],
    [wireCodes.HANDLER_FAILED, "HANDLER_FAILED", "may-have-run"],
    [wireCodes.DEADLINE, "DEADLINE", "may-have-run"],
    [0xfffe, "CHANNEL_RESET", "may-have-run"],
    [wireCodes.NONE, "CHANNEL_RESET", "may-have-run"],
    [wireCodes.REPLACED, "CHANNEL_RESET", "may-have-run"],
    [wireCodes.REVOKED, "CHANNEL_RESET", "may-have-run"],
    [wireCodes.PROTOCOL_VERSION, "CHANNEL_RESET", "may-have-run"],
  ])("makes reset code %i read as %s, %s", (number, code, sent) => {
    expect(withOpenChannel().say(reset(2, number))).toMatchObject([
      { effect: "reset", channel: 2, code, sent },
    ]);
  });
});

describe("a GOAWAY with an odd number", () => {
  it.each([
    [wireCodes.NONE, "CLOSED"],
    [wireCodes.DEADLINE, "CLOSED"],
    [wireCodes.REPLACED, "REPLACED"],
    [wireCodes.REVOKED, "REVOKED"],
    [63, "CLOSED"],
    [9999, "CLOSED"],
  ])("(%i) ends a tunnel with the code %s", async (code, name) => {
    const { left, right, link, ready } = tunnelPair();
    await ready;
    link.inject("right", write({ type: "goaway", lastChannel: 0, code, retryAfterMs: 0, reason: "" }));
    expect((await right.closed).code).toBe(name);
    left.destroy();
    await left.closed;
  });
});

describe("a hostile peer of a whole tunnel", () => {
  it("ends it with a text message, and every promise settles", async () => {
    const { left, right, link, ready } = tunnelPair();
    await ready;
    const aborted = signal<unknown>();
    right.serve((request) => untilAborted(request.signal).catch(aborted.give) as Promise<never>);
    const inFlight = failure(right.request(get("/")));
    const fromPeer = failure(left.request(get("/")));
    link.inject("right", "text");
    expect(await inFlight).toMatchObject({ code: "MESSAGE_NOT_BINARY" });
    expect((await right.closed).code).toBe("MESSAGE_NOT_BINARY");
    expect((await fromPeer).code).toBe("MESSAGE_NOT_BINARY");
    expect((await left.closed).code).toBe("MESSAGE_NOT_BINARY");
  });

  it("tells the peer why, and both ends know the code", async () => {
    const { left, right, link, ready } = tunnelPair();
    await ready;
    link.inject("right", write(data(77, 1)));
    expect((await right.closed).code).toBe("CHANNEL_ID");
    expect(await left.closed).toMatchObject({
      code: "CHANNEL_ID",
      reason: expect.stringContaining("the peer says"),
    });
  });

  it("may fill a message with 90,000 notices, which are all heard in time", async () => {
    const { left, right, link, ready } = tunnelPair();
    await ready;
    const all = signal();
    let heard = 0;
    right.onNotice(() => {
      heard += 1;
      if (heard === 90_000) all.give();
    });
    link.inject(
      "right",
      write(
        ...Array.from(
          { length: 90_000 },
          (): Frame => ({ type: "notice", notice: "a", payload: new Uint8Array() }),
        ),
      ),
    );
    await all.seen;
    left.destroy();
    await right.closed;
  });

  it("cannot make it queue more than the socket's share for a reader that does not read", async () => {
    const { left, right, link, ready } = tunnelPair();
    await ready;
    let given = 0;
    async function* plenty(): AsyncIterable<Uint8Array> {
      for (;;) {
        given += 16_384;
        yield new Uint8Array(16_384);
      }
    }
    right.serve(() => ({ status: 200, body: plenty() }));
    link.hold("left", true);
    const replies = Array.from({ length: 20 }, () => failure(left.request(get("/"))));
    for (let turn = 0; turn < 500; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    const { socketQueueBytes, sendQueueBytes } = defaultLimits;
    expect(link.right.queuedBytes).toBeLessThan(socketQueueBytes + 128 * 1024);
    expect(given).toBeLessThan(socketQueueBytes + 128 * 1024 + 20 * (sendQueueBytes + 16_384));
    left.destroy();
    for (const error of await Promise.all(replies)) expect(error.code).toBe("DESTROYED");
    await right.closed;
  });
});
