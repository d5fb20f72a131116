/** A path so slow that one message takes longer than a peer may be silent: its bytes are signs of life, whole or not. */
import { once } from "node:events";
import { createServer, request } from "node:http";
import { afterEach, describe, expect, it } from "@jest/globals";
import { dialTunnel, type Tunnel, type TunnelOptions } from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import { hello, Victim, write } from "./cores.ts";
import { gateway, listen, stopServer } from "./gateway.ts";
import { httpGateway } from "./http-gateway.ts";
import { FIN, opcodes, rawWebSocket, webSocketFrame } from "./raw-websocket.ts";

const greeting = write(hello);
/** One message that takes two minutes, one byte a second. */
const large = write({ type: "notice", notice: "n", payload: new Uint8Array(120) });

interface Slow {
  /** Ours, which hears the peer's bytes one by one. */
  tunnel: Tunnel;
  send(bytes: Uint8Array): void;
  stop(): Promise<void>;
}

const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

const record = (message: Uint8Array) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.byteLength);
  return Buffer.concat([length, message]);
};

async function overWebSocket(options: TunnelOptions): Promise<Slow> {
  const accepted = Promise.withResolvers<Tunnel>();
  const { url, server } = await gateway(accepted.resolve, options);
  const raw = await rawWebSocket(url);
  raw.socket.write(webSocketFrame(FIN | opcodes.binary, greeting));
  const frame = webSocketFrame(FIN | opcodes.binary, large);
  raw.socket.write(frame.subarray(0, 8));
  return {
    tunnel: await accepted.promise,
    send: (bytes) => void raw.socket.write(bytes),
    async stop() {
      raw.socket.destroy();
      await stopServer(server);
    },
  };
}

/** The peer is the dialler, and its POST takes its time. */
async function overPost(options: TunnelOptions): Promise<Slow> {
  const accepting = await httpGateway(options);
  const type = "application/vnd.revdial.v3";
  const post = (fields: Record<string, string>, bytes: number) =>
    request(accepting.url.replace("ws:", "http:"), {
      method: "POST",
      agent: false,
      headers: { "content-type": type, "content-length": bytes, ...fields },
    }).on("error", () => undefined);
  const opening = post({}, 0);
  opening.end();
  const [answer] = await once(opening, "response");
  answer.on("error", () => undefined).resume();
  const fields = { "revdial-tunnel": String(answer.headers["revdial-tunnel"]), "revdial-sequence": "1" };
  const first = post(fields, greeting.byteLength + 4);
  first.end(record(greeting));
  await once(first, "response");
  const slow = post({ ...fields, "revdial-sequence": "2" }, large.byteLength + 4);
  slow.write(record(large).subarray(0, 4));
  return {
    tunnel: accepting.tunnels[0] as Tunnel,
    send: (bytes) => void slow.write(bytes),
    async stop() {
      slow.destroy();
      opening.destroy();
      await accepting.stop();
    },
  };
}

/** The peer is the acceptor, and its response takes its time. */
async function overResponse(options: TunnelOptions): Promise<Slow> {
  const down = Promise.withResolvers<(bytes: Uint8Array) => void>();
  const server = createServer((incoming, response) => {
    incoming.resume();
    if (incoming.headers["revdial-tunnel"] !== undefined) return void response.writeHead(204).end();
    response.writeHead(200, {
      "content-type": "application/vnd.revdial.v3",
      "revdial-tunnel": "k".repeat(43),
    });
    response.write(record(greeting));
    down.resolve((bytes) => void response.write(bytes));
  });
  const url = await listen(server);
  const dialled = dialTunnel(url, { ...options, transport: "http" });
  const send = await down.promise;
  const tunnel = await dialled;
  send(record(large).subarray(0, 4));
  return { tunnel, send, stop: () => stopServer(server) };
}

describe.each([
  ["a WebSocket", overWebSocket],
  ["a POST upwards", overPost],
  ["a response downwards", overResponse],
])("the bytes of an unfinished message in %s", (_name, join) => {
  it("are signs of life, until they stop", async () => {
    const clock = new ManualClock();
    const slow = await join({ clock });
    stops.push(slow.stop);
    const { tunnel } = slow;
    await tunnel.ready;
    // A byte may arrive a little late; that none arrives for 14 of these turns is what a dead peer is.
    for (let at = 0; at < 60; at += 1) {
      slow.send(large.subarray(at, at + 1));
      await clock.advance(1000);
    }
    expect(tunnel.draining).toBe(false);
    await clock.advance(13_000);
    expect(tunnel.draining).toBe(false);
    await clock.advance(5000);
    expect((await tunnel.closed).code).toBe("DEAD_PEER");
  });
});

describe("a core that is told when the last byte came", () => {
  const silentUntil = (endAt: number, heardAt: (now: number) => number | undefined) => {
    const victim = new Victim();
    for (let now = 0; now < endAt; ) {
      now = Math.min(endAt, victim.core.wakeAt);
      victim.now = now;
      const effects = victim.do({ do: "tick", heardAt: heardAt(now) });
      if (effects.at(-1)?.effect === "close") return now;
    }
    return undefined;
  };

  it("takes a peer for dead as long after it as after a message", () => {
    expect(silentUntil(100_000, () => undefined)).toBe(15_000);
    expect(silentUntil(100_000, () => 7000)).toBe(22_000);
    expect(silentUntil(100_000, (now) => now - 1)).toBe(undefined);
  });

  it("is not confused by a time that lies behind the last message", () => {
    const victim = new Victim();
    for (const now of [0, 5000, 10_000]) {
      victim.now = now;
      victim.do({ do: "tick", heardAt: 0 });
    }
    victim.now = 14_000;
    victim.say({ type: "pong", token: 99n });
    victim.now = 28_999;
    expect(victim.do({ do: "tick", heardAt: 1 })).toEqual([]);
    victim.now = 29_000;
    expect(victim.do({ do: "tick", heardAt: 1 })).toMatchObject([{ effect: "close", code: "DEAD_PEER" }]);
  });
});
