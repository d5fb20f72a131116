/** What goes over a control connection, byte for byte and minute by minute, before peers that do it wrong. */
import { describe, expect, it } from "@jest/globals";
import type { Clock } from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import {
  CONTROL_PATH,
  helixGateway,
  pickUp,
  type RawFrame,
  RawPeer,
  rawControl,
  settled,
} from "./helix-support.ts";
import { failure, get, until } from "./support.ts";

const KEEP_ALIVE = '{"command":"keep-alive"}\n';
const PING = 9;
const BINARY = 0x82;
const TEXT = 0x81;

/** As the original server's frames are, header and all. */
function wireOf(line: string): string {
  const length = Buffer.byteLength(line);
  const header = length < 126 ? [BINARY, length] : [BINARY, 126, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(header), Buffer.from(line)]).toString("latin1");
}

/** What the oldest client makes of all this when it comes at once: a message ends where its buffer does. */
function linesReadBy4096(bytes: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const short = (bytes[at + 1] ?? 0) & 0x7f;
    const header = short === 126 ? 4 : 2;
    const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
    const filled = Math.ceil((at + 1) / 4096) * 4096;
    const begin = at + header;
    if (bytes[at] === BINARY) lines.push(bytes.toString("latin1", begin, Math.min(begin + length, filled)));
    at = begin + length;
  }
  return lines;
}

const whole = ({ fin, masked, opcode }: RawFrame) => fin && !masked && opcode === 2;

describe("a control connection", () => {
  it("is greeted with a keep-alive line and a ping, before anything else", async () => {
    const { url } = await helixGateway();
    const control = await RawPeer.open(url, CONTROL_PATH);
    await until(() => control.frames.length === 2);
    expect(control.frames[0]).toMatchObject({ fin: true, masked: false, opcode: 2 });
    expect(control.lines).toEqual([KEEP_ALIVE]);
    expect(control.frames[1]).toMatchObject({ opcode: PING });
    expect(Buffer.concat(control.chunks).toString("latin1").startsWith(wireOf(KEEP_ALIVE))).toBe(true);
  });

  it("gets each line as one frame without mask that arrives in one piece", async () => {
    const made = await rawControl();
    const { control, tunnel } = made;
    const chunksBefore = control.chunks.length;
    const asked = Array.from({ length: 12 }, () => tunnel.request(get("/")));
    for (const request of asked) request.catch(() => undefined);
    await until(() => control.connPaths.length === 12);
    const lines = control.lines.slice(1);
    expect(control.frames.filter(({ opcode }) => opcode === 2).every(whole)).toBe(true);
    for (const line of lines)
      expect(line).toMatch(
        /^\{"command":"conn-ready","connPath":"\/revdial\?revdial\.dialer=[0-9a-f]{32}\\u0026revdial\.req=[0-9a-f]{16}"\}\n$/,
      );
    expect(new Set(lines).size).toBe(12);
    // Several may have come together; none is cut in two.
    const wires = new Set(lines.map(wireOf));
    for (const chunk of control.chunks.slice(chunksBefore)) {
      const text = chunk.toString("latin1");
      const parts = text.split(/(?=\x82~)/);
      expect(parts.every((part) => wires.has(part))).toBe(true);
    }
  });

  it("gets a line that is sent alone in a piece of its own", async () => {
    const made = await rawControl();
    const { control, tunnel } = made;
    for (let number = 1; number <= 3; number += 1) {
      const before = control.chunks.length;
      tunnel.request(get("/")).catch(() => undefined);
      await until(() => control.connPaths.length === number);
      expect(control.chunks.slice(before).map((chunk) => chunk.toString("latin1"))).toEqual([
        wireOf(control.lines[number] as string),
      ]);
    }
  });

  it("hears a keep-alive line every 17 seconds, and none after a dial", async () => {
    const { control, tunnel, gateway } = await rawControl();
    const keepAlives = () => control.lines.filter((line) => line === KEEP_ALIVE).length;
    tunnel.request(get("/")).catch(() => undefined);
    await until(() => control.connPaths.length === 1);
    expect(keepAlives()).toBe(1);
    for (let round = 1; round <= 4; round += 1) {
      await gateway.clock.advance(16_999);
      await until(() => control.frames.some(({ opcode }) => opcode === PING));
      control.pong();
      expect(keepAlives()).toBe(round);
      await gateway.clock.advance(1);
      await until(() => keepAlives() === round + 1);
      control.pong();
      await gateway.clock.advance(0);
    }
    expect(gateway.faults).toEqual([expect.objectContaining({ code: "pickup-timeout" })]);
  });

  it("is pinged every ten seconds, and the answers measure the way", async () => {
    const { control, tunnel, gateway } = await rawControl();
    const pings = () => control.frames.filter(({ opcode }) => opcode === PING);
    expect(tunnel.rttMs).toBe(0);
    await gateway.clock.advance(10_000);
    await until(() => pings().length === 2);
    await gateway.clock.advance(123);
    control.send(0x8a, pings()[1]?.payload);
    await until(() => tunnel.rttMs === 123);
    expect(tunnel.metrics.rttMs).toBe(123);
  });
});

