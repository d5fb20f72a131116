import { describe, expect, it } from "@jest/globals";
import { anEvent } from "../../test/a-wolf.ts";
import { ManualTimers, settled } from "../../test/manual-timers.ts";
import {
  createLiveStream,
  HELLO_MS,
  HIDDEN_MS,
  type LiveState,
  POLL_MS,
  SILENCE_MS,
  type StreamSource,
} from "./live-stream.ts";

class FakeSource implements StreamSource {
  closed = false;
  private readonly listeners = new Map<string, (message: MessageEvent) => void>();
  readonly address: string;
  constructor(address: string) {
    this.address = address;
  }
  addEventListener(type: string, listener: (message: MessageEvent) => void): void {
    this.listeners.set(type, listener);
  }
  close(): void {
    this.closed = true;
  }
  say(type: string, data: unknown = {}, lastEventId = ""): void {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    this.listeners.get(type)?.({ data: text, lastEventId } as MessageEvent);
  }
}

function stream({ hidden = false } = {}) {
  const timers = new ManualTimers();
  const sources: FakeSource[] = [];
  const states: LiveState[] = [];
  const world = { hidden, answers: true, asked: 0, everything: 0, events: 0 };
  const live = createLiveStream(
    {
      open(address) {
        sources.push(new FakeSource(address));
        return sources.at(-1) as FakeSource;
      },
      async ask() {
        world.asked += 1;
        if (!world.answers) throw new Error("nobody there");
      },
      isHidden: () => world.hidden,
      random: () => 1,
      timers,
    },
    {
      state: (state) => void states.push(state),
      version: () => undefined,
      event: () => {
        world.events += 1;
      },
      everything: () => {
        world.everything += 1;
      },
    },
  );
  const last = () => sources.at(-1) as FakeSource;
  live.open();
  return { timers, sources, states, world, live, last };
}

const hello = { cursor: "evt_1", version: "1", replica: "a" };

describe("the stream of events in a page", () => {
  it("is live once it has said hello, and passes on what it understands", () => {
    const { states, last, world } = stream();
    last().say("hello", hello);
    last().say("message", anEvent());
    last().say("message", "no json {");
    last().say("message", { nothing: "of that" });
    expect(states).toEqual(["live"]);
    expect(world).toMatchObject({ events: 1, everything: 0, asked: 0 });
  });

  it("is asked for every five seconds instead where it never says hello", async () => {
    const { timers, states, world, sources } = stream();
    await timers.pass(HELLO_MS - 1);
    expect(states).toEqual([]);
    await timers.pass(1);
    expect(states).toEqual(["polling"]);
    expect(sources[0]?.closed).toBe(true);
    expect(world).toMatchObject({ asked: 1, everything: 1 });
    await timers.pass(POLL_MS * 2);
    expect(world).toMatchObject({ asked: 3, everything: 3 });
  });

  it("is offline while nothing answers, and live again without anybody's doing", async () => {
    const { timers, states, world, last } = stream();
    last().say("hello", hello);
    world.answers = false;
    last().say("error");
    await settled();
    expect(states).toEqual(["live", "offline"]);
    await timers.pass(1000);
    last().say("hello", hello);
    expect(states).toEqual(["live", "offline", "live"]);
    await timers.pass(POLL_MS * 3);
    expect(world.asked).toBe(1);
  });

  it("goes on behind the last event that it heard, so that nothing has to be read anew", async () => {
    const { timers, last, world } = stream();
    last().say("hello", hello);
    last().say("message", anEvent(), "evt_2");
    world.answers = false;
    last().say("error");
    await timers.pass(1000);
    expect(last().address).toBe("/api/v1/events?last_event_id=evt_2");
    last().say("hello", { ...hello, cursor: "evt_2" });
    expect(world.everything).toBe(0);
  });

  it("has everything read where events are missing, and goes on behind the gap", async () => {
    const { timers, last, world } = stream();
    last().say("hello", hello);
    last().say("error");
    await timers.pass(1000);
    const before = world.everything;
    last().say("hello", { ...hello, cursor: "evt_9" });
    last().say("missed", { after: "evt_1", reason: "too-late" });
    expect(world.everything).toBe(before + 1);
    last().say("error");
    await timers.pass(1000);
    expect(last().address).toBe("/api/v1/events?last_event_id=evt_9");
  });

  it("has everything read where it begins without a place to go on from", async () => {
    const { timers, last, world } = stream();
    last().say("error");
    await timers.pass(1000);
    const before = world.everything;
    last().say("hello", hello);
    expect(world.everything).toBe(before + 1);
  });

  it("is given up after 40 s without a word, and beats are words", async () => {
    const { timers, states, last, sources } = stream();
    last().say("hello", hello);
    for (let beat = 0; beat < 5; beat += 1) {
      await timers.pass(SILENCE_MS - 1);
      last().say("beat");
    }
    expect(states).toEqual(["live"]);
    await timers.pass(SILENCE_MS);
    expect(sources[0]?.closed).toBe(true);
    expect(states).toEqual(["live", "polling"]);
  });

  it("is tried ever more seldom, once a minute at last", async () => {
    const { timers, last, sources } = stream();
    for (let attempt = 0; attempt < 8; attempt += 1) {
      last().say("error");
      await timers.pass(60_000);
      // Those that were opened meanwhile have not said hello either.
      last().say("error");
    }
    const before = sources.length;
    last().say("error");
    await timers.pass(59_000);
    expect(sources.length).toBe(before);
    await timers.pass(1000);
    expect(sources.length).toBe(before + 1);
  });

  it("hears nothing of a source that it has given up", async () => {
    const { timers, states, world, sources } = stream();
    await timers.pass(HELLO_MS);
    sources[0]?.say("hello", hello);
    sources[0]?.say("message", anEvent());
    expect(states).toEqual(["polling"]);
    expect(world.events).toBe(0);
  });

  it("gives its connection back while the page is hidden, and opens when it is shown", async () => {
    const { timers, world, live, last, sources, states } = stream();
    last().say("hello", hello);
    world.hidden = true;
    live.visibility();
    await timers.pass(HIDDEN_MS);
    expect(last().closed).toBe(true);
    await timers.pass(600_000);
    expect(sources.length).toBe(1);
    world.hidden = false;
    live.visibility();
    expect(last().address).toContain("last_event_id=evt_1");
    expect(states).toEqual(["live"]);
  });

  it("takes no connection where its tab begins in the background, until that is shown for the first time", async () => {
    const { timers, world, live, last, sources, states } = stream({ hidden: true });
    await timers.pass(600_000);
    live.visibility();
    await timers.pass(600_000);
    expect([sources.length, world.asked, timers.count]).toEqual([0, 0, 0]);
    world.hidden = false;
    live.visibility();
    expect(sources.length).toBe(1);
    // What its pages have read in the background is outdated by now.
    last().say("hello", hello);
    expect(states).toEqual(["live"]);
    expect(world.everything).toBe(1);
  });

  it("ends without ever having had a connection where its tab was never shown", async () => {
    const { timers, world, live, sources } = stream({ hidden: true });
    live.end();
    world.hidden = false;
    live.visibility();
    expect([sources.length, timers.count]).toEqual([0, 0]);
  });

  it("leaves nothing behind when it ends, in whatever state", async () => {
    const { timers, live, last, states, world } = stream();
    last().say("error");
    live.end();
    await timers.pass(600_000);
    live.visibility();
    expect(timers.count).toBe(0);
    expect(last().closed).toBe(true);
    expect(states).toEqual([]);
    expect(world.everything).toBe(0);
  });
});
