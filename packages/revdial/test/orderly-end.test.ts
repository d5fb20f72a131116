/** A tunnel that ends in order while what it has handed to its transport is still under way: the end waits for it, but not for ever. */
import { createServer } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { decodeMessage } from "../src/decode.ts";
import type { Frame } from "../src/frame.ts";
import { createHttpAcceptor, dialTunnel, type Tunnel } from "../src/index.ts";
import { defaultLimits } from "../src/limits.ts";
import { ManualClock, type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { Victim } from "./cores.ts";
import { listen, stopServer } from "./gateway.ts";
import { collect, get, signal, until } from "./support.ts";

/** Fits into a first window and into the socket's queue: all of it is handed over at once. */
const ANSWER_BYTES = 20_000;
const CUT_MS = 1000;

describe("a last answer that is handed over and has not arrived", () => {
  let clock: ManualClock;
  let pair: TunnelPair;
  let asked: Promise<Buffer>;
  let end: string | undefined;

  beforeEach(async () => {
    clock = new ManualClock();
    end = undefined;
    // The caller may be silent for long, and does not take us for dead.
    pair = tunnelPair({ both: { clock }, left: { deadAfterMs: 10_000_000 } });
    pair.right.serve(() => ({ status: 200, body: new Uint8Array(ANSWER_BYTES) }));
    void pair.right.closed.then(({ code }) => {
      end = code;
    });
    await pair.ready;
    await clock.advance(0);
    asked = pair.left.request(get("/")).then(({ body }) => collect(body));
    asked.catch(() => undefined);
    pair.link.hold("left", true);
    await until(() => pair.link.right.queuedBytes > ANSWER_BYTES);
    expect(pair.right.load).toBe(0);
  });

  afterEach(async () => {
    pair.left.destroy();
    await clock.advance(0);
    await Promise.all([pair.left.closed, pair.right.closed]);
    expect(clock.pending).toBe(0);
  });

  /** The path stands still for longer than a closing handshake may take, then goes on. */
  async function arrives(): Promise<void> {
    await clock.advance(9 * CUT_MS);
    expect(end).toBe(undefined);
    pair.link.hold("left", false);
    await clock.advance(0);
    expect(await asked).toHaveLength(ANSWER_BYTES);
  }

  it("is waited for by its sender, which closes", async () => {
    const closed = pair.right.close();
    await arrives();
    expect((await closed).code).toBe("CLOSED");
    expect((await pair.left.closed).code).toBe("DRAINING");
  });

  it("is waited for by its sender when the caller closes", async () => {
    pair.link.hold("left", false);
    const closed = pair.left.close();
    pair.link.hold("left", true);
    await arrives();
    expect((await closed).code).toBe("CLOSED");
    expect((await pair.right.closed).code).toBe("DRAINING");
  });

  it("is cut when the sender's own time for its drain is over", async () => {
    void pair.right.close({ drainMs: 5000 });
    await clock.advance(5000 + CUT_MS - 1);
    expect(end).toBe(undefined);
    await clock.advance(1);
    expect(end).toBe("CLOSED");
    expect((await pair.left.closed).code).toBe("TRANSPORT_LOST");
  });

  it("is cut after 30 s when the caller closes, says on and on that it is there, and reads nothing", async () => {
    void pair.left.close({ drainMs: 600_000 });
    await clock.advance(0);
    await clock.advance(30_000 + CUT_MS - 1);
    expect(end).toBe(undefined);
    await clock.advance(1);
    expect(end).toBe("DRAINING");
  });

  it("is given up with its peer, when that is dead", async () => {
    void pair.right.close();
    pair.link.drop();
    await clock.advance(15_000);
    expect(end).toBe("DEAD_PEER");
  });
});

it("a core waits with its close for the transport, says so once, and answers meanwhile", () => {
  const victim = new Victim();
  victim.say({ type: "ping", token: 1n });
  expect(victim.core.nextMessage(0).parts).toBeDefined();
  expect(victim.core.nextMessage(0, 17)).toEqual({ parts: undefined, effects: [] });
  const goaway: Frame = { type: "goaway", lastChannel: 0, code: 32, retryAfterMs: 0, reason: "" };
  expect(victim.say(goaway).map(({ effect }) => effect)).toEqual(["goaway", "handedOver"]);
  victim.say({ type: "ping", token: 2n });
  const { parts = [], effects } = victim.core.nextMessage(0, 9);
  expect(decodeMessage(new Uint8Array(Buffer.concat(parts)), defaultLimits)).toEqual([
    { type: "pong", token: 2n },
  ]);
  expect(effects).toEqual([]);
  expect(victim.core.nextMessage(0, 1).effects).toEqual([]);
  expect(victim.core.nextMessage(0, 0).effects).toMatchObject([{ effect: "close", code: "CLOSED" }]);
});

it("a core that has not heard its peer's HELLO waits for nothing", () => {
  const victim = new Victim({}, false);
  victim.do({ do: "goaway", code: "DRAINING", retryAfterMs: 0, reason: "" });
  const { parts, effects } = victim.core.nextMessage(0, 30);
  expect(parts).toBeDefined();
  expect(effects).toMatchObject([{ effect: "close", code: "CLOSED" }]);
});

it("a last answer over HTTP ends its tunnel when its POST is answered, however long that takes", async () => {
  const acceptor = createHttpAcceptor();
  const clock = new ManualClock();
  const [accepted, held] = [signal<Tunnel>(), signal<() => void>()];
  let holds = false;
  const server = createServer((request, response) => {
    if (acceptor.kindOf(request) === "open")
      return accepted.give(acceptor.open(request, response, { clock }) as Tunnel);
    if (!holds) return acceptor.receive(request, response);
    holds = false;
    held.give(() => acceptor.receive(request, response));
  });
  const dialled = await dialTunnel(await listen(server), { transport: "http", clock });
  const caller = await accepted.seen;
  await clock.advance(0);
  await Promise.all([dialled.reached, caller.reached]);
  const go = signal();
  dialled.serve(async () => {
    await go.seen;
    return { status: 200, body: new Uint8Array(ANSWER_BYTES) };
  });
  const asked = caller.request(get("/")).then(({ body }) => collect(body));
  await until(() => dialled.load === 1 && dialled.metrics.queuedBytes === 0);
  void dialled.close();
  await until(() => caller.draining && dialled.metrics.queuedBytes === 0);
  holds = true;
  go.give();
  const take = await held.seen;
  await clock.advance(9 * CUT_MS);
  take();
  expect(await asked).toHaveLength(ANSWER_BYTES);
  expect((await dialled.closed).code).toBe("CLOSED");
  expect((await caller.closed).code).toBe("DRAINING");
  await stopServer(server);
});