describe("an agent that is silent", () => {
  it("and never answers the first ping does not become reached, and is cut after the read timeout", async () => {
    const { url, tunnels, clock, exchange } = await helixGateway();
    const control = await RawPeer.open(url, CONTROL_PATH);
    const [tunnel] = tunnels;
    if (tunnel === undefined) throw new Error("no tunnel");
    let ready = false;
    tunnel.ready.then(
      () => {
        ready = true;
      },
      () => undefined,
    );
    await clock.advance(24_999);
    expect(ready).toBe(false);
    expect(exchange.dialers).toBe(1);
    await clock.advance(1);
    expect(await failure(tunnel.reached)).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    await until(() => control.closed);
    expect(exchange.dialers).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it("but for pings and lines, and answers no ping, is cut after the read timeout all the same", async () => {
    const { url, tunnels, clock, exchange } = await helixGateway();
    const control = await RawPeer.open(url, CONTROL_PATH);
    for (let passed = 0; passed < 24_000; passed += 4000) {
      control.send(0x89, "still here");
      control.send(BINARY, KEEP_ALIVE);
      control.send(0x8a, "99");
      await settled(control);
      await clock.advance(4000);
    }
    await settled(control);
    await clock.advance(999);
    expect(exchange.dialers).toBe(1);
    await clock.advance(1);
    expect(await tunnels[0]?.closed).toMatchObject({ code: "TRANSPORT_LOST", reason: /no ping.*25000 ms/ });
    await until(() => control.closed);
    expect(exchange.dialers).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it("does not become reached by an answer to a ping that nobody sent", async () => {
    const { url, tunnels, clock } = await helixGateway();
    const control = await RawPeer.open(url, CONTROL_PATH);
    control.send(0x8a, "99");
    control.send(BINARY, KEEP_ALIVE);
    await clock.advance(5000);
    expect(tunnels[0]?.peer).toBeUndefined();
    control.pong();
    await tunnels[0]?.ready;
    await clock.advance(0);
    await tunnels[0]?.reached;
    expect(tunnels[0]).toMatchObject({ transport: "helix", peer: { agent: "helix" } });
  });

  it.each<[string, (control: RawPeer) => void]>([
    ["pongs", (control) => control.pong()],
    ["pings", (control) => control.send(0x89, "x")],
    ["lines", (control) => control.send(BINARY, '{"command":"anything"}\n')],
  ])("but for %s stays", async (_what, speak) => {
    const { control, tunnel, gateway } = await rawControl();
    for (let round = 0; round < 4; round += 1) {
      await gateway.clock.advance(24_000);
      speak(control);
      // One round trip of the test's own: then the other has been read.
      const before = control.frames.length;
      control.send(0x89, "?");
      await until(() => control.frames.length > before);
      await gateway.clock.advance(0);
    }
    expect(tunnel.draining).toBe(false);
  });

  it("because this process stood still is not taken for dead, before it was asked", async () => {
    const clock = new ManualClock();
    let lostMs = 0;
    const jumping: Clock = {
      now: () => clock.now() + lostMs,
      setTimer: (ms, run) => clock.setTimer(ms, run),
    };
    const { url, tunnels } = await helixGateway({ clock: jumping });
    const control = await RawPeer.open(url, CONTROL_PATH);
    const asked = () => control.frames.filter(({ opcode }) => opcode === PING).length;
    const answer = async (pings: number) => {
      await until(() => asked() === pings);
      const before = control.frames.length;
      control.pong();
      control.send(0x89, "?");
      await until(() => control.frames.length > before);
    };
    await answer(1);
    await clock.advance(10_000);
    await answer(2);
    await clock.advance(10_000);
    await answer(3);
    lostMs = 3_600_000;
    await clock.advance(9999);
    expect(tunnels[0]?.draining).toBe(false);
    await clock.advance(1);
    await answer(4);
    await clock.advance(24_000);
    expect(tunnels[0]?.draining).toBe(false);
    await clock.advance(1000);
    expect(await tunnels[0]?.closed).toMatchObject({ code: "TRANSPORT_LOST" });
  });

  it("is not kept by the tunnel's own pings, which this process answers", async () => {
    const { tunnel, gateway } = await rawControl();
    await gateway.clock.advance(30_000);
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST", reason: /25000 ms/ });
  });
});

describe("an agent that breaks the rules of control", () => {
  it.each<[string, (control: RawPeer) => void, string, number]>([
    ["a text frame", (control) => control.send(TEXT, KEEP_ALIVE), "text-frame", 1003],
    ["a blank line", (control) => control.send(BINARY, "\n"), "line-invalid", 1002],
    ["a line that is no JSON", (control) => control.send(BINARY, "{\n"), "line-invalid", 1002],
    ["a line of 5,000 bytes", (control) => control.send(BINARY, "x".repeat(5000)), "line-too-long", 1009],
    ["an empty message", (control) => control.send(BINARY), "empty-message", 1002],
  ])("by %s is told why, and is one fault", async (_what, break_, code, closeCode) => {
    const { control, tunnel, gateway } = await rawControl();
    break_(control);
    break_(control);
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    await until(() => control.closeCode !== undefined);
    expect(control.closeCode).toBe(closeCode);
    expect(gateway.faults).toEqual([expect.objectContaining({ code })]);
    // It does not answer the close: it is cut off.
    await gateway.clock.advance(1000);
    await until(() => control.closed);
    expect(gateway.clock.pending).toBe(0);
  });

  it("by a frame that is none ends its tunnel alone", async () => {
    const { control, tunnel } = await rawControl();
    control.send(0x83, "x");
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
  });

  it("may send two lines in one message, and one line in two", async () => {
    const { control, tunnel, gateway } = await rawControl();
    const line = '{"command":"x","err":"é"}\n';
    control.send(BINARY, line + line);
    control.send(BINARY, line.slice(0, 7));
    control.sendFragmented(Buffer.from(line.slice(7)), 5);
    control.send(0x89, "?");
    await until(() => control.frames.some(({ opcode }) => opcode === 10));
    expect(tunnel.draining).toBe(false);
    expect(gateway.faults).toEqual([]);
  });
});

describe("a burst of 32 requests", () => {
  it("before an agent that reads nothing queues less than 4 KiB on control, until it is dead", async () => {
    const { control, tunnel, gateway } = await rawControl();
    control.socket.pause();
    const before = control.socket.bytesRead;
    const asked = Array.from({ length: 32 }, () => failure(tunnel.request(get("/"))));
    await until(() => gateway.exchange.pending === 32);
    await gateway.clock.advance(25_000);
    const errors = await Promise.all(asked);
    expect(new Set(errors.map(({ sent }) => sent))).toEqual(new Set(["not-sent"]));
    expect(gateway.exchange.pending).toBe(0);
    control.socket.resume();
    await until(() => control.closed);
    expect(control.socket.bytesRead - before).toBeLessThan(4096);
    // The first twelve, and after their time was over the next twelve.
    expect(control.connPaths).toHaveLength(24);
  });

  it("loses nothing at an agent that takes 4,096 bytes at a time, and of each message what is among them", async () => {
    const { control, tunnel, gateway } = await rawControl();
    const before = control.lines.length;
    control.socket.pause();
    for (let number = 0; number < 32; number += 1) tunnel.request(get("/")).catch(() => undefined);
    await until(() => gateway.exchange.pending === 32);
    await gateway.clock.advance(19_000);
    const chunks = control.chunks.length;
    control.socket.resume();
    await until(() => control.lines.length === before + 13);
    const queued = Buffer.concat(control.chunks.slice(chunks));
    expect(linesReadBy4096(queued)).toEqual(control.lines.slice(before));
  });

  it("tells the agent of twelve, and of one more for each that it answers", async () => {
    const made = await rawControl({ accept: { idleConnectionsMax: 0 } });
    const { control, tunnel, gateway } = made;
    const asked = Array.from({ length: 32 }, () => tunnel.request(get("/")));
    for (const request of asked) request.catch(() => undefined);
    await until(() => control.connPaths.length === 12);
    await gateway.clock.advance(0);
    expect(control.connPaths).toHaveLength(12);
    expect(gateway.exchange.pending).toBe(32);
    for (let number = 0; number < 5; number += 1) {
      await pickUp(made, number);
      await until(() => control.connPaths.length === 13 + number);
    }
    expect(gateway.exchange).toMatchObject({ pending: 27, connections: 5 });
    expect(control.lines.filter((line) => line === KEEP_ALIVE)).toHaveLength(1);
  });

  it("that are given up holds places until the agent has answered: no more is announced", async () => {
    const { control, tunnel, gateway } = await rawControl();
    for (let round = 0; round < 5; round += 1) {
      const abort = new AbortController();
      const asked = Array.from({ length: 32 }, () =>
        failure(tunnel.request({ ...get("/"), signal: abort.signal })),
      );
      await gateway.clock.advance(1);
      abort.abort();
      await Promise.all(asked);
      await gateway.clock.advance(1);
    }
    expect(gateway.exchange.pending).toBe(0);
    expect(control.connPaths).toHaveLength(12);
    await gateway.clock.advance(20_000);
    expect(gateway.faults).toEqual([]);
    tunnel.request(get("/")).catch(() => undefined);
    await until(() => control.connPaths.length === 13);
  });
});
